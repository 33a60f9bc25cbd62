#!/bin/sh
# What the proxy before vcsim does to calls and replies, as curl sees it.
. "${NESTOR_SOURCE_DIR:?}/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_soap.sh"

vcsim_start
proxy_start --record "$place/calls"
target=$proxy_url target_ca=$proxy_ca

begin "who has not logged in is told nothing, and the password is not recorded"
soap RetrievePropertiesEx PropertyCollector:propertyCollector "$(spec_of Folder group-d1 name)"
expect_fault NotAuthenticated
soap RetrieveServiceContent ServiceInstance:ServiceInstance
expect_status 200
login
expect_status 200
soap RetrievePropertiesEx PropertyCollector:propertyCollector "$(spec_of Folder group-d1 name)"
expect_status 200
expect_body Datacenters
[ "$(calls_of Login | jq -r .params.password)" = "(not recorded)" ] || fail "the password was recorded"
! grep -qF "${vcsim_password%%<*}" "$place/calls" || fail "the password is in the record"
[ "$(calls_of RetrievePropertiesEx '.fault == "NotAuthenticated"' | wc -l)" = 1 ] || fail "the fault was not recorded"
[ "$(calls_of RetrievePropertiesEx '.status == 200' | jq -r .params.specSet.objectSet.obj)" = Folder:group-d1 ] ||
    fail "what was asked was not recorded"

begin "a call fails with an HTTP status, as often as it is told to"
control 'RetrieveServiceContent http=503 skip=1 times=2'
for want in 200 503 503 200; do
    content
    expect_status $want
done
[ "$(calls_count RetrieveServiceContent '.rule and .status == 503')" = 2 ] || fail "not recorded: $(cat calls)"

begin "one of several rules is due"
control 'RetrieveServiceContent http=502 times=1' '*Content http=503 times=1'
for want in 502 503 200; do
    content
    expect_status $want
done

begin "connections are reset before and after the server acted"
home=$(govc object.collect -s /DC0 vmFolder)
control 'CreateFolder reset times=1'
soap CreateFolder "$home" "<name>before</name>"
expect_broken
control 'CreateFolder reset after times=1'
soap CreateFolder "$home" "<name>after</name>"
expect_broken
[ "$(govc ls /DC0/vm | grep -c before)" = 0 ] || fail "the call arrived although it was reset before"
[ "$(govc ls /DC0/vm | grep -c after)" = 1 ] || fail "the call did not arrive before the reset"
control 'connect reset times=1'
content
expect_broken

begin "a reply is cut, truncated, malformed, a page, too long"
control '* cut times=1'
content
expect_broken
control '* short times=1'
content
expect_broken
control '* truncate times=1'
content
expect_status 200
! grep -q '</soapenv:Envelope>' answer || fail "the reply is whole"
control '* malformed times=1'
content
expect_body '</wrong>'
control '* html times=1'
content
expect_body '<!DOCTYPE html>'
control '* huge=20 times=1'
content
[ "$(wc -c <answer)" -gt 20000000 ] || fail "only $(wc -c <answer) bytes came"
content
expect_status 200
expect_body '</soapenv:Envelope>'

begin "a call fails with a fault; with after, it was carried out all the same"
control 'CreateFolder fault=NoPermission'
soap CreateFolder "$home" "<name>denied</name>"
expect_fault NoPermission
control 'CreateFolder fault=SystemError:Broken after'
soap CreateFolder "$home" "<name>done</name>"
expect_fault SystemError
expect_body "<faultstring>Broken</faultstring>"
[ "$(govc ls /DC0/vm | grep -c 'denied$')" = 0 ] || fail "the folder was made"
[ "$(govc ls /DC0/vm | grep -c 'done$')" = 1 ] || fail "the folder was not made"

begin "calls are told apart by what they are about"
control 'CreateFolder match=odd fault=SystemError'
soap CreateFolder "$home" "<name>even</name>"
expect_status 200
soap CreateFolder "$home" "<name>odd</name>"
expect_fault SystemError

begin "a call is answered late or never"
control '* delay=300 times=1'
begun=$(date +%s%3N)
content
expect_status 200
[ $(($(date +%s%3N) - begun)) -ge 300 ] || fail "it was answered at once"
control '* hole'
max_time=1 content
expect_broken
control 'connect hole times=1'
max_time=1 content
expect_broken

begin "a session ends at a call, with all that it made, until a new login"
control
soap CreateListView ViewManager:ViewManager
view=$(returned)
control 'RetrievePropertiesEx expire skip=1 times=1'
what_is() { soap RetrievePropertiesEx PropertyCollector:propertyCollector "$(spec_of Folder group-d1 name)"; }
what_is
expect_status 200
what_is
expect_fault NotAuthenticated
what_is
expect_fault NotAuthenticated
login
expect_status 200
what_is
expect_status 200
soap ModifyListView "$view" '<add type="Folder">group-d1</add>'
expect_fault ManagedObjectNotFound

begin "a control file that makes no sense fails every call, with its line"
control '# fine' 'Login frobnicate'
content
expect_status 500
expect_body "control:2: 'frobnicate' is no word of a rule"
control
content
expect_status 200

begin "what is no SOAP passes"
curl -sS --cacert "$target_ca" "${target%/sdk}/about" >answer
expect_body Methods
proxy_stop || fail "it ended with $?"

begin "a secret that is anywhere but in a login stops everything, in every spelling"
for leak in "<a><![CDATA[$vcsim_password]]></a>" "<a>$(printf '%s' "$vcsim_password" | escaped)</a>" \
    "<a>$(printf 'y: %s\n' "$vcsim_password" | base64)</a>"; do
    proxy_start
    target=$proxy_url target_ca=$proxy_ca
    login
    soap CreateFolder "$home" "<name>leaked</name>$leak"
    expect_status 500
    expect_body "a secret is in call 2, CreateFolder"
    content
    expect_status 500
    status=0
    proxy_stop || status=$?
    [ $status = 70 ] || fail "it ended with $status"
    grep -q 'a secret is in call 2' "$proxy_dir/log" || fail "it did not say so"
done
[ "$(govc ls /DC0/vm | grep -c 'leaked$')" = 0 ] || fail "the call went on"
