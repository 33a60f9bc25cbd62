#!/bin/sh
# SIGKILL before or after every commit while a lab of three nested ESXi comes up on a bare ESXi, is emptied, or goes.
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_deep.sh"

deep_killed_everywhere esx
