#!/bin/sh
# The proxy before vcsim as a stricter server, one that says more of itself, and as no hindrance to real clients.
. "${NESTOR_SOURCE_DIR:?}/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_soap.sh"

# refused WORDS COMMAND...: govc through the proxy fails, and says that
refused() {
    words=$1
    shift
    ! govc_via_proxy "$@" >out 2>err || fail "it was accepted: govc $*"
    grep -q "$words" out err || fail "it did not say: $words"
}
# shown NAME-OR-REF PROPERTY: its value through the proxy
shown() { govc_via_proxy object.collect -s "$@"; }

vcsim_start
vcsim_template gh-template
proxy_start --record "$place/calls" --set 'HostSystem * capability.nestedHVSupported true'

# task_ends METHOD TYPE:ID [PARAMETERS]: calls it; the answer is what its task's info says then
target=$proxy_url target_ca=$proxy_ca
task_ends() {
    soap "$@"
    expect_status 200
    task=$(returned)
    soap RetrievePropertiesEx PropertyCollector:propertyCollector "$(spec_of Task "${task#*:}" info)"
}
login

begin "a linked clone needs a snapshot"
template=$(vms | jq -r .ref) folder=$(govc object.collect -s /DC0 vmFolder)
task_ends CloneVM_Task "VirtualMachine:$template" "<folder type=\"Folder\">${folder#*:}</folder><name>linked</name>
    <spec><location><diskMoveType>createNewChildDiskBacking</diskMoveType></location><powerOn>false</powerOn>
    <template>false</template></spec>"
expect_body '<state>error</state>'
expect_body '<invalidProperty>spec.snapshot</invalidProperty>'
[ "$(vm_count linked)" = 0 ] || fail "it was made"
govc snapshot.create -vm gh-template base >/dev/null
govc_via_proxy vm.clone -vm gh-template -link -snapshot base -on=false linked >out 2>err || fail "it was refused"
[ "$(calls_of CloneVM_Task | jq -r '.params.spec.location.diskMoveType' | tail -n 1)" = createNewChildDiskBacking ] ||
    fail "the record does not say how it was cloned"

begin "no two of a name in a folder, not even at the same time"
refused "already exists" vm.clone -vm gh-template -on=false linked
made=0
for i in 1 2 3 4; do
    govc_via_proxy vm.clone -vm gh-template -on=false twin >out$i 2>&1 &
    eval "twin$i=$!"
done
for i in 1 2 3 4; do
    eval "wait \$twin$i" && made=$((made + 1))
done
[ $made = 1 ] || fail "$made were made: $(cat out1 out2 out3 out4)"
[ "$(vm_count twin)" = 1 ] || fail "there are $(vm_count twin)"

begin "nesting is not changed while a machine runs, and what runs is not destroyed"
govc_via_proxy vm.change -vm twin -nested-hv-enabled=true || fail "refused while off"
[ "$(vm_get twin nested)" = true ] || fail "it is not set"
govc vm.power -on twin >/dev/null
refused "current state" vm.change -vm twin -nested-hv-enabled=false
twin=$(vms | jq -r 'select(.name == "twin") | .ref')
task_ends Destroy_Task "VirtualMachine:$twin"
expect_body 'InvalidPowerState'
expect_body '<state>error</state>'
[ "$(vm_count twin)" = 1 ] || fail "it is gone"
govc vm.power -off twin >/dev/null
govc_via_proxy vm.destroy twin || fail "refused while off"

begin "a device goes to a controller that is there, or that comes with it"
machine=$(vms | jq -r 'select(.name == "linked") | .ref')
# added KEY CONTROLLER-KEY TYPE: a device
added() {
    echo "<deviceChange xsi:type=\"VirtualDeviceConfigSpec\"><operation>add</operation><device xsi:type=\"$3\">
        <key>$1</key>${2:+<controllerKey>$2</controllerKey>}${4:-}</device></deviceChange>"
}
cdrom_at() { added -9 "$1" VirtualCdrom "<unitNumber>1</unitNumber>"; }
task_ends ReconfigVM_Task "VirtualMachine:$machine" "<spec>$(cdrom_at -203)</spec>"
expect_body 'InvalidDeviceSpec'
expect_body 'device.controllerKey'
task_ends ReconfigVM_Task "VirtualMachine:$machine" \
    "<spec>$(added -203 '' VirtualAHCIController '<busNumber>0</busNumber>')$(cdrom_at -203)</spec>"
expect_body '<state>success</state>'

begin "a template cannot be snapshotted"
govc vm.markastemplate gh-template
refused "not supported" snapshot.create -vm gh-template another

begin "a host says whether it can nest, where vcsim says nothing"
host=/DC0/host/DC0_C0/DC0_C0_H0
[ "$(shown $host capability.nestedHVSupported)" = true ] || fail "not by its path"
govc_via_proxy object.collect -json $host capability >out || fail "not as a whole"
expect_json '.[0].Val.NestedHVSupported == true'
[ "$(govc object.collect -s $host capability.nestedHVSupported)" = "" ] || fail "vcsim knows it now"
control 'set HostSystem DC0_C0_H1 capability.nestedHVSupported false'
[ "$(shown $host capability.nestedHVSupported)" = true ] || fail "another host has changed"
[ "$(shown ${host%0}1 capability.nestedHVSupported)" = false ] || fail "the host has not changed"
control 'set HostSystem * capability.nestedHVSupported absent'
[ "$(shown $host capability.nestedHVSupported)" = "" ] || fail "it is still there"

begin "machines have another hardware version, port groups another policy"
control 'set VirtualMachine gh-* config.version vmx-8' 'set VirtualMachine * capability.nestedHVSupported false'
[ "$(shown vm/gh-template config.version)" = vmx-8 ] || fail "it has $(shown vm/gh-template config.version)"
[ "$(shown vm/linked config.version)" = vmx-13 ] || fail "the other has too"
govc_via_proxy vm.info -json gh-template >out
expect_json '.VirtualMachines[0] | .Config.Version == "vmx-8" and .Capability.NestedHVSupported == false'
network=$(govc object.collect -s $host configManager.networkSystem)
control 'portgroup "VM Network" promiscuous=true forged=false'
govc_via_proxy object.collect -json "$network" networkInfo >out
expect_json '.[0].Val.Portgroup[] | select(.Spec.Name == "VM Network") | (.Spec.Policy, .ComputedPolicy).Security
    | .AllowPromiscuous == true and .ForgedTransmits == false'

control 'set DistributedVirtualPortgroup DC0_DVPG0 config.defaultPortConfig.securityPolicy.macChanges.value true'
govc_via_proxy object.collect -json /DC0/network/DC0_DVPG0 config.defaultPortConfig >out
expect_json '.[0].Val.SecurityPolicy.MacChanges.Value'

begin "a guest shows no address, an address of another kind, or several"
control 'guest linked no-tools'
[ "$(shown vm/linked guest.toolsRunningStatus)" = guestToolsNotRunning ] || fail "Tools run"
control 'guest linked nic=fe80::1,10.0.0.5 nic=10.0.1.5'
govc_via_proxy object.collect -json vm/linked guest.net >out
expect_json '.[0].Val.GuestNicInfo | length == 2 and .[0].IpAddress == ["fe80::1", "10.0.0.5"]'
[ "$(shown vm/linked guest.ipAddress)" = 10.0.0.5 ] || fail "the first address is another"
control 'guest linked none until=300'
tools_are() { [ "$(shown vm/linked guest.toolsRunningStatus)" = "$1" ]; }
await tools_are guestToolsNotRunning

begin "what is to be refused can be chosen"
proxy_stop || fail "it ended with $?"
[ ! -s "$proxy_dir/log" ] || fail "$(cat "$proxy_dir/log")"
proxy_start --accept duplicate
govc_via_proxy vm.clone -vm gh-template -pool DC0_C0/Resources -force -on=false linked >out 2>err ||
    fail "it was refused"
[ "$(vm_count linked)" = 2 ] || fail "there are $(vm_count linked)"
proxy_stop || fail "it ended with $?"
vcsim_stop

begin "a bare ESXi has no clones, templates and folders"
vcsim_start esx
vcsim_template gh-template
proxy_start
refused "not supported" vm.clone -vm gh-template -on=false linked
refused "not supported" vm.markastemplate gh-template
refused "not supported" folder.create /ha-datacenter/vm/labs
govc_via_proxy vm.create -on=false fresh >out 2>err || fail "a new machine was refused"
refused "already exists" vm.create -force -on=false fresh
[ "$(vm_names | tr '\n' ' ')" = "fresh gh-template " ] || fail "there are $(vm_names)"
proxy_stop || fail "it ended with $?"
[ ! -s "$proxy_dir/log" ] || fail "$(cat "$proxy_dir/log")"
