#!/bin/sh
# validate: every finding at its line, as text and as JSON, and an exit code for scripts.
. "$NESTOR_SOURCE_DIR/tests/support/ui_shell.sh"
requires jq

lab good
run 0 validate good.yaml
is "$out" "good.yaml: valid: 2 machines on 1 host, depth 2"

printf 'lab: bad\nmachines:\n  a: { template: small, memroy: 1GiB }\n  b: { template: "x\\e[2Jy" }\n' >bad.yaml
run 2 validate bad.yaml good.yaml
has "$out" "bad.yaml:3:25: error: unknown key 'memroy'"
has "$out" "memory"
has "$out" "bad.yaml: not valid: "
has "$out" "good.yaml: valid"
hasnt "$out" "$(printf '\033')"

run 2 validate --json bad.yaml good.yaml
is "$(jq -r '.[0].valid, .[1].valid, .[1].machines, .[1].hosts, .[1].depth, .[0].machines' out | xargs)" \
    "false true 2 1 2 null"
is "$(jq -r '.[0].findings[0] | .line, .column, .severity' out | xargs)" "3 25 error"

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
