#!/bin/sh
# Shell scripts, by someone who reads them more carefully. Skipped where shellcheck is not installed.
set -eu
cd "${NESTOR_SOURCE_DIR:-$(dirname "$0")/../..}"
command -v shellcheck >/dev/null || exit 77
find templates tests -name '*.sh' -exec shellcheck -x --severity=warning {} +
