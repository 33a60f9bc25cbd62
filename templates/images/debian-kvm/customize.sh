#!/bin/sh
# Runs inside the new system, after its packages are installed.
set -eu

# Every unit costs time, seconds of it when the processor is emulated.  What
# serves a machine that lives for months is not for one that lives for a lab.
systemctl mask --quiet \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer logrotate.timer \
    getty@tty1.service systemd-pstore.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
    systemd-sysusers.service systemd-modules-load.service \
    systemd-network-generator.service systemd-random-seed.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
    sys-kernel-config.mount modprobe@configfs.service modprobe@drm.service \
    modprobe@dm_mod.service modprobe@loop.service modprobe@fuse.service \
    modprobe@efi_pstore.service cloud-init-hotplugd.socket \
    polkit.service libvirt-guests.service
# cloud-init's second stage has nothing left to do: see the meta-data in
# /var/lib/cloud/seed/nocloud.
systemctl mask --quiet cloud-init.service
systemctl enable --quiet systemd-networkd.service ssh.service libvirtd.service
systemctl set-default --quiet multi-user.target

# Each generator is a process of its own before anything else starts.  None of
# these has anything to find here; cloud-init's would search every disk to
# learn whether cloud-init shall run, and here the answer is always yes.
mkdir -p /etc/systemd/system-generators /etc/systemd/system/multi-user.target.wants
for generator in cloud-init-generator systemd-cryptsetup-generator systemd-debug-generator \
    systemd-gpt-auto-generator systemd-hibernate-resume-generator \
    systemd-integritysetup-generator systemd-rc-local-generator systemd-run-generator \
    systemd-system-update-generator systemd-sysv-generator systemd-veritysetup-generator; do
    ln -sf /dev/null "/etc/systemd/system-generators/$generator"
done
ln -sf /lib/systemd/system/cloud-init.target /etc/systemd/system/multi-user.target.wants/

# libvirt's own NAT network, there from the first start.
mkdir -p /etc/libvirt/qemu/networks/autostart
ln -sf /etc/libvirt/qemu/networks/default.xml /etc/libvirt/qemu/networks/autostart/default.xml

# sshd answers before the boot is over, and root may come in then: without
# this, the first commands are preceded by "System is booting up".  And a
# session of logind's starts a second systemd for each login.
sed -i '/pam_nologin/d; /pam_motd/d; /pam_mail/d; /pam_selinux/d' /etc/pam.d/sshd
sed -i '/pam_systemd/d' /etc/pam.d/common-session

# Python reads each module's source again to check its compiled form, when it
# was compiled for a reproducible image.  Nobody edits these: do not check.
python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3.11 /usr/lib/python3 >/dev/null || :

# What makes one machine itself is made at its first boot.
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub \
    /var/lib/systemd/random-seed /var/lib/dbus/machine-id /etc/hostname
: >/etc/machine-id
# Written by lab-resolv.sh when the network is up.
ln -sf /run/resolv.conf /etc/resolv.conf

rm -rf /var/log/*.log /var/log/apt /var/cache/apt/* /var/cache/debconf/*-old \
    /var/cache/ldconfig/aux-cache /etc/apt/apt.conf.d/99mmdebstrap
