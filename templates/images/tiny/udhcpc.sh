#!/bin/sh
# shellcheck disable=SC2154 # udhcpc sets them
# What udhcpc calls when a lease comes or goes.  $interface, $ip, $mask ... are
# its own.
case $1 in
deconfig)
    ip link set "$interface" up
    ip addr flush dev "$interface"
    ;;
bound | renew)
    ip addr replace "$ip/$mask" dev "$interface"
    [ -z "${NO_ROUTE:-}" ] || exit 0
    for gateway in $router; do
        ip route replace default via "$gateway" dev "$interface"
        break
    done
    {
        [ -z "$domain" ] || echo "search $domain"
        for server in $dns; do echo "nameserver $server"; done
    } >/etc/resolv.conf
    ;;
esac
