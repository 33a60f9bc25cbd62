#!/bin/sh
# Under emulation, a nested machine that hangs at boot is started once more, within its own time; nothing else is.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
driver=fault

# lab_with SECONDS [MORE-OF-THE-HOST]: box.yaml, whose machines have so long to boot.
lab_with() {
    write_lab box "${2:-}"
    sed -i "s/^defaults: {/&timeouts: { boot: ${1}s },/" box.yaml
}

# restarted PATH TIMES: how often it lost its power and was started after that; it was made once.
restarted() {
    [ "$(logged "power-cut $1")" -eq "$2" ] || fail "power was cut $(logged "power-cut $1") times"
    [ "$(logged "start $1")" -eq $(($2 + 1)) ] || fail "it was started $(logged "start $1") times"
    [ "$(logged "create $1")" -eq 1 ] || fail "it was created $(logged "create $1") times"
}

again="trying again, with its power cut and started, because it did not answer over SSH in time; the last try said:"

begin "it answers after it was started again"
lab_with 8 "emulated: true"
write_faults "connect box/kvm1/web1 unreachable retry"
nestor_begins up box.yaml --yes
running=$!
await grep -qsF "box/kvm1/web1: $again injected fault: connect" err.bg
rm "$NESTOR_HOME/faults"
ended $running
expect_exit 0
restarted box/kvm1/web1 1
restarted box/kvm1/web2 0
expect_up box
nestor events box --json
jq -es 'map(select(.path == "box/kvm1/web1" and .step == "reach") | .outcome) == ["done"]' out >/dev/null ||
    fail "its entry in the journal is not done"
jq -es 'any(.path == "box/kvm1/web1" and .step == "reach" and (.error | startswith("box/kvm1/web1: it did not answer")))' \
    out >/dev/null || fail "the events do not tell why"

begin "one that hangs again has failed: it is started again once"
lab_with 4 "emulated: true"
write_faults "connect box/kvm1/web1 unreachable retry"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm1/web1: waiting for it: it did not answer over SSH in time" "'timeouts: { boot: }'"
restarted box/kvm1/web1 1
[ "$(grep -cF "box/kvm1/web1: $again" err)" -eq 1 ] || fail "not told once"

begin "one that cannot be started again has failed for the reason it hung"
lab_with 4 "emulated: true"
write_faults "connect box/kvm1/web1 unreachable retry" "power-cut box/kvm1/web1 io"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm1/web1: waiting for it: it did not answer over SSH in time"
expect_err "starting it again: injected fault: power-cut"
restarted box/kvm1/web1 0

begin "a guest hypervisor of the host itself, and one that ran before, are left alone"
lab_with 2 "emulated: true"
write_faults "connect box/kvm1 unreachable retry"
nestor up box.yaml --yes
expect_exit 4
restarted box/kvm1 0
rm "$NESTOR_HOME/faults"
nestor up box.yaml --yes
expect_exit 0
query "UPDATE machines SET is_ready = 0 WHERE path = 'box/kvm1/web1'"
write_faults "connect box/kvm1/web1 unreachable retry"
nestor up box.yaml --yes
expect_exit 4
restarted box/kvm1/web1 0

begin "with hardware underneath, what hangs is not started again"
lab_with 2
write_faults "connect box/kvm1/web1 unreachable retry"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm1/web1: waiting for it: it did not answer over SSH in time"
restarted box/kvm1/web1 0
