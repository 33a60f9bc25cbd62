#!/bin/sh
# lab.sh spelled|count HYPERVISORS EACH WORLD IMAGE [HOST-KEY ...]: a lab of fake machines on standard output.
# spelled writes every machine, count says the same in a few lines. HOST-KEYs are added to the host, as 'parallel: 16'.
set -eu
form=$1 hypervisors=$2 each=$3 world=$4 image=$5
shift 5
echo "lab: bench"
echo "hosts:"
printf '  local: { driver: fake, delay: 50, world: "%s"' "$world"
for key; do printf ', %s' "$key"; done
echo " }"
echo "templates:"
echo "  disk: { source: \"$image\", format: raw }"
echo "defaults: { template: disk, memory: 64MiB }"
echo "machines:"
awk -v form="$form" -v hypervisors="$hypervisors" -v each="$each" '
function hypervisor(name, count) {
    printf "  %s:\n    hypervisor: fake\n    memory: 2GiB\n%s    machines:\n", name, count ? "    count: " count "\n" : ""
}
BEGIN {
    if (form == "count") {
        hypervisor("kvm", hypervisors)
        print "      web: { count: " each " }"
        exit
    }
    for (i = 1; i <= hypervisors; i++) {
        hypervisor("kvm-" i, 0)
        for (k = 1; k <= each; k++)
            print "      web-" k ": {}"
    }
}'
