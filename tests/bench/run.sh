#!/bin/sh
# run.sh [overhead|schedule|plan|memory|all]: measures, and prints one line per figure. docs/benchmarks.md says what each
# means. Exits 0 unless something could not be measured: whether a target is met is told, not enforced.
#
#   BENCH_RUNS     how often each thing is measured; default 7
#   BENCH_WORLD    folder for the fake hypervisors' files; default a new one in /dev/shm, else in TMPDIR: what a fake
#                  hypervisor costs is not nestor's
#   BENCH_REBUILD  no: take the binaries of build-bench as they are
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
build=$source/build-bench
runs=${BENCH_RUNS:-7}
what=${1:-all}

case $what in
overhead | schedule | plan | memory | all) ;;
*) echo "usage: run.sh [overhead|schedule|plan|memory|all]" >&2 && exit 2 ;;
esac

tmp=$(mktemp -d)
world=${BENCH_WORLD:-$(mktemp -d /dev/shm/nestor-bench.XXXXXX 2>/dev/null || echo "$tmp/world")}
trap 'rm -rf "$tmp" "$world"' EXIT
trap 'exit 1' HUP INT TERM
fail() {
    echo "bench: $*" >&2
    [ ! -s "$tmp/err" ] || tail -5 "$tmp/err" >&2
    exit 1
}

if [ "${BENCH_REBUILD:-yes}" = yes ] || [ ! -x "$build/nestor" ]; then
    { cmake -S "$here" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O2 &&
        cmake --build "$build" -- -j2; } >"$tmp/build" 2>&1 || { tail -30 "$tmp/build" >&2 && fail "the build failed"; }
fi
nestor=$build/nestor
truncate -s 1M "$tmp/disk.raw"

# --- measuring ---

# median FILE COLUMN
median() { sort -n -k "$2,$2" "$1" | awk -v c="$2" '{ v[NR] = $c } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# once STATUS COMMAND ...: appends "WALL_MS PEAK_RSS_KIB STATUS" to $tmp/figures; the status must be as given.
once() {
    want=$1
    shift
    "$build/bench_time" "$@" 2>"$tmp/err" >"$tmp/figure" || fail "cannot run $1"
    read -r _ _ status <"$tmp/figure"
    [ "$status" = "$want" ] || fail "$* ended with $status, not $want"
    cat "$tmp/figure" >>"$tmp/figures"
}

# repeated STATUS COMMAND ...: once unmeasured, so that caches are as warm for all, then $runs times.
repeated() {
    once "$@"
    : >"$tmp/figures"
    i=0
    while [ $i -lt "$runs" ]; do
        once "$@"
        i=$((i + 1))
    done
}

header() { printf '%-44s %12s %12s %7s %8s  %s\n' what measured reference ratio target ''; }
# line WHAT MEASURED REFERENCE UNIT TARGET: ratio and verdict are worked out; TARGET - is for information.
line() {
    awk -v what="$1" -v m="$2" -v r="$3" -v unit="$4" -v target="$5" 'BEGIN {
        ratio = m / r
        printf "%-44s %8.*f %-3s %8.*f %-3s %7.3f", what, m < 100, m, unit, r < 100, r, unit, ratio
        if (target == "-")
            printf " %8s\n", ""
        else
            printf " <= %5.2f  %s\n", target, ratio <= target ? "ok" : "MISSED"
    }'
}

# --- schedule and memory: an `up` from nothing ---

fresh_up() {
    rm -rf "${tmp:?}/home" "$world"
    NESTOR_HOME=$tmp/home once 0 "$nestor" up --yes --quiet "$@"
}

ups() {
    : >"$tmp/figures"
    i=0
    while [ $i -lt "$runs" ]; do
        fresh_up "$@"
        i=$((i + 1))
    done
}

# bound LAB PARALLEL
bound() { "$build/bench_bound" "$1" "$2" 2>>"$tmp/notes" || fail "no bound for $1"; }

schedule() {
    sh "$here/lab.sh" spelled 100 10 "$world" "$tmp/disk.raw" 'parallel: 16' >"$tmp/wide.yaml"
    sh "$here/lab.sh" spelled 100 10 "$world" "$tmp/disk.raw" >"$tmp/default.yaml"
    ups "$tmp/wide.yaml"
    cp "$tmp/figures" "$tmp/ups"
    line "up, 1,000 in 100, host parallel: 16" "$(median "$tmp/ups" 1)" "$(bound "$tmp/wide.yaml" 64)" ms 1.05
    line "  the best of $runs" "$(sort -n "$tmp/ups" | awk 'NR == 1 { print $1 }')" "$(bound "$tmp/wide.yaml" 64)" ms -
    ups "$tmp/default.yaml"
    line "up, 1,000 in 100, host's default of 8" "$(median "$tmp/figures" 1)" "$(bound "$tmp/default.yaml" 64)" ms -
}

memory() {
    if [ ! -s "$tmp/ups" ]; then
        sh "$here/lab.sh" spelled 100 10 "$world" "$tmp/disk.raw" 'parallel: 16' >"$tmp/wide.yaml"
        ups "$tmp/wide.yaml"
        cp "$tmp/figures" "$tmp/ups"
    fi
    line "peak memory of that up" "$(awk -v n="$(median "$tmp/ups" 2)" 'BEGIN { print n / 1024 }')" 32 MiB 1
}

# --- plan ---

# plan_time FORM HYPERVISORS: the median time of a first plan, in ms
plan_time() {
    sh "$here/lab.sh" "$1" "$2" 10 "$world" "$tmp/disk.raw" >"$tmp/$1-$2.yaml"
    NESTOR_HOME=$tmp/empty repeated 3 "$nestor" plan "$tmp/$1-$2.yaml"
    median "$tmp/figures" 1
}

plan() {
    mkdir -p "$tmp/empty"
    for form in spelled count; do
        small=$(plan_time $form 100)
        large=$(plan_time $form 1000)
        line "plan, 1,000 -> 10,000 machines, $form" "$large" "$small" ms 11
    done
    large=$(plan_time spelled 1000)
    mkdir "$tmp/ninja"
    "$build/bench_ninja" "$tmp/spelled-1000.yaml" >"$tmp/ninja/build.ninja" 2>>"$tmp/notes" || fail "no build.ninja"
    repeated 0 ninja -C "$tmp/ninja" -n
    line "plan, 10,000 machines, against ninja -n" "$large" "$(median "$tmp/figures" 1)" ms 1
    sh "$here/lab.sh" spelled 100 10 "$world" "$tmp/disk.raw" 'parallel: 16' >"$tmp/up.yaml"
    fresh_up "$tmp/up.yaml"
    NESTOR_HOME=$tmp/home repeated 0 "$nestor" plan "$tmp/up.yaml"
    line "plan, 1,000 that are up, against a first plan" "$(median "$tmp/figures" 1)" "$small" ms -
}

overhead() { NESTOR=$nestor sh "$here/overhead.sh" || fail "the overhead could not be measured"; }

: >"$tmp/notes"
echo "$("$nestor" --version), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg), $(date -u +%Y-%m-%d), $runs runs each"
header
case $what in
all)
    schedule
    memory
    plan
    overhead
    ;;
*) $what ;;
esac
sort -u "$tmp/notes"
