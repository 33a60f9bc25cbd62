#!/bin/sh
# No nested guest is made on a guest hypervisor that was not proved, unless the lab file says so.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

created() {
    [ "$(logged "create $1")" -eq "$2" ] || fail "$1 was created $(logged "create $1") times, expected $2"
}

begin "required: a guest hypervisor without the flag gets no guests, the other one does"
write_lab box "blind: box/kvm1"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm1: verifying it: " "check that the hypervisor below exposes virtualization"
expect_error "(guest-flag-missing)"
created box/kvm1/web1 0
created box/kvm1/web2 0
created box/kvm2/web1 1
created box/kvm2/web2 1
nestor status box --json
expect_json '.state == "failed"'
expect_json '.machines[] | select(.path == "box/kvm1") | .ready == false and .state == "failed"
    and .nesting.verified == false and .nesting.reason == "guest-flag-missing" and .nesting.checked_at != null'
expect_json '.machines[] | select(.path == "box/kvm1/web1") | .state == "absent"'
expect_json '.machines[] | select(.path == "box/kvm2") | .ready and .nesting.verified'
nestor status box
[ "$(grep -c "neither vmx nor svm" out)" = 1 ] || fail "the cause is not told once"
[ "$(grep -c "mend:" out)" = 1 ] || fail "the mend is not told once"

begin "required: once the flag is there, up goes on"
write_lab box "blind: box/kvm1"
nestor up box.yaml --yes
expect_exit 4
write_lab box
nestor up box.yaml --yes
expect_exit 0
expect_up box
created box/kvm1 1

begin "required: no guest hypervisor proved, so nothing but them is made"
write_lab box "blind: box/*"
nestor up box.yaml --yes
expect_exit 4
[ "$(world_count)" -eq 2 ] || fail "the world has $(world_paths | tr '\n' ' ')"

begin "preferred: guests are made without acceleration, with a warning"
write_lab box "blind: box/kvm1" "nesting: preferred"
nestor up box.yaml --yes
expect_exit 0
expect_err "box/kvm1: warning: guest-flag-missing: its machines run unaccelerated"
nestor status box --json
expect_json '.state == "up" and all(.machines[]; .ready)'
expect_json '.machines[] | select(.path == "box/kvm1") | .nesting.wanted == "preferred"
    and .nesting.verified == false and .nesting.reason == "guest-flag-missing"'
[ "$(world_count)" -eq 6 ] || fail "the world has $(world_paths | tr '\n' ' ')"
nestor plan box.yaml
expect_exit 0

begin "exposed: read back, not proved inside"
write_lab box "blind: box/*" "nesting: exposed"
nestor up box.yaml --yes
expect_exit 0
[ "$(query "SELECT count(*) FROM journal WHERE step = 'verify'")" = 0 ] || fail "it was verified"
nestor status box --json
expect_json '.state == "up"'
expect_json '.machines[] | select(.path == "box/kvm1") | .nesting.wanted == "exposed" and .nesting.verified'

begin "a host that cannot nest is told before anything is made"
write_lab box "flag: none"
nestor up box.yaml --yes
expect_exit 1
expect_error "local: a fake hypervisor whose machines see no hardware virtualization (host-not-capable)"
[ ! -e "$world/log" ] || fail "something was made: $(cat "$world/log")"
[ "$(query "SELECT count(*) FROM labs")" = 0 ] || fail "the lab was recorded"

begin "a host that cannot nest will do when nesting is only preferred"
write_lab box "flag: none" "nesting: preferred"
nestor up box.yaml --yes
expect_exit 0
expect_err "its machines run unaccelerated"

begin "nesting becomes required: it is proved then"
write_lab box "" "nesting: exposed"
nestor up box.yaml --yes
expect_exit 0
write_lab box "" "nesting: required"
nestor plan box.yaml --json
expect_exit 3
expect_json '[.machines[] | select(.change != "none") | .path + " " + .change] == ["box/kvm1 check", "box/kvm2 check"]'
nestor up box.yaml --yes
expect_exit 0
[ "$(query "SELECT count(*) FROM journal WHERE step = 'verify' AND outcome = 'done'")" = 2 ] || fail "it was not verified"
expect_up box

begin "nesting becomes required on a guest hypervisor that cannot"
write_lab box "blind: box/kvm2" "nesting: exposed"
nestor up box.yaml --yes
expect_exit 0
write_lab box "blind: box/kvm2" "nesting: required"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm2: verifying it: "
nestor plan box.yaml
expect_exit 3

begin "verify waits for all at once, not for long, and tells meanwhile what it does"
driver=fault
write_lab box
nestor up box.yaml --yes
expect_exit 0
write_faults "connect box/kvm1 unreachable retry" "connect box/kvm2 unreachable retry"
nestor verify box --timeout 1
expect_exit 1
expect_err "box/kvm1: verify begins"
expect_err "box/kvm2: verify begins"
[ "$(grep -n 'verify failed' err | head -n 1 | cut -d: -f1)" -gt "$(grep -n 'verify begins' err | tail -n 1 | cut -d: -f1)" ] ||
    fail "one waited for the other"
expect_err "box/kvm1: verify failed"
expect_out "error: box/kvm1: it did not answer over SSH in time; the last try said: injected fault: connect"
expect_out "mend: see 'nestor console box/kvm1'; a slow host may need a longer"
expect_out "error: box/kvm2: it did not answer"
write_faults "connect box/kvm1 unreachable"
nestor verify box --json --quiet
expect_exit 1
expect_json '.verified == false and (.machines[0] | .path == "box/kvm1" and .verified == false and .error == "unreachable")'
expect_json '.machines[1] | .path == "box/kvm2" and .verified'

begin "verify of what is taken down meanwhile leaves no evidence"
write_lab box
nestor up box.yaml --yes
expect_exit 0
write_faults "connect box/kvm2 none hold"
nestor_begins verify box
verifier=$!
await grep -qs "box/kvm1: verify done" err.bg
nestor down box --yes
expect_exit 0
rm "$NESTOR_HOME/faults"
ended "$verifier"
expect_exit 1
expect_out "error: box/kvm1: it was taken down meanwhile"
expect_out "error: box/kvm2: "
expect_gone box
