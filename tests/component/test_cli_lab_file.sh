#!/bin/sh
# What may be named as a lab file: a plain file, or standard input, which can be interrupted while it is waited for.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
write_lab box

begin "what is no plain file is refused at once"
mkfifo pipe.yaml
mkdir folder.yaml
for command in validate plan "up --yes" graph doctor; do
    for case in "pipe.yaml a FIFO" "folder.yaml a directory" "/dev/zero a device"; do
        # shellcheck disable=SC2086 # words
        nestor $command "${case%% *}"
        expect_exit 2
        expect_error "${case%% *}: it is ${case#* }, not a plain file" "'-' for standard input"
    done
done
[ ! -e "$world" ] || fail "something was made"

begin "standard input"
"$NESTOR_BINARY_DIR/nestor" up - --yes <box.yaml >out 2>err
status=$?
expect_exit 0
expect_up box

# reads COMMAND...: nestor waits for standard input that says nothing.
mkfifo silence
exec 9<>silence
reads() {
    "$NESTOR_BINARY_DIR/nestor" "$@" <&9 >out.bg 2>err.bg &
    running=$!
    background="$background $running"
    await heeds_signals $running
}

is_over() {
    ! grep -qs '^State:[[:space:]]*[^Z]' "/proc/$1/status" # the shell may have reaped it
}

for command in validate plan "up --yes" graph doctor; do
    begin "Ctrl-C while '$command' reads standard input"
    # shellcheck disable=SC2086 # words
    reads $command -
    kill -INT $running
    await is_over $running # and no second Ctrl-C is needed
    ended $running
    expect_exit 130
    expect_error "-: interrupted while reading the lab file from standard input"
done
