#!/bin/sh
# Ctrl-C, SIGTERM and SIGHUP: once brings everything to a safe point, twice ends at once; `up` goes on from both.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
driver=fault

# interrupted SIGNAL COMMAND...: gets the signal while the first machines are being created or removed, which a fault
# makes last until then.
interrupted() {
    signal=$1
    shift
    nestor_begins "$@"
    running=$!
    await grep -qsE "(create|remove) begins" err.bg
    kill -"$signal" $running
    ended $running
}

# Every intent has its outcome, and the run is over.
journal_is_closed() {
    [ "$(query "SELECT count(*) FROM journal WHERE outcome = 'intent'")" = 0 ] || fail "an intent has no outcome"
    [ "$(query "SELECT outcome FROM runs ORDER BY id DESC LIMIT 1")" = cancelled ] || fail "the run is not cancelled"
    [ "$(query "PRAGMA integrity_check")" = ok ] || fail "the database is damaged"
}

for signal in INT TERM HUP; do
    begin "up and SIG$signal"
    write_lab box
    write_faults "create ** none delay=60000"
    interrupted $signal up box.yaml --yes
    expect_exit 130
    expect_err "nestor: stopping; what runs is brought to a safe point (again: end at once)"
    expect_error "box/kvm" "run the same command again"
    journal_is_closed
    [ "$(logged "start box/kvm1")" = 0 ] || fail "it went on"
    rm "$NESTOR_HOME/faults"
    nestor up box.yaml --yes
    expect_exit 0
    expect_up box
done

begin "down and SIGINT"
write_lab box
nestor up box.yaml --yes
expect_exit 0
write_faults "remove ** none delay=60000"
interrupted INT down box --yes
expect_exit 130
expect_error "box/kvm" "run the same command again"
journal_is_closed
rm "$NESTOR_HOME/faults"
nestor down box --yes
expect_exit 0
expect_gone box

begin "SIGINT while an image is built"
mkdir -p templates/images/slow
echo "touch $place/builds; exec sleep 300" >templates/images/slow/build.sh
export NESTOR_TEMPLATES="$place/templates"
write_lab box
sed -i 's/template: tiny/template: slow/' box.yaml
nestor_begins up box.yaml --yes
running=$!
await test -e builds
kill -INT $running
ended $running
expect_exit 130
expect_error "making image slow: interrupted while" "run the same command again"
grep -q "image build" err && fail "it sends to another command"
unset NESTOR_TEMPLATES

begin "a half-made machine after SIGINT is replaced"
write_lab box
sed -i '/ kvm1:/d' box.yaml
nestor up box.yaml --yes # so that kvm1 is the first thing that takes time
expect_exit 0
write_lab box "delay: 60000, torn: true"
nestor_begins up box.yaml --yes
running=$!
is_there() {
    [ -n "$(machine "$1" 2>/dev/null)" ]
}
await is_there box/kvm1
kill -INT $running
ended $running
expect_exit 130
[ ! -e "$(machine box/kvm1)/spec" ] || fail "it was whole"
write_lab box
nestor up box.yaml --yes
expect_exit 0
expect_up box

begin "nohup is respected"
write_lab box "delay: 50"
nohup "$NESTOR_BINARY_DIR/nestor" up box.yaml --yes </dev/null >out.bg 2>err.bg &
running=$!
background="$background $running"
await grep -qs "create begins" err.bg
kill -HUP $running
ended $running
expect_exit 0
expect_up box

begin "SIGINT while a large image is hashed"
write_lab box
sed -i 's/disk.raw/large.raw/' box.yaml
truncate -s 200G large.raw
nestor_begins up box.yaml --yes
running=$!
await grep -qs "image begins" err.bg
kill -INT $running
ended $running
expect_exit 130
expect_err "local: image interrupted after"
query "SELECT error FROM journal WHERE step = 'image'" | grep -q "interrupted while computing its SHA-256" ||
    fail "it was not hashed"
journal_is_closed
truncate -s 4096 large.raw
nestor up box.yaml --yes
expect_exit 0
expect_up box

what="SIGINT while images are verified"
truncate -s 200G large.raw
nestor_begins image verify
running=$!
await heeds_signals $running
kill -INT $running
ended $running
expect_exit 130
expect_error "interrupted while verifying images"

begin "SIGINT while guest hypervisors are asked is no answer of theirs"
write_lab box
nestor up box.yaml --yes
expect_exit 0
for command in "status box --json" "plan box.yaml" "graph box" "up box.yaml --yes"; do
    # shellcheck disable=SC2086 # words
    interrupted_at "observe box/kvm1 none hold" $command
    expect_error "box: interrupted while asking its hypervisors"
    [ ! -s out ] || fail "$command says something all the same"
done

begin "SIGINT during doctor is no finding"
write_lab box
interrupted_at "check ** none hold" doctor box.yaml --json
expect_error "doctor: interrupted while looking"

begin "SIGINT while another process writes to the database"
write_lab box
nestor up box.yaml --yes
expect_exit 0
mkfifo hand
sqlite3 "$NESTOR_HOME/state.db" <hand &
background="$background $!"
exec 8>hand
# It waits: what asks below whether it has the lock takes it for a moment, too.
printf '.timeout 10000\nBEGIN IMMEDIATE;\n' >&8
await sh -c "! sqlite3 '$NESTOR_HOME/state.db' 'BEGIN IMMEDIATE; ROLLBACK' 2>/dev/null"
began=$(date +%s)
until grep -qs "interrupted before it could" err; do # else it was still looking at the lab
    [ $(($(date +%s) - began)) -lt 30 ] || fail "it does not come to writing"
    interrupted_at "observe host?local none" down box --yes
done
expect_error "state.db: interrupted before it could mark the lab as being removed: process "
exec 8>&-
nestor down box --yes
expect_exit 0

# Who waits for a lock does not see a signal: that stands for any operation that does not end at once.
begin "twice ends at once"
write_lab box
write_faults "connect box/kvm1 unreachable retry"
nestor_begins up box.yaml --yes
running=$!
await grep -qs "box/kvm1: reach begins" err.bg
exec 9<"$NESTOR_HOME/faults"
flock 9
await grep -q -e "-> FLOCK .* $running " /proc/locks
kill -INT $running
await grep -qs "nestor: stopping" err.bg
kill -INT $running
ended $running
expect_exit 130
[ "$(query "SELECT count(*) FROM journal WHERE outcome = 'intent'")" != 0 ] || fail "it brought everything to an end"
exec 9<&-
rm "$NESTOR_HOME/faults"
nestor up box.yaml --yes
expect_exit 0
expect_up box
