#!/bin/sh
# A lab on vcsim whose nestor was killed or has lost its memory: nothing is made twice, and everything of it can be found
# again and taken away.
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_trouble.sh"

lose_the_state() {
    rm -rf "$NESTOR_HOME"
    mkdir "$NESTOR_HOME"
}

# killed_while_making: nestor is killed while the server makes all machines, which goes on for a while.
killed_while_making() {
    case $vcsim_mode in
    vpx) making=CloneVM_Task unmaking=Destroy_Task ;;
    esx) making=CreateVM_Task unmaking=UnregisterVM ;;
    esac
    : >calls
    control "$making task running=2000"
    nestor_begins up lab.yaml --yes
    await all_are_made
    kill -KILL $!
    wait $! 2>/dev/null
    control
}
all_are_made() { [ "$(calls_count "$making")" -eq $machines_of_vsphere ]; }

for mode in vpx esx; do
    trouble_start $mode

    begin "$mode: what a killed nestor still has made is waited for by a down, and goes"
    killed_while_making
    nestor down course --yes
    expect_exit 0
    expect_vsphere_gone
    [ "$(calls_count "$unmaking")" -eq $machines_of_vsphere ] || fail "there was nothing to remove"

    begin "$mode: what a killed nestor still has made is waited for by an up, and is not made twice"
    killed_while_making
    nestor up lab.yaml --yes
    expect_exit 0
    expect_vsphere_up
    vsphere_down

    begin "$mode: the state is lost: what is there is adopted by its tags, and goes"
    nestor up lab.yaml --yes
    expect_exit 0
    lose_the_state
    nestor adopt vc --yes
    expect_exit 0
    nestor status course --json
    expect_json ".machines | length == $machines_of_vsphere"
    nestor down course --yes
    expect_exit 0
    expect_vsphere_gone

    begin "$mode: the state is lost, and the lab is brought up anew: what is left of the old one is collected"
    nestor up lab.yaml --yes
    expect_exit 0
    lose_the_state
    nestor up lab.yaml --yes
    expect_exit 0
    [ "$(vm_count course.)" -eq $((2 * machines_of_vsphere)) ] || fail "there are $(vm_count course.) machines"
    nestor gc --json
    expect_exit 3
    expect_json ".orphans | length == $machines_of_vsphere"
    nestor gc --yes
    expect_exit 0
    expect_vsphere_up
    vsphere_down
    proxy_stop || fail "a secret went over the wire outside of the login"
done

trouble_start vpx
begin "the template and the folder are gone, and the lab still goes"
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
[ "$(vm_paths)" = '' ] || fail "there is still $(vm_paths | tr '\n' ' ')" # vm_names would wait for one to come

proxy_stop || fail "a secret went over the wire outside of the login"
