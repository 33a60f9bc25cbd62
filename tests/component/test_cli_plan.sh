#!/bin/sh
# plan says what up would do, with reasons, in exit status, text and JSON; and changes nothing.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
write_lab box

# Everything in the home but the database's own shared memory: names, sizes, contents, and times of change.
fingerprint() {
    find "$NESTOR_HOME" ! -name 'state.db-*' ! -type d -printf '%P %s %T@ %m\n' -exec sha256sum {} + | sort
}

begin "plan of a lab that is not there makes neither lab nor world"
nestor plan box.yaml
expect_exit 3
expect_out "Plan: 6 to create, 0 to start, 0 to replace, 0 to remove."
nestor plan box.yaml --json
expect_exit 3
expect_json '.lab == "box" and .verb == "up" and .changes and .summary.create == 6'
expect_json 'all(.machines[]; .change == "create" and .reason == "not there")'
expect_json '[.steps[].step] | unique == ["create", "expose", "image", "network", "reach", "start", "verify"]'
# shellcheck disable=SC2016 # jq's variable. The steps stand in an order in which they can be done.
expect_json '[.steps[] | .id as $id | .waits_for[] < $id] | all'
[ "$(query "SELECT (SELECT count(*) FROM labs) + (SELECT count(*) FROM runs)")" = 0 ] || fail "the lab was recorded"
[ -z "$(ls "$NESTOR_HOME/labs" "$NESTOR_HOME/locks" 2>/dev/null)" ] || fail "it left files"
[ "$(world_count)" -eq 0 ] || fail "machines were made"
[ ! -e "$world/log" ] || fail "something was made: $(cat "$world/log")"

begin "plan of a lab that runs, of a changed one, of a broken one: not a byte changes"
nestor up box.yaml --yes
expect_exit 0
fingerprint >before
nestor plan box.yaml
expect_exit 0
expect_out "Nothing to do: box is as its lab file says (6 machines)."
nestor plan box.yaml --json
expect_exit 0
expect_json '(.changes | not) and .steps == [] and all(.machines[]; .change == "none" and .reason == null)'
write_lab box "" "cpus: 2"
nestor plan box.yaml
expect_exit 3
expect_out "-/+ box/kvm1       replace  its configuration has changed"
fingerprint >after
cmp -s before after || fail "plan changed something: $(diff before after)"
write_lab box

begin "plan --json and plan say the same"
nestor up box.yaml --yes
rm "$(machine box/kvm1)/on"
rm -r "$(machine box/kvm2/web1)"
nestor plan box.yaml
expect_exit 3
expect_out "~   box/kvm1       start   stopped"
expect_out "~   box/kvm1/web1  start   kvm1 is restarted"
expect_out "+   box/kvm2/web1  create  it has vanished"
expect_out "Plan: 1 to create, 3 to start, 0 to replace, 0 to remove."
nestor plan box.yaml --json
expect_json '.summary == {create: 1, start: 3, replace: 0, remove: 0, restart: 0, check: 0}'

begin "what cannot be told is no success"
"$NESTOR_BINARY_DIR/nestor" plan box.yaml >/dev/full 2>err
status=$?
expect_exit 1
expect_error "standard output: cannot write to it: No space left on device"

begin "what cannot be planned"
nestor plan
expect_exit 2
nestor plan nowhere.yaml
expect_exit 2
expect_error "nowhere.yaml"
nestor plan box.yaml --jsno
expect_exit 2
expect_error "--jsno" "--json"
