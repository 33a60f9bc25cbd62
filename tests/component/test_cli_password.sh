#!/bin/sh
# A password that the lab file does not point at is asked for: once, on the terminal, without echo.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
command -v script >/dev/null || exit 77
export EXPECTED=hunter-2

# write_host [MORE-OF-THE-HOST] [MORE-OF-THE-MACHINE]
write_host() {
    cat >box.yaml <<END
lab: box
hosts: { vc: { driver: fake-remote${1:+, $1} } }
defaults: { template: tiny, memory: 64MiB }
machines: { a: { hypervisor: { driver: fake-remote${2:+, $2} }, memory: 256MiB, machines: { b: } } }
END
}

# types PROMPT TEXT COMMAND...: nestor on a terminal, and somebody who types TEXT once it says PROMPT. Its text is `out`,
# and `echoes` says whether the terminal echoes afterwards. Ctrl-C reaches the shell around nestor, too: it has to outlive it.
types() {
    prompt=$1 text=$2
    shift 2
    : >out
    : >err
    {
        await grep -qF "$prompt" out
        # shellcheck disable=SC2059 # with escapes
        printf "$text"
        await test -e ended
    } | timeout -s KILL 60 script -qefc "trap : INT; $NESTOR_BINARY_DIR/nestor $*; echo \$? >status; stty -a >echoes; touch ended" \
        out >/dev/null
    status=$(cat status)
    rm ended status
}

terminal_is_as_before() {
    grep -qE '(^|[ ;])echo( |;|$)' echoes || fail "the terminal does not echo any more: $(cat echoes)"
}

begin "it is asked once, however often the host is opened, and is not echoed"
write_host "expects: { env: EXPECTED }, counts: true"
types "Password at host vc: " 'hunter-2\n' up box.yaml --yes
expect_exit 0
expect_out "box  up  2 of 2 machines ready"
[ "$(grep -c 'Password at host vc' out)" -eq 1 ] || fail "it was asked $(grep -c 'Password at' out) times"
[ "$(grep -c 'opening the hypervisor host vc' "$NESTOR_HOME/fake/vc/calls")" -gt 1 ] || fail "it was opened only once"
! grep -q hunter-2 out || fail "it was echoed"
! grep -rq hunter-2 "$NESTOR_HOME" || fail "it was kept in $(grep -rl hunter-2 "$NESTOR_HOME")"
terminal_is_as_before

begin "a wrong one is no loop"
write_host "expects: { env: EXPECTED }"
types "Password at host vc: " 'hunter-3\n' up box.yaml --yes
expect_exit 1
expect_out "host vc: the password is wrong"
[ ! -e "$NESTOR_HOME/fake" ] || fail "something was made"

begin "Ctrl-C is no answer, and leaves the terminal as it was"
types "Password at host vc: " '\003' up box.yaml --yes
expect_exit 130
terminal_is_as_before

begin "end of input, and nothing at all"
types "Password at host vc: " '\004' up box.yaml --yes
expect_exit 2
expect_out "no password was typed"
terminal_is_as_before
types "Password at host vc: " '\n' up box.yaml --yes
expect_exit 2
expect_out "no password was typed"

begin "in the middle of a run the picture makes room"
write_host "" "expects: { env: EXPECTED }"
export TERM=xterm
types "Password at box/a: " 'hunter-2\n' up box.yaml --yes
export TERM=dumb
expect_exit 0
grep -q "Password at box/a: $(printf '\r')$" out || fail "something stands behind the question"
expect_out "box  up  2 of 2 machines ready"
terminal_is_as_before

begin "doctor and gc ask, too"
write_host "expects: { env: EXPECTED }"
types "Password at host vc: " 'hunter-2\n' doctor --host vc --file box.yaml
expect_exit 0
expect_out "it allows everything"

begin "without a terminal"
{ timeout -s KILL 60 setsid -w "$NESTOR_BINARY_DIR/nestor" up box.yaml --yes </dev/null >out 2>err; }
status=$?
expect_exit 2
expect_error "'Password at host vc' cannot be asked for: there is no terminal" "password: { env: NAME } or { file: PATH }"
