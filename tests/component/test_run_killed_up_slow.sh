#!/bin/sh
# SIGKILL before and after every commit of an `up`: the next `up` completes it, a `down` leaves nothing.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
write_lab box

for when in before after; do
    n=1
    while kills_up $when $n; do
        n=$((n + 1))
    done
    [ $n -gt 30 ] || fail "an up of $machines_of_lab machines had only $n commits"
done
