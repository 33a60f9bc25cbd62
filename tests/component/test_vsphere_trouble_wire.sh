#!/bin/sh
# What goes wrong once between nestor and the server, at every kind of call, in a lab on vcsim: an `up` and a `down` come
# out well all the same, nothing is made twice, and nothing is left.
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
    [ "$(wc -l <kinds)" -ge 10 ] || fail "there are few kinds of call: $(tr '\n' ' ' <kinds)"
    at_every_kind "the session is over" expire
    at_every_kind "the connection is cut after the deed" "after reset"
    at_every_kind "the answer is cut" cut
    at_every_kind "the answer is broken XML" "after malformed"
    at_every_kind "the service is not there" http=503
    proxy_stop || fail "a secret went over the wire outside of the login"
done
