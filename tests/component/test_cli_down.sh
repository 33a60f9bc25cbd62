#!/bin/sh
# down needs neither the lab file nor its template, leaves nothing, and can be repeated.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

box_is_up() {
    begin "$1"
    write_lab box
    nestor up box.yaml --yes
    expect_exit 0
}

box_is_up "by name, from another directory"
mkdir -p elsewhere
cd elsewhere || exit 1
nestor down box --yes
mv out err ..
cd .. || exit 1
expect_exit 0
expect_out "Lab box is gone: nothing is left of it."
expect_gone box

what="a second time"
nestor down box --yes
expect_exit 0
expect_out "Lab box is down already."
nestor status box
expect_exit 0
expect_out "box: down"
nestor status box --json
expect_json '. == {lab: "box", state: "down", machines: []}'
for command in "verify box" "graph box" "exec box/kvm1 true" "ssh --config box"; do
    # shellcheck disable=SC2086 # words
    nestor $command
    expect_exit 1
    expect_error "box: the lab is down" "'nestor up' with its lab file brings it up again"
done

box_is_up "by its file"
nestor down box.yaml --yes
expect_exit 0
expect_gone box
nestor down box.yaml --yes
expect_exit 0

box_is_up "without the file and the template"
rm box.yaml disk.raw
nestor status box --json
expect_exit 0
expect_json '.state == "up"'
nestor down box --yes
expect_exit 0
expect_gone box
head -c 4096 /dev/zero >disk.raw

box_is_up "when everything is gone already"
rm -r "$world"
nestor down box --yes
expect_exit 0
expect_gone box

box_is_up "when the guest hypervisors are off"
rm "$(machine box/kvm1)/on" "$(machine box/kvm2)/on"
nestor down box --yes
expect_exit 0
expect_gone box

begin "a lab that failed half-way"
write_lab box "blind: box/kvm1"
nestor up box.yaml --yes
expect_exit 4
nestor down box --yes
expect_exit 0
expect_gone box

box_is_up "other labs stay"
write_lab crate
nestor up crate.yaml --yes
expect_exit 0
nestor down box --yes
expect_exit 0
expect_up crate
nestor status
expect_exit 0
expect_out "crate"
nestor down crate --yes
expect_gone crate

begin "a lab that never was"
for command in "down --yes" status verify graph events "ssh --config"; do
    # shellcheck disable=SC2086 # words
    nestor $command box
    expect_exit 1
    expect_error "box: no lab 'box'; there are no labs" "'nestor up FILE' brings one up"
done

box_is_up "by a file that is not there"
nestor down boxes.yaml --yes
expect_exit 2
expect_error "boxes.yaml: looking for the lab's name in it: it cannot be read: No such file" "'nestor status' lists the labs"
expect_up box

box_is_up "by a file that is not valid"
echo "memroy: 1" >>box.yaml
for command in "down --yes" status events; do
    # shellcheck disable=SC2086 # words
    nestor $command box.yaml
    expect_exit 2
    expect_error "box.yaml:10:1: looking for the lab's name in it: unknown key 'memroy'"
done
nestor down box --yes
expect_exit 0

box_is_up "up again makes a new lab with new keys"
cp "$NESTOR_HOME"/labs/*/secret secret.first
nestor down box --yes
nestor up box.yaml --yes
expect_exit 0
copies=2 expect_up box
cmp -s secret.first "$NESTOR_HOME"/labs/*/secret && fail "the secret is the old one"
[ "$(stat -c %a "$NESTOR_HOME"/labs/*/secret)" = 600 ] || fail "the secret can be read by others"

box_is_up "a damaged secret is no obstacle"
echo short >"$(echo "$NESTOR_HOME"/labs/*/secret)"
nestor up box.yaml --yes
expect_exit 1
expect_error "the lab's secret is damaged: 6 bytes where 32 belong" "or remove the lab with 'nestor down'"
nestor status box
expect_exit 0
expect_err "warning: $(echo "$NESTOR_HOME"/labs/*/secret): the lab's secret is damaged"
nestor down box --yes
expect_exit 0
