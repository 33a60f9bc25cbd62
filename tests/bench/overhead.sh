#!/bin/sh
# overhead.sh: `nestor up` of the quickstart lab against by_hand.sh, alternating, with real virtual machines.
#
#   NESTOR      the binary; default build-bench/nestor
#   BENCH_PAIRS how many pairs; default 3
#   NESTOR_HOME its images are used (and built there if they are missing); the lab itself gets a home of its own.
#               Default: the user's own cache of images
#
# Waits up to ten minutes until no other QEMU runs here: two labs at once measure each other.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
nestor=${NESTOR:-$source/build-bench/nestor}
lab=$source/templates/labs/quickstart.yaml
pairs=${BENCH_PAIRS:-3}
timer=${nestor%/*}/bench_time

if [ -n "${NESTOR_HOME:-}" ]; then
    cache=$NESTOR_HOME/cache
else
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/nestor
fi
tmp=$(mktemp -d)
export NESTOR_HOME="$tmp/home"
clean() {
    "$nestor" down quickstart --yes --quiet >/dev/null 2>&1 || :
    sh "$here/by_hand.sh" down "$tmp/hand" "$cache/images" || :
    rm -rf "$tmp"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM
fail() {
    echo "overhead: $*" >&2
    [ ! -s "$tmp/err" ] || tail -20 "$tmp/err" >&2
    exit 1
}

mkdir -p "$cache" "$tmp/home"
cache=$(cd "$cache" && pwd)
ln -s "$cache" "$tmp/home/cache"
for image in debian-kvm tiny; do
    "$nestor" image build $image >/dev/null 2>"$tmp/err" || fail "no image $image"
done
waited=0
while pgrep qemu-system >/dev/null; do
    [ $waited -lt 600 ] || fail "not measured: another QEMU is running"
    sleep 5
    waited=$((waited + 5))
done

# timed WHAT COMMAND ...: its wall time in ms to $tmp/WHAT.ms, one a line
timed() {
    what=$1
    shift
    "$timer" "$@" 2>"$tmp/err" >"$tmp/figure" || fail "cannot run $what"
    read -r wall _ status <"$tmp/figure"
    [ "$status" = 0 ] || fail "$what ended with $status"
    echo "$wall" >>"$tmp/$what.ms"
}

i=0
while [ $i -lt "$pairs" ]; do
    timed hand sh "$here/by_hand.sh" up "$tmp/hand" "$cache/images"
    sh "$here/by_hand.sh" down "$tmp/hand" "$cache/images"
    timed up "$nestor" up "$lab" --yes
    cp "$tmp/err" "$tmp/steps"
    timed down "$nestor" down quickstart --yes
    i=$((i + 1))
    awk -v n=$i 'NR == FNR { up = $1; next } { hand = $1 }
        END { printf "pair %d: nestor %.1f s, by hand %.1f s\n", n, up / 1000, hand / 1000 }' "$tmp/up.ms" "$tmp/hand.ms"
done
[ -z "${BENCH_STEPS:-}" ] || cp "$tmp/steps" "$BENCH_STEPS"

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
paste "$tmp/up.ms" "$tmp/hand.ms" | awk '{ print $1 / $2 }' >"$tmp/ratios"
awk -v up="$(median "$tmp/up.ms")" -v hand="$(median "$tmp/hand.ms")" -v ratio="$(median "$tmp/ratios")" 'BEGIN {
    printf "%-44s %8.1f %-3s %8.1f %-3s %7.3f <= %5.2f  %s\n", "up of the quickstart lab, against by hand",
        up / 1000, "s", hand / 1000, "s", ratio, 1.05, ratio <= 1.05 ? "ok" : "MISSED"
}'
