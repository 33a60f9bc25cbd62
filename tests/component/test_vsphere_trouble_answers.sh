#!/bin/sh
# Answers that are of no use, or never come, in a lab on vcsim: each ends in an error that says what it was; the next `up`
# completes the lab without making anything twice, and `down` leaves nothing.
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_trouble.sh"

trouble_start vpx
trouble "a page stands before the service" 1 'RetrievePropertiesEx html skip=1'
expect_said "the answer to RetrievePropertiesEx is not SOAP"
expect_said "check that the URL is the one of a vCenter or ESXi"
trouble "the answer to a read goes on and on" 1 'RetrievePropertiesEx huge=200 skip=1'
expect_said "its reply is larger than the limit"
trouble "the answer to a clone goes on and on" 0 'CloneVM_Task after huge=200 times=1'
trouble "the service does not come" 1 'RetrieveServiceContent http=503'
expect_said "the service is not available"

begin "nothing is answered any more, and there is a deadline"
sed 's/ready: running }/ready: address, timeouts: { boot: 2s }, extra-config: { SET.guest.ipAddress: 127.0.0.1 } }/' \
    lab.yaml >deadline.yaml
control 'RetrievePropertiesEx match=guest.net hole'
nestor up deadline.yaml --yes
expect_exit 4
! grep 'VMware Tools' err || fail "it says what nobody told it"
expect_error "waiting for it: "
control
nestor up deadline.yaml --yes
expect_exit 0
expect_vsphere_up
vsphere_down

begin "nothing is answered any more, and somebody presses Ctrl-C"
control 'CloneVM_Task hole'
nestor_begins up lab.yaml --yes
await grep -qs 'create begins' err.bg
kill -INT $!
ended $!
expect_exit 130
control
nestor up lab.yaml --yes
expect_exit 0
expect_vsphere_up
vsphere_down

proxy_stop || fail "a secret went over the wire outside of the login"
