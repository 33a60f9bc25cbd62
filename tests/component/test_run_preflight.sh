#!/bin/sh
# What can be known to go wrong is told before anything is made.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

nothing_was_made() {
    [ ! -e "$world/log" ] || fail "something was made: $(cat "$world/log")"
    [ "$(query "SELECT count(*) FROM labs")" = 0 ] || fail "the lab was recorded"
}

begin "not enough memory"
write_lab box "memory: 512MiB" # 2 x 256 MiB, and something for the host
nestor up box.yaml --yes
expect_exit 1
expect_error "local: the lab needs 512MiB more memory, but only 512MiB are free" "lower 'memory:'"
nothing_was_made

begin "just enough memory"
write_lab box "memory: 576MiB"
nestor up box.yaml --yes
expect_exit 0
expect_up box

begin "memory that other labs took"
write_lab box "memory: 1GiB"
nestor up box.yaml --yes
expect_exit 0
write_lab crate "memory: 1GiB"
nestor up crate.yaml --yes
expect_exit 1
expect_error "local: the lab needs 512MiB more memory, but only 512MiB are free"
[ "$(world_count)" -eq 6 ] || fail "the world has $(world_paths | tr '\n' ' ')"

begin "not enough disk"
write_lab box "disk: 3GiB" "disk: 2GiB"
nestor up box.yaml --yes
expect_exit 1
expect_error "local: the lab's disks may grow to 4GiB, but only 3GiB are free" "lower 'disk:'"
nothing_was_made

begin "disks that nobody gave a size are told when they may outgrow the host, not refused"
truncate -s 1M disk.raw
write_lab box
nestor up box.yaml --yes # now the size of the template is known
expect_exit 0
! grep -q "may grow" err || fail "there is room enough"
write_lab crate "world: $place/crate, disk: 1536KiB"
nestor up crate.yaml --yes
expect_err "local: warning: the lab's disks, with the sizes of their templates, may grow to 2MiB, but only 1.5MiB are free"
[ -e "$place/crate/log" ] || fail "it was refused"

begin "a template whose file is missing"
write_lab box
sed -i 's/disk.raw/gone.raw/' box.yaml
nestor plan box.yaml
expect_exit 2
expect_error "gone.raw"
nestor up box.yaml --yes
expect_exit 2
expect_error "gone.raw"
nothing_was_made

begin "a template that was never made"
write_lab box
sed -i '/^templates:/,/^  tiny/d; s/template: tiny/template: nowhere/' box.yaml
nestor plan box.yaml
expect_exit 2
nestor validate box.yaml
expect_exit 2
nestor up box.yaml --yes
expect_exit 2
expect_error "'nowhere': there is no recipe of that name" "nestor image list"
nothing_was_made

begin "a driver parameter that makes no sense"
write_lab box "delay: soon"
nestor up box.yaml --yes
expect_exit 2
expect_error "host local: parameter 'delay' of the fake driver is 'soon'" "give milliseconds, 0 to 60000"
nothing_was_made

begin "a lab file with mistakes"
printf 'lab: box\nmachines:\n  one: { template: tiny, memroy: 1GiB }\n' >box.yaml
nestor up box.yaml --yes
expect_exit 2
expect_error "box.yaml:3:" "memory"
nothing_was_made

begin "a lab file that is not there"
nestor up nowhere.yaml --yes
expect_exit 2
expect_error "nowhere.yaml"

begin "all hosts are looked at at the same time"
lab_on "one: { driver: fault }, two: { driver: fault }" "a: { host: one }" "b: { host: two }"
write_faults "check host?one none hold times=1" "check host?two none hold times=1"
nestor_begins up box.yaml --yes
running=$!
both_are_held() { [ "$(grep -c times=0 "$NESTOR_HOME/faults")" -eq 2 ]; }
await both_are_held
rm "$NESTOR_HOME/faults"
ended $running
expect_exit 0
