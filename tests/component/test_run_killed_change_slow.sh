#!/bin/sh
# SIGKILL before and after every commit of an `up` that applies a changed file: replaces, removes and adds machines.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"

begin "the lab before the change"
write_lab box
nestor up box.yaml --yes
expect_exit 0
cp -a "$NESTOR_HOME" before

# web1 of kvm1 is replaced and web2 removed, kvm2 is replaced with what is in it, kvm3 is new.
cat >box.yaml <<END
lab: box
hosts:
  local: { driver: fake }
templates:
  tiny: { source: disk.raw, format: raw }
defaults: { template: tiny, memory: 64MiB }
machines:
  kvm1: { hypervisor: fake, memory: 256MiB, machines: { web1: { memory: 80MiB } } }
  kvm2: { hypervisor: fake, memory: 300MiB, machines: { web1: , web2: } }
  kvm3: { hypervisor: fake, memory: 256MiB, machines: { web1: } }
END
machines_of_lab=7 copies=2

begin "the change, undisturbed"
rm -rf "$NESTOR_HOME"
cp -a before "$NESTOR_HOME"
nestor plan box.yaml --json
expect_exit 3
expect_json '[.machines[] | select(.change != "none") | .path + " " + .change] == [
    "box/kvm1/web1 replace", "box/kvm2 replace", "box/kvm2/web1 replace", "box/kvm2/web2 replace",
    "box/kvm3 create", "box/kvm3/web1 create", "box/kvm1/web2 remove"]'
then_up

for when in before after; do
    n=1
    while
        begin "change killed $when commit $n"
        rm -rf "$NESTOR_HOME"
        cp -a before "$NESTOR_HOME"
        killed_at $when $n up box.yaml --yes --parallel 1
    do
        keep
        then_up
        restore
        then_down
        n=$((n + 1))
    done
    [ $n -gt 20 ] || fail "the change had only $n commits"
done
