#!/bin/sh
# quickstart.sh, when nestor cannot be built: what the compiler said last is shown, and where the rest is.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/templates" "$place/bin"
cp "$NESTOR_SOURCE_DIR/templates/quickstart.sh" "$place/templates"
: >"$place/templates/install-packages.sh"
cat >"$place/bin/cmake" <<'END'
#!/bin/sh
[ "$1" = --build ] || { echo configured; exit 0; }
seq 1000
echo 'error: no semicolon' >&2
exit 1
END
chmod +x "$place/bin/cmake"

fail() {
    echo "FAILED: $1"
    cat "$place/out" "$place/err"
    exit 1
}

if PATH="$place/bin:$PATH" sh "$place/templates/quickstart.sh" >"$place/out" 2>"$place/err"; then
    fail "it went on"
fi
grep -qx 'error: no semicolon' "$place/err" || fail "it does not say what went wrong"
[ "$(wc -l <"$place/err")" -lt 40 ] || fail "it shows more than the end"
grep -qF "the last lines of $place/build/build.log" "$place/err" || fail "it does not name the log"
grep -qx configured "$place/build/build.log" || fail "the log is not whole"
! grep -q '^==> 3/4' "$place/out" || fail "it went on"
