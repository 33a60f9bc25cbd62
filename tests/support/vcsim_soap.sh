# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with the script that sources this
# SOAP calls by curl, to see the wire itself. Source vcsim_lib.sh first; set $target (URL) and $target_ca (PEM file).

# escaped: standard input as the content of an XML element
escaped() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }

# soap METHOD TYPE:ID [PARAMETERS]: the reply's body goes to the file answer, its status to $http: 000 where none came.
# $max_time: seconds.
soap() {
    {
        printf '<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"'
        printf ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        printf '<e:Body><%s xmlns="urn:vim25"><_this type="%s">%s</_this>%s</%s></e:Body></e:Envelope>' \
            "$1" "${2%%:*}" "${2#*:}" "${3:-}" "$1"
    } >question
    : >answer
    http=$(curl -s --max-time "${max_time:-60}" --cacert "$target_ca" -b cookies -c cookies \
        -H 'Content-Type: text/xml' -H 'SOAPAction: "urn:vim25/6.5"' \
        --data-binary @question -o answer -w '%{http_code}' "$target")
    curl_status=$?
    what_came="$1: status $http, curl $curl_status: $(head -c 600 answer)"
}
content() { soap RetrieveServiceContent ServiceInstance:ServiceInstance; }
login() {
    rm -f cookies
    soap Login SessionManager:"${session_manager:-SessionManager}" \
        "<userName>$vcsim_user</userName><password>$(printf '%s' "$vcsim_password" | escaped)</password>"
}
# spec_of TYPE ID PATH...: a RetrievePropertiesEx's parameters for one object
spec_of() {
    printf '<specSet><propSet><type>%s</type>' "$1"
    kind=$1 id=$2
    shift 2
    printf '<pathSet>%s</pathSet>' "$@"
    printf '</propSet><objectSet><obj type="%s">%s</obj></objectSet></specSet><options/>' "$kind" "$id"
}
# returned: TYPE:ID of the reference in the answer
returned() { sed -n 's|.*<returnval type="\([^"]*\)">\([^<]*\)</returnval>.*|\1:\2|p' answer; }

expect_status() { [ "$http" = "$1" ] || fail "not $1: $what_came"; }
expect_broken() { [ $curl_status -ne 0 ] || fail "it was answered: $what_came"; }
expect_fault() {
    expect_status 500
    grep -q "xsi:type=\"$1\"" answer || fail "no fault $1: $what_came"
}
expect_body() { grep -qF -- "$1" answer || fail "it does not say $1: $what_came"; }
