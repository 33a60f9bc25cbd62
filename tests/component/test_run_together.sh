#!/bin/sh
# Ten nestors at once, on ten labs, on one host and one database.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

labs="a b c d e f g h i j"
for lab in $labs; do
    write_lab "$lab" "delay: 2"
done

# all_at_once VERB: `up` or `down` of every lab; each must succeed.
all_at_once() {
    for lab in $labs; do
        start "$1" "$lab"
    done
    all_succeed
}

started=''
start() { # VERB LAB
    argument=$2
    [ "$1" = down ] || argument=$2.yaml
    "$NESTOR_BINARY_DIR/nestor" "$1" "$argument" --yes --quiet </dev/null >"$2.out" 2>"$2.err" &
    started="$started $2:$!"
    background="$background $!"
}

all_succeed() {
    for one in $started; do
        wait "${one#*:}" || fail "lab ${one%:*} ended with $?: $(cat "${one%:*}.err")"
    done
    started=''
}

begin "ten ups at once, from an empty home"
all_at_once up
for lab in $labs; do
    nestor status "$lab" --json
    expect_json '.state == "up" and all(.machines[]; .ready)'
    nestor plan "$lab.yaml"
    expect_exit 0
done
[ "$(world_count)" -eq 60 ] || fail "the world has $(world_count) machines"
[ "$(sort "$world/log" | grep '^create ' | uniq -d)" = "" ] || fail "a machine was made twice"
[ "$(logged "image host local")" = 1 ] || fail "the image was copied $(logged "image host local") times"

what="ten ups at once, with nothing to do"
all_at_once up
[ "$(world_count)" -eq 60 ] || fail "the world has $(world_count) machines"

what="ten downs at once"
all_at_once down
for lab in $labs; do
    expect_gone "$lab"
done

begin "an up while another lab on the host is taken down: no image is taken away from under it"
nestor up a.yaml --yes
for _ in 1 2 3 4 5; do
    start down a
    start up b
    all_succeed
    start down b
    start up a
    all_succeed
done
nestor down a --yes
expect_exit 0
expect_gone a
