# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with cli_lib.sh and vcsim_lib.sh
# A lab of ten machines (or $machines_of_vsphere) on vcsim, nestor killed in the middle, and what must be possible after it: nothing is there twice
# (vcsim accepts equal names, so they are counted), nothing stays. Source cli_lib.sh, cli_kill.sh and vcsim_lib.sh first.
: "${machines_of_vsphere:=10}" # one of them is no guest hypervisor

# start_vsphere vpx|esx: vcsim with a template, and lab.yaml for it.
start_vsphere() {
    case $1 in
    vpx) vcsim_start vpx && vcsim_template gh-template ;;
    esx) vcsim_start esx && vcsim_template gh-template with-disk ;;
    esac
    cat >lab.yaml <<END
lab: course
hosts:
$(vcsim_host "$vcsim_url" "$vcsim_thumbprint")
    inventory: { network: VM Network }
machines:
  gh: { template: gh-template, count: $((machines_of_vsphere - 1)), memory: 32MiB, nesting: exposed, ready: running }
  plain: { template: gh-template, memory: 32MiB, ready: running }
END
}

# Each machine once, on, whole.
expect_vsphere_up() {
    vms | jq -r 'select(.name | startswith("course.")) | "\(.name) \(.power) \(.nested // false) \(.extra["nestor.digest"])"' |
        sort >seen
    [ "$(wc -l <seen)" -eq $machines_of_vsphere ] || fail "there are $(wc -l <seen) machines: $(cut -d' ' -f1 seen | tr '\n' ' ')"
    [ "$(cut -d' ' -f1 seen | uniq -d | wc -l)" -eq 0 ] || fail "some are there twice: $(cut -d' ' -f1 seen | uniq -d)"
    [ "$(grep -c ' poweredOn ' seen)" -eq $machines_of_vsphere ] || fail "not all run: $(tr '\n' ';' <seen)"
    [ "$(grep -c '^course.gh-.* true ' seen)" -eq $((machines_of_vsphere - 1)) ] || fail "not all are exposed to: $(tr '\n' ';' <seen)"
    ! grep -q ' null$' seen || fail "one has no digest: $(tr '\n' ';' <seen)"
}

expect_vsphere_gone() {
    [ "$(vm_names)" = gh-template ] || fail "there is still $(vm_names | tr '\n' ' ')"
    [ "$vcsim_mode" = vpx ] || ! govc datastore.ls | grep '^course' >left || fail "folders are left: $(tr '\n' ' ' <left)"
    for table in labs hosts machines; do
        [ "$(query "SELECT count(*) FROM $table")" = 0 ] || fail "the state still has rows in $table"
    done
}

vsphere_down() {
    nestor down course --yes
    if [ "$status" -ne 0 ]; then # killed before anything was recorded
        expect_exit 1
        expect_error "course: no lab 'course'"
    fi
    expect_vsphere_gone
}

# vsphere_killed_up WHEN N: killed there, an up completes it; killed there, a down undoes it. False: no such point. How
# many commits there are differs a little: steps that end at the same time share one.
vsphere_killed_up() {
    begin "$vcsim_mode: up killed $1 commit $2, then up"
    killed_at "$1" "$2" up lab.yaml --yes || { vsphere_down && return 1; }
    nestor up lab.yaml --yes
    expect_exit 0
    expect_vsphere_up
    vsphere_down
    begin "$vcsim_mode: up killed $1 commit $2, then down"
    killed_at "$1" "$2" up lab.yaml --yes
    vsphere_down
}

# vsphere_killed_down WHEN N: the same with a down.
vsphere_killed_down() {
    begin "$vcsim_mode: down killed $1 commit $2, then down"
    nestor up lab.yaml --yes
    expect_exit 0
    killed_at "$1" "$2" down course --yes || return 1
    vsphere_down
    begin "$vcsim_mode: down killed $1 commit $2, then up"
    nestor up lab.yaml --yes
    expect_exit 0
    killed_at "$1" "$2" down course --yes
    nestor up lab.yaml --yes
    expect_exit 0
    expect_vsphere_up
    vsphere_down
}

# killed_at_every COMMAND WHEN LEAST
killed_at_every() {
    n=1
    while "$1" "$2" $n; do
        n=$((n + 1))
    done
    [ $n -gt "$3" ] || fail "it was over $2 commit $n"
}

# vsphere_killed_everywhere vpx|esx
vsphere_killed_everywhere() {
    start_vsphere "$1"
    for when in before after; do
        killed_at_every vsphere_killed_up $when 5
        killed_at_every vsphere_killed_down $when 3
    done
}
