#!/bin/sh
# doctor: what is missing is told with what to do; what is there, too.
. "$NESTOR_SOURCE_DIR/tests/support/ui_shell.sh"
requires jq

# Before there is anything: it makes no database.
lab one
run 0 doctor one.yaml --json
is "$(jq -r '.findings[] | select(.check == "state") | .text' out)" "no database yet: the first lab makes it"
[ ! -e "$NESTOR_HOME/state.db" ] || fail "it made a database"
run 0 status
run 0 doctor one.yaml --json
is "$(jq -r .ok out)" true
is "$(jq -r '.findings[] | select(.check == "host local") | .verdict' out | head -1)" ok
has "$(jq -r '.findings[] | select(.check == "state directory") | .text' out)" "$NESTOR_HOME"
is "$(jq -r '.findings[] | select(.check == "state") | .text' out)" "the database opens"
has "$(jq -r '.findings[] | select(.check == "nestor") | .text' out)" "built with libcurl "

run 0 doctor one.yaml --host local
has "$out" " ok, "
run 0 doctor one.yaml --quiet
hasnt "$out" " ok"

run 1 doctor one.yaml --host other
has "$err" "error: other: there is no host of that name in one.yaml"
has "$err" "mend: there are: local"
is "$out" "" # nothing else is looked at before
run 1 doctor one.yaml --host loacl
has "$err" "mend: did you mean 'local'? There are: local"
run 2 doctor --host esx # of lab.yaml, which is not there
has "$err" "error: lab.yaml: it cannot be read: No such file or directory"

# Nothing in PATH: each program is told with its package. What no host needs is no fault.
mkdir empty
without_programs() {
    got=0
    PATH="$work/empty" "$nestor" doctor "$@" >out 2>err || got=$?
    out=$(cat out)
}
without_programs one.yaml
is "$got" 0
has "$out" "warn  qemu-system-x86_64      not installed; for hosts with driver qemu"
without_programs
is "$got" 1
has "$out" "fail  qemu-system-x86_64      not installed; for hosts with driver qemu"
has "$out" "fail  host local"
has "$out" "the program qemu-system-x86_64 is not installed or not in PATH"
has "$out" "mend: apt-get install qemu-system-x86"
has "$out" "warn  ssh "

# A host that cannot nest.
sed 's/driver: fake/driver: fake, flag: none/' one.yaml >flat.yaml
run 1 doctor flat.yaml
has "$out" "fail  host local"
has "$out" "host-not-capable"

# A damaged database.
mkdir -p "$NESTOR_HOME"
rm -f "$NESTOR_HOME"/state.db*
head -c 8192 /dev/urandom >"$NESTOR_HOME/state.db"
run 1 doctor one.yaml
has "$out" "fail  state "
run 0 validate one.yaml

run 2 doctor missing.yaml
has "$err" "No such file or directory"
