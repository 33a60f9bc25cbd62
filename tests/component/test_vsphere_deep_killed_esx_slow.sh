#!/bin/sh
# SIGKILL before or after every commit while a lab of three nested ESXi comes up on a bare ESXi, is emptied, or goes.
[ -n "${NESTOR_LONG_TESTS:-}" ] || {
    echo "skipped: some hundred kills, five minutes and more; set NESTOR_LONG_TESTS=1"
    exit 77
}
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_deep.sh"

deep_killed_everywhere esx
