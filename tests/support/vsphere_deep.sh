# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with the other libraries
# Three nested ESXi with two guests each on vcsim, a vCenter or a bare ESXi. Each nested ESXi is a vcsim of its own,
# found at the address and port the lab file gives; the first one through the proxy, which records. So four servers say
# what is there. Source this instead of cli_lib.sh.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
program=nestor # cli_kill.sh has made it nestor-faulty

# start_inside N: what is inside ghN.
start_inside() {
    vcsim_start esx
    vcsim_template inner-template with-disk
    eval "inner_url$1=$vcsim_url inner_ca$1=$vcsim_ca inner_port$1=${vcsim_url#https://127.0.0.1:}"
    eval "inner_thumbprint$1=$vcsim_thumbprint"
}

# inside N COMMAND...: govc, vms and the like ask what is inside ghN.
inside() (
    eval "export GOVC_URL=\$inner_url$1 GOVC_TLS_CA_CERTS=\$inner_ca$1"
    shift
    "$@"
)

# guest_hypervisor N MORE: in the lab file.
guest_hypervisor() {
    eval "port=\${inner_port$1%/sdk} thumbprint=\$inner_thumbprint$1"
    cat <<END
  gh$1:
    template: gh-template
    memory: 64MiB
    extra-config: { SET.guest.ipAddress: 127.0.0.1 }
    hypervisor: { driver: vsphere, port: $port, username: "$vcsim_user", password: { env: VC_PASSWORD },
                  tls: { thumbprint: "$thumbprint" } }
$2
END
}

# lab_with MORE: a lab file, to standard output; MORE is what else its guest hypervisors have.
lab_with() {
    cat <<END
lab: course
hosts:
  vc:
    driver: vsphere
    url: $vcsim_url
    username: $vcsim_user
    password: { env: VC_PASSWORD }
    tls: { ca: $vcsim_ca }
    inventory: { network: VM Network }
machines:
END
    for gh in 1 2 3; do
        guest_hypervisor $gh "$1"
    done
}

# start_deep vpx|esx: the four servers, lab.yaml, and bare.yaml, the same lab with nothing in its guest hypervisors.
start_deep() {
    for gh in 1 2 3; do
        start_inside $gh
        [ $gh -gt 1 ] || proxy_start --record "$place/calls"
    done
    inner_port1=${proxy_url#https://127.0.0.1:} inner_thumbprint1=$proxy_thumbprint
    vcsim_start "$1"
    case $1 in
    vpx) vcsim_template gh-template ;;
    esx) vcsim_template gh-template with-disk ;;
    esac
    guests='    machines: { web: { count: 2, template: inner-template, memory: 16MiB, ready: address,
                       extra-config: { ip0: 127.0.0.1 } } }'
    lab_with "$guests" >lab.yaml
    lab_with '' >bare.yaml
}

stop_deep() {
    proxy_stop || fail "a secret went over the wire outside of the login"
    for pid in $background; do
        [ "$pid" = "$proxy_pid" ] || vcsim_stop "$pid"
    done
    background=
}

# whole PREFIX: "NAME POWER NESTED DIGEST" of what is there with such a name, to standard output.
whole() {
    vms | jq -r "select(.name | startswith(\"$1\")) |
        \"\\(.name) \\(.power) \\(.nested // false) \\(.extra[\"nestor.digest\"])\"" | sort
}

# expect_there WHERE REGEX...: the file `seen` has one line for each, and no other.
expect_there() {
    where=$1
    shift
    [ "$(wc -l <seen)" -eq $# ] || fail "$where there are $(wc -l <seen) machines, not $#: $(tr '\n' ';' <seen)"
    for expected; do
        [ "$(grep -cx "$expected" seen)" -eq 1 ] || fail "$where there is not one $expected: $(tr '\n' ';' <seen)"
    done
}

on='-[0-9a-f]* poweredOn'
expect_host_up() {
    whole course. >seen
    expect_there "on the host" "course.gh1$on true [0-9a-f]*" "course.gh2$on true [0-9a-f]*" \
        "course.gh3$on true [0-9a-f]*"
}

# Each machine once, on, whole, and nothing else: vcsim takes equal names, so they are counted.
expect_deep_up() {
    expect_host_up
    for gh in 1 2 3; do
        inside $gh whole course. >seen
        expect_there "in gh$gh" "course.gh$gh.web-1$on false [0-9a-f]*" "course.gh$gh.web-2$on false [0-9a-f]*"
    done
}

# expect_only TEMPLATE: on the server govc talks to; a bare ESXi has no folder left either.
expect_only() {
    [ "$(vm_names)" = "$1" ] || fail "there is still $(vm_names | tr '\n' ' ')"
    ! govc datastore.ls | grep '^course' >left || fail "folders are left: $(tr '\n' ' ' <left)"
}

expect_bare() {
    expect_host_up
    for gh in 1 2 3; do
        inside $gh expect_only inner-template || exit 1
    done
}

# No server has a machine of the lab, and neither has the state.
expect_deep_gone() {
    expect_only gh-template
    for gh in 1 2 3; do
        inside $gh expect_only inner-template || exit 1
    done
    for table in labs hosts machines evidence; do
        [ "$(query "SELECT count(*) FROM $table")" = 0 ] || fail "the state still has rows in $table"
    done
}

# take_away NAME...: as docs/hosts/vsphere.md says it is done by hand on an ESXi.
take_away() {
    govc vm.power -off -force "$@" >/dev/null 2>&1 # some are off
    govc vm.unregister "$@"
    for name; do
        govc datastore.rm "$name" >/dev/null
    done
}

# guests_follow: what becomes of guests when the machine around them is off, or gone with its disk. The vcsim that plays
# it knows of no machine around it. Sets `there` to how many there were.
guests_follow() {
    there=0
    vms >around
    for gh in 1 2 3; do
        guests=$(inside $gh vm_names | grep '^course') || continue
        [ "$(echo "$guests" | uniq -d)" = '' ] || fail "in gh$gh some are there twice: $guests"
        there=$((there + $(echo "$guests" | wc -l)))
        # shellcheck disable=SC2086 # names, a word each
        case $(jq -r "select(.name | startswith(\"course.gh$gh-\")) | .power" around) in
        poweredOn) ;;
        '') inside $gh take_away $guests ;;
        *) inside $gh govc vm.power -off -force $guests >/dev/null 2>&1 ;;
        esac
    done
}

# The lab is unknown if a kill came before anything was recorded.
deep_down() {
    nestor down course --yes
    if [ "$status" -ne 0 ]; then
        expect_exit 1
        expect_error "course: no lab 'course'"
    fi
    guests_follow
    expect_deep_gone
}

# --- nestor killed in the middle ---


# deep_killed WHEN N COMMAND...: nestor is killed there. False: no such point. Notes in `between` if some of what is in
# the guest hypervisors was there then, and some was not.
deep_killed() {
    program=nestor-faulty
    killed_at "$@"
    killed=$?
    program=nestor
    guests_follow
    [ $there -eq 0 ] || [ $there -eq 6 ] || echo "$there" >>between
    return $killed
}

deep_up() {
    nestor up "$1" --yes
    expect_exit 0
}

# deep_killed_up WHEN N [OPTION...]: killed there, an up completes it; killed there, a down undoes it.
deep_killed_up() {
    begin "$vcsim_mode: up ${3:+$3 $4 }killed $1 commit $2, then up"
    deep_killed "$1" "$2" up lab.yaml --yes ${3:+"$3" "$4"} || { deep_down && return 1; }
    deep_up lab.yaml
    expect_deep_up
    deep_down
    begin "$vcsim_mode: up ${3:+$3 $4 }killed $1 commit $2, then down"
    deep_killed "$1" "$2" up lab.yaml --yes ${3:+"$3" "$4"}
    deep_down
}

# deep_killed_emptying WHEN N [OPTION...]: an up that takes away what is in the guest hypervisors.
deep_killed_emptying() {
    begin "$vcsim_mode: removals in the guest hypervisors ${3:+$3 $4 }killed $1 commit $2, then the same, and all again"
    deep_up lab.yaml
    deep_killed "$1" "$2" up bare.yaml --yes ${3:+"$3" "$4"} || { deep_down && return 1; }
    deep_up bare.yaml
    expect_bare
    deep_up lab.yaml
    expect_deep_up
    deep_down
}

# deep_killed_down WHEN N [OPTION...]: killed there, a down completes it; killed there, an up makes all of it again.
deep_killed_down() {
    begin "$vcsim_mode: down killed $1 commit $2, then down"
    deep_up lab.yaml
    deep_killed "$1" "$2" down course --yes || { deep_down && return 1; }
    deep_down
    begin "$vcsim_mode: down killed $1 commit $2, then up"
    deep_up lab.yaml
    deep_killed "$1" "$2" down course --yes
    deep_up lab.yaml
    expect_deep_up
    deep_down
}

# at_every_commit COMMAND LEAST [OPTION...]: before one commit, after the next: both see what was done in between.
at_every_commit() {
    command=$1 least=$2
    shift 2
    n=1
    while "$command" "$([ $((n % 2)) -eq 0 ] && echo after || echo before)" $n "$@"; do
        n=$((n + 1))
    done
    [ $n -gt "$least" ] || fail "it was over at commit $n"
}

# deep_killed_everywhere vpx|esx
deep_killed_everywhere() {
    start_deep "$1"
    at_every_commit deep_killed_up 15
    at_every_commit deep_killed_emptying 8 --parallel 1
    at_every_commit deep_killed_down 4
    stop_deep
}
