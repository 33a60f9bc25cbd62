#!/bin/sh
# A lab of ten machines on vcsim while things go wrong between nestor and the server: each ends in success or in an error
# that says what it was; the next `up` completes it without making anything twice, and `down` leaves nothing.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_kill.sh"
program=nestor

# trouble WORDS EXIT-STATUS CONTROL-LINE...: an up in the middle of it, and then without it.
trouble() {
    begin "$vcsim_mode: $1"
    expected=$2
    shift 2
    control "$@"
    nestor up lab.yaml --yes
    expect_exit "$expected"
    if [ "$expected" -eq 0 ]; then
        expect_vsphere_up
    else
        cp err err.up
        control
        nestor up lab.yaml --yes
        expect_exit 0
        expect_vsphere_up
    fi
    control
    vsphere_down
}
expect_said() { grep -qF -- "$1" err.up || fail "it did not say: $1"; }

start_vsphere vpx
proxy_start
sed -i "s|url: .*|url: $proxy_url|; s|thumbprint: .*|thumbprint: \"$proxy_thumbprint\" }|" lab.yaml

trouble "the service is not there for a moment" 0 '* skip=12 times=4 http=503'
trouble "connections are cut at random, after the deed" 0 '*_Task after reset skip=3 times=3'
trouble "answers are cut" 0 'RetrievePropertiesEx truncate skip=9 times=2' '*_Task after cut skip=11 times=2'
trouble "sessions end" 0 '*_Task expire skip=5 times=3' 'RetrievePropertiesEx expire skip=8 times=2'
trouble "tasks wait and work" 0 '*_Task task queued=200 running=300'
trouble "tasks fail late, and others are in the way" 0 '*_Task task running=100 fault=TaskInProgress skip=4 times=2'
trouble "there is no room" 4 'CloneVM_Task fault=NoDiskSpace skip=4'
expect_said "free space on the datastore"
trouble "a privilege is missing" 4 'ReconfigVM_Task fault=NoPermission skip=4'
expect_said "docs/hosts/vsphere.md"
trouble "a setting has no effect" 4 'set VirtualMachine course.gh-3-* config.nestedHVEnabled false'
expect_said "vhv-not-set"

begin "down while things go wrong"
nestor up lab.yaml --yes
expect_exit 0
control 'Destroy_Task after reset skip=2 times=2' 'PowerOffVM_Task task fault=TaskInProgress times=1' '* skip=20 times=2 http=503'
nestor down course --yes
expect_exit 0
control
expect_vsphere_gone

begin "the state is lost: what is there is adopted by its tags, and goes"
nestor up lab.yaml --yes
expect_exit 0
rm -rf "$NESTOR_HOME"
mkdir "$NESTOR_HOME"
nestor adopt vc --yes
expect_exit 0
nestor status course --json
expect_json ".machines | length == $machines_of_vsphere"
nestor down course --yes
expect_exit 0
expect_vsphere_gone

begin "the state is lost, and the lab is brought up anew: what is left of the old one is collected"
nestor up lab.yaml --yes
expect_exit 0
rm -rf "$NESTOR_HOME"
mkdir "$NESTOR_HOME"
nestor up lab.yaml --yes
expect_exit 0
[ "$(vm_count course.)" -eq $((2 * machines_of_vsphere)) ] || fail "there are $(vm_count course.) machines"
nestor gc --yes
expect_exit 0
expect_vsphere_up
vsphere_down

begin "the template, the folder and the network are gone, and the lab still goes"
govc folder.create /DC0/vm/labs
sed 's/inventory: .*/inventory: { folder: labs, network: VM Network }/' lab.yaml >gone.yaml
nestor up gone.yaml --yes
expect_exit 0
for name in $(vm_names | grep '^course'); do
    govc object.mv "/DC0/vm/labs/$name" /DC0/vm >/dev/null
done
govc vm.destroy gh-template
govc object.destroy /DC0/vm/labs >/dev/null
nestor down course --yes
expect_exit 0
[ "$(vm_names)" = '' ] || fail "there is still $(vm_names | tr '\n' ' ')"

proxy_stop || fail "a secret went over the wire outside of the login"
