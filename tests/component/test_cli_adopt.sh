#!/bin/sh
# adopt: labs whose state was lost are recorded again by the tags of their machines, so that they can be taken down.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
driver=fake-remote

write_remote() {
    write_lab "$1"
    sed -i '/^templates:/,/^  tiny/d; s/template: tiny/template: tiny, ready: ssh/' "$1.yaml"
}

# lose_state: as when the disk with it is gone; the hosts stay.
lose_state() {
    find "$NESTOR_HOME" -mindepth 1 -maxdepth 1 ! -name fake -exec rm -rf {} +
}

begin "a lab whose state is lost is adopted, and goes down"
write_remote box
nestor up box.yaml --yes
expect_exit 0
lose_state
nestor status box
expect_exit 1
nestor adopt local --file box.yaml
expect_exit 3
expect_out "not known here"
expect_out "box/kvm1  on"
expect_err "'nestor adopt local --yes' records this."
[ "$(query "SELECT count(*) FROM labs")" = 0 ] || fail "it was recorded unasked"
nestor adopt local --file box.yaml --yes
expect_exit 0
expect_err "adopted box; to remove it: nestor down box"
nestor status box --json
expect_exit 0
expect_json '(.machines | length) == 6 and all(.machines[]; .state == "running")' # what is inside was never away
nestor gc
expect_exit 0
expect_out "Nothing is left over."
nestor adopt local --file box.yaml --yes
expect_exit 0
expect_out "known already"
expect_out "There is nothing to adopt."
nestor down box --yes
expect_exit 0
expect_gone box

begin "its key is lost: up says so"
write_remote box
nestor up box.yaml --yes
expect_exit 0
lose_state
nestor adopt local --file box.yaml --yes
expect_exit 0
nestor up box.yaml --yes
expect_exit 1
expect_error "box: the lab's key is missing" "nestor down box"
nestor down box --yes
expect_exit 0
expect_gone box

begin "another lab of that name is told, and left alone"
write_remote box
nestor up box.yaml --yes
expect_exit 0
lose_state
nestor up box.yaml --yes # another lab now, beside the lost one
expect_exit 0
nestor adopt local --file box.yaml --json
expect_exit 0
expect_json '.host == "local" and ([.labs[].is] | sort) == ["clash", "known"]'
expect_json '[.labs[] | select(.is == "clash") | .machines[].adopted] == [false, false]'
nestor adopt local --file box.yaml --yes
expect_exit 0
expect_out "another lab of that name is known here"
nestor gc --yes
expect_exit 0
copies=2 # the lost one, and this
expect_up box

begin "two lost labs of one name: one after the other"
write_remote box
nestor up box.yaml --yes
expect_exit 0
lose_state
nestor up box.yaml --yes
expect_exit 0
lose_state
for round in 1 2; do
    nestor adopt local --file box.yaml --yes
    expect_exit 0
    nestor down box --yes
    expect_exit 0
    [ "$(find "$world/machines" -mindepth 1 -maxdepth 1 | wc -l)" -eq $((4 - 2 * round)) ] || fail "round $round"
done
expect_gone box

begin "a machine that a known lab has lost the record of"
write_remote box
nestor up box.yaml --yes
expect_exit 0
query "DELETE FROM machines WHERE path LIKE 'box/kvm2%'"
nestor adopt local --file box.yaml --yes
expect_exit 0
expect_out "known, but not with all of its machines"
[ "$(query "SELECT group_concat(path) FROM machines WHERE level = 1 ORDER BY path")" = box/kvm1,box/kvm2 ] ||
    fail "the machines are $(query "SELECT path FROM machines")"
nestor down box --yes
expect_exit 0
expect_gone box

begin "a lab of another file: its machines are recorded all the same"
write_remote box
write_remote crate
nestor up box.yaml --yes
expect_exit 0
lose_state
nestor adopt local --file crate.yaml --yes
expect_exit 0
nestor status box --json
expect_exit 0
expect_json '(.machines | length) == 2'
nestor down box --yes
expect_exit 0
expect_gone box

begin "a tag that makes no sense is left alone"
write_remote box
nestor up box.yaml --yes
expect_exit 0
mkdir "$world/machines/00112233aabbccdd.BAD..name"
nestor adopt local --file box.yaml --json
expect_exit 0
expect_json '[.labs[].is] | sort == ["bad", "known"]'
nestor adopt local --file box.yaml --yes
expect_exit 0
expect_out "its tag makes no sense"
[ "$(query "SELECT count(*) FROM labs")" = 1 ] || fail "it was recorded"

begin "nothing there, no such host, no such file"
write_remote box
nestor adopt local --file box.yaml
expect_exit 0
expect_out "Nothing on host local carries a nestor tag."
nestor adopt locl --file box.yaml
expect_exit 1
expect_error "locl: there is no host of that name in box.yaml" "did you mean 'local'?"
nestor adopt local
expect_exit 2
expect_error "lab.yaml" "name a lab file"

begin "the database is lost, the keys are not: the lab goes on"
write_remote box
nestor up box.yaml --yes
expect_exit 0
id=$(query "SELECT id FROM labs")
rm "$NESTOR_HOME"/state.db*
nestor plan box.yaml
expect_exit 3
expect_err "warning: $NESTOR_HOME/labs/$id has the key of a lab that the database does not know: if it is up, 'nestor adopt HOST"
nestor gc --yes
expect_exit 0
expect_out "Kept: $NESTOR_HOME/labs/$id, the key of a lab that the database does not know."
nestor gc --json
expect_exit 0
expect_json "[.lost_labs[].lab_id] == [\"$id\"] and .orphans == []"
nestor adopt local --file box.yaml --yes
expect_exit 0
nestor up box.yaml --yes
expect_exit 0
! grep -q warning: err || fail "it still warns"
nestor status box --json
expect_json '.state == "up"'
nestor down box --yes
expect_exit 0
expect_gone box

begin "the key of a lost lab goes with its machines, not before"
driver=fault
write_lab box
write_lab crate
nestor up box.yaml --yes
expect_exit 0
nestor up crate.yaml --yes
expect_exit 0
id=$(query "SELECT id FROM labs WHERE name = 'box'")
query "PRAGMA foreign_keys = ON; DELETE FROM labs WHERE name = 'box';
    DELETE FROM journal WHERE run IN (SELECT id FROM runs WHERE lab = 'box'); DELETE FROM runs WHERE lab = 'box'"
write_faults "remove box/kvm1 io"
nestor gc --yes
expect_exit 4
expect_err "error: $NESTOR_HOME/labs/$id: it stays: it has the key of machines that are still there"
[ -e "$NESTOR_HOME/labs/$id/secret" ] || fail "the key is gone"
rm "$NESTOR_HOME/faults"
nestor gc --yes
expect_exit 0
[ ! -e "$NESTOR_HOME/labs/$id" ] || fail "the folder is still there"
nestor status crate --json
expect_json '.state == "up"'

begin "Ctrl-C during gc ends it, and nothing more is removed"
write_lab box
write_lab crate
nestor up box.yaml --yes
nestor up crate.yaml --yes
id=$(query "SELECT id FROM labs WHERE name = 'box'")
query "PRAGMA foreign_keys = ON; DELETE FROM labs WHERE name = 'box'"
for fault in "observe host?local none hold" "remove box/kvm1 none hold"; do
    interrupted_at "$fault" gc --yes
    expect_error "gc: interrupted while"
    [ -e "$NESTOR_HOME/labs/$id" ] || fail "it went on"
done
