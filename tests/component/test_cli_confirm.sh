#!/bin/sh
# up and down ask before they change anything, if there is somebody to ask.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
command -v script >/dev/null || exit 77
write_lab box

# answers TEXT COMMAND...: nestor on a terminal, and somebody who types TEXT once it asks. The terminal's text is `out`.
# Nothing but nestor is on that terminal: a shell there would get a Ctrl-C as well, and could die of it first.
answers() {
    text=$1
    shift
    : >out
    : >err
    {
        await grep -qF '[y/N]' out
        # shellcheck disable=SC2059 # with escapes
        printf "$text"
        await test -s ended # its end of input would be one on the terminal, too
    } | {
        timeout -s KILL 60 script -qefc "exec $NESTOR_BINARY_DIR/nestor $*" out >/dev/null
        echo $? >ended
    }
    status=$(cat ended)
    rm ended
}

nothing_changed() {
    [ ! -e "$world/log" ] || fail "something was made: $(cat "$world/log")"
    [ "$(query "SELECT count(*) FROM labs")" = 0 ] || fail "the lab was recorded"
}

begin "up without a terminal and without --yes"
nestor up box.yaml
expect_exit 2
expect_out "Plan: 6 to create"
expect_error "this needs a confirmation, and there is no terminal to ask on" "add --yes"
nothing_changed

begin "no"
answers 'n\n' up box.yaml
expect_exit 1
expect_out "Bring the lab up as planned? [y/N]"
expect_out "Nothing was changed."
nothing_changed

begin "an empty line is no"
answers '\n' up box.yaml
expect_exit 1
nothing_changed

begin "end of input is no"
answers '\004' up box.yaml
expect_exit 1
nothing_changed

begin "Ctrl-C is no answer"
answers '\003' up box.yaml
expect_exit 130
expect_out "error: interrupted while waiting for an answer" # it did not just die of the signal
nothing_changed

begin "yes"
answers 'y\n' up box.yaml
expect_exit 0
expect_up box

what="nothing to do: nobody is asked"
nestor up box.yaml
expect_exit 0
expect_out "Nothing to do: box is as its lab file says"

what="down without a terminal and without --yes"
nestor down box
expect_exit 2
expect_error "this needs a confirmation" "add --yes"
expect_up box

what="down: no"
answers 'n\n' down box
expect_exit 1
expect_out "Remove all of this? [y/N]"
expect_up box
nestor status
grep -q "being removed" out && fail "it says that it is being removed"

what="down: yes"
answers 'yes\n' down box
expect_exit 0
expect_gone box
