#!/bin/sh
# The examples of docs/drivers.md run as they stand there, and build nothing.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
rm disk.raw # the documentation says how to make one
export NESTOR_TEMPLATES="$place/no-recipes"
PATH=$NESTOR_BINARY_DIR:$PATH

# blocks LANGUAGE: each block of it to a file, block.1, block.2 ...
blocks() {
    rm -f block.*
    awk -v start="^\`\`\`$1\$" '$0 ~ start { n++; inside = 1; next } /^```$/ { inside = 0 } inside { print > "block." n }' \
        "$NESTOR_SOURCE_DIR/docs/drivers.md"
}

blocks yaml
for block in block.*; do
    mv "$block" "$(sed -n 's/^lab: *//p' "$block").yaml"
done
[ -e rehearsal.yaml ] && [ -e unlucky.yaml ] || fail "the labs are not there: $(ls)"

begin "the fake driver's example"
blocks sh
[ -e block.1 ] || fail "there are no commands"
timeout -s KILL 60 sh -eu block.1 </dev/null >out 2>err
status=$?
expect_exit 0
expect_out "web-1"
expect_out "Lab rehearsal is gone"

begin "the fault driver's example"
nestor up unlucky.yaml --yes
expect_exit 0
nestor status unlucky --json
expect_json '.state == "up" and (.machines | length == 3)'
