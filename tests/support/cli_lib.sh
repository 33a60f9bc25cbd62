# shellcheck shell=sh
# Shell tests of the command line. Each case has a home of its own, nestor runs under a deadline, and an expectation that
# does not hold ends the test and prints what was seen instead.
#
#   . "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
#   begin "a second up has nothing to do"
#   write_lab box
#   nestor up box.yaml --yes
#   expect_exit 0
set -u
: "${NESTOR_BINARY_DIR:?}" # as ctest sets it

# What a kill leaves does not depend on the disk, but the time of a hundred commits does: in memory, where it may be.
case $(grep ' /dev/shm ' /proc/mounts) in *tmpfs*rw*noexec*|'') memory=/tmp ;; *) memory=/dev/shm ;; esac
place=$(mktemp -d "${TMPDIR:-$memory}/nestor-test.XXXXXX") || exit 1
cd "$place" || exit 1
export NESTOR_HOME="$place/home" NO_COLOR=1 TERM=dumb
world=$NESTOR_HOME/fake/local # where a fake host named `local` is
program=nestor                # nestor-faulty in tests that kill it at a commit
what='' status=0 background=''

# Only what is still our own: the id of a process that has ended may be somebody else's by now.
# shellcheck disable=SC2317 # called by the trap
clean_up() {
    for pid in $background; do
        ! grep -qsx "PPid:[[:space:]]*$$" "/proc/$pid/status" || kill -KILL "$pid" 2>/dev/null
    done
    cd / && rm -rf "$place"
}
trap clean_up EXIT

# begin DESCRIPTION: the next case, with an empty home.
begin() {
    what=$1
    rm -rf "$NESTOR_HOME"
    mkdir "$NESTOR_HOME"
    printf -- '- %s\n' "$what"
}

fail() {
    printf 'FAILED: %s\n  %s\n' "$what" "$1"
    for file in out err; do
        [ ! -s "$place/$file" ] || sed "s/^/  last $file: /" "$place/$file"
    done
    exit 1
}

# The disk image is never looked into: the fake driver copies nothing.
head -c 4096 /dev/zero >disk.raw

# lab_on HOSTS MACHINE...: box.yaml with these hosts and machines.
lab_on() {
    {
        echo "lab: box"
        echo "hosts: { $1 }"
        echo "templates: { tiny: { source: disk.raw, format: raw } }"
        echo "defaults: { template: tiny, memory: 64MiB }"
        echo "machines:"
        shift
        printf '  %s\n' "$@"
    } >box.yaml
}

# write_lab NAME [MORE-OF-THE-HOST] [MORE-OF-A-GUEST-HYPERVISOR]: NAME.yaml, two guest hypervisors with two guests each.
# $driver is their driver, fake or fault.
driver=fake
write_lab() {
    cat >"$1.yaml" <<END
lab: $1
hosts:
  local: { driver: $driver${2:+, $2} }
templates:
  tiny: { source: disk.raw, format: raw }
defaults: { template: tiny, memory: 64MiB }
machines:
  kvm1: { hypervisor: $driver, memory: 256MiB${3:+, $3}, machines: { web1: , web2: } }
  kvm2: { hypervisor: $driver, memory: 256MiB${3:+, $3}, machines: { web1: , web2: } }
END
}
machines_of_lab=6 # in it

# write_faults LINE...: what the fault driver does from now on.
write_faults() {
    printf '%s\n' "$@" >"$NESTOR_HOME/faults"
}

# nestor ARGUMENTS...: its output goes to the files out and err, its exit status to $status.
nestor() {
    { timeout -s KILL 60 "$NESTOR_BINARY_DIR/$program" "$@" </dev/null >out 2>err; } 2>/dev/null # of the shell: "Killed"
    status=$?
}

# nestor_begins ARGUMENTS...: the same in the background; $! is its process. Output as out.bg and err.bg.
nestor_begins() {
    "$NESTOR_BINARY_DIR/$program" "$@" </dev/null >out.bg 2>err.bg &
    background="$background $!"
}

# await CONDITION...: until the command succeeds, at most 20 seconds.
await() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 1000 ] || fail "waited in vain for: $*"
        sleep 0.02
    done
}

# heeds_signals PID: that background nestor catches SIGINT. Until it is executed, the process is a copy of this shell,
# which catches SIGINT, too, and would end by it.
heeds_signals() {
    grep -qsFx "$program" "/proc/$1/comm" && grep -q '^SigCgt:.*[2367abef]$' "/proc/$1/status"
}

# interrupted_at FAULT COMMAND...: nestor gets a SIGINT as soon as that fault has come, which is used up then; what it
# leaves is as of `nestor`.
interrupted_at() {
    write_faults "$1 times=1"
    shift
    nestor_begins "$@"
    running=$!
    await grep -qs times=0 "$NESTOR_HOME/faults"
    kill -INT $running
    ended $running
    rm "$NESTOR_HOME/faults"
    expect_exit 130
}

# ended PID: waits for the background process; $status, out and err are what it leaves.
ended() {
    wait "$1" 2>/dev/null
    status=$?
    mv out.bg out
    mv err.bg err
}

expect_exit() {
    [ "$status" -eq "$1" ] || fail "exit status $status, expected $1"
}

expect_out() {
    grep -qF -- "$1" out || fail "standard output does not say: $1"
}

expect_err() {
    grep -qF -- "$1" err || fail "standard error does not say: $1"
}

# expect_error SUBJECT-AND-CAUSE [MEND]: words of the error that ended it.
expect_error() {
    grep '^error: ' err | tail -n 1 | grep -qF -- "$1" || fail "the error does not say: $1"
    [ $# -lt 2 ] || grep '^  mend: ' err | tail -n 1 | grep -qF -- "$2" || fail "its mend does not say: $2"
}

# expect_json FILTER: jq's filter is true of standard output.
expect_json() {
    jq -e "$1" out >jq.out 2>&1 || fail "not so in the JSON: $1"
}

# --- the world and the state ---

# Machines that exist, whole or half-made, at all levels.
world_paths() {
    find "$world" -type d -path '*/machines/*' 2>/dev/null | sed -n 's|.*/machines/[0-9a-f]*\.\([^/]*\)$|\1|p' | tr . /
}

world_count() {
    world_paths | wc -l
}

# machine PATH: its directory, "box/kvm1/web1" at any depth.
machine() {
    find "$world" -type d -name "*.$(echo "$1" | tr / .)"
}

# logged LINE: how often that happened in the world.
logged() {
    if [ -f "$world/log" ]; then
        grep -cFx -- "$1" "$world/log"
    else
        echo 0
    fi
}

query() {
    sqlite3 "$NESTOR_HOME/state.db" "$1"
}

# expect_up LAB: every machine of write_lab runs, once, is ready, and there is nothing left to do.
expect_up() {
    nestor status "$1" --json
    expect_exit 0
    expect_json ".state == \"up\" and (.machines | length == $machines_of_lab and all(.ready))"
    [ "$(world_count)" -eq $machines_of_lab ] || fail "the world has $(world_paths | tr '\n' ' ')"
    [ "$(find "$world" -name on | wc -l)" -eq $machines_of_lab ] || fail "not every machine runs"
    for path in $(world_paths); do
        [ "$(logged "create $path")" -le "${copies:-1}" ] || fail "$path was created $(logged "create $path") times"
    done
    nestor plan "$1.yaml"
    expect_exit 0
}

# expect_gone LAB: no machine, image or network in the world, no row, file or lock.
expect_gone() {
    [ "$(world_count)" -eq 0 ] || fail "the world still has $(world_paths | tr '\n' ' ')"
    [ -z "$(ls "$world/images" 2>/dev/null)" ] || fail "an image is left in the world"
    [ ! -e "$world/network" ] || fail "the network is left in the world"
    for table in labs hosts machines evidence; do
        [ "$(query "SELECT count(*) FROM $table")" = 0 ] || fail "the state still has rows in $table"
    done
    [ -z "$(ls "$NESTOR_HOME/labs" 2>/dev/null)" ] || fail "the lab's directory is left"
    [ ! -e "$NESTOR_HOME/locks/$1.lock" ] || flock -n "$NESTOR_HOME/locks/$1.lock" true || fail "its lock is still held"
}
