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

# timed WHAT COMMAND ...: its wall time in ms to $tmp/WHAT.ms
timed() {
    what=$1
    shift
    "$timer" "$@" 2>"$tmp/err" >"$tmp/figure" || fail "cannot run $what"
    read -r wall _ status <"$tmp/figure"
    echo "$wall" >"$tmp/$what.ms"
    [ "$status" = 0 ] || { echo "$what ended with $status: $(grep . "$tmp/err" | tail -1)" && return 1; }
}

# One of each, by hand first. Both are taken down again, whatever came of them.
pair() {
    whole=yes
    timed hand env BY_HAND_LIMIT=300 sh "$here/by_hand.sh" up "$tmp/hand" "$cache/images" || whole=
    sh "$here/by_hand.sh" down "$tmp/hand" "$cache/images"
    [ -n "$whole" ] || return 1
    timed up "$nestor" up "$lab" --yes || whole=
    cp "$tmp/err" "$tmp/steps"
    timed down "$nestor" down quickstart --yes || fail "it is not down"
    [ -n "$whole" ]
}

# Now and then a guest dies of the emulated SVM (README, "Said plainly"). That is told, and measured again.
i=0 spoilt=0
while [ $i -lt "$pairs" ]; do
    pair || {
        spoilt=$((spoilt + 1))
        [ $spoilt -le 2 ] || fail "three pairs were spoilt"
        continue
    }
    i=$((i + 1))
    paste "$tmp/up.ms" "$tmp/hand.ms" | tee -a "$tmp/pairs" |
        awk -v n=$i '{ printf "pair %d: nestor %.1f s, by hand %.1f s\n", n, $1 / 1000, $2 / 1000 }'
done
[ -z "${BENCH_STEPS:-}" ] || cp "$tmp/steps" "$BENCH_STEPS"

# median COLUMN
median() { awk -v c="$1" '{ print c == 3 ? $1 / $2 : $c }' "$tmp/pairs" | sort -n |
    awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
awk -v up="$(median 1)" -v hand="$(median 2)" -v ratio="$(median 3)" 'BEGIN {
    printf "%-44s %8.1f %-3s %8.1f %-3s %7.3f <= %5.2f  %s\n", "up of the quickstart lab, against by hand",
        up / 1000, "s", hand / 1000, "s", ratio, 1.05, ratio <= 1.05 ? "ok" : "MISSED"
}'
