#!/bin/sh
# Each name is defined once: of two functions of one name in a static library the linker silently takes the first.
set -eu
binary=${NESTOR_BINARY_DIR:?where the build is}
cc=${CC:-cc}

# LIBRARY...: the global names with more than one definition, weak ones too, and their objects.
duplicates() {
    nm -A -g --defined-only "$@" 2>/dev/null |
        awk 'NF > 2 && $(NF - 1) ~ /^[TDBRCVW]$/ { n[$NF]++; split($1, at, ":"); where[$NF] = where[$NF] " " at[2] }
             END { for (name in n) if (n[name] > 1) print name ":" where[name] }'
}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
echo 'int twice(void); int twice(void) { return 1; } static int own(void) { return 2; } int (*a)(void) = own;' >"$tree/a.c"
echo 'int twice(void); int twice(void) { return 3; } static int own(void) { return 4; } int (*b)(void) = own;' >"$tree/b.c"
(cd "$tree" && "$cc" -c a.c b.c && ar rc lib.a a.o b.o)
got=$(duplicates "$tree/lib.a")
[ "$got" = "twice: a.o b.o" ] || { echo "the check is blind: it found '$got'"; exit 1; }

# What tests share must not stand in for the product either.
found=$(duplicates "$binary/libnestor-core.a" "$binary/tests/libnestor-test-support.a")
[ -z "$found" ] || { printf '%s\n' "$found"; exit 1; }
nm -g --defined-only "$binary/libnestor-core.a" 2>/dev/null | grep -q ' T lab_parse$' ||
    { echo "that is not the library of nestor"; exit 1; }
