#!/bin/sh
# Two nestors on one lab: the second waits, then says who works on it. Looking needs no lock, other labs are free.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
driver=fault
write_lab box
write_lab crate

# holds MILLISECONDS: a nestor that works on box for so long; $holder is its process.
holds() {
    write_faults "start box/kvm1 none delay=$1"
    nestor_begins up box.yaml --yes
    holder=$!
    await grep -qs "start begins" err.bg
}

begin "the second waits for the first"
holds 1500
nestor up box.yaml --yes
expect_exit 0
expect_out "Nothing to do"
ended "$holder"
expect_exit 0
expect_up box

begin "a lock that is held for long"
holds 60000
nestor up crate.yaml --yes
expect_exit 0
nestor status box --json
expect_exit 0
expect_json '.machines[] | select(.path == "box/kvm1") | .state == "created"'
nestor plan box.yaml
expect_exit 3
nestor down box --yes
expect_exit 1
expect_error "box: process $holder (nestor up) is working on it" "wait until it has ended"

what="it is free as soon as the holder is killed"
kill -KILL "$holder"
ended "$holder"
expect_exit 137
nestor down crate --yes
nestor down box --yes
expect_exit 0
expect_gone box

begin "two downs at once"
nestor up box.yaml --yes
write_faults "remove box/kvm1 none delay=500"
nestor_begins down box --yes
holder=$!
await grep -qs "remove begins" err.bg
nestor down box --yes
expect_exit 0
expect_out "Lab box is down already."
ended "$holder"
expect_exit 0
expect_gone box
