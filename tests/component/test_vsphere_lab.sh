#!/bin/sh
# Labs on a real vcsim, a vCenter and a bare ESXi: up, looked at, and down with nothing left.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"

# write_vc_lab: lab.yaml, three guest hypervisors named gh-1 to gh-3 on $target_url.
write_vc_lab() {
    cat >lab.yaml <<END
lab: course
hosts:
$(vcsim_host "$target_url" "$target_thumbprint")
    inventory: { $target_inventory }
machines:
  gh: { host: vc, template: gh-template, count: 3, memory: 64MiB, nesting: exposed, ready: address, clone: linked,
        extra-config: { SET.guest.ipAddress: 127.0.0.1 } }
END
}

# The machines are there once, on, with nesting, tagged; and nothing else is.
expect_three() {
    [ "$(vm_count course.gh-)" -eq 3 ] || fail "there are $(vm_names | tr '\n' ' ')"
    for n in 1 2 3; do
        name=$(vm_names | grep "^course.gh-$n-")
        [ "$(vm_get "$name" power)" = poweredOn ] || fail "$name is $(vm_get "$name" power)"
        [ "$(vm_get "$name" nested)" = true ] || fail "$name has nesting $(vm_get "$name" nested)"
        [ "$(vm_get "$name" 'extra["nestor.path"]')" = "course/gh-$n" ] || fail "$name has no path"
        [ "$(vm_get "$name" 'extra["vhv.enable"]')" = TRUE ] || fail "$name has no vhv.enable"
        [ -n "$(vm_get "$name" 'extra["nestor.digest"]')" ] || fail "$name has no digest"
        vm_get "$name" 'extra["guestinfo.userdata"]' | base64 -d | grep -q '^#cloud-config' || fail "no user-data"
    done
    [ "$(vm_names | wc -l)" -eq 4 ] || fail "there is more: $(vm_names | tr '\n' ' ')"
}

a_lab_comes_and_goes() {
    nestor up lab.yaml --yes
    expect_exit 0
    expect_three
    nestor status course --json
    expect_json '.state == "up" and (.machines | length == 3 and all(.ready))'
    nestor plan lab.yaml
    expect_exit 0
    nestor down course --yes
    expect_exit 0
    [ "$(vm_names)" = gh-template ] || fail "there is still $(vm_names | tr '\n' ' ')"
    nestor gc --json
}

begin "a lab of three guest hypervisors comes and goes on a vCenter"
vcsim_start vpx
vcsim_template gh-template
govc folder.create /DC0/vm/labs
target_url=$vcsim_url target_thumbprint=$vcsim_thumbprint
target_inventory='datacenter: DC0, cluster: DC0_C0, datastore: LocalDS_0, folder: /DC0/vm/labs, network: VM Network'
write_vc_lab
a_lab_comes_and_goes

what="together there is room, but not for one machine on any host"
sed 's/memory: 64MiB/memory: 5GiB/; s/count: 3, //' lab.yaml >large.yaml
nestor up large.yaml --yes
expect_exit 1
expect_error "vc: a machine asks for 5GiB memory, and no host has more than 4.0GiB" "lower 'memory:'"
sed 's/memory: 64MiB/memory: 64MiB, cpus: 3/' lab.yaml >wide.yaml
nestor up wide.yaml --yes
expect_exit 1
expect_error "vc: a machine asks for 3 CPUs, and gets 2 at most" "lower 'cpus:'"
what="a template that is not there is told before anything is made, also to machines that do not nest"
for nesting in exposed off; do
    sed "s/gh-template/gh-tmplate/; s/nesting: exposed/nesting: $nesting/" lab.yaml >misspelt.yaml
    nestor up misspelt.yaml --yes
    expect_exit 1
    expect_error "vc: templates: there is no template 'gh-tmplate'" "there are: gh-template"
done
nestor doctor --host vc --file misspelt.yaml
expect_exit 1
expect_out "there is no template 'gh-tmplate'"
expect_out "ESXi 6.5.0: virtualization is exposed per machine"
[ "$(query "SELECT count(*) FROM labs")" = 0 ] || fail "the lab was begun"
[ "$(vm_names)" = gh-template ] || fail "something was made: $(vm_names | tr '\n' ' ')"
what="a template that is gone keeps nobody from starting what was made from it, and what is changed to it is kept"
nestor up lab.yaml --yes
expect_exit 0
govc object.rename /DC0/vm/gh-template gone >/dev/null
govc vm.power -off -force "$(vm_names | grep '^course.gh-1-')" >/dev/null
nestor up lab.yaml --yes
expect_exit 0
nestor up misspelt.yaml --yes
expect_exit 1
[ "$(vm_count course.gh-)" -eq 3 ] || fail "there are $(vm_names | tr '\n' ' ')"
nestor down course --yes
expect_exit 0
[ "$(vm_names)" = gone ] || fail "there is still $(vm_names | tr '\n' ' ')"

begin "a lab of three guest hypervisors comes and goes on a bare ESXi, which never sees a clone"
vcsim_start esx
vcsim_template gh-template with-disk
proxy_start --record calls
target_url=$proxy_url target_thumbprint=$proxy_thumbprint target_inventory='network: VM Network'
write_vc_lab
a_lab_comes_and_goes
[ "$(calls_count CloneVM_Task)" -eq 0 ] || fail "the ESXi was asked to clone"
[ "$(calls_count Destroy_Task)" -eq 0 ] || fail "a machine with the template's disk as its parent was destroyed"
[ "$(calls_count CreateVM_Task)" -eq 3 ] || fail "$(calls_count CreateVM_Task) machines were created"

begin "a bare ESXi that refuses child disks gets copies of them, and that is told once"
: >calls
control 'CreateVM_Task match=<parent> task running=50 fault=DeltaDiskFormatNotSupported'
sed 's/driver: vsphere/&\n    parallel: 1/' lab.yaml >narrow.yaml # the first is refused before the next is asked for
nestor up narrow.yaml --yes
expect_exit 0
expect_three
[ "$(grep -c 'host vc: it refuses disks that are children of a template.s (DeltaDiskFormatNotSupported)' err)" -eq 1 ] ||
    fail "it was not told once that disks are copied"
jq -r 'select(.method | test("^(CreateVM|CopyVirtualDisk)_Task$")) | .method + if .params.config and
    (.params | tostring | test("\"parent\"")) then " child" else "" end' calls | tr '\n' ' ' >wire
[ "$(cat wire)" = "CreateVM_Task child CreateVM_Task CopyVirtualDisk_Task CreateVM_Task CopyVirtualDisk_Task \
CreateVM_Task CopyVirtualDisk_Task " ] || fail "it was asked for: $(cat wire)"
control
nestor down course --yes
expect_exit 0
[ "$(vm_names)" = gh-template ] || fail "there is still $(vm_names | tr '\n' ' ')"
proxy_stop || fail "a secret went over the wire outside of the login"

begin "of a guest hypervisor that does not answer it is told what is missing, and how to mend that"
vcsim_start vpx
vcsim_template gh-template
target_url=$vcsim_url target_thumbprint=$vcsim_thumbprint target_inventory='network: VM Network'
# expect_silent CAUSE MEND
expect_silent() {
    nestor up lab.yaml --yes
    expect_exit 4
    expect_error "course/gh: waiting for it: it did not answer at its address in time; the last try said: $1" "$2"
    nestor down course --yes
    expect_exit 0
    [ "$(vm_names)" = gh-template ] || fail "there is still $(vm_names | tr '\n' ' ')"
}
write_vc_lab
sed -i 's/count: 3, .* ready: address,/timeouts: { boot: 2s }, hypervisor: { driver: vsphere, port: 1 },/' lab.yaml
expect_silent "cannot connect: Connection refused" "see 'nestor console course/gh'"
sed -i 's/^ *extra-config: .*/  }/' lab.yaml
expect_silent "it has no address: VMware Tools do not run in it" "install open-vm-tools in its template"
