#!/bin/sh
# A host that is gone for good: its lab can be told to forget it, and then planned, brought up and taken down again.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

here='here: { driver: fake }'
kvm1='kvm1: { host: gone, hypervisor: fake, memory: 256MiB, machines: { web: } }'

# recorded TABLE COLUMN: what is there, in order.
recorded() {
    query "SELECT group_concat($2, ' ') FROM (SELECT $2 FROM $1 ORDER BY $2)"
}

begin "a host that does not answer any more, beside one that does"
lab_on "gone: { driver: fault }, $here" "$kvm1" "db: { host: here }"
nestor up box.yaml --yes
expect_exit 0
write_faults "observe host?gone unreachable"
for command in "plan box.yaml" "up box.yaml --yes" "down box --yes"; do
    # shellcheck disable=SC2086 # a command and its arguments
    nestor $command
    expect_exit 1
    expect_error "host gone: injected fault: observe" "if it is gone for good: nestor forget box gone"
done

what="a host that answers is not forgotten"
nestor forget box here --yes
expect_exit 1
expect_error "here: the host answers: what the lab has on it need not be forgotten" "'nestor down box' removes it"
nestor forget box goner --yes
expect_exit 1
expect_error "goner: lab 'box' has nothing on a host of that name" "did you mean 'gone'? There are: gone, here"
nestor forget bux gone --yes
expect_exit 1
expect_error "no lab 'bux'"

what="nothing is forgotten unasked"
nestor forget box gone
expect_exit 2
expect_out "The host does not answer: host gone: injected fault: observe"
expect_out "  box/kvm1/web"
[ "$(recorded machines path)" = "box/db box/kvm1 box/kvm1/web" ] || fail "$(recorded machines path)"

what="it is forgotten with its machines, the others stay"
nestor forget box gone --yes
expect_exit 0
expect_out "Host gone is forgotten. The rest of the lab: nestor up $place/box.yaml, or nestor down box"
[ "$(recorded machines path)" = box/db ] || fail "$(recorded machines path)"
[ "$(recorded hosts name)" = here ] || fail "$(recorded hosts name)"
[ "$(recorded evidence path)" = "" ] || fail "evidence is left"
nestor events box --json
expect_exit 0
jq -es 'map(select(.verb == "forget") | .path + " " + .step + " " + .outcome) ==
    ["gone forget done", "box/kvm1 forget done", "box/kvm1/web forget done"]' out >/dev/null || fail "the events do not tell"
nestor events box
expect_out "its host is gone for good"
nestor status box --json
expect_json '[.machines[].path] == ["box/db"]'

what="the lab goes on without it"
lab_on "$here" "db: { host: here }" "kvm1: { hypervisor: fake, memory: 256MiB, machines: { web: } }"
nestor up box.yaml --yes
expect_exit 0
[ "$(recorded machines host)" = "here here here" ] || fail "$(recorded machines host)"
nestor down box --yes
expect_exit 0
world=$NESTOR_HOME/fake/here expect_gone box

begin "the only host of a lab, that cannot even be opened"
lab_on "gone: { driver: fake-remote, password: { env: GONE_PASSWORD }, expects: { env: EXPECTED } }" "db:"
sed -i '/^templates/d' box.yaml
export GONE_PASSWORD=secret EXPECTED=secret
nestor up box.yaml --yes
expect_exit 0
unset GONE_PASSWORD
nestor forget box gone --yes
expect_exit 2
expect_error "host gone: the environment variable GONE_PASSWORD is not set"
export GONE_PASSWORD=wrong
nestor down box --yes
expect_exit 1
expect_error "host gone: " "; if it is gone for good: nestor forget box gone"
nestor forget box gone --yes
expect_exit 0
nestor down box --yes
expect_exit 0
expect_out "Lab box is gone"
for table in labs hosts machines; do
    [ "$(query "SELECT count(*) FROM $table")" = 0 ] || fail "the state still has rows in $table"
done
