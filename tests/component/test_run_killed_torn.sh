#!/bin/sh
# nestor killed while a machine is half-made: nothing of it may stay, and nothing may be built on it.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
driver=fault
write_lab box "delay: 150, torn: true"

half_made() {
    dir=$(machine "$1")
    [ -n "$dir" ] && [ ! -e "$dir/spec" ]
}

# torn PATH ITS-SIBLING: the sibling's create waits 40 ms, which is when PATH is half-made, and kills.
torn() {
    killed_by "create $2 kill delay=40" up box.yaml --yes || fail "it was not killed"
    half_made "$1" || fail "$1 was not half-made"
}

for pair in "box/kvm1 box/kvm2" "box/kvm1/web1 box/kvm1/web2"; do
    begin "killed while ${pair% *} was half-made"
    # shellcheck disable=SC2086 # two words
    torn $pair
    keep

    nestor plan box.yaml --json
    expect_exit 3
    expect_json ".machines[] | select(.path == \"${pair% *}\")
        | .change == \"replace\" and .reason == \"what is there is incomplete\""
    nestor status box --json
    expect_json ".machines[] | select(.path == \"${pair% *}\") | .state == \"failed\" and (.ready | not)"

    then_up
    restore
    then_down
done

