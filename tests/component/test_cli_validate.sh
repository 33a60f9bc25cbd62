#!/bin/sh
# validate: every finding at its line, as text and as JSON, and an exit code for scripts.
. "$NESTOR_SOURCE_DIR/tests/support/ui_shell.sh"
requires jq

lab good
run 0 validate good.yaml
is "$out" "good.yaml: valid: 2 machines on 1 host, depth 2"

printf 'lab: bad\nmachines:\n  a: { template: tiny, memroy: 1GiB }\n  b: { template: "x\\e[2Jy" }\n' >bad.yaml
run 2 validate bad.yaml good.yaml
has "$out" "bad.yaml:3:24: error: unknown key 'memroy'"
has "$out" "memory"
has "$out" "bad.yaml: not valid: "
has "$out" "good.yaml: valid"
hasnt "$out" "$(printf '\033')"

run 2 validate --json bad.yaml good.yaml
is "$(jq -r '.[0].valid, .[1].valid, .[1].machines, .[1].hosts, .[1].depth, .[0].machines' out | xargs)" \
    "false true 2 1 2 null"
is "$(jq -r '.[0].findings[0] | .line, .column, .severity' out | xargs)" "3 24 error"

# Templates that cannot be had are told with all the rest, each in its place.
cat >wrong.yaml <<END
lab: wrong
hosts: { local: { driver: fake } }
templates:
  folder: { source: $work }
  zero: { source: /dev/zero, format: raw }
  gone: { source: disk.rw }
machines:
  a: { template: tny, cpus: x }
  b: { template: folder }
  c: { template: zero }
  d: { template: gone }
  e: { template: debian-kv }
END
cat >wanted <<END
wrong.yaml:4:3: error: template 'folder': $work: is not a regular file; correct the path of template 'folder'
wrong.yaml:5:3: error: template 'zero': /dev/zero: is not a regular file; correct the path of template 'zero'
wrong.yaml:6:3: error: template 'gone': disk.rw: cannot find the file: No such file or directory; correct the path of template 'gone'
wrong.yaml:8:18: error: template 'tny': there is no recipe of that name; did you mean 'tiny'?
wrong.yaml:8:29: error: 'cpus' must be a whole number from 1 to 256, not 'x'
wrong.yaml:12:18: error: template 'debian-kv': there is no recipe of that name; did you mean 'debian-kvm'?
END
run 2 validate wrong.yaml
is "$out" "$(cat wanted)
wrong.yaml: not valid: 6 errors"
run 2 plan wrong.yaml
is "$(head -6 err)" "$(cat wanted)"
sed -i 's/, cpus: x//' wrong.yaml
sed -i '/cpus/d' wanted
run 2 validate wrong.yaml
is "$out" "$(cat wanted)
wrong.yaml: not valid: 5 errors"
for command in "plan" "up --yes"; do
    # shellcheck disable=SC2086 # words
    run 2 $command wrong.yaml
    is "$(head -5 err)" "$(cat wanted)"
    has "$err" "error: wrong.yaml:4:3: template 'folder': $work: is not a regular file
  mend: correct the path of template 'folder'"
done

# One that cannot be read keeps nobody from hearing of the others.
mkdir folder.yaml
run 2 validate missing.yaml folder.yaml bad.yaml good.yaml
has "$err" "error: missing.yaml: it cannot be read: No such file or directory"
has "$err" "mend: name a lab file, or '-' for standard input"
has "$err" "error: folder.yaml: it is a directory, not a plain file"
has "$out" "bad.yaml: not valid: "
has "$out" "good.yaml: valid"
run 2 validate --json missing.yaml bad.yaml good.yaml
is "$(jq -r '.[] | .file, .valid' out | xargs)" "missing.yaml false bad.yaml false good.yaml true"
is "$(jq -r '.[0].findings[0] | .line, .severity, .text' out | xargs)" \
    "null error it cannot be read: No such file or directory"
is "$err" ""

got=0
timeout 60 "$nestor" validate - <good.yaml >out || got=$?
is "$got $(cat out)" "0 -: valid: 2 machines on 1 host, depth 2"

run 0 validate -q good.yaml
is "$out" ""
run 2 validate
has "$err" "validate: something is missing: FILE..."
