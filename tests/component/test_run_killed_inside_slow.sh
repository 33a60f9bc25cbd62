#!/bin/sh
# SIGKILL in and just after every call of every operation of the drivers, at both levels.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
driver=fault
write_lab box

# every HOW OPERATION LEAST [after]: at least so many calls there are, or the lab has been made without it.
every() {
    n=1
    while "$1" "$2" $n "${4:-}"; do
        n=$((n + 1))
    done
    [ $n -gt "$3" ] || fail "there were only $((n - 1)) calls of $2"
}

every kills_up_in open 3
every kills_up_in check 1
every kills_up_in observe 2
every kills_up_in image 3
every kills_up_in image 3 after
every kills_up_in network 3
every kills_up_in network 3 after
every kills_up_in create 6
every kills_up_in create 6 after
every kills_up_in expose 2
every kills_up_in expose 2 after
every kills_up_in start 6
every kills_up_in start 6 after
every kills_up_in connect 6

copies=2 # of a machine: the first one was removed
every kills_down_in open 1
every kills_down_in observe 1
every kills_down_in remove 2
every kills_down_in remove 2 after
every kills_down_in prune 1
every kills_down_in prune 1 after
