#!/bin/sh
# A changed lab file: the plan says what changes and why, up does that and nothing else.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

# lab_of LINE...: box.yaml with these machines.
lab_of() {
    {
        echo "lab: box"
        echo "hosts: { local: { driver: fake }, other: { driver: fake } }"
        echo "templates: { tiny: { source: disk.raw, format: raw }, small: { source: disk.raw, format: raw } }"
        echo 'defaults: { template: tiny, memory: 64MiB }'
        echo "machines:"
        printf '  %s\n' "$@"
    } >box.yaml
}

# changes PATH CHANGE...: up does exactly this, keeps the other machines, and then has nothing to do.
changes() {
    nestor plan box.yaml --json
    expect_exit 3
    expect_json "([.machines[] | select(.change != \"none\") | .path + \" \" + .change] | sort) == ([$(quoted "$@")] | sort)"
    expect_json 'all(.machines[]; .change == "none" or (.reason | length > 0))'
    : >"$world/log"
    nestor up box.yaml --yes
    expect_exit 0
    nestor plan box.yaml
    expect_exit 0
}
quoted() {
    comma=''
    for word; do
        printf '%s"%s"' "$comma" "$word"
        comma=', '
    done
}

# now PATH...: exactly these machines are there.
now() {
    [ "$(world_paths | sort | tr '\n' ' ')" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ')" ] ||
        fail "the world has $(world_paths | tr '\n' ' ')"
    nestor status box --json
    expect_json ".state == \"up\" and (.machines | length == $#)"
}

kvm1='kvm1: { host: local, hypervisor: fake, memory: 512MiB, machines: '

begin "a machine that left the file"
lab_of "$kvm1 { web1: , web2: } }" "db: { host: local }"
nestor up box.yaml --yes
expect_exit 0
lab_of "$kvm1 { web1: } }"
changes "box/db remove" "box/kvm1/web2 remove"
now box/kvm1 box/kvm1/web1
[ "$(logged "create box/kvm1")" = 0 ] || fail "kvm1 was made again"

begin "a guest hypervisor that left the file goes with what is in it"
lab_of "$kvm1 { web1: , web2: } }" "db: { host: local }"
nestor up box.yaml --yes
lab_of "db: { host: local }"
changes "box/kvm1 remove" "box/kvm1/web1 remove" "box/kvm1/web2 remove"
now box/db

begin "other memory means another machine"
lab_of "$kvm1 { web1: , web2: } }"
nestor up box.yaml --yes
lab_of "$kvm1 { web1: { memory: 128MiB }, web2: } }"
changes "box/kvm1/web1 replace"
[ "$(sort "$world/log" | tr '\n' ',')" = "create box/kvm1/web1,remove box/kvm1/web1,start box/kvm1/web1," ] ||
    fail "more or less was done: $(cat "$world/log")"
now box/kvm1 box/kvm1/web1 box/kvm1/web2

begin "another template means another machine"
lab_of "db: { host: local }"
nestor up box.yaml --yes
lab_of "db: { host: local, template: small }"
changes "box/db replace"

# template_is KEYS: the template of that lab is now this.
template_is() { sed -i "s|{ tiny: {[^}]*}|{ tiny: { $1 }|" box.yaml; }

begin "another source of the same template means another machine"
lab_of "db: { host: local }" "web: { host: local, template: small }"
nestor up box.yaml --yes
cp disk.raw other.raw
template_is "source: other.raw, format: raw"
changes "box/db replace"
template_is "source: other.raw, format: raw, sha256: $(sha256sum other.raw | cut -d ' ' -f 1)"
changes "box/db replace"
now box/db box/web

begin "another kernel or command line of the same template means another machine"
echo kernel >vmlinuz
cp vmlinuz initrd
lab_of "db: { host: local }" "web: { host: local, template: small }"
nestor up box.yaml --yes
disk='source: disk.raw, format: raw'
for boot in 'kernel: vmlinuz' 'kernel: initrd' 'kernel: initrd, initrd: vmlinuz' \
    'kernel: initrd, initrd: vmlinuz, cmdline: quiet'; do
    what="boot: $boot"
    sed -i "s|{ tiny: {.*}, small|{ tiny: { $disk, boot: { $boot } }, small|" box.yaml
    changes "box/db replace"
done
now box/db box/web

begin "another format of the same template means another machine"
lab_of "db: { host: local }"
nestor up box.yaml --yes
template_is "source: disk.raw, format: qcow2"
nestor plan box.yaml --json
expect_json '[.machines[] | select(.change != "none") | .change] == ["replace"]'

begin "the same template means the same machine, from wherever the lab file is seen"
lab_of "db: { host: local }"
nestor up box.yaml --yes
mkdir below
for file in ./box.yaml "$PWD/box.yaml" below/../box.yaml; do
    nestor plan "$file"
    expect_exit 0
done
template_is "source: $PWD/disk.raw, format: raw"
nestor plan box.yaml
expect_exit 0
mv disk.raw away.raw # the machine is there already
nestor plan box.yaml
expect_exit 0
mv away.raw disk.raw

begin "a changed guest hypervisor is replaced with what is in it"
lab_of "$kvm1 { web1: } }"
nestor up box.yaml --yes
lab_of "kvm1: { host: local, hypervisor: fake, memory: 1GiB, machines: { web1: } }"
changes "box/kvm1 replace" "box/kvm1/web1 replace"
now box/kvm1 box/kvm1/web1

begin "a larger count"
lab_of "kvm: { count: 1, host: local, hypervisor: fake, memory: 512MiB, machines: { web: { count: 2 } } }"
nestor up box.yaml --yes
lab_of "kvm: { count: 2, host: local, hypervisor: fake, memory: 512MiB, machines: { web: { count: 3 } } }"
changes "box/kvm-1/web-3 create" "box/kvm-2 create" "box/kvm-2/web-1 create" "box/kvm-2/web-2 create" \
    "box/kvm-2/web-3 create"
now box/kvm-1 box/kvm-1/web-1 box/kvm-1/web-2 box/kvm-1/web-3 box/kvm-2 box/kvm-2/web-1 box/kvm-2/web-2 box/kvm-2/web-3

begin "a smaller count"
lab_of "kvm: { count: 2, host: local, hypervisor: fake, memory: 512MiB, machines: { web: { count: 2 } } }"
nestor up box.yaml --yes
lab_of "kvm: { count: 1, host: local, hypervisor: fake, memory: 512MiB, machines: { web: { count: 1 } } }"
changes "box/kvm-1/web-2 remove" "box/kvm-2 remove" "box/kvm-2/web-1 remove" "box/kvm-2/web-2 remove"
now box/kvm-1 box/kvm-1/web-1

begin "nesting switched off on a plain guest"
lab_of "db: { host: local, nesting: required }"
nestor up box.yaml --yes
expect_exit 0
lab_of "db: { host: local }"
changes "box/db restart"
[ ! -e "$(machine box/db)/exposed" ] || fail "it is still exposed"

begin "a machine that moved to another host"
lab_of "db: { host: local }"
nestor up box.yaml --yes
lab_of "db: { host: other }"
nestor up box.yaml --yes
expect_exit 0
[ "$(world_count)" -eq 0 ] || fail "it is still on the first host"
[ -n "$(find "$NESTOR_HOME/fake/other/machines" -name '*.box.db')" ] || fail "it is not on the second host"
nestor plan box.yaml
expect_exit 0
nestor down box --yes
expect_exit 0
[ -z "$(ls "$NESTOR_HOME/fake/other/machines")" ] || fail "it is still on the second host"
expect_gone box

# hosts_of_lab HOSTS MACHINE...: box.yaml with these hosts and machines.
hosts_of_lab() {
    hosts=$1
    shift
    lab_of "$@"
    sed -i "s/^hosts:.*/hosts: { $hosts }/" box.yaml
}

# forgotten HOST: the state has no row of it, and its world has nothing.
forgotten() {
    [ "$(query "SELECT count(*) FROM hosts WHERE name = '$1'")" = 0 ] || fail "host $1 is still recorded"
    for folder in machines images; do
        [ -z "$(ls "$NESTOR_HOME/fake/$1/$folder" 2>/dev/null)" ] || fail "host $1 still has $folder"
    done
    [ ! -e "$NESTOR_HOME/fake/$1/network" ] || fail "host $1 still has the network"
    nestor plan box.yaml
    expect_exit 0
}

both="local: { driver: fake }, other: { driver: fault }"

begin "a host that left the file is left clean, and forgotten"
hosts_of_lab "$both" "db: { host: local }" "web: { host: other }"
nestor up box.yaml --yes
expect_exit 0
[ -e "$NESTOR_HOME/fake/other/network" ] || fail "host other has nothing to be cleaned"
hosts_of_lab "local: { driver: fake }" "db:"
nestor plan box.yaml
expect_exit 3
expect_out "host other  forget  no longer in the lab file"
expect_out "Plan: 0 to create, 0 to start, 0 to replace, 1 to remove, 1 host to forget."
nestor up box.yaml --yes
expect_exit 0
forgotten other
now box/db
nestor down box --yes
expect_exit 0
expect_gone box

begin "a host that never had a machine, and left the file"
hosts_of_lab "$both" "db: { host: local }"
nestor up box.yaml --yes
hosts_of_lab "local: { driver: fake }" "db:"
nestor plan box.yaml
expect_exit 3
nestor up box.yaml --yes
expect_exit 0
forgotten other

begin "a host that left the file, with a machine that cannot be removed"
hosts_of_lab "$both" "db: { host: local }" "web: { host: other }"
nestor up box.yaml --yes
hosts_of_lab "local: { driver: fake }" "db:"
write_faults "remove box/web io"
nestor up box.yaml --yes
expect_exit 1
expect_error "box/web: removing it: injected fault"
[ "$(query "SELECT count(*) FROM hosts")" = 2 ] || fail "the host was forgotten"
for when in "" after; do
    what="killed while it is pruned $when"
    write_faults "prune host?other kill $when"
    nestor up box.yaml --yes
    expect_exit 137
done
rm "$NESTOR_HOME/faults"
nestor up box.yaml --yes
expect_exit 0
forgotten other

begin "a machine whose host left the file moves to another one"
hosts_of_lab "$both" "db: { host: other }"
nestor up box.yaml --yes
hosts_of_lab "local: { driver: fake }" "db:"
nestor up box.yaml --yes
expect_exit 0
forgotten other
now box/db

begin "a file of another name for the same lab"
lab_of "db: { host: local }"
nestor up box.yaml --yes
cp box.yaml again.yaml
nestor up again.yaml --yes
expect_exit 0
expect_err "note: lab 'box' was last brought up from $place/box.yaml"
now box/db
