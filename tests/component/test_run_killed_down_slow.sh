#!/bin/sh
# SIGKILL before and after every commit of a `down`: the next `down` completes it, an `up` makes the lab anew.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
write_lab box
copies=2 # of a machine: the first one was removed

for when in before after; do
    n=1
    while kills_down $when $n; do
        n=$((n + 1))
    done
    [ $n -gt 5 ] || fail "a down of $machines_of_lab machines had only $n commits"
done
