#!/bin/sh
# console: what a machine printed, at both levels, whether it runs or not.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
write_lab box

begin "in a guest hypervisor and in a nested guest"
nestor up box.yaml --yes
expect_exit 0
nestor console box/kvm1
expect_exit 0
expect_out "login:"
for path in box/kvm2 box/kvm2/web1; do
    printf 'booting\n%s ends\n' "$path" >"$(machine $path)/console"
    nestor console $path
    expect_exit 0
    expect_out "booting"
    expect_out "$path ends"
done
nestor console box/kvm2/web1 --lines 1
expect_exit 0
expect_out "(1 earlier line)"
! grep -q booting out || fail "more than the last line was shown"

what="what a guest prints does not reach the terminal as it is"
printf 'a\033[2Jb\302\2331mc\rd\n' >"$(machine box/kvm1/web1)/console"
nestor console box/kvm1/web1
expect_exit 0
[ "$(cat out)" = "a?[2Jb?1mc d" ] || fail "a control character was let through"

what="a machine that is off"
rm "$(machine box/kvm2)/on"
nestor console box/kvm2
expect_exit 0
expect_out "box/kvm2 ends"
nestor console box/kvm2/web1
expect_exit 1
expect_error "box/kvm2: it is powered off" "start the machine first"

what="one that has printed nothing, or whose hypervisor keeps nothing"
: >"$(machine box/kvm1)/console"
nestor console box/kvm1
expect_exit 1
expect_error "box/kvm1: there is no text of its console: it has printed nothing yet, or driver 'fake' keeps none" \
    "look at it with its hypervisor's own tools"

what="no such machine, no machine"
nestor console box/kvm3
expect_exit 1
expect_error "box/kvm3: there is no such machine in lab 'box'" "did you mean"
nestor console box
expect_exit 2
expect_error "box: that is not the path of a machine" "LAB/MACHINE"
