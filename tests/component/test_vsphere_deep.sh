#!/bin/sh
# A lab of three nested ESXi and what is in them, on a vCenter and on a bare ESXi: it comes up, is proved, is mended, is
# changed and goes, and what goes wrong on the way into a nested ESXi is made good.
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_deep.sh"

all_is_up() {
    nestor status course --json
    expect_exit 0
    expect_json '.state == "up" and ([.machines[] | select(.ready and .state == "running")] | length == 9)'
    expect_json '[.machines[] | .level] == [1, 2, 2, 1, 2, 2, 1, 2, 2]'
    expect_json '[.machines[] | select(.level == 1) | .nesting | .wanted == "required" and .verified and .flag == "vmx"
                  and .reason == null and .checked_at != null] == [true, true, true]'
    expect_json 'all(.machines[] | select(.level == 2); .nesting.wanted == "off" and .nesting.verified == null)'
    expect_deep_up
}

comes_up() {
    begin "$vcsim_mode: three nested ESXi come up with what is in them"
    nestor up lab.yaml --yes
    expect_exit 0
    all_is_up
}

is_proved() {
    begin_again "$vcsim_mode: each nested ESXi is proved, in its own words"
    nestor verify course --json
    expect_exit 0
    expect_json '.verified and [.machines[] | .path] == ["course/gh1", "course/gh2", "course/gh3"]'
    expect_json 'all(.machines[]; .verified and .flag == "vmx" and
                 ([.probes[] | .name] == ["exposed", "hypervisor-api"]))'
    expect_json 'all(.machines[] | .probes[0]; .ok and .output == "on")'
    expect_json 'all(.machines[] | .probes[1]; .ok and (.output | startswith("VMware ESXi 6.5.0")))'
}

# The same lab goes on: its state is kept.
begin_again() {
    what=$1
    printf -- '- %s\n' "$what"
}

has_nothing_to_do() {
    begin_again "$vcsim_mode: a second up changes nothing"
    everything >before
    : >calls
    nestor up lab.yaml --yes
    expect_exit 0
    grep -q '^Nothing to do: course is as its lab file says (9 machines)' out || fail "it did not say so"
    everything | diff before - >changed || fail "something changed: $(cat changed)"
    ! grep -q '_Task"\|UnregisterVM' calls || fail "there was a task in gh1: $(grep '_Task"' calls)"
}
everything() { vms && for gh in 1 2 3; do inside $gh vms; done; }

is_mended() {
    begin_again "$vcsim_mode: a guest that was destroyed, and a nested ESXi that was powered off, are told and mended"
    inside 1 take_away "$(inside 1 vm_names | grep '^course.gh1.web-1-')"
    govc vm.power -off -force "$(vm_names | grep '^course.gh2-')" >/dev/null
    guests_follow
    nestor status course --json
    expect_exit 0
    expect_json '.state == "partial" and ([.machines[] | select(.ready) | .path | ltrimstr("course/")]
                 == ["gh1", "gh1/web-2", "gh3", "gh3/web-1", "gh3/web-2"])'
    expect_json '[.machines[] | select(.ready | not) | .state] == ["absent", "stopped", "stopped", "stopped"]'
    nestor verify course --json
    expect_exit 1
    expect_json '.verified == false and (.machines[1] | .path == "course/gh2" and .verified == false and
                 .error == "machine-died")'
    nestor up lab.yaml --yes
    expect_exit 0
    expect_out "Plan: 1 to create, 3 to start, 0 to replace, 0 to remove."
    all_is_up
}

# by_way_of_the_first FILE CONTROL-LINE...: an up of FILE in which that happens on the connection into gh1.
by_way_of_the_first() {
    file=$1
    shift
    control "$@"
    nestor up "$file" --yes
    expect_exit 0
    control
}

is_emptied_and_filled() {
    begin_again "$vcsim_mode: what is in the nested ESXi goes and comes, whatever happens once at every kind of call"
    : >calls
    by_way_of_the_first bare.yaml ''
    expect_bare
    by_way_of_the_first lab.yaml ''
    all_is_up
    jq -r .method calls | sort -u | grep -vx 'Login\|RetrieveServiceContent' >kinds
    grep -qx CreateVM_Task kinds || fail "nothing was made in gh1: $(tr '\n' ' ' <kinds)"
    grep -qx UnregisterVM kinds || fail "nothing was removed in gh1: $(tr '\n' ' ' <kinds)"
    for action in expire 'after reset'; do
        : >calls
        rules=$(sed "s/\$/ $action times=1/" kinds)
        by_way_of_the_first bare.yaml "$rules"
        expect_bare
        by_way_of_the_first lab.yaml "$rules"
        all_is_up
        jq -r 'select(.rule) | .method' calls | sort -u | diff kinds - >met || fail "not all met with it: $(cat met)"
    done
}

is_read_back_if_no_more_is_asked_for() {
    begin "$vcsim_mode: exposed: the setting is read back, and there is nothing to verify"
    sed 's/^    memory: 64MiB/&\n    nesting: exposed/; s/ready: address/ready: running/' lab.yaml >exposed.yaml
    nestor up exposed.yaml --yes
    expect_exit 0
    expect_deep_up
    nestor status course --json
    expect_json '[.machines[] | select(.level == 1) | .ready and (.nesting | .wanted == "exposed" and .verified and
                  .flag == null)] == [true, true, true]'
    nestor verify course
    expect_exit 0
    expect_out "Nothing to verify: no machine of this lab has 'nesting: required' or 'preferred'"
    nestor verify course --json
    expect_exit 0
    expect_json '.verified and .machines == []'
    deep_down
}

gets_nothing_unproved() {
    begin "$vcsim_mode: a nested ESXi that says it cannot nest gets no guests, until it says it can"
    control 'set HostSystem * capability.nestedHVSupported false'
    nestor up lab.yaml --yes
    expect_exit 4
    expect_error "course/gh1: verifying it: the host's CPU offers no hardware virtualization (host-not-capable)"
    [ "$(inside 1 vm_names)" = inner-template ] || fail "something was made in gh1: $(inside 1 vm_names | tr '\n' ' ')"
    nestor status course --json
    expect_json '.state == "failed" and ([.machines[] | select(.ready) | .path | ltrimstr("course/")]
                 == ["gh2", "gh2/web-1", "gh2/web-2", "gh3", "gh3/web-1", "gh3/web-2"])'
    expect_json '.machines[0].nesting | .verified == false and .reason == "host-not-capable"'
    nestor verify course --json
    expect_exit 1
    expect_json '.verified == false and ([.machines[] | .verified] == [false, true, true])'
    expect_json '.machines[0].probes[1] | .ok == false and .reason == "host-not-capable" and
                 (.output | endswith("its host does not support nested virtualization"))'
    control 'set HostSystem * capability.nestedHVSupported true'
    nestor up lab.yaml --yes
    expect_exit 0
    all_is_up
    nestor verify course --json
    expect_exit 0
    expect_json '.machines[0].probes[1] | .ok and (.output | endswith(": its host supports nested virtualization"))'
    control
    deep_down
}

goes() {
    begin_again "$vcsim_mode: and all of it goes"
    : >calls
    deep_down
    [ "$(wc -l <calls)" -eq 0 ] || fail "gh1, that was to go with all in it, was asked: $(cat calls)"
}

for mode in vpx esx; do
    start_deep $mode
    comes_up
    is_proved
    has_nothing_to_do
    is_mended
    is_emptied_and_filled
    goes
    is_read_back_if_no_more_is_asked_for
    [ $mode = esx ] || gets_nothing_unproved # the host has no part in it
    stop_deep
done
