#!/bin/sh
# Operations that fail: for a moment, for ever, in one branch only.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
driver=fault
write_lab box

begin "what fails for a moment is tried again"
write_faults "create box/kvm1 io retry times=1" "start box/kvm2/web1 timeout retry times=1" \
    "network box/kvm1 unreachable retry times=1 after" "connect box/kvm1 unreachable retry times=2" \
    "image host* io retry times=1"
nestor up box.yaml --yes
expect_exit 0
expect_err "box/kvm1: trying again: injected fault: create"
expect_up box

begin "what fails for ever fails, and the other branch is completed"
write_faults "create box/kvm1/web1 io"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm1/web1: creating it: injected fault: create" "remove the fault from the file 'faults'"
expect_err "box/kvm1/web1: start not done: something it needs has failed"
nestor status box
[ "$(grep -c "injected fault: create" out)" = 1 ] || fail "the cause is not told once"
expect_out "     injected fault: create"
expect_out "     mend: remove the fault from the file 'faults'"
nestor events box
expect_out "box/kvm1/web1: injected fault: create"
[ "$(grep -c "box/kvm2/web1: not there" out)" = 1 ] || fail "the reason is not told once"
nestor status box --json
expect_json '[.machines[] | select(.ready | not) | .path] == ["box/kvm1/web1"]'
expect_json '.machines[] | select(.path == "box/kvm1/web1") | .failure == "injected fault: create"
    and (.mend | startswith("remove the fault"))'
expect_json '.machines[] | select(.path == "box/kvm1/web1") | .state == "failed"'
rm "$NESTOR_HOME/faults"
nestor up box.yaml --yes
expect_exit 0
expect_up box

begin "what keeps failing for a moment is given up"
write_faults "start box/kvm2 io retry"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm2: starting it: injected fault: start"
[ "$(grep -c "box/kvm2: trying again" err)" -eq 2 ] || fail "not tried three times"
[ "$(query "SELECT count(*) FROM journal WHERE path = 'box/kvm2' AND step = 'start'")" = 1 ] || fail "more than one step"
[ "$(logged "create box/kvm1/web2")" = 1 ] || fail "the other branch was not completed"

begin "the first operation fails: nothing is done"
write_faults "network ** io" "image ** io"
nestor up box.yaml --yes
expect_exit 1
expect_error "host local: "
nestor down box --yes
expect_exit 0
expect_gone box

begin "the host cannot be asked"
write_faults "observe host* unreachable"
nestor up box.yaml --yes
expect_exit 1
expect_error "host local: injected fault: observe"
nestor plan box.yaml
expect_exit 1
[ "$(query "SELECT count(*) FROM labs")" = 0 ] || fail "the lab was recorded"

begin "a guest hypervisor that cannot be asked is no reason to make its machines anew"
nestor up box.yaml --yes
expect_exit 0
write_faults "observe box/kvm1 unreachable"
nestor status box --json
expect_exit 0
expect_json '.machines[] | select(.path == "box/kvm1/web1") | .state == "running" and (.ready | not)'
expect_json '.machines[] | select(.path == "box/kvm1") | .state == "running" and (.ready | not)'
expect_json '.state == "partial"'
nestor status box
expect_out "it could not be asked: injected fault: observe"
nestor plan box.yaml --json
expect_exit 3
expect_json '[.machines[] | select(.change != "none") | .change + " " + .path] ==
    ["check box/kvm1", "check box/kvm1/web1", "check box/kvm1/web2"]'
nestor plan box.yaml
expect_out "it could not be asked: injected fault: observe"
expect_out "kvm1 could not be asked: injected fault: observe"
! grep -q "was not running" out || fail "the plan says that it was not running"
nestor up box.yaml --yes
expect_exit 0
rm "$NESTOR_HOME/faults"
expect_up box

begin "the answer of a create is lost"
write_faults "create ** io times=3 after"
nestor up box.yaml --yes
expect_exit 4
rm "$NESTOR_HOME/faults"
nestor up box.yaml --yes
expect_exit 0
expect_up box

begin "what is half-made, not recorded and cannot be removed"
nestor up box.yaml --yes
expect_exit 0
rm "$(machine box/kvm1/web1)/spec"
query "PRAGMA foreign_keys = ON; DELETE FROM machines WHERE path = 'box/kvm1/web1'" >/dev/null
write_faults "remove box/kvm1/web1 io"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm1/web1: removing it: injected fault: remove"
rm "$NESTOR_HOME/faults"
nestor up box.yaml --yes
expect_exit 0
copies=2 expect_up box

begin "down where one machine cannot be removed"
nestor up box.yaml --yes
expect_exit 0
write_faults "remove box/kvm1 io"
nestor down box --yes
expect_exit 4
expect_error "box/kvm1: removing it: injected fault: remove"
[ "$(world_count)" -eq 3 ] || fail "the world has $(world_paths | tr '\n' ' ')"
nestor status
expect_out "(being removed)"
rm "$NESTOR_HOME/faults"
nestor down box --yes
expect_exit 0
expect_gone box

begin "down where the answer of a removal is lost"
nestor up box.yaml --yes
expect_exit 0
write_faults "remove box/kvm1 io times=1 after"
nestor down box --yes
expect_exit 4
nestor down box --yes
expect_exit 0
expect_gone box

begin "a fault file that makes no sense"
write_faults "explode everything"
nestor up box.yaml --yes
expect_exit 2
expect_error "faults:1: this is not a fault"

begin "machines that went off with what they run in are brought up once more"
write_faults "connect box/kvm1/web1 machine-died times=1"
nestor up box.yaml --yes
expect_exit 0
expect_err "box/kvm1/web1: it went off while it was waited for; what is missing now is brought up once more"
expect_up box

begin "once, not for ever"
write_faults "connect box/kvm1/web1 machine-died"
nestor up box.yaml --yes
expect_exit 4
[ "$(grep -c "once more" err)" -eq 1 ] || fail "tried $(grep -c "once more" err) times"
expect_error "box/kvm1/web1: "

begin "a machine that goes off on its host by itself has failed"
write_faults "connect box/kvm1 machine-died times=1"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm1: "
