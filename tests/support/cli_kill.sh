# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with cli_lib.sh
# nestor killed at a chosen instant, and what must be possible after it. Source cli_lib.sh first.
program=nestor-faulty

# killed_at WHEN N COMMAND...: runs it, killed by SIGKILL before or after its N-th commit, or at the N-th write of the
# database. False if it ended before there were that many.
killed_at() {
    export NESTOR_TEST_KILL_WHEN="$1" NESTOR_TEST_KILL_AT="$2"
    shift 2
    nestor "$@"
    unset NESTOR_TEST_KILL_WHEN NESTOR_TEST_KILL_AT
    was_killed
}

# killed_by FAULT COMMAND...: the same at an operation of the fault driver.
killed_by() {
    write_faults "$1"
    shift
    nestor "$@"
    rm "$NESTOR_HOME/faults"
    was_killed
}

was_killed() {
    [ "$status" -eq 137 ] && return 0
    expect_exit 0
    return 1
}

then_up() {
    nestor up box.yaml --yes
    expect_exit 0
    expect_up box
}

# The lab is unknown if the kill came before anything was recorded.
then_down() {
    nestor down box --yes
    if [ "$status" -ne 0 ]; then
        expect_exit 1
        expect_error "box: no lab 'box'"
    fi
    expect_gone box
}

# No side effect comes before its intent is on disk: what the world's log tells, the journal knew. Asks a copy of the
# database, because looking already repairs it.
expect_intents() {
    [ -f "$world/log" ] || return 0
    rm -rf looked
    mkdir looked
    cp "$NESTOR_HOME"/state.db* looked
    sqlite3 looked/state.db "SELECT DISTINCT step || ' ' || path FROM journal" | sort >intents
    sed 's/ host \([^ ]*\)$/ \1/' "$world/log" | sort -u | comm -23 - intents >unintended
    [ ! -s unintended ] || fail "was done, but not intended: $(tr '\n' ',' <unintended)"
}

# keep / restore: the home as it was, at the same place.
keep() {
    expect_intents
    rm -rf kept
    cp -a "$NESTOR_HOME" kept
}
restore() {
    rm -rf "$NESTOR_HOME"
    cp -a kept "$NESTOR_HOME"
}

# kills_up WHEN N: an up of box killed there is completed by up, and undone by down. False if there is no such point.
pace="--parallel 1" # most intents and outcomes in commits of their own
kills_up() {
    begin "up $pace killed: $1 $2"
    # shellcheck disable=SC2086 # two words, or none
    killed_at "$1" "$2" up box.yaml --yes $pace || return 1
    keep
    then_up
    restore
    then_down
}

# kills_down WHEN N: the same with a down.
kills_down() {
    begin "down killed: $1 $2"
    nestor up box.yaml --yes
    expect_exit 0
    killed_at "$1" "$2" down box --yes || return 1
    keep
    then_down
    restore
    then_up
}

# kills_up_in OPERATION N [after]: an up killed in (or just after) the N-th call of a driver's operation, at any level.
kills_up_in() {
    begin "up killed ${3:-in} $1 number $2"
    killed_by "$1 ** kill skip=$(($2 - 1)) ${3:-}" up box.yaml --yes || return 1
    keep
    then_up
    restore
    then_down
}

kills_down_in() {
    begin "down killed ${3:-in} $1 number $2"
    nestor up box.yaml --yes
    expect_exit 0
    killed_by "$1 ** kill skip=$(($2 - 1)) ${3:-}" down box --yes || return 1
    keep
    then_down
    restore
    then_up
}
