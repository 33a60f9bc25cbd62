#!/bin/sh
# What looking at a lab costs, and an `up` that finds nothing to do: as many round trips for many machines as for few.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
few=3 many=1000

# write_vc_lab COUNT
write_vc_lab() {
    cat >lab.yaml <<END
lab: course
hosts:
$(vcsim_host "$proxy_url" "$proxy_thumbprint")
    inventory: { network: VM Network }
machines:
  gh: { host: vc, template: gh-template, count: $1, memory: 16MiB, nesting: exposed, ready: address,
        extra-config: { SET.guest.ipAddress: 127.0.0.1 } }
END
}

# costs FILE ARGUMENTS...: the calls of one nestor, by method, to FILE. Those of the thread that waits for updates are no
# round trips of anybody's.
costs() {
    costs_to=$1
    shift
    : >calls
    nestor "$@"
    expect_exit 0
    jq -r .method calls | grep -v WaitForUpdatesEx | sort | uniq -c >"$costs_to"
}

# look_at COUNT: a lab of so many machines is there, and what it costs to look at it.
look_at() {
    write_vc_lab "$1"
    nestor up lab.yaml --yes
    expect_exit 0
    [ "$(vm_count course.gh-)" -eq "$1" ] || fail "there are $(vm_count course.gh-) machines"
    costs "plan.$1" plan lab.yaml
    costs "status.$1" status course
    costs "up.$1" up lab.yaml --yes
}

begin "looking at a lab costs the same number of round trips however many machines it has"
vcsim_start vpx -host 12 # they have less than 3 GiB each
vcsim_template gh-template
proxy_start --record "$place/calls"
look_at $few
look_at $many
for what in plan status up; do
    cmp -s $what.$few $what.$many || fail "$what: for $few machines $(cat $what.$few), for $many $(cat $what.$many)"
done
proxy_stop || fail "a secret went over the wire outside of the login"
