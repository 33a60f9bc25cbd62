#!/bin/sh
# nestor killed at some of its commits while it brings a lab of ten machines up on vcsim, or down: its slow sister tries
# all of them.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_kill.sh"

for mode in vpx esx; do
    start_vsphere $mode
    for n in 2 4 7; do
        vsphere_killed_up after $n || fail "it was over"
    done
    vsphere_killed_up before 5 || fail "it was over"
    vsphere_killed_down after 2 || fail "it was over"
    vsphere_killed_down before 3 || fail "it was over"
done
