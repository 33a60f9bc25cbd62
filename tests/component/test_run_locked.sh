#!/bin/sh
# Two nestors on one lab: the second says at once for whom it waits. Looking needs no lock, other labs are free.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
driver=fault
write_lab box
write_lab crate

# holds OPERATION COMMAND...: a nestor that works on box until the file of faults is removed; $holder is its process.
holds() {
    write_faults "$1 box/kvm1 none hold"
    operation=$1
    shift
    nestor_begins "$@"
    holder=$!
    await grep -qs "box/kvm1: $operation begins" err.bg
}

# waits COMMAND...: another nestor, that waits for the first; $second is its process.
waits() {
    nestor_begins "$@"
    second=$!
    await grep -qsFx "note: box: process $holder ($verb) is working on it; waiting for up to 10 s" err.bg
}

begin "the second waits for the first, and says so"
verb="nestor up"
holds start up box.yaml --yes
waits up box.yaml --yes
rm "$NESTOR_HOME/faults"
ended "$second"
expect_exit 0
expect_out "Nothing to do"
wait "$holder" || fail "the first has failed"
expect_up box

begin "nobody has to wait in order to look, or for another lab"
holds start up box.yaml --yes
nestor up crate.yaml --yes
expect_exit 0
nestor status box --json
expect_exit 0
expect_json '.machines[] | select(.path == "box/kvm1") | .state == "created"'
nestor plan box.yaml
expect_exit 3

what="it is free as soon as the holder is killed"
waits down box --yes
kill -KILL "$holder"
wait "$holder" 2>/dev/null
rm "$NESTOR_HOME/faults"
ended "$second"
expect_exit 0
nestor down crate --yes
expect_gone box

begin "two downs at once"
verb="nestor down"
nestor up box.yaml --yes
holds remove down box --yes
waits down box --yes
rm "$NESTOR_HOME/faults"
ended "$second"
expect_exit 0
expect_out "Lab box is down already."
wait "$holder" || fail "the first has failed"
expect_gone box
