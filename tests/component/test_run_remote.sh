#!/bin/sh
# A lab on a hypervisor that is far away: templates of its own, guest hypervisors spoken to at their address.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

# write_remote NAME [MORE-OF-THE-HOST] [MORE-OF-A-GUEST-HYPERVISOR]: as write_lab, on the driver fake-remote.
write_remote() {
    cat >"$1.yaml" <<END
lab: $1
hosts:
  local: { driver: fake-remote${2:+, $2} }
defaults: { template: /DC0/vm/My Template, memory: 64MiB }
machines:
  kvm1: { hypervisor: fake-remote, memory: 256MiB${3:+, $3}, machines: { web1: , web2: } }
  kvm2: { hypervisor: fake-remote, memory: 256MiB${3:+, $3}, machines: { web1: , web2: } }
END
}

# overlaps STEP: how many pairs of them were under way at the same time.
overlaps() {
    query "SELECT count(*) FROM journal a JOIN journal b ON a.id < b.id AND a.step = '$1' AND b.step = '$1'
           AND b.started_at < a.ended_at"
}

nothing_was_made() {
    [ ! -e "$world/log" ] || fail "something was made: $(cat "$world/log")"
    [ "$(query "SELECT count(*) FROM labs")" = 0 ] || fail "the lab was recorded"
}

begin "it comes up, proved by what the guest hypervisors say of themselves, and needs no SSH"
write_remote box "" "extra-config: { SET.guest.ipAddress: 127.0.0.1 }, clone: full"
nestor up box.yaml --yes
expect_exit 0
expect_up box
nestor status box --json
expect_json '.machines[] | select(.path == "box/kvm1") | .nesting.verified and (.address | startswith("240."))'
[ "$(query "SELECT count(*) FROM evidence WHERE probes LIKE '%\"hypervisor-api\"%' AND verified")" = 2 ] ||
    fail "the evidence is $(query "SELECT * FROM evidence")"
[ -z "$(ls "$world/images")" ] || fail "an image was copied"
grep -qx 'clone full' "$(machine box/kvm1)/choices" || fail "it is no full clone"
grep -qx 'extra SET.guest.ipAddress=127.0.0.1' "$(machine box/kvm1)/choices" || fail "it has no extra-config"
grep -qx 'clone linked' "$(machine box/kvm1/web1)/choices" || fail "web1 is no linked clone"
grep -q '^image /DC0/vm/My Template$' "$(machine box/kvm1/web1)/spec" || fail "web1 is not made from the template"
nestor exec box/kvm1/web2 -- hostname
expect_exit 0
nestor verify box --json
expect_exit 0
expect_json '.verified and ([.machines[].probes[].name] == ["exposed", "hypervisor-api", "exposed", "hypervisor-api"])'
nestor validate box.yaml
expect_exit 0
nestor down box --yes
expect_exit 0
expect_gone box

begin "what is not proved gets no machines"
write_remote box "blind: box/kvm1"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/kvm1: verifying it: " "use a host with Intel VT-x or AMD-V"
expect_error "(host-not-capable)"
[ "$(logged "create box/kvm1/web1")" -eq 0 ] || fail "web1 was made"
[ "$(logged "create box/kvm2/web1")" -eq 1 ] || fail "the other web1 was not made"

begin "preferred: they run unaccelerated"
write_remote box "blind: box/kvm1" "nesting: preferred"
nestor up box.yaml --yes
expect_exit 0
expect_err "box/kvm1: warning: host-not-capable: its machines run unaccelerated"

begin "exposed: read back, not proved"
write_remote box "blind: box/*" "nesting: exposed, ready: address"
nestor up box.yaml --yes
expect_exit 0
expect_up box
[ "$(query "SELECT count(*) FROM journal WHERE step = 'verify'")" = 0 ] || fail "it was verified"

begin "a guest hypervisor that comes back is opened at its address again"
write_remote box
nestor up box.yaml --yes
expect_exit 0
rm "$(machine box/kvm1)/on"
nestor up box.yaml --yes
expect_exit 0
expect_up box

begin "three levels: a remote one in a remote one"
cat >box.yaml <<END
lab: box
hosts: { local: { driver: fake-remote } }
defaults: { template: t, memory: 64MiB }
machines:
  a:
    hypervisor: fake-remote
    memory: 1GiB
    machines:
      b: { hypervisor: { driver: fake-remote, expects: { env: EXPECTED }, password: { env: INNER } }, memory: 512MiB, machines: { c: } }
END
export EXPECTED=x
nestor up box.yaml --yes
expect_exit 4
expect_error "box/a/b: waiting for it: the environment variable INNER is not set"
export INNER=x
nestor up box.yaml --yes
expect_exit 0
nestor exec box/a/b/c -- hostname
expect_exit 0
unset INNER EXPECTED

begin "SSH goes around what is spoken to at its address"
cat >box.yaml <<END
lab: box
hosts: { local: { driver: fake-remote } }
defaults: { template: t, memory: 64MiB, ready: address }
machines:
  a: { hypervisor: fake-remote, memory: 1GiB, machines: { b: { hypervisor: fake-remote, memory: 256MiB, machines: { c: } } } }
END
nestor up box.yaml --yes
expect_exit 0
nestor ssh --config box
expect_exit 0
config=$(cat out)
grep -q '^Host box/a/b/c ' "$config" || fail "the machine has no alias"
! grep -q ProxyJump "$config" || fail "it jumps: $(grep ProxyJump "$config")"

what="the address that the host gives now goes before the recorded one"
note=$(machine box/a)/address
mv "$NESTOR_HOME/fake/addresses/$(cat "$note")" "$NESTOR_HOME/fake/addresses/10.9.8.7"
printf 10.9.8.7 >"$note"
nestor status box --json
expect_json '.machines[] | select(.path == "box/a") | .address | startswith("10.9.8.7:")'
nestor ssh --config box
grep -A1 '^Host box/a ' "$(cat out)" | grep -qx '    HostName 10.9.8.7' || fail "the recorded address is in it"

what="where the host gives none, the recorded one"
recorded=$(query "SELECT address FROM machines WHERE path = 'box/a'")
rm "$(machine box/a)/on"
nestor ssh --config box
expect_exit 0
grep -A1 '^Host box/a ' "$(cat out)" | grep -qFx "    HostName ${recorded%:*}" || fail "it has another address"

begin "a home with what OpenSSH takes for a token"
export NESTOR_HOME="$place/100%z me"
mkdir "$NESTOR_HOME"
nestor up box.yaml --yes
expect_exit 0
nestor ssh --config box
expect_exit 0
sed -i 's/HostName .*/HostName 127.0.0.1/; s/Port .*/Port 1/' "$(cat out)"
timeout 20 ssh -F "$(cat out)" box/a true 2>err
expect_err "Connection refused" # it could read it all
nestor down box --yes
expect_exit 0
rm -r "$NESTOR_HOME"

begin "a home that OpenSSH's configuration cannot name"
export NESTOR_HOME="$place/\${b}"
mkdir "$NESTOR_HOME"
nestor up box.yaml --yes
expect_exit 0
nestor ssh --config box
expect_exit 1
expect_error "OpenSSH's configuration cannot name it" "set NESTOR_HOME to a folder without them"
rm -r "$NESTOR_HOME"
export NESTOR_HOME="$place/home"

begin "many at once, where the host takes as many"
cat >box.yaml <<END
lab: box
hosts: { local: { driver: fake-remote, units: 90, delay: 500 } }
machines: { m: { count: 90, template: t, memory: 16MiB, ready: running } }
END
nestor up box.yaml --yes --quiet
expect_exit 0
at_once() {
    query "SELECT count(*) FROM journal WHERE step = 'create' AND started_at <
           (SELECT min(ended_at) FROM journal WHERE step = 'create')"
}
[ "$(at_once)" -eq 90 ] || fail "$(at_once) at once"

begin "one name on two kinds of host is two templates"
cat >box.yaml <<END
lab: box
hosts: { local: { driver: fake-remote, templates: tiny }, near: { driver: fake } }
templates: { disk: { source: disk.raw, format: raw } }
machines:
  a: { host: local, template: tiny }
  b: { host: near, template: disk }
END
nestor up box.yaml --yes
expect_exit 0
[ -n "$(ls "$NESTOR_HOME/fake/near/images")" ] || fail "the image was not copied"
[ -z "$(ls "$world/images")" ] || fail "an image was copied to where it is not needed"
nestor image rm tiny
expect_exit 1
expect_error "tiny: there is no such image" # and not: box/a is made from it

begin "a template that is not there"
write_remote box "templates: \"a, b\""
nestor up box.yaml --yes
expect_exit 4
expect_error "host local: bringing the image: there is no template '/DC0/vm/My Template' on it"

begin "what is unfit is told, all of it, before anything is made"
write_remote box "unfit: \"port group A: it rejects forged transmits; version: too old\", warns: \"licence: it ends\""
nestor up box.yaml --yes
expect_exit 1
expect_err "local: warning: licence: it ends; change it there"
expect_err "local: warning: port group A: it rejects forged transmits; change it there"
expect_err "local: warning: version: too old; change it there"
expect_error "local: port group A: it rejects forged transmits" "change it there"
nothing_was_made

begin "all hosts are looked at, and judged in their order"
write_remote box "unfit: \"port group A: it rejects forged transmits\""
sed -i '/^hosts:/a\  first: { driver: fake-remote, warns: "licence: it ends" }' box.yaml
sed -i '/^machines:/a\  alone: { host: first }' box.yaml
sed -i 's/hypervisor: fake-remote, memory: 256MiB/host: local, &/' box.yaml
nestor up box.yaml --yes
expect_exit 1
expect_error "local: port group A: it rejects forged transmits" "change it there"
expect_err "first: warning: licence: it ends; change it there"
sed -i 's/"licence: it ends"/&, memory: 64MiB/' box.yaml # and the hypervisor needs some itself
nestor up box.yaml --yes
expect_exit 1
expect_error "first: the lab needs 64MiB more memory, but only 64MiB are free"
! grep -q "port group A" err || fail "it went on after the first that does not do"

begin "a warning stops nothing"
write_remote box "warns: \"licence: it ends\""
nestor up box.yaml --yes
expect_exit 0
expect_err "local: warning: licence: it ends; change it there"

begin "a full clone takes what several linked ones do"
write_remote box "parallel: 4, delay: 30" "clone: full"
nestor up box.yaml --yes
expect_exit 0
[ "$(query "SELECT count(*) FROM journal WHERE step = 'create' AND outcome = 'done'")" = 6 ] || fail "not six creates"
[ "$(query "SELECT count(*) FROM journal a JOIN journal b ON a.path = 'box/kvm1' AND b.path = 'box/kvm2' AND
    a.step = 'create' AND b.step IN ('create', 'start') AND b.started_at < a.ended_at AND
    a.started_at < b.ended_at")" = 0 ] || fail "something went on beside a full clone: $(query "SELECT * FROM journal")"

begin "linked clones go on side by side"
write_remote box "parallel: 4, delay: 30"
nestor up box.yaml --yes
expect_exit 0
[ "$(overlaps create)" -gt 0 ] || fail "one after the other"

begin "switching nesting on is not counted where the driver says that it is light"
write_remote box "parallel: 1, delay: 30"
nestor up box.yaml --yes
expect_exit 0
beside() { # STEP STEP: kvm1's first and kvm2's second
    query "SELECT count(*) FROM journal a JOIN journal b ON a.step = '$1' AND b.step = '$2' AND a.path = 'box/kvm1' AND
           b.path = 'box/kvm2' AND a.started_at < b.ended_at AND b.started_at < a.ended_at"
}
[ "$(beside create create)" = 0 ] || fail "two creates at once"
[ "$(beside expose create)" = 1 ] || fail "a create waited for it: $(query "SELECT * FROM journal")"

begin "a host that says how much it takes gets no more"
write_remote box "units: 1, delay: 10" "machines: "
sed -i 's/, machines:  *, machines: { web1: , web2: }//' box.yaml
nestor up box.yaml --yes
expect_exit 0
[ "$(overlaps create)" = 0 ] || fail "two at once"

begin "unless the lab file says otherwise"
write_remote box "units: 1, parallel: 2, delay: 30"
nestor up box.yaml --yes
expect_exit 0
[ "$(overlaps create)" -gt 0 ] || fail "one after the other"

begin "a secret is nowhere but where it is said to be"
write_remote box "expects: { env: EXPECTED }, password: { file: secret }"
export EXPECTED=hunter-3
printf 'hunter-2\n' >secret
nestor up box.yaml --yes
expect_exit 1
expect_error "host local: the password is wrong"
printf 'hunter-3\n' >secret
nestor up box.yaml --yes
expect_exit 0
! grep -rq hunter-3 "$NESTOR_HOME" out err || fail "the secret is in $(grep -rl hunter-3 "$NESTOR_HOME" out err)"
[ "$(query "SELECT json_extract(params, '$.\"password.file\"') FROM hosts")" = "$place/secret" ] ||
    fail "the host is recorded as $(query "SELECT params FROM hosts")"

begin "a secret in the spec is refused before it is kept"
write_remote box "password: hunter-2"
nestor up box.yaml --yes
expect_exit 2
expect_error "'password' is a secret, which must not stand in the spec" "password: { env: NAME }"
! grep -q hunter-2 out err || fail "it was repeated"
nestor validate box.yaml --json
! grep -q hunter-2 out err || fail "it was repeated"
[ ! -e "$NESTOR_HOME/state.db" ] || ! grep -q hunter-2 "$NESTOR_HOME/state.db" || fail "it was kept"

begin "nobody to ask"
write_remote box "expects: { env: EXPECTED }"
nestor up box.yaml --yes
expect_exit 2
expect_error "'Password at host local' cannot be asked for" "password: { env: "
nothing_was_made
