#!/bin/sh
# The name servers systemd-networkd was given, for programs to read.  A
# resolver of its own would be one more daemon to start.
set -eu
# shellcheck source=/dev/null
DNS='' DOMAINS='' && . /run/systemd/netif/state
{
    [ -z "$DOMAINS" ] || echo "search $DOMAINS"
    for server in $DNS; do echo "nameserver $server"; done
} >/run/resolv.conf
