#!/bin/sh
# Tasks that take their time, fail late or wait to be cancelled, as a client with one filter over one ListView sees
# them, and as govc does.
. "${NESTOR_SOURCE_DIR:?}/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_soap.sh"

vcsim_start
vcsim_template gh-template
proxy_start --record "$place/calls"
target=$proxy_url target_ca=$proxy_ca
collector=PropertyCollector:propertyCollector
template=$(vms | jq -r '"VirtualMachine:" + .ref')
folder=$(govc object.collect -s /DC0 vmFolder)

# clone NAME: $task is its task
clone() {
    soap CloneVM_Task "$template" "<folder type=\"${folder%%:*}\">${folder#*:}</folder><name>$1</name>
        <spec><location/><powerOn>false</powerOn><template>false</template></spec>"
    expect_status 200
    task=$(returned)
}
# info: the task's state, progress and error as a read shows them
info() {
    soap RetrievePropertiesEx $collector "$(spec_of Task "${task#*:}" info.state info.progress info.error)"
    expect_status 200
}
# watching: a view, and a filter over the tasks and machines in it
watching() {
    login
    soap CreateListView ViewManager:ViewManager
    view=$(returned)
    soap CreateFilter $collector "<spec><propSet><type>Task</type><pathSet>info.state</pathSet>
        <pathSet>info.progress</pathSet><pathSet>info.error</pathSet><pathSet>info.result</pathSet></propSet>
        <propSet><type>VirtualMachine</type><pathSet>runtime.question</pathSet><pathSet>guest.net</pathSet></propSet>
        <objectSet><obj type=\"${view%%:*}\">${view#*:}</obj><skip>true</skip><selectSet xsi:type=\"TraversalSpec\">
        <type>ListView</type><path>view</path><skip>false</skip></selectSet></objectSet></spec>
        <partialUpdates>true</partialUpdates>"
    expect_status 200
    version=
}
view_add() { soap ModifyListView "$view" "<add type=\"${1%%:*}\">${1#*:}</add>" && expect_status 200; }
# updates [SECONDS] [MORE-OPTIONS]: one wait
updates() {
    soap WaitForUpdatesEx $collector "<version>$version</version><options>
        <maxWaitSeconds>${1:-5}</maxWaitSeconds>${2:-}</options>"
    expect_status 200
    version=$(sed -n 's|.*<version>\([^<]*\)</version>.*|\1|p' answer)
}
# until_told TEXT: waits until an update says that
until_told() {
    rounds=0
    until grep -q -- "$1" answer; do
        rounds=$((rounds + 1))
        [ $rounds -lt 40 ] || fail "no update said: $1"
        updates
    done
}

begin "a task waits and works, shows its progress in reads and updates, and makes its machine at its end"
control 'CloneVM_Task match=waiting task queued=forever' 'CloneVM_Task match=working task queued=100 running=20000' \
    'CloneVM_Task match=ending task queued=100 running=300'
watching
updates
clone waiting
info
expect_body '>queued</val>'
view_add "$task"
until_told '>queued</val>'
clone working
view_add "$task"
until_told '>running</val>'
until_told '<name>info.progress</name><op>assign</op><val xsi:type="xsd:int">[1-9]0'
[ "$(vm_count wo)" = 0 ] || fail "the machine is there before the task's end"
soap CancelTask "$task"
expect_status 200
clone ending
view_add "$task"
until_told '>success</val>'
until_told '<name>info.result</name><op>assign</op><val [^>]*>vm-'
[ "$(vm_count ending)" = 1 ] || fail "there are $(vm_count ending) machines"
info
expect_body '>success</val>'
[ "$(calls_of CloneVM_Task | tail -n 1 | jq -r .task)" = "${task#*:}" ] || fail "the task was not recorded"

begin "a task fails late, with its fault, and nothing is made"
control 'CloneVM_Task task running=600 fault=NoDiskSpace:Full'
watching
updates
clone full
view_add "$task"
until_told 'xsi:type="NoDiskSpace"'
expect_body '<localizedMessage>Full</localizedMessage>'
info
expect_body '>error</val>'
expect_body 'xsi:type="NoDiskSpace"'
[ "$(vm_count full)" = 0 ] || fail "a machine was made"

begin "a task that failed may have made something all the same"
control 'CloneVM_Task task early running=300 fault=SystemError'
clone half
[ "$(vm_count half)" = 1 ] || fail "nothing was made at its beginning"
await_state() { info && grep -q ">$1</val>" answer; }
await await_state error

begin "a task goes on until it is cancelled; one that has ended cannot be"
control 'CloneVM_Task task queued=forever'
watching
updates
clone never
view_add "$task"
until_told '>queued</val>'
updates 1
! grep -q objectSet answer || fail "something changed"
soap CancelTask "$task"
expect_status 200
until_told 'xsi:type="RequestCanceled"'
soap CancelTask "$task"
expect_fault InvalidState
[ "$(vm_count never)" = 0 ] || fail "a machine was made"
control 'CloneVM_Task task running=forever uncancelable'
clone deaf
soap CancelTask "$task"
expect_fault NotSupported
info
expect_body '>running</val>'
control
clone plain
soap CancelTask "$task"
expect_fault InvalidState

begin "a deed that the real server refuses ends the task with its fault"
control 'PowerOffVM_Task task running=100'
soap PowerOffVM_Task "$template"
task=$(returned)
await await_state error
expect_body 'xsi:type="InvalidPowerState"'

begin "govc waits for such tasks"
control 'CloneVM_Task task queued=300 running=500'
govc_via_proxy vm.clone -vm gh-template -on=false patient >out 2>&1 || fail "govc failed"
[ "$(vm_count patient)" = 1 ] || fail "there are $(vm_count patient) machines"
control 'CloneVM_Task task running=300 fault=InsufficientResourcesFault:None.left'
! govc_via_proxy vm.clone -vm gh-template -on=false hopeless >out 2>&1 || fail "govc did not notice"
expect_out "None.left"

begin "a question and an address come and go while a client waits"
control
watching
view_add "$template"
updates
control 'question gh-* "Is it copied?" "I moved it" "I copied it"'
until_told 'Is it copied?'
expect_body '<summary>I copied it</summary>'
soap RetrievePropertiesEx $collector "$(spec_of VirtualMachine "${template#*:}" runtime)"
expect_body '<question><id>'
soap AnswerVM "$template" '<questionId>1</questionId><answerChoice>0</answerChoice>'
expect_status 200
until_told '<name>runtime.question</name><op>assign</op></changeSet>'
control 'guest gh-template other=172.17.0.1 nic=169.254.7.7,10.1.2.3 from=300'
until_told '10.1.2.3'
mac=$(govc object.collect -json "$template" config.hardware.device | jq -r '.. | .MacAddress? // empty' | head -n 1)
expect_body "<macAddress>$mac</macAddress>"
soap RetrievePropertiesEx $collector \
    "$(spec_of VirtualMachine "${template#*:}" guest.ipAddress guest.toolsRunningStatus)"
expect_body '172.17.0.1'
expect_body guestToolsRunning
control
until_told '<name>guest.net</name>'
! grep -q 10.1.2.3 answer || fail "the address is still shown"

begin "a wait that got no answer is asked again; one that begins anew is told everything"
control
watching
view_add "$template"
updates
before=$version
view_add "$task"
control 'WaitForUpdatesEx cut times=1'
soap WaitForUpdatesEx $collector "<version>$before</version><options><maxWaitSeconds>5</maxWaitSeconds></options>"
expect_broken
version=$before
updates
expect_body "${task#*:}"
version=
updates
expect_body "${task#*:}"
expect_body "${template#*:}"
soap WaitForUpdatesEx $collector '<version>999</version>'
expect_fault InvalidCollectorVersion

begin "updates come in pieces of the size that was asked for"
watching
for name in piece1 piece2 piece3; do
    clone $name
    view_add "$task"
done
updates 5 '<maxObjectUpdates>2</maxObjectUpdates>'
[ "$(grep -o '<objectSet>' answer | wc -l)" = 2 ] || fail "not two: $what_came"
expect_body '<truncated>true</truncated>'
updates 5 '<maxObjectUpdates>2</maxObjectUpdates>'
[ "$(grep -o '<objectSet>' answer | wc -l)" = 1 ] || fail "not one: $what_came"
! grep -q truncated answer || fail "there is more"

begin "a wait is cancelled by another call"
soap WaitForUpdatesEx $collector "<version>$version</version>" &
waiting=$!
mkdir other && cp cookies other/ # a wait that has not begun yet is not cancelled: until it is
(cd other && while kill -0 $waiting 2>/dev/null; do soap CancelWaitForUpdates $collector; done)
wait $waiting
expect_body RequestCanceled

begin "reads come by pages"
soap CreateContainerView ViewManager:ViewManager \
    '<container type="Folder">group-d1</container><type>VirtualMachine</type><recursive>true</recursive>'
all=$(returned)
page() {
    tokens=$(sed -n 's|.*<token>\([^<]*\)</token>.*|\1|p' answer)
    seen=$((seen + $(grep -o '<objects>' answer | wc -l)))
}
seen=0 rounds=1
soap RetrievePropertiesEx $collector "<specSet><propSet><type>VirtualMachine</type><pathSet>name</pathSet></propSet>
    <objectSet><obj type=\"${all%%:*}\">${all#*:}</obj><skip>true</skip><selectSet xsi:type=\"TraversalSpec\">
    <type>ContainerView</type><path>view</path></selectSet></objectSet></specSet>
    <options><maxObjects>2</maxObjects></options>"
page
while [ -n "$tokens" ]; do
    soap ContinueRetrievePropertiesEx $collector "<token>$tokens</token>"
    expect_status 200
    page
    rounds=$((rounds + 1))
done
[ "$seen" = "$(vm_names | wc -l)" ] || fail "$seen machines came, of $(vm_names | wc -l)"
[ $rounds -gt 2 ] || fail "they came in $rounds pages"

proxy_stop || fail "it ended with $?"
[ ! -s "$proxy_dir/log" ] || fail "$(cat "$proxy_dir/log")"
