#!/bin/sh
# A small Linux any hypervisor starts from its BIOS: sh build.sh OUTDIR
#
# Writes disk.qcow2: one FAT volume without a partition table (so that mtools
# can fill it and nothing needs mounting), syslinux, a kernel and an initramfs
# which is the whole system.
set -eu
recipe_dir=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=templates/images/recipe.sh
. "$recipe_dir/../recipe.sh"
recipe_begin tiny "${1:-}"
recipe_need mmdebstrap mkfs.vfat mcopy syslinux cpio lz4 depmod qemu-img

# The cloud kernel knows what hypervisors emulate best (virtio, VMware's
# vmxnet3 and pvscsi, IDE) and starts in half the time of the general one,
# which is packed with xz.  TINY_KERNEL=amd64 takes the general one, for a
# machine that has nothing but e1000 cards or SATA disks.
kernel_package=linux-image-${TINY_KERNEL:-cloud-amd64}

cd "$recipe_work"
recipe_say "fetching packages (about 20 seconds)"
# Extracted, not installed: nothing of this system runs here.
recipe_bootstrap bookworm root \
    --variant=extract --include="$kernel_package,busybox-static,dropbear-bin"

recipe_say "making the initramfs"
mkdir -p tree/bin tree/sbin tree/usr/bin tree/usr/sbin tree/lib64 tree/lib/x86_64-linux-gnu \
    tree/dev tree/proc tree/sys tree/run tree/tmp tree/root tree/seed tree/mnt tree/var \
    tree/etc/acpi/PWRF
ln -s ../run tree/var/run
cp "$recipe_dir/init" tree/init
cp "$recipe_dir/udhcpc.sh" tree/etc/udhcpc.sh
chmod 755 tree/init tree/etc/udhcpc.sh

# Found, not named: whether /bin is a link to /usr/bin differs.
pick() { find root -path "*bin/$1" -type f | head -n 1; }
busybox=$(pick busybox)
cp "$busybox" tree/bin/busybox
"$busybox" --list-full | while read -r applet; do
    [ -e "tree/$applet" ] || ln -s /bin/busybox "tree/$applet"
done
for program in dropbear dropbearconvert dropbearkey; do
    cp "$(pick "$program")" tree/usr/sbin/
done
# The new system's own loader says which libraries they need; the libraries of
# this machine may be of another release.
loader=$(find root -name ld-linux-x86-64.so.2 | head -n 1)
libs=root/lib/x86_64-linux-gnu:root/usr/lib/x86_64-linux-gnu
for program in tree/usr/sbin/dropbear*; do
    "$loader" --inhibit-cache --library-path "$libs" --list "$program"
done | sed -n 's/.* => \(root[^ ]*\) .*/\1/p' | sort -u | while read -r lib; do
    cp -L "$lib" tree/lib/x86_64-linux-gnu/
done
cp -L "$loader" tree/lib64/

cat >tree/etc/passwd <<'END'
root:*:0:0:root:/root:/bin/sh
END
echo 'root:x:0:' >tree/etc/group
echo '/bin/sh' >tree/etc/shells
# At once: init's own way out waits two seconds for processes to end, and this
# system has nothing to lose once its disks are written.
printf '%s\n' '#!/bin/sh' 'sync' 'umount -a -r 2>/dev/null' 'exec poweroff -f' >tree/etc/acpi/PWRF/00000080
chmod 755 tree/etc/acpi/PWRF/00000080
chmod 700 tree/root

# Disks and network cards of the hypervisors, their bus drivers, what reads a
# seed, the power button, and a source of randomness.
modules="virtio_pci virtio_blk virtio_scsi virtio_net virtio_rng
    ata_piix ata_generic ahci sd_mod sr_mod vmw_pvscsi mptspi mptsas
    e1000 e1000e vmxnet3 pcnet32 8139cp
    vfat nls_cp437 nls_ascii nls_iso8859_1 nls_utf8 isofs button evdev"
# shellcheck disable=SC2086 # a list of words
recipe_modules root tree $modules
kernel=$(find root/boot -name 'vmlinuz-*')

recipe_cpio tree >initrd
# LZ4: unpacked in a tenth of a second where zstd takes three and xz two whole
# seconds; not packed at all is no faster, the BIOS has more to read then.
lz4 -q -l -9 -c initrd >initrd.img

recipe_say "making the disk"
cat >syslinux.cfg <<'END'
SERIAL 0 115200
PROMPT 0
TIMEOUT 0
DEFAULT tiny
LABEL tiny
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND console=tty1 console=ttyS0 quiet mitigations=off
END
cp "$kernel" vmlinuz
touch -d "@$SOURCE_DATE_EPOCH" vmlinuz initrd.img syslinux.cfg
truncate -s 48M disk.raw
mkfs.vfat --invariant -n TINY disk.raw >/dev/null
syslinux --install disk.raw
TZ=UTC MTOOLS_SKIP_CHECK=1 mcopy -m -i disk.raw vmlinuz initrd.img syslinux.cfg ::
qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
recipe_publish disk.qcow2
recipe_say "done: $(du -h "$recipe_out/disk.qcow2" | cut -f1) in $recipe_out"
