#!/bin/sh
# What doctor and up say of the port group that guest hypervisors come to, when the lab file leaves it to their template.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"

# write_lab NESTING: course.yaml
write_lab() {
    cat >course.yaml <<END
lab: course
hosts:
$(vcsim_host "$proxy_url" "$proxy_thumbprint")
machines: { gh: { host: vc, template: gh-template, count: 3, memory: 64MiB, nesting: $1, ready: running } }
END
}
policy='<val xsi:type="VMwareDVSPortSetting"><securityPolicy><inherited>false</inherited><allowPromiscuous>'
policy=$policy'<inherited>false</inherited><value>true</value></allowPromiscuous><forgedTransmits><inherited>false'
policy=$policy'</inherited><value>false</value></forgedTransmits></securityPolicy></val>'

vcsim_start vpx
vcsim_template gh-template
proxy_start
control 'set HostSystem * capability.nestedHVSupported true' \
    "set DistributedVirtualPortgroup DC0_DVPG0 config.defaultPortConfig '$policy'"

begin "doctor tells that the port group of the template is unfit"
write_lab exposed
nestor doctor --host vc --file course.yaml
expect_out "warn  port group DC0_DVPG0"
expect_out "it rejects forged transmits: nested machines that are bridged to it get no answer"
expect_out "; template gh-template is on it"
expect_out "accept forged transmits, and switch on MAC learning"

what="up tells it, too, before anything is made, and goes on"
nestor up course.yaml --yes
expect_exit 0
expect_err "port group DC0_DVPG0: it rejects forged transmits"
expect_err "; template gh-template is on it; accept forged transmits"
nestor down course --yes
expect_exit 0

begin "it is no concern of machines that do not nest"
write_lab off
nestor doctor --host vc --file course.yaml
if grep -q 'port group' out; then fail "it speaks of a port group"; fi
nestor up course.yaml --yes
expect_exit 0
if grep -q 'port group' out err; then fail "it speaks of a port group"; fi
