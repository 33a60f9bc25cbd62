#!/bin/sh
# What can go wrong between nestor and the server, in a lab on vcsim: each thing ends in success, or in an error that says
# what it was; the next `up` completes the lab without making anything twice, and `down` leaves nothing.
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_trouble.sh"

# at_every_kind WORDS ACTION: an up and a down in which the first call of each kind meets with that.
at_every_kind() {
    begin "$vcsim_mode: $1, once at every kind of call"
    govc snapshot.remove -vm gh-template nestor-base # it is made once, and stays
    control "$(sed "s/\$/ $2 times=1/" kinds)"
    : >calls
    up_and_down
    jq -r 'select(.rule) | .method' calls | sort -u | diff kinds - >met || fail "not all were met with it: $(cat met)"
}

for mode in vpx esx; do
    begin "$mode: nothing goes wrong"
    trouble_start $mode
    : >calls
    up_and_down
    jq -r .method calls | sort -u | grep -vx 'Login\|RetrieveServiceContent' >kinds
    [ "$(wc -l <kinds)" -gt 10 ] || fail "there are few kinds of call: $(tr '\n' ' ' <kinds)"
    at_every_kind "the session is over" expire
    at_every_kind "the connection is cut after the deed" "after reset"
    at_every_kind "the answer is cut" cut
    at_every_kind "the answer is broken XML" "after malformed"
    at_every_kind "the service is not there" http=503
    proxy_stop || fail "a secret went over the wire outside of the login"
done

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
