#!/bin/sh
# Debian 12 as a KVM guest hypervisor: sh build.sh OUTDIR
#
# Writes disk.qcow2, vmlinuz, initrd.img and cmdline.  The kernel is started
# directly by the host's QEMU: no boot loader to install, none to wait for.
set -eu
recipe_dir=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=templates/images/recipe.sh
. "$recipe_dir/../recipe.sh"
recipe_begin debian-kvm "${1:-}"
recipe_need mmdebstrap mke2fs qemu-img depmod cpio

# The cloud kernel: it is packed with LZ4, which unpacks fastest, it has ext4
# built in and fewer drivers to start, and kvm_amd and kvm_intel are there.
packages=linux-image-cloud-amd64,systemd-sysv,udev,dbus,busybox-static
packages=$packages,iproute2,iputils-ping,openssh-server,cloud-init,netcat-openbsd
packages=$packages,qemu-system-x86,qemu-utils
packages=$packages,libvirt-daemon-system,libvirt-clients,dnsmasq-base

cd "$recipe_work"
tar -C "$recipe_dir/files" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --mtime="@$SOURCE_DATE_EPOCH" --sort=name -cf files.tar .

recipe_say "installing packages (about 1 minute)"
# INITRD=No: the kernel's package would build an initramfs nobody starts.
# shellcheck disable=SC2016 # $1 is for the hook: the new system's root
INITRD=No recipe_bootstrap bookworm root.tar \
    --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/lintian/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='tar-in files.tar /' \
    --customize-hook="upload $recipe_dir/customize.sh /customize.sh" \
    --customize-hook='chroot "$1" sh /customize.sh' \
    --customize-hook='rm "$1/customize.sh"'

recipe_say "making the initramfs"
mkdir -p boot tree/bin tree/dev tree/proc tree/sys tree/root
tar -C boot -xf root.tar --wildcards './boot/vmlinuz-*' './usr/lib/modules' './usr/bin/busybox'
cp boot/boot/vmlinuz-* vmlinuz
cp boot/usr/bin/busybox tree/bin/
for applet in sh cat find findfs modprobe mount poweroff sort switch_root usleep xargs; do
    ln -s busybox "tree/bin/$applet"
done
cp "$recipe_dir/initramfs-init" tree/init
chmod 755 tree/init
# The network's driver too: systemd then finds its card at once.
recipe_modules boot tree virtio_pci virtio_mmio virtio_blk virtio_scsi virtio_net \
    ata_piix ata_generic ahci sd_mod vmw_pvscsi
recipe_cpio tree >initrd.img

recipe_say "making the disk (about 20 seconds)"
# mke2fs fills the file system from a directory: no mount.  Fixed ids and one
# date make it the same each time.
uuid=6e657374-6f72-4b56-8d00-000000000012
mkdir root
# shellcheck disable=SC2016 # expanded by the inner shell
E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH recipe_as_root sh -euc '
    tar -C root -xpf root.tar --numeric-owner
    truncate -s 8G disk.raw
    mke2fs -q -F -t ext4 -L lab-root -U "$1" -E "hash_seed=$1" -m 0 -d root disk.raw
    rm -rf root' sh "$uuid"
rm root.tar

recipe_say "converting the disk (about 10 seconds)"
# Not compressed: every first read would pay for it, in every machine.
qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
rm disk.raw

# Leaves out of the kernel's start what a lab's machine has no use for.
echo "root=/dev/vda rw console=ttyS0 quiet mitigations=off net.ifnames=0" \
    "lsm=yama audit=0 random.trust_cpu=on tsc=reliable no_timer_check" \
    "8250.nr_uarts=1" "panic=10" >cmdline
recipe_publish vmlinuz initrd.img cmdline disk.qcow2
recipe_say "done: $(du -h "$recipe_out/disk.qcow2" | cut -f1) in $recipe_out"
