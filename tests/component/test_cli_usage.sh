#!/bin/sh
# Words that make no sense: told by the program with what would, and nothing is done. (Options of every command:
# unit/test_cli_options.c.)
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

# refused CAUSE MEND WORD...
refused() {
    what="nestor $(shift 2 && echo "$*")"
    cause=$1
    mend=$2
    shift 2
    nestor "$@"
    expect_exit 2
    expect_error "$cause" "$mend"
    [ ! -s out ] || fail "it says something on standard output"
}

begin "usage errors"
refused "error: there is no command 'paln'" "did you mean 'plan'? There are: init, validate, plan, up," paln
refused "error: there is no command 'xyzzy'" "there are: init, validate, plan, up," xyzzy
refused "error: there is no command 'paln'" "did you mean 'plan'?" help paln
refused "error: there is no command 'stat'" "did you mean 'status'?" stat
refused "error: there is no command 'logs'" "here it is 'nestor console'; 'nestor help' shows all" logs
refused "error: there is no command 'destroy'" "here it is 'nestor down'" destroy
refused "error: there is no command '--quiet'" "options stand after the command: nestor COMMAND --quiet" --quiet up
refused "error: graph: there is no --format 'svg'" "there are: dot, mermaid" graph box --format svg
refused "error: graph: there is no --format 'mermiad'" "did you mean 'mermaid'?" graph box --format=mermiad
refused "error: completion: there is no 'fish'" "there are: bash, zsh, labs, machines" completion fish
refused "error: image: there is no 'buidl'" "did you mean 'build'? There are: list, build, verify, rm" image buidl tiny
refused "error: image: list takes no name" "nestor image verify tiny" image list tiny
refused "error: image: build needs the name of an image" "nestor image list" image build
refused "error: up: --parallel: '0' is not" "most changes at once (default 64; more, up to 128, if the hosts take more); a whole number from 1 to" up x -p 0
refused "error: events: --limit needs a value" "the newest N entries" events --limit
refused "error: status: --json takes no value" "as JSON" status --json=yes
refused "error: down: unknown option '--yse'" "did you mean '--yes'? There are: --yes, --quiet, --help" down box --yse
refused "error: down: unknown option '-f'" "there are: --yes, --quiet, --help" down box -qf
refused "error: down: something is missing: LAB" "nestor down --help" down
refused "error: gc: too many words; expected: no arguments" "nestor gc --help" gc box
refused "error: ssh: something is missing: LAB/MACHINE..." "nestor ssh --help" ssh
refused "error: box: that is not the path of a machine" "LAB/MACHINE" ssh box
refused "error: box/: that is not the path of a machine" "LAB/MACHINE" exec box/ true
[ -z "$(ls "$NESTOR_HOME")" ] || fail "the home has $(ls "$NESTOR_HOME")"
