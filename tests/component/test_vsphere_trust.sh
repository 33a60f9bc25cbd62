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
vsphere_down

begin "a server that shows another certificate one day gets no password"
nestor up lab.yaml --yes
expect_exit 0
port=${proxy_url#https://127.0.0.1:} port=${port%/sdk}
proxy_stop || fail "a secret went over the wire outside of the login"
proxy_start --record "$place/calls" --listen "127.0.0.1:$port"
for command in status verify; do
    refused "host vc: " "thumbprint" $command course
done
refused "host vc: " "thumbprint" down course --yes
expect_vsphere_up
trusting "thumbprint: \"$proxy_thumbprint\""
nestor up trusting.yaml --yes
expect_exit 0
vsphere_down

begin "where nobody checks who answers, every command warns, once"
trusting "insecure: true"
warned() { # COMMAND...
    nestor "$@"
    [ "$(grep -c 'warning: host vc: nobody checks who answers there' err)" -eq 1 ] ||
        fail "it warned $(grep -c 'nobody checks' err) times"
}
warned plan trusting.yaml
warned up trusting.yaml --yes
expect_exit 0
warned status course
warned verify course --timeout 1
warned exec --timeout 1 course/plain -- true
warned graph course
warned doctor --host vc --file trusting.yaml
rm -rf kept && mv "$NESTOR_HOME" kept && mkdir "$NESTOR_HOME"
warned adopt vc --yes --file trusting.yaml
expect_exit 0
warned down course --yes
expect_exit 0
expect_vsphere_gone
rm -rf "$NESTOR_HOME" && mv kept "$NESTOR_HOME"
warned gc
warned down course --yes
proxy_stop || fail "a secret went over the wire outside of the login"
