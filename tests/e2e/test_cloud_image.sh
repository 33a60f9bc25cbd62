#!/bin/sh
# A cloud image of somebody else's as the template of a real machine: boot loader, partitions, its own default user and
# its own cloud-init, which takes identity and user-data from nestor's seed. Made by tests/support/cloud_image.sh.
set -eu
: "${NESTOR_SOURCE_DIR:?}" "${NESTOR_BINARY_DIR:?}"
if [ -n "${NESTOR_HOME:-}" ]; then cache=$NESTOR_HOME/cache; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/nestor; fi
image=$cache/test-images/cloud/disk.qcow2
if [ ! -e "$image" ]; then
    echo "skipped: the image is not built (sh tests/support/cloud_image.sh $(dirname "$image"))"
    exit 77
fi

place=$(mktemp -d "${TMPDIR:-/tmp}/nestor-e2e.XXXXXX")
export NESTOR_HOME="$place/home" NO_COLOR=1
mkdir "$NESTOR_HOME"
cd "$place"
nestor=$NESTOR_BINARY_DIR/nestor

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    status=$?
    [ $status = 0 ] || tail -n 40 out err 2>/dev/null
    timeout 120 "$nestor" down cloud --yes >/dev/null 2>&1
    cd / && rm -rf "$place"
    exit $status
}
trap clean_up EXIT
trap 'exit 1' INT TERM
die() { echo "FAILED: $*"; exit 1; }
inside() { timeout 60 "$nestor" exec cloud/stock -- sh -c "$1" </dev/null >out 2>err || die "exec: $1"; }

cat >lab.yaml <<END
lab: cloud
templates:
  stock:
    source: $image
    sha256: $(sha256sum "$image" | cut -d' ' -f1)
    user: debian
machines:
  stock:
    template: stock
    cpus: 2
    memory: 768MiB
    disk: 6GiB
    timeouts: { boot: 10m }
    user-data: |
      #cloud-config
      write_files:
        - { path: /etc/from-the-lab, content: "user-data was read\n" }
      runcmd:
        - [touch, /run/cloud-config-ran]
END
echo "- up"
timeout 700 "$nestor" up lab.yaml --yes >out 2>err </dev/null || die "up ended with $?"

echo "- the identity is the seed's: host name, user, pinned host key (or exec would be refused)"
inside 'echo $(hostname) $(whoami); sudo -n true && echo is-admin'
[ "$(cat out)" = "stock debian
is-admin" ] || die "identity: $(cat out)"

echo "- the lab's user-data counts, and the root file system has grown into the larger disk"
inside 'cloud-init status --wait >/dev/null; cat /etc/from-the-lab; test -e /run/cloud-config-ran && echo ran
        test "$(df --output=size -BM / | tail -n 1 | tr -dc 0-9)" -gt 5000 && echo grown'
[ "$(cat out)" = "user-data was read
ran
grown" ] || die "cloud-init: $(cat out)"

echo "- down leaves nothing, and the template as it was"
timeout 120 "$nestor" down cloud --yes >out 2>err || die "down ended with $?"
pgrep -f "qemu-system.*$NESTOR_HOME" && die "a QEMU process is left"
timeout 120 "$nestor" validate lab.yaml >out 2>err || die "validate"
grep -q "sha256: $(sha256sum "$image" | cut -d' ' -f1)" lab.yaml || die "the template was changed"
