#!/bin/sh
# SIGKILL before and after every commit of an `up` that leaves a host: what is left of the lab there can always be found.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
machines_of_lab=1

lab_on() { # HOSTS MACHINE...
    cat >box.yaml <<END
lab: box
hosts: { $1 }
templates: { tiny: { source: disk.raw, format: raw } }
defaults: { template: tiny, memory: 64MiB }
machines: { $2 }
END
}

nothing_on_other() {
    for folder in machines images; do
        [ -z "$(ls "$NESTOR_HOME/fake/other/$folder")" ] || fail "host other still has $folder"
    done
    [ ! -e "$NESTOR_HOME/fake/other/network" ] || fail "host other still has the network"
}

begin "the lab before"
lab_on "local: { driver: fake }, other: { driver: fake }" "db: { host: local }, web: { host: other }, dns: { host: other }"
nestor up box.yaml --yes
expect_exit 0
cp -a "$NESTOR_HOME" before
lab_on "local: { driver: fake }" "db: "

for when in before after; do
    n=1
    while
        begin "host left, killed $when commit $n"
        rm -rf "$NESTOR_HOME"
        cp -a before "$NESTOR_HOME"
        killed_at $when $n up box.yaml --yes --parallel 1
    do
        keep
        then_up
        [ "$(query "SELECT group_concat(name) FROM hosts")" = local ] || fail "the host is not forgotten"
        nothing_on_other
        restore
        then_down
        nothing_on_other
        n=$((n + 1))
    done
    [ $n -gt 5 ] || fail "leaving had only $n commits"
done
