#!/bin/sh
# SIGKILL before and after every commit of an `up` whose file names another host for every machine: another hypervisor,
# and the same one under another name.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
machines_of_lab=4
old=$NESTOR_HOME/fake/local

lab_on() { # HOST
    cat >box.yaml <<END
lab: box
hosts: { $1 }
templates: { tiny: { source: disk.raw, format: raw } }
defaults: { template: tiny, memory: 64MiB }
machines:
  kvm1: { hypervisor: fake, memory: 256MiB, machines: { web1: , web2: } }
  db:
END
}

# Whenever it is killed, no machine is in both places.
nowhere_twice() {
    world=$old world_paths | sort >in_old
    world=$new world_paths | sort | comm -12 - in_old >twice
    [ "$old" = "$new" ] || [ ! -s twice ] || fail "on both hosts: $(tr '\n' ' ' <twice)"
}

left_clean() {
    [ "$(query "SELECT group_concat(name) FROM hosts")" = here ] || fail "the old name is not forgotten"
    [ "$old" = "$new" ] || {
        [ -z "$(ls "$old/machines")" ] && [ -z "$(ls "$old/images")" ] && [ ! -e "$old/network" ]
    } || fail "the old host is not left clean"
}

gone_everywhere() {
    then_down
    world=$old
    expect_gone box
    world=$new
}

# killed_moving WHEN N: false if there is no such point.
killed_moving() {
    begin "moving to ${new##*/} killed $1 commit $2"
    rm -rf "$NESTOR_HOME"
    cp -a before "$NESTOR_HOME"
    killed_at "$1" "$2" up box.yaml --yes --parallel 1 || return 1
    nowhere_twice
    world=$old
    expect_intents
    world=$new
    keep
    then_up
    left_clean
    restore
    gone_everywhere
}

# moves_to WORLD LEAST: through all its commits, of which there are at least so many.
moves_to() {
    new=$1
    world=$new
    lab_on "here: { driver: fake, world: $new }"
    for when in before after; do
        n=1
        while killed_moving $when $n; do
            n=$((n + 1))
        done
        expect_up box
        left_clean
        [ $n -gt "$2" ] || fail "moving had only $n commits"
    done
}

begin "the lab before"
lab_on "local: { driver: fake }"
nestor up box.yaml --yes
expect_exit 0
rm "$world/log" # its host has the old name
cp -a "$NESTOR_HOME" before

moves_to "$NESTOR_HOME/fake/here" 20
moves_to "$old" 3
