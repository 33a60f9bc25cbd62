#!/bin/sh
# exec at both levels: output, input, exit status, and the machines it cannot reach.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
write_lab box

begin "in a guest hypervisor and in a nested guest"
nestor up box.yaml --yes
expect_exit 0
for path in box/kvm1 box/kvm2/web2; do
    nestor exec $path -- hostname
    expect_exit 0
    expect_out "${path##*/}"
    nestor exec $path -- exit 42
    expect_exit 42
    nestor exec $path -- nonsense
    expect_exit 127
    expect_err "not found"
done

what="a status that no process can have is no success"
nestor exec box/kvm1 -- exit 256
expect_exit 255

what="several words are passed exactly as they are"
nestor exec box/kvm1/web1 -- echo 'a  b' "it's"
expect_exit 0
expect_out "a  b it's"

what="standard input"
echo "hello in there" | "$NESTOR_BINARY_DIR/nestor" exec box/kvm1/web1 -- cat >out 2>err
status=$?
expect_exit 0
expect_out "hello in there"

what="a machine that is not there"
nestor exec box/kvm1/web3 -- true
expect_exit 1
expect_error "box/kvm1/web3: there is no such machine in lab 'box'" "did you mean 'box/kvm1/web1'?"

what="no machine, no lab, no command"
nestor exec box -- true
expect_exit 2
expect_error "box: that is not the path of a machine" "LAB/MACHINE"
nestor exec crate/kvm1 -- true
expect_exit 1
expect_error "crate: no lab 'crate'; labs: box"
nestor exec box/kvm1 --
expect_exit 2
expect_error "box/kvm1: exec: there is no command to run" "nestor ssh box/kvm1"

what="ssh to a machine that is not there, and to one without an address"
nestor ssh box/kvm1/web3
expect_exit 1
expect_error "box/kvm1/web3: there is no such machine in lab 'box'" "did you mean 'box/kvm1/web1'?"
nestor ssh box/kvm1
expect_exit 1
expect_error "box/kvm1: no address is known where SSH would reach it" "nestor exec box/kvm1 -- COMMAND"

what="a machine that is off, and one inside it"
rm "$(machine box/kvm2)/on"
nestor exec box/kvm2 -- true
expect_exit 1
expect_error "box/kvm2: it is not running"
nestor exec box/kvm2/web1 -- true
expect_exit 1
expect_error "box/kvm2: it is not running"
