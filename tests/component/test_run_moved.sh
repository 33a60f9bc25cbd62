#!/bin/sh
# A machine that is wanted on another host than it is on: it goes there before it comes here, and is never in two places.
# A host that only got another name keeps what is on it.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

# up_on HOSTS MACHINE...: that lab is brought up from nothing.
up_on() {
    lab_on "$@"
    nestor up box.yaml --yes
    expect_exit 0
}

# plans "PATH: CHANGE: REASON"...: the plan does this to machines, and nothing else.
plans() {
    nestor plan box.yaml --json
    expect_exit 3
    wanted=''
    for line; do
        wanted="$wanted${wanted:+, }\"$line\""
    done
    expect_json "[.machines[] | select(.change != \"none\") | .path + \": \" + .change + \": \" + .reason] == [$wanted]"
}

# moves MACHINE...: up does what was planned, these are the lab's machines, each ready, and nothing is left to do.
moves() {
    nestor up box.yaml --yes
    expect_exit 0
    settled "$@"
}
settled() {
    nestor plan box.yaml
    expect_exit 0
    nestor status box --json
    expect_json ".state == \"up\" and ([.machines[].path] | sort) == ([$(quoted "$@")] | sort)"
}
quoted() {
    comma=''
    for word; do
        printf '%s"%s"' "$comma" "$word"
        comma=', '
    done
}

# on HOST PATH...: exactly these machines are in the world of that name.
on() {
    world=$NESTOR_HOME/fake/$1
    shift
    [ "$(world_paths | sort | tr '\n' ' ')" = "$*${1:+ }" ] ||
        fail "$world has '$(world_paths | sort | tr '\n' ' ')'"
}

# clean HOST: nothing is left there, and the state does not know it any more.
clean() {
    on "$1"
    [ -z "$(ls "$world/images")" ] || fail "an image is left on $1"
    [ ! -e "$world/network" ] || fail "the network is left on $1"
    [ "$(query "SELECT count(*) FROM hosts WHERE name = '$1'")" = 0 ] || fail "host $1 is still recorded"
}

# taken_down: with all that is in any world.
taken_down() {
    nestor down box --yes
    expect_exit 0
    for world in "$NESTOR_HOME"/fake/*; do
        expect_gone box
    done
}

# done_to PATH: what happened to it according to the journal, in this order.
done_to() {
    query "SELECT group_concat(step || ' ' || outcome, ', ') FROM
        (SELECT * FROM journal WHERE path = '$1' AND step IN ('create', 'remove') ORDER BY started_at, id)"
}

local='local: { driver: fake }' here='here: { driver: fake }'
same="here: { driver: fake, world: $NESTOR_HOME/fake/local }"
kvm1='kvm1: { hypervisor: fake, memory: 256MiB, machines: { web1: , web2: } }'

begin "a renamed host keeps its machines, if it is the same hypervisor"
up_on "$local" "$kvm1" "db:"
lab_on "$same" "$kvm1" "db:"
plans
expect_json '.changes'
nestor plan box.yaml
expect_out "Plan: 0 to create, 0 to start, 0 to replace, 0 to remove, 1 host to forget."
moves box/kvm1 box/kvm1/web1 box/kvm1/web2 box/db
on local box/db box/kvm1 box/kvm1/web1 box/kvm1/web2
[ "$(logged "create box/db")" = 1 ] && [ "$(logged "remove box/db")" = 0 ] || fail "db was made anew"
[ "$(query "SELECT group_concat(DISTINCT host) FROM machines")" = here ] || fail "a machine is recorded on the old name"
[ "$(query "SELECT group_concat(name) FROM hosts")" = here ] || fail "the old name is not forgotten"
taken_down

begin "a renamed host keeps its machines, and those that changed are replaced"
up_on "$local" "$kvm1" "db:"
lab_on "$same" "$kvm1" "db: { memory: 80MiB }"
plans "box/db: replace: its configuration has changed"
moves box/kvm1 box/kvm1/web1 box/kvm1/web2 box/db
on local box/db box/kvm1 box/kvm1/web1 box/kvm1/web2
taken_down

begin "a renamed host with nothing that stays: what is not used meanwhile may go, and comes back"
up_on "$local" "a:" "b:"
lab_on "$same" "a: { memory: 80MiB }" "b: { memory: 80MiB }"
moves box/a box/b
on local box/a box/b
taken_down

begin "a machine that left the file together with the name of its host"
up_on "$local" "$kvm1" "db:" "dns:"
lab_on "$same" "kvm1: { hypervisor: fake, memory: 256MiB, machines: { web1: } }" "db:"
plans "box/kvm1/web2: remove: no longer in the lab file" "box/dns: remove: no longer in the lab file"
moves box/kvm1 box/kvm1/web1 box/db
on local box/db box/kvm1 box/kvm1/web1
taken_down

begin "a name that now is another hypervisor: the machines are replaced"
up_on "$local" "$kvm1" "db:"
lab_on "$here" "$kvm1" "db:"
plans "box/kvm1: replace: moved from host 'local'" "box/kvm1/web1: replace: its hypervisor is replaced" \
    "box/kvm1/web2: replace: its hypervisor is replaced" "box/db: replace: moved from host 'local'"
moves box/kvm1 box/kvm1/web1 box/kvm1/web2 box/db
on here box/db box/kvm1 box/kvm1/web1 box/kvm1/web2
clean local
for path in box/db box/kvm1; do
    [ "$(done_to $path)" = "create done, remove done, create done" ] || fail "$path: $(done_to $path)"
done
taken_down

begin "a machine that moves between two hosts of the file"
up_on "$local, $here" "kvm1: { host: local, hypervisor: fake, memory: 256MiB, machines: { web1: , old: } }" "db: { host: here }"
lab_on "$local, $here" "kvm1: { host: here, hypervisor: fake, memory: 256MiB, machines: { web1: } }" "db: { host: here }"
plans "box/kvm1: replace: moved from host 'local'" "box/kvm1/web1: replace: its hypervisor is replaced" \
    "box/kvm1/old: remove: goes with its hypervisor"
moves box/kvm1 box/kvm1/web1 box/db
on here box/db box/kvm1 box/kvm1/web1
on local
[ "$(done_to box/kvm1)" = "create done, remove done, create done" ] || fail "kvm1: $(done_to box/kvm1)"
taken_down

begin "two machines that change places"
up_on "$local, $here" "a: { host: local }" "b: { host: here }"
lab_on "$local, $here" "a: { host: here }" "b: { host: local }"
plans "box/a: replace: moved from host 'local'" "box/b: replace: moved from host 'here'"
moves box/a box/b
on here box/a
on local box/b
taken_down

begin "two names of one hypervisor"
up_on "$local, $same" "a: { host: local }" "b: { host: here }"
settled box/a box/b
lab_on "$local, $same" "a: { host: here }" "b: { host: here }"
settled box/a box/b
lab_on "$same" "a: " "b: "
moves box/a box/b
[ "$(logged "create box/a")" = 1 ] && [ "$(logged "create box/b")" = 1 ] || fail "a machine was made anew"
taken_down

begin "two names of one hypervisor, and a machine leaves it, another the file"
up_on "$local, $same, other: { driver: fake }" "a: { host: local }" "b: { host: local }"
lab_on "$local, $same, other: { driver: fake }" "a: { host: other }"
plans "box/a: replace: moved from host 'local'" "box/b: remove: no longer in the lab file"
moves box/a
on other box/a
on local
taken_down

faulty='local: { driver: fault }'

begin "what cannot be removed from the old host is not made on the new one"
up_on "$faulty" "a:" "b:"
lab_on "$here" "a:" "b:"
write_faults "remove box/a io"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/a: removing it: injected fault: remove"
expect_err "box/a: create not done: something it needs has failed"
on local box/a
on here box/b
nestor status box --json
expect_json '.state == "failed" and (.machines | length == 2)'
rm "$NESTOR_HOME/faults"
plans "box/a: replace: moved from host 'local'"
moves box/a box/b
on here box/a box/b
clean local
taken_down

begin "what is not recorded and cannot be removed from the old host"
up_on "$faulty" "a:" "b:"
query "PRAGMA foreign_keys = ON; DELETE FROM machines WHERE path = 'box/a'" >/dev/null
lab_on "$here" "a:" "b:"
plans "box/a: replace: moved from host 'local'" "box/b: replace: moved from host 'local'"
write_faults "remove box/a io"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/a: removing it: injected fault: remove"
on local box/a
rm "$NESTOR_HOME/faults"
moves box/a box/b
on here box/a box/b
clean local
taken_down

begin "what moves is shown where it still is"
up_on "$faulty" "a:"
lab_on "$here" "a:"
write_faults "remove box/a kill"
nestor up box.yaml --yes
expect_exit 137
rm "$NESTOR_HOME/faults"
nestor status box --json
expect_json '.state == "partial" and (.machines | length == 1) and .machines[0].state == "running" and (.machines[0].ready | not)'
taken_down

begin "an old host that cannot be asked"
up_on "$faulty" "$kvm1"
lab_on "$here" "$kvm1"
write_faults "observe host?local unreachable"
for verb in "plan" "up --yes"; do
    # shellcheck disable=SC2086 # a command and its option
    nestor $verb box.yaml
    expect_exit 1
    expect_error "host local: looking for what the lab has on a host that left the lab file: injected fault: observe" \
        "if it is gone for good: nestor forget box local"
done
on here
on local box/kvm1 box/kvm1/web1 box/kvm1/web2
rm "$NESTOR_HOME/faults"
moves box/kvm1 box/kvm1/web1 box/kvm1/web2
taken_down

begin "moved there and back again"
up_on "$faulty, $here" "a: { host: local }" "b: { host: local }"
lab_on "$faulty, $here" "a: { host: here }" "b: { host: here }"
write_faults "remove box/a kill after"
nestor up box.yaml --yes --parallel 1
expect_exit 137
rm "$NESTOR_HOME/faults"
lab_on "$faulty, $here" "a: { host: local }" "b: { host: local }"
plans "box/a: create: it has vanished"
moves box/a box/b
on local box/a box/b
on here
taken_down

begin "taken down in the middle of a move"
for when in "remove box/a kill" "remove box/a kill after" "create box/a kill" "create box/a kill after" "prune host?local kill"; do
    what="taken down in the middle of a move: $when"
    rm -rf "$NESTOR_HOME"
    mkdir "$NESTOR_HOME"
    up_on "$faulty" "a:" "$kvm1"
    lab_on "here: { driver: fault }" "a:" "$kvm1"
    write_faults "$when"
    nestor up box.yaml --yes
    expect_exit 137
    rm "$NESTOR_HOME/faults"
    taken_down
done

begin "left over on two hosts, and both are found"
two="one: { driver: fake, world: $NESTOR_HOME/fake/one }, other: { driver: fake, world: $NESTOR_HOME/fake/other }"
lab_on "$two" "web: { host: one }"
sed 's/^lab: box/lab: lost/' box.yaml >lost.yaml
nestor up lost.yaml --yes
expect_exit 0
up_on "$two" "a: { host: one }" "b: { host: other }"
cp -a "$NESTOR_HOME"/fake/one/machines/*.lost.web "$NESTOR_HOME/fake/other/machines/"
id=$(query "SELECT id FROM labs WHERE name = 'lost'")
query "PRAGMA foreign_keys = ON; DELETE FROM labs WHERE id = '$id'"
rm -rf "$NESTOR_HOME/labs/$id"
nestor gc --json
expect_exit 3
expect_json '[.orphans[] | .host + " " + .path] | sort == ["one lost/web", "other lost/web"]'
nestor gc --yes
expect_exit 0
on one box/a
on other box/b
