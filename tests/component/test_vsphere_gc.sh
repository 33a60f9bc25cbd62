#!/bin/sh
# gc and the networks nestor makes for labs, on a real vcsim: those of labs that nobody knows of any more are found and
# removed, through whichever host entry that server is asked; those of labs that live are left alone.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"

# lab NAME INVENTORY [URL THUMBPRINT]: NAME.yaml, one machine.
lab() {
    cat >"$1.yaml" <<END
lab: $1
hosts:
$(vcsim_host "${3:-$vcsim_url}" "${4:-$vcsim_thumbprint}")
    inventory: { $2 }
machines: { vm: { host: vc, template: gh-template, memory: 64MiB, ready: running } }
END
}
up() {
    nestor up "$1.yaml" --yes
    expect_exit 0
}
# lose: whatever this state directory knew is gone.
lose() { rm -rf "$NESTOR_HOME" && mkdir "$NESTOR_HOME"; }
# networks: those of labs, of any kind; where only one host has a standard one, vcsim still shows it once.
networks() { govc find / -type n -name 'nestor-*' | sort -u; }
# network NAME: that of the lab, which must be there once.
network() {
    found=$(networks | grep "/nestor-$1-") || fail "there is no network of $1: $(networks)"
    [ "$(echo "$found" | wc -l)" = 1 ] || fail "there are $found"
    echo "${found##*/}"
}
digits_of() { echo "$1" | sed 's/.*-//'; }
# before FIRST SECOND: in err
before() {
    first=$(grep -n -m 1 -- "$1" err | cut -d : -f 1) second=$(grep -n -m 1 -- "$2" err | cut -d : -f 1)
    [ "${first:-9999}" -lt "${second:-0}" ] || fail "'$1' is not before '$2'"
}

begin "networks of labs that are lost go, after the machines on them; those of a lab that lives stay"
vcsim_start vpx
vcsim_template gh-template
lab course 'switch: vSwitch0'
lab spread 'switch: DVS0'
up course
up spread
lose
lab keeper 'switch: vSwitch0, host: DC0_C0_H1'
up keeper
course=$(network course) spread=$(network spread) keeper=$(network keeper)
govc vm.destroy "course.vm-$(digits_of "$course")"
nestor gc
expect_exit 3
expect_out "  $course  (host vc, network)"
expect_out "  $spread  (host vc, network)"
expect_out "  spread/vm  (host vc, on, as spread.vm-$(digits_of "$spread"))"
[ "$(wc -l <out)" = 4 ] || fail "it lists more"
nestor gc --json
expect_exit 3
expect_json '.orphans | map(.kind) == ["machine", "network", "network"]'
expect_json ".orphans | map(select(.name == \"$course\")) == [{kind: \"network\", path: \"$course\",
    lab_id: \"$(digits_of "$course")\", host: \"vc\", name: \"$course\", state: null}]"
nestor gc --yes
expect_exit 0
before "removed spread/vm" "removed $spread"
before "removed spread/vm" "removed $course"
[ "$(networks)" = "/DC0/network/$keeper" ] || fail "left are $(networks)"
[ "$(vm_names | tr '\n' ' ')" = "gh-template keeper.vm-$(digits_of "$keeper") " ] || fail "left are $(vm_names)"
nestor gc
expect_exit 0
expect_out "Nothing is left over."
nestor plan keeper.yaml
expect_exit 0

what="a network that cannot be removed is told, and found again"
up course
course=$(network course)
govc vm.destroy "course.vm-$(digits_of "$course")"
govc vm.destroy "keeper.vm-$(digits_of "$keeper")"
lose
proxy_start
lab asking 'network: VM Network' "$proxy_url" "$proxy_thumbprint"
up asking
control 'RemovePortGroup fault=NoPermission match='"$course"
nestor gc --yes
expect_exit 4
expect_err "removed $keeper"
expect_error "host vc: removing the network $course: NoPermission" "give the user the privileges"
[ "$(networks)" = "/DC0/network/$course" ] || fail "left are $(networks)"
control
nestor gc --yes
expect_exit 0
expect_err "removed $course"
nestor down asking --yes
expect_exit 0
[ -z "$(networks)" ] || fail "left are $(networks)"

begin "a lab that is made while gc looks keeps its network"
proxy_start
lab asking 'network: VM Network' "$proxy_url" "$proxy_thumbprint"
up asking
control 'CreateContainerView match=>Network< delay=4000'
nestor_begins gc
gc=$!
lab late 'switch: vSwitch0'
up late
ended $gc
expect_exit 0
expect_out "Nothing is left over."
network late >/dev/null

begin "a bare ESXi has them, too"
vcsim_start esx
vcsim_template gh-template with-disk
lab course 'switch: vSwitch0'
up course
course=$(network course)
lose
lab asking 'network: VM Network'
up asking
nestor gc --yes
expect_exit 0
before "removed course/vm" "removed $course"
[ -z "$(networks)" ] || fail "left are $(networks)"

begin "down removes the network of a lab whose file names another one now"
for mode in vpx esx; do
    vcsim_start $mode
    case $mode in
    vpx) vcsim_template gh-template && switches='vSwitch0 DVS0' ;;
    esx) vcsim_template gh-template with-disk && switches=vSwitch0 ;;
    esac
    for switch in $switches; do
        lab moved "switch: $switch"
        up moved
        network moved >/dev/null
        lab moved 'network: VM Network'
        up moved
        nestor down moved --yes
        expect_exit 0
        [ -z "$(networks)" ] || fail "on $switch of $mode there is still $(networks)"
    done
done
