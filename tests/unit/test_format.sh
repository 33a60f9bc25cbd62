#!/bin/sh
# clang-format would change nothing ('cmake --build --preset dev -t format' does). Skipped where it is another version:
# versions differ in what they think of the same file.
set -eu
cd "${NESTOR_SOURCE_DIR:-$(dirname "$0")/../..}"
clang-format --version 2>/dev/null | grep -q 'version 14\.' || exit 77
sh tests/format.sh --dry-run --Werror
