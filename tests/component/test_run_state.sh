#!/bin/sh
# A database that is damaged, too new, read-only or on a full disk.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
write_lab box

begin "not a database"
echo "this is no database" >"$NESTOR_HOME/state.db"
nestor up box.yaml --yes
expect_exit 1
expect_error "state.db: "
expect_error "not a database" "move $NESTOR_HOME/state.db and the -wal and -shm files beside it away"
[ ! -e "$world/log" ] || fail "something was made: $(cat "$world/log")"

begin "a damaged database"
nestor up box.yaml --yes
expect_exit 0
dd if=/dev/urandom of="$NESTOR_HOME/state.db" bs=512 seek=1 count=40 conv=notrunc 2>/dev/null
for command in "up box.yaml --yes" "down box --yes" "status box" "plan box.yaml"; do
    # shellcheck disable=SC2086 # words
    nestor $command
    expect_exit 1
    expect_error "state.db: "
done
[ "$(world_count)" -eq 6 ] || fail "the world has $(world_paths | tr '\n' ' ')"

begin "a database of a newer nestor"
nestor up box.yaml --yes
query "PRAGMA user_version = 99"
nestor up box.yaml --yes
expect_exit 1
expect_error "the database has version 99, written by a newer nestor" "use the newer nestor"
[ "$(query "PRAGMA user_version")" = 99 ] || fail "it was changed"

begin "somebody else's database"
query "CREATE TABLE songs (name TEXT)"
nestor up box.yaml --yes
expect_exit 1
expect_error "not one of nestor's"

program=nestor-faulty
for n in 1 5 10 20 30; do
    begin "the disk is full from commit $n on"
    export NESTOR_TEST_DISK_FULL_AT=$n
    nestor up box.yaml --yes --parallel 1
    unset NESTOR_TEST_DISK_FULL_AT
    case $n in 1 | 5) expect_exit 1 ;; *) expect_exit 4 ;; esac
    expect_error "state.db: "
    expect_error "disk is full"
    if [ $n -gt 5 ]; then
        [ "$(query "PRAGMA integrity_check")" = ok ] || fail "the database is damaged"
    fi
    nestor up box.yaml --yes
    expect_exit 0
    expect_up box
done

# The step that holds would do so for ten minutes; nestor is killed after one.
begin "the disk is full while a step is under way: it is stopped"
driver=fault
write_lab box
write_faults "create box/kvm2 none hold"
export NESTOR_TEST_DISK_FULL_AT=10
nestor up box.yaml --yes
unset NESTOR_TEST_DISK_FULL_AT
expect_exit 4
expect_error "disk is full"
expect_err "box/kvm2: create begins"
rm "$NESTOR_HOME/faults"
nestor up box.yaml --yes
expect_exit 0
expect_up box
driver=fake
write_lab box

begin "the disk is full during a down"
nestor up box.yaml --yes
export NESTOR_TEST_DISK_FULL_AT=3
nestor down box --yes
unset NESTOR_TEST_DISK_FULL_AT
expect_exit 1
expect_error "disk is full"
nestor down box --yes
expect_exit 0
expect_gone box
