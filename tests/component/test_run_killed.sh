#!/bin/sh
# A sample of test_run_killed_*_slow.sh, and an `up` that is killed over and over.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
write_lab box

for n in 3 4 6 12 18 24; do
    kills_up before $n || fail "it was not killed"
    kills_up after $n || fail "it was not killed"
done
copies=2
for n in 1 3 5; do
    kills_down before $n || fail "it was not killed"
    kills_down after $n || fail "it was not killed"
done
copies=1

begin "up killed again and again, each time a commit later"
n=1
while killed_at before $n up box.yaml --yes --parallel 1; do
    n=$((n + 1))
done
[ $n -gt 4 ] || fail "it was killed only $n times"
expect_up box
