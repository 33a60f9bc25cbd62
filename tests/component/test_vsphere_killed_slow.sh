#!/bin/sh
# SIGKILL before and after every commit of an `up` and of a `down` of ten machines on vcsim, as a vCenter and as a bare
# ESXi.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_kill.sh"

# every COMMAND WHEN LEAST
every() {
    n=1
    while "$1" "$2" $n; do
        n=$((n + 1))
    done
    [ $n -gt "$3" ] || fail "it was over $2 commit $n"
}

for mode in vpx esx; do
    start_vsphere $mode
    for when in before after; do
        every vsphere_killed_up $when 5
        every vsphere_killed_down $when 3
    done
done
