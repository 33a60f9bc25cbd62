#!/bin/sh
# Every header stands alone: it includes what it needs, may be included twice, and a contract is plain C17.
set -eu
root=${NESTOR_SOURCE_DIR:-$(dirname "$0")/../..}
cc=${CC:-cc}
cd "$root"

# Folders with a foreign library may use its types in their own headers.
libraries=$(pkg-config --cflags-only-I libxml-2.0 2>/dev/null | sed 's/-I/-isystem /g')

# HEADER STANDARD: complains as the compiler does.
compiles() {
    # shellcheck disable=SC2086 # a list of words
    printf '#include "%s"\n#include "%s"\nextern int not_empty;\n' "$1" "$1" |
        "$cc" -x c -fsyntax-only "-std=$2" -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror \
            -I"${3:-include}" -Iorchestrator $libraries -
}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
echo 'size_t needs_stddef(void);' >"$tree/wrong.h"
echo 'struct twice { int x; };' >"$tree/twice.h"
for bad in wrong.h twice.h; do
    ! compiles "$bad" c17 "$tree" 2>/dev/null || { echo "the check is blind to $bad"; exit 1; }
done

failed=0
for header in include/nestor/*.h; do
    compiles "${header#include/}" c17 || failed=1
done
# What a folder keeps to itself may use the extensions the rest is built with.
for header in orchestrator/*/*.h orchestrator/*/*/*.h; do
    compiles "${header#orchestrator/}" gnu17 || failed=1
done
exit $failed
