#!/bin/sh
# What happened behind nestor's back is seen, told with its reason, and repaired by the next up.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

box_is_up() {
    begin "$1"
    write_lab box
    nestor up box.yaml --yes
    expect_exit 0
}

# expect_seen PATH STATE
expect_seen() {
    nestor status box --json
    expect_exit 0
    expect_json ".machines[] | select(.path == \"$1\") | .state == \"$2\" and (.ready | not)"
}

# expect_planned PATH CHANGE REASON; and nothing else, unless more such triples follow.
expect_planned() {
    nestor plan box.yaml --json
    expect_exit 3
    expect_json '.changes'
    wanted=''
    while [ $# -gt 0 ]; do
        wanted="$wanted${wanted:+, }\"$1: $2: $3\""
        shift 3
    done
    expect_json "[.machines[] | select(.change != \"none\") | .path + \": \" + .change + \": \" + .reason] == [$wanted]"
}

repaired() {
    nestor up box.yaml --yes
    expect_exit 0
    expect_up box
}

box_is_up "a guest hypervisor that was switched off"
rm "$(machine box/kvm1)/on"
expect_seen box/kvm1 stopped
expect_json '.state == "partial"'
expect_json '.machines[] | select(.path == "box/kvm1/web1") | .state == "stopped" and (.ready | not)'
expect_json '.machines[] | select(.path == "box/kvm1") | .nesting.verified == null and .nesting.checked_at == null'
expect_json '.machines[] | select(.path == "box/kvm2") | .nesting.verified'
expect_planned box/kvm1 start stopped \
    box/kvm1/web1 start "kvm1 is restarted" box/kvm1/web2 start "kvm1 is restarted"
repaired

box_is_up "a guest hypervisor that was rebooted"
rm "$(machine box/kvm1)"/inside/machines/*/on
expect_seen box/kvm1/web1 stopped
expect_planned box/kvm1/web1 start stopped box/kvm1/web2 start stopped
repaired

box_is_up "a guest hypervisor whose exposure was switched off"
rm "$(machine box/kvm1)/exposed"
expect_planned box/kvm1 restart "hardware virtualization is off" \
    box/kvm1/web1 start "kvm1 is restarted" box/kvm1/web2 start "kvm1 is restarted"
repaired

box_is_up "a nested guest that was destroyed"
rm -r "$(machine box/kvm1/web2)"
expect_seen box/kvm1/web2 absent
expect_planned box/kvm1/web2 create "it has vanished"
copies=2 repaired

box_is_up "a guest hypervisor that was destroyed"
rm -r "$(machine box/kvm2)"
expect_seen box/kvm2 absent
expect_planned box/kvm2 create "it has vanished" box/kvm2/web1 create "its hypervisor is replaced" \
    box/kvm2/web2 create "its hypervisor is replaced"
copies=2 repaired

box_is_up "a nested guest that is only half there"
rm "$(machine box/kvm2/web1)/spec"
expect_seen box/kvm2/web1 failed
expect_planned box/kvm2/web1 replace "what is there is incomplete"
copies=2 repaired

box_is_up "a machine that is not in the state"
query "PRAGMA foreign_keys = ON; DELETE FROM machines WHERE path = 'box/kvm1/web1'" >/dev/null
expect_planned box/kvm1/web1 check "not proved ready yet"
repaired

box_is_up "a machine that neither the state nor the lab file knows"
cp -a "$(machine box/kvm1)" "$(machine box/kvm1 | sed 's/kvm1$/kvm7/')"
expect_planned box/kvm7 remove "no longer in the lab file"
nestor down box --yes
expect_exit 0
expect_gone box

box_is_up "a machine of another lab is left alone"
other=$(machine box/kvm1 | sed 's|[^/]*$|00000000000000aa.other.kvm1|')
cp -a "$(machine box/kvm1)" "$other"
nestor plan box.yaml
expect_exit 0
nestor down box --yes
expect_exit 0
[ -d "$other" ] || fail "it was removed"

box_is_up "everything at once"
rm -r "$(machine box/kvm1)" "$(machine box/kvm2/web1)"
rm "$(machine box/kvm2)/on"
copies=2 repaired

begin "a guest hypervisor that dies while its guests are made"
driver=fault
write_lab box
write_faults "create box/kvm1/* none hold"
nestor_begins up box.yaml --yes
running=$!
await grep -qs "kvm1/web1: create begins" err.bg
rm "$(machine box/kvm1)/on"
rm "$NESTOR_HOME/faults"
ended $running
expect_exit 4
expect_error "box/kvm1"
nestor status box --json
expect_json '.machines[] | select(.path == "box/kvm1") | .state != "running" and (.ready | not)'
expect_json '.machines[] | select(.path == "box/kvm2/web2") | .ready'
copies=2 repaired
driver=fake

box_is_up "a home whose secret was lost"
rm "$NESTOR_HOME"/labs/*/secret
nestor up box.yaml --yes
expect_exit 1
expect_error "box: the lab's key is missing" "nestor down box"
nestor down box --yes
expect_exit 0
expect_gone box
