#!/bin/sh
# nestor killed at some of its commits while a lab of three nested ESXi comes up, is emptied, or goes; its slow sisters
# try all of them.
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_deep.sh"

for mode in vpx esx; do
    start_deep $mode
    deep_killed_up after 29 --parallel 1 || fail "it was over"
    deep_killed_up before 36 --parallel 1 || fail "it was over"
    deep_killed_emptying after 9 --parallel 1 || fail "it was over"
    deep_killed_down after 3 || fail "it was over"
    stop_deep
done
[ "$(wc -l <between)" -ge 8 ] || fail "few were killed between the first nested guest and the last: $(wc -l <between)"
