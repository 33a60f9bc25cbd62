#!/bin/sh
# Debian's cloud-init, unpacked into DIR and not installed: its service could set this machine up anew at its next boot.
#   sh cloud_init.sh DIR
set -eu
dir=$1
[ ! -e "$dir/usr/bin/cloud-init" ] || exit 0
rm -rf "$dir.part"
mkdir -p "$dir.part"
(cd "$dir.part" && apt-get download -q cloud-init >/dev/null 2>&1 || { apt-get update -q >/dev/null && apt-get download -q cloud-init >/dev/null; })
dpkg-deb -x "$dir.part"/cloud-init_*.deb "$dir.part"
rm -rf "$dir"
mv "$dir.part" "$dir"
