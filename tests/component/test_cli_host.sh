#!/bin/sh
# One host: looked at by doctor, prepared by prepare.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

# write_host NAME DRIVER [PARAMETERS]: lab.yaml, with a host and a machine on it.
write_host() {
    cat >lab.yaml <<END
lab: box
hosts: { $1: { driver: $2${3:+, $3} } }
machines: { a: { template: tiny } }
END
}

begin "doctor: a host that is fit"
write_host vc fake-remote
nestor doctor --host vc
expect_exit 0
expect_out "ok    host vc                 fake-remote: nests (svm)"
expect_out "ok    licence                 it allows everything"
! grep -q qemu-img out || fail "more than the host was looked at"

begin "doctor: what is unfit fails it, what is doubtful does not"
write_host vc fake-remote 'unfit: "port group A: it rejects forged transmits", warns: "licence: it ends"'
nestor doctor --host vc
expect_exit 1
expect_out "fail  port group A            it rejects forged transmits"
expect_out "mend: change it there"
expect_out "warn  licence                 it ends"
nestor doctor --host vc --json
expect_exit 1
expect_json '.ok == false and (.findings[] | select(.check == "port group A") | .verdict == "fail" and
    .text == "it rejects forged transmits" and .mend == "change it there")'
write_host vc fake-remote 'warns: "licence: it ends"'
nestor doctor --host vc --json
expect_exit 0
expect_json '.ok and (.findings[] | select(.text == "it ends") | .verdict == "warn")'

begin "doctor: a host that cannot nest"
write_host vc fake-remote 'flag: none'
nestor doctor --host vc
expect_exit 1
expect_out "fail  host vc"
expect_out "host-not-capable"

begin "doctor: another file, and all of it"
write_host vc fake-remote
mv lab.yaml other.yaml
nestor doctor --host vc -f other.yaml
expect_exit 0
nestor doctor other.yaml
expect_out "ok    licence"
nestor doctor --host vc
expect_exit 2
expect_error "lab.yaml" "name a lab file"
nestor doctor --host cv --file other.yaml
expect_exit 1
expect_error "cv: there is no host of that name" "did you mean 'vc'?"

begin "prepare: once, and back"
write_host vc fake-remote
nestor prepare vc
expect_exit 0
expect_out "host vc: prepared to nest"
nestor prepare vc
expect_exit 0
expect_out "host vc: nothing to do"
nestor prepare vc --undo
expect_exit 0
expect_out "host vc: taken back"
[ "$(cat "$NESTOR_HOME/fake/vc/log")" = "$(printf 'prepare host vc\nunprepare host vc')" ] || fail "the log differs"

begin "prepare: a driver that prepares nothing"
write_host vc fake
nestor prepare vc
expect_exit 1
expect_error "vc: a host of driver 'fake' is never prepared by nestor"
nestor prepare
expect_exit 2

begin "prepare: what was done before it failed is told"
write_host vc fault 'wraps: fake-remote'
write_faults 'prepare host?vc io after'
nestor prepare vc
expect_exit 1
expect_out "host vc: prepared to nest"
expect_error "host vc: injected fault: prepare"
