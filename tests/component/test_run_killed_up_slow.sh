#!/bin/sh
# SIGKILL before and after every commit of an `up`, and inside the database's writes: the next `up` completes it, a
# `down` leaves nothing.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
write_lab box

# every WHEN STRIDE LEAST
every() {
    n=1
    while kills_up "$1" $n; do
        n=$((n + $2))
    done
    [ $n -gt "$3" ] || fail "it was over $1 number $n"
}

every before 1 24
every after 1 24
every write 11 100

pace='' # many steps in one commit, as they happen to end
every before 1 8
every after 1 8
