#!/bin/sh
# Three levels: what holds for two holds for any number.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"

lab_of() { # MORE-OF-THE-HOST
    cat >box.yaml <<END
lab: box
hosts:
  local: { driver: fake${1:+, $1} }
templates:
  tiny: { source: disk.raw, format: raw }
defaults: { template: tiny, memory: 64MiB }
machines:
  a:
    hypervisor: fake
    memory: 1GiB
    machines:
      b: { hypervisor: fake, memory: 512MiB, machines: { c1: , c2: } }
      d:
END
}
machines_of_lab=5

begin "up, exec, nothing to do"
lab_of
nestor up box.yaml --yes
expect_exit 0
expect_up box
nestor exec box/a/b/c2 -- hostname
expect_exit 0
expect_out c2

what="the outermost was switched off"
rm "$(machine box/a)/on"
nestor status box --json
expect_json '[.machines[] | .state] | unique == ["stopped"]'
nestor up box.yaml --yes
expect_exit 0
expect_up box

what="the middle one was destroyed"
rm -r "$(machine box/a/b)"
nestor plan box.yaml --json
expect_exit 3
expect_json '[.machines[] | select(.change == "create") | .path] == ["box/a/b", "box/a/b/c1", "box/a/b/c2"]'
nestor up box.yaml --yes
expect_exit 0
copies=2 expect_up box

what="down"
nestor down box --yes
expect_exit 0
expect_gone box

begin "the middle one cannot be proved"
lab_of "blind: box/a/b"
nestor up box.yaml --yes
expect_exit 4
expect_error "box/a/b: verifying it: "
nestor status box --json
expect_json '[.machines[] | select(.ready) | .path] == ["box/a", "box/a/d"]'
[ "$(logged "create box/a/b/c1")" = 0 ] || fail "a guest was made on an unproved guest hypervisor"

begin "a world outside of nestor's own folder"
world=$place/elsewhere
write_lab box "world: $world"
nestor up box.yaml --yes
expect_exit 0
machines_of_lab=6
expect_up box
nestor down box --yes
expect_exit 0
expect_gone box
