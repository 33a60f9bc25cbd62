#!/bin/sh
# In what order things are made, where the limits leave a choice.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

# made OPERATION...: the order in which the world's log has these operations on machines
made() {
    pattern=$(printf '%s|' "$@")
    grep -E "^(${pattern%|}) [a-z-]*/" "$world/log" | tr '\n' ','
}

begin "a host that does one thing at a time brings up one guest hypervisor after the other"
write_lab box 'parallel: 1'
nestor up box.yaml --yes
expect_exit 0
order=$(grep -vE '/web|^image|^network' "$world/log" | tr '\n' ',')
want='create box/kvm1,expose box/kvm1,start box/kvm1,create box/kvm2,expose box/kvm2,start box/kvm2,'
[ "$order" = "$want" ] || fail "the order was $order"

begin "one step at a time, the order is always the same"
write_lab box
nestor up box.yaml --yes --parallel 1
expect_exit 0
first=$(made create expose start)
nestor down box --yes
for _ in 1 2 3; do
    rm -f "$world/log"
    nestor up box.yaml --yes --parallel 1
    expect_exit 0
    [ "$(made create expose start)" = "$first" ] || fail "now the order was $(made create expose start), before $first"
    nestor down box --yes
done
