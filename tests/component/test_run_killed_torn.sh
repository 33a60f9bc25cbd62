#!/bin/sh
# nestor killed while a machine is half-made: nothing of it may stay, and nothing may be built on it.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"

half_made() {
    dir=$(machine "$1")
    [ -n "$dir" ] && [ ! -e "$dir/spec" ]
}

# torn PATH WITHOUT: killed while PATH is half-made. The rest of the lab is there by then, because WITHOUT, for sed,
# takes PATH out of the lab file first: nothing else takes time, and PATH takes longer than anybody waits.
torn() {
    write_lab box
    sed -i "$2" box.yaml
    nestor up box.yaml --yes
    expect_exit 0
    write_lab box "delay: 60000, torn: true"
    nestor_begins up box.yaml --yes
    running=$!
    await half_made "$1"
    kill -KILL $running
    ended $running
    expect_exit 137
    write_lab box
    query "UPDATE hosts SET params = '{}'" # as `down` knows them: no delay from here on
}

for case in "box/kvm1|/ kvm1:/d" "box/kvm1/web1|s/web1: , //"; do
    path=${case%|*}
    begin "killed while $path was half-made"
    torn "$path" "${case#*|}"
    keep

    nestor plan box.yaml --json
    expect_exit 3
    expect_json ".machines[] | select(.path == \"$path\")
        | .change == \"replace\" and .reason == \"what is there is incomplete\""
    nestor status box --json
    expect_json ".machines[] | select(.path == \"$path\") | .state == \"failed\" and (.ready | not)"

    then_up
    restore
    then_down
done
