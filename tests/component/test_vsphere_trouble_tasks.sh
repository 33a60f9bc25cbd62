#!/bin/sh
# What a server can answer to a task, in a lab on vcsim: it waits, works, asks, fails; each ends in success, or in an
# error that says what it was and what to do; the next `up` completes the lab without making anything twice, and `down`
# leaves nothing.
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_trouble.sh"

# A guest hypervisor's name, whatever the lab's id is.
gh1='course.gh-1-*'
trouble_start vpx

trouble "tasks wait, work and tell how far they are" 0 '*_Task task queued=200 running=400'
trouble "tasks fail late, and others are in the way" 0 '*_Task task running=100 fault=TaskInProgress skip=2 times=2'
trouble "a task fails after it has done something" 4 'CloneVM_Task task early running=100 fault=SystemError skip=1'
expect_said "SystemError"
trouble "a setting has no effect" 4 "set VirtualMachine $gh1 config.nestedHVEnabled false"
expect_said "vhv-not-set"
trouble "a machine asks something when it is started" 4 \
    "question $gh1 \"Did you move it, or did you copy it?\" \"I moved it\" \"I copied it\"" \
    'PowerOnVM_Task match=course.gh-1- task running=forever'
expect_said "Did you move it, or did you copy it?"

# Faults that the driver knows what to do about, from its table: name, whether it is worth a repetition, mend.
tr -d '\\\n' <"$NESTOR_SOURCE_DIR/orchestrator/drivers/vsphere/fault.h" | sed 's/X(VIM_/\n&/g' |
    sed -n 's/^X([A-Z_]*, *"\([A-Za-z]*\)", *ERR_[A-Z_]*, *\(true\|false\), *"\([^"]*\)").*/\1 \2 \3/p' >faults
[ "$(wc -l <faults)" -gt 10 ] || fail "the table of faults was not understood: $(cat faults)"

begin "each fault comes with what to do about it"
while read -r fault again mend; do
    method=CloneVM_Task
    case $fault in
    InvalidLogin | PasswordExpired) method=Login ;;
    DuplicateName) method=ReconfigVM_Task ;; # of a clone it is looked into: what_an_earlier_try_still_makes_...
    esac
    control "$method fault=$fault"
    : >calls
    nestor up lab.yaml --yes
    case $status in
    1 | 4) ;;
    *) fail "$fault: it ended with $status" ;;
    esac
    expect_err "$fault"
    expect_err "$mend"
    tried=$(calls_count $method)
    case $again in
    true) [ "$tried" -gt 1 ] && [ "$tried" -le $((3 * machines_of_vsphere)) ] || fail "$fault: $tried tries" ;;
    false) [ "$tried" -le $machines_of_vsphere ] || fail "$fault: $tried tries" ;;
    esac
done <faults
control
nestor up lab.yaml --yes
expect_exit 0
expect_vsphere_up
vsphere_down

begin "down while things go wrong"
nestor up lab.yaml --yes
expect_exit 0
control 'Destroy_Task after reset skip=1 times=2' 'PowerOffVM_Task task fault=TaskInProgress times=1' \
    '* skip=20 times=2 http=503'
nestor down course --yes
expect_exit 0
control
expect_vsphere_gone

proxy_stop || fail "a secret went over the wire outside of the login"
