#!/bin/sh
# Who the server is: no password for one that is not the one the lab file means, and a warning wherever nobody checks.
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_trouble.sh"

# refused WORDS [MEND] COMMAND...: it fails for that reason, and nobody has seen a login.
refused() {
    words=$1 mend=$2
    shift 2
    : >calls
    nestor "$@"
    expect_exit 1
    expect_error "$words" "$mend"
    [ "$(calls_count Login)" -eq 0 ] || fail "a password was sent"
}
# trusting ENTRIES: lab.yaml with these under tls
trusting() { sed "s|tls: .*|tls: { $1 }|" lab.yaml >trusting.yaml; }

trouble_start vpx

begin "a server with another certificate gets no password"
certificate other >thumbprint
trusting "thumbprint: \"$(cat thumbprint)\""
refused "host vc: " "thumbprint" up trusting.yaml --yes
trusting "ca: $place/other.pem"
refused "host vc: " "thumbprint" up trusting.yaml --yes
trusting "ca: $proxy_ca"
nestor up trusting.yaml --yes
expect_exit 0
expect_vsphere_up

begin_again() { printf -- '- %s\n' "${what:=$1}"; }
begin_again "its certificate is another one from now on"
port=${proxy_url#https://127.0.0.1:} port=${port%/sdk}
proxy_stop || fail "a secret went over the wire outside of the login"
proxy_start --record "$place/calls" --listen "127.0.0.1:$port"
for command in status verify; do
    refused "host vc: " "thumbprint" $command course
done
refused "host vc: " "thumbprint" down course --yes
expect_vsphere_up
