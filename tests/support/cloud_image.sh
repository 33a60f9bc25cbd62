#!/bin/sh
# A cloud image as distributions publish them, made by nobody who knows nestor: sh cloud_image.sh OUTDIR
#
# Writes disk.qcow2: a partition table, a boot loader, Debian's kernel with Debian's own initramfs, and cloud-init
# with the configuration its package brings: a default user `debian`, no root login, the disk grown at the first boot.
set -eu
recipe_dir=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=templates/images/recipe.sh
. "$recipe_dir/../../templates/images/recipe.sh"
recipe_begin cloud-image "${1:-}"
mbr=/usr/lib/syslinux/mbr/mbr.bin

cd "$recipe_work"
recipe_say "installing packages (about 1 minute)"
recipe_bootstrap bookworm root.tar --variant=minbase \
    --include=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,dbus,cloud-init,cloud-guest-utils,netplan.io \
    --include=openssh-server,sudo,iproute2,e2fsprogs,fdisk \
    --customize-hook='echo "LABEL=cloudimg-root / ext4 defaults 0 1" >"$1/etc/fstab"' \
    --customize-hook='rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname"; : >"$1/etc/machine-id"'

recipe_say "making the disk"
mkdir root
tar -C root -xpf root.tar --wildcards './boot/*'
cp root/boot/vmlinuz-* vmlinuz
cp root/boot/initrd.img-* initrd.img
rm -rf root
cat >syslinux.cfg <<'END'
SERIAL 0 115200
PROMPT 0
DEFAULT linux
LABEL linux
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND root=LABEL=cloudimg-root ro console=tty0 console=ttyS0,115200
END
truncate -s 2G disk.raw
sfdisk -q disk.raw <<'END'
label: dos
start=1MiB, size=127MiB, type=e, bootable
start=128MiB, type=83
END
dd if="$mbr" of=disk.raw conv=notrunc status=none
mkfs.vfat -F 16 --offset=2048 -n BOOT disk.raw $((127 * 1024)) >/dev/null 2>&1 # it warns of the rest of the file
syslinux --offset $((1 << 20)) --install disk.raw
MTOOLS_SKIP_CHECK=1 mcopy -i disk.raw@@1M vmlinuz initrd.img syslinux.cfg ::
# shellcheck disable=SC2016 # expanded by the inner shell
recipe_as_root sh -euc '
    mkdir root
    tar -C root -xpf root.tar --numeric-owner
    mke2fs -q -F -t ext4 -L cloudimg-root -E "offset=$((128 << 20))" -d root disk.raw "$(((2048 - 128) << 10))k"
    rm -rf root'
qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
recipe_publish disk.qcow2
recipe_say "done: $(du -h "$recipe_out/disk.qcow2" | cut -f1) in $recipe_out"
