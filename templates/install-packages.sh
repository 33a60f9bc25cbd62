#!/bin/sh
# Installs the Debian packages of the given purposes (see packages.txt) that are missing; does nothing, and needs no
# rights, when all are there.
set -eu

here=$(dirname "$0")
missing=
for purpose in "$@"; do
    for package in $(sed -n "s/^$purpose  *//p" "$here/packages.txt"); do
        if ! dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$'; then
            missing="$missing $package"
        fi
    done
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "These packages are missing, and neither root nor sudo is there to install them:$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "Installing Debian packages${as_root:+ with sudo} (a minute or two):$missing"
$as_root apt-get update -q >/dev/null
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q --no-install-recommends $missing >/dev/null
