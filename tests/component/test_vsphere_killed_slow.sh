#!/bin/sh
# SIGKILL before and after every commit of an `up` and of a `down` of ten machines on vcsim, a vCenter.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/cli_kill.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
. "$NESTOR_SOURCE_DIR/tests/support/vsphere_kill.sh"

vsphere_killed_everywhere vpx
