# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with the other libraries
# A lab of three machines on vcsim, with the proxy in between that lets things go wrong. Source this instead of
# cli_lib.sh.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
machines_of_vsphere=3
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_kill.sh"

# trouble_start vpx|esx: vcsim, the proxy, and lab.yaml through it. Calls are recorded.
trouble_start() {
    start_vsphere "$1"
    proxy_start --record "$place/calls"
    sed -i "s|url: .*|url: $proxy_url|; s|thumbprint: .*|thumbprint: \"$proxy_thumbprint\" }|" lab.yaml
}

# trouble WORDS EXIT-STATUS CONTROL-LINE...: an up in the middle of it, the next one without it, and a down.
trouble() {
    begin "$vcsim_mode: $1"
    expected=$2
    shift 2
    control "$@"
    nestor up lab.yaml --yes
    expect_exit "$expected"
    cp err err.up
    control
    if [ "$expected" -ne 0 ]; then
        nestor up lab.yaml --yes
        expect_exit 0
    fi
    expect_vsphere_up
    vsphere_down
}
# What the up in the middle of it said.
expect_said() { grep -qF -- "$1" err.up || fail "it did not say: $1"; }

# up_and_down: what has to come out well in the middle of it.
up_and_down() {
    nestor up lab.yaml --yes
    expect_exit 0
    expect_vsphere_up
    nestor down course --yes
    expect_exit 0
    expect_vsphere_gone
}
