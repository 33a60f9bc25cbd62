#!/bin/sh
# Looking costs a host one question, however many machines it has.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
calls=$NESTOR_HOME/fake/local/calls

# asked COMMAND...: what the host was asked for meanwhile must be one look at all of it.
asked() {
    : >"$calls"
    nestor "$@"
    expect_exit 0
    [ "$(cat "$calls")" = "$(printf 'opening the hypervisor host local\nlisting its machines host local')" ] ||
        fail "$*: $(sort "$calls" | uniq -c | sort -rn | head)"
}

begin "a thousand machines"
cat >box.yaml <<END
lab: box
hosts: { local: { driver: fake-remote, counts: true } }
machines: { m: { count: 1000, template: t, memory: 16MiB, ready: address } }
END
nestor up box.yaml --yes --quiet
expect_exit 0
asked plan box.yaml
asked up box.yaml --yes --quiet
asked up box.yaml --yes
expect_out "1000 of 1000 machines ready"
asked status box --json
expect_json '.state == "up"'

begin "a guest hypervisor is asked once, too, and its machines not at all"
cat >box.yaml <<END
lab: box
hosts: { local: { driver: fake-remote, counts: true } }
machines:
  kvm: { hypervisor: fake-remote, template: t, memory: 4GiB, machines: { m: { count: 100, template: t, memory: 16MiB } } }
END
nestor up box.yaml --yes --quiet
expect_exit 0
: >"$calls"
nestor up box.yaml --yes --quiet
expect_exit 0
[ "$(sort "$calls")" = "$(
    sort <<END
opening the hypervisor host local
listing its machines host local
waiting for its address box/kvm
opening the hypervisor box/kvm
listing its machines box/kvm
END
)" ] || fail "the calls were: $(cat "$calls")"

begin "one new machine among a thousand costs what one machine costs"
cat >box.yaml <<END
lab: box
hosts: { local: { driver: fake-remote, counts: true } }
machines: { m: { count: 200, template: t, memory: 16MiB, ready: running } }
END
nestor up box.yaml --yes --quiet
expect_exit 0
sed -i 's/count: 200/count: 201/' box.yaml
: >"$calls"
nestor up box.yaml --yes --quiet
expect_exit 0
[ "$(grep -c box/m- "$calls")" -eq "$(grep -c 'box/m-201$' "$calls")" ] || fail "others were asked for: $(cat "$calls")"
