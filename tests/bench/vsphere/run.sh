#!/bin/sh
# run.sh [fast|delayed|trips|memory|all]: nestor on a vCenter (vcsim) beside its peers, which do the same work on the
# same vcsim in the same run, in turn. docs/benchmarks.md says what each figure means. Exits 0 unless something could
# not be measured: whether a target is met is told, not enforced.
#
#   BENCH_RUNS     how often each thing is measured; default 3
#   BENCH_N        machines; default 100
#   BENCH_CLIENTS  default "ceiling nestor pyvmomi govc"; nestor is left out where the binary has no vsphere driver
#   BENCH_PARALLEL how many machines the server is asked for at once; default 48, 16 on each of three hosts
#   BENCH_REBUILD  no: take the binaries of build-bench as they are
#   NESTOR_VCSIM, NESTOR_GOVC  other programs than those of tests/support/vcsim_build.sh
# shellcheck disable=SC2154 # vcsim_lib.sh sets what begins with vcsim_ and proxy_
set -eu
here=$(cd "$(dirname "$0")" && pwd)
NESTOR_SOURCE_DIR=$(cd "$here/../../.." && pwd)
export NESTOR_SOURCE_DIR
build=$NESTOR_SOURCE_DIR/build-bench
runs=${BENCH_RUNS:-3} n=${BENCH_N:-100} clients=${BENCH_CLIENTS:-ceiling nestor pyvmomi govc}
parallel=${BENCH_PARALLEL:-48}
what=${1:-all}
case $what in
fast | delayed | trips | memory | all) ;;
*) echo "usage: run.sh [fast|delayed|trips|memory|all]" >&2 && exit 2 ;;
esac

place=$(mktemp -d)
background=''
# shellcheck disable=SC2317 # called by the trap
clean() {
    for pid in $background; do
        kill "$pid" 2>/dev/null || :
    done
    wait
    rm -rf "$place"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM
fail() {
    echo "bench: $*" >&2
    [ ! -s "$place/err" ] || tail -n 5 "$place/err" >&2
    exit 1
}
await() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 1000 ] || fail "waited in vain for: $*"
        sleep 0.02
    done
}

# --- what is measured ---

if [ "${BENCH_REBUILD:-yes}" = yes ] || [ ! -x "$build/nestor" ]; then
    { cmake -S "$here/.." -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O2 &&
        cmake --build "$build" -- -j2; } >"$place/err" 2>&1 || fail "the build failed"
fi
nestor=$build/nestor
vcsim_place=$(sh "$NESTOR_SOURCE_DIR/tests/support/vcsim_build.sh" --where)
sh "$NESTOR_SOURCE_DIR/tests/support/vcsim_build.sh" >&2 || fail "vcsim could not be built"
: "${NESTOR_VCSIM:=$vcsim_place/vcsim}" "${NESTOR_GOVC:=$vcsim_place/govc}"
export NESTOR_VCSIM NESTOR_GOVC
# shellcheck source=tests/support/vcsim_lib.sh
. "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"

# The client that shows what vcsim itself can do: built once, beside it.
ceiling=$vcsim_place/ceiling-$(sha256sum <"$here/ceiling.go" | cut -c1-16)
if [ ! -x "$ceiling" ]; then
    echo "building the ceiling client (half a minute, once)" >&2
    (cd "$here" && GO111MODULE=off GOPROXY=off GOPATH=$vcsim_place/gopath:/usr/share/gocode GOCACHE=$place/go \
        go build -trimpath -o "$ceiling.new" ceiling.go) 2>"$place/err" || fail "the ceiling client was not built"
    chmod -R u+w "$place/go" && rm -rf "$place/go"
    mv "$ceiling.new" "$ceiling"
fi

export GOVC="$NESTOR_GOVC" TEMPLATE=/DC0/vm/gh-template FOLDER=/DC0/vm/labs RESOURCE_POOL=/DC0/host/DC0_C0/Resources
export NESTOR_HOME="$place/home" NESTOR_BENCH_PASSWORD="$vcsim_password"
mkdir "$NESTOR_HOME"

# begin_server COUNT OPTION...: a vcsim with what the work needs, and nestor's lab of COUNT machines for it
begin_server() {
    machines=$1
    shift
    vcsim_start vpx "$@"
    vcsim_template gh-template
    govc folder.create "$FOLDER"
    lab "$machines" "$vcsim_url" "$vcsim_thumbprint"
}

# lab COUNT URL THUMBPRINT: lab.yaml
lab() {
    cat >"$place/lab.yaml" <<END
lab: bench
hosts:
  vc:
    driver: vsphere
    url: $2
    username: $vcsim_user
    password: { env: NESTOR_BENCH_PASSWORD }
    tls: { thumbprint: "$3" }
    inventory: { datacenter: DC0, cluster: DC0_C0, datastore: LocalDS_0, folder: $FOLDER, network: VM Network }
machines:
  gh:
    host: vc
    template: gh-template
    count: $1
    memory: 16MiB
    nesting: exposed
    ready: address
    clone: linked
    extra-config: { SET.guest.ipAddress: 127.0.0.1 }
END
}

# cycle CLIENT up|down COUNT: appends "WALL_MS PEAK_RSS_KIB STATUS" to $place/CLIENT.VERB
cycle() {
    client=$1 verb=$2 count=$3
    case $client in
    ceiling) set -- "$ceiling" "$verb" ceiling "$count" 16 ;;
    pyvmomi) set -- /usr/bin/python3 -W ignore "$here/cycle_pyvmomi.py" "$verb" pyvmomi "$count" 8 ;;
    govc) set -- sh "$here/cycle_govc.sh" "$verb" govc "$count" 8 ;;
    nestor)
        case $verb in
        up) set -- "$nestor" up --yes --quiet "$place/lab.yaml" ;;
        down) set -- "$nestor" down --yes --quiet bench ;;
        esac
        ;;
    esac
    "$build/bench_time" "$@" 2>"$place/err" >"$place/figure" || fail "cannot run $client"
    read -r _ _ status <"$place/figure"
    [ "$status" = 0 ] || fail "$client: $verb of $count ended with $status"
    cat "$place/figure" >>"$place/$client.$verb"
}

# is_up COUNT, is_down: the work was done, and nothing is left of it. Not timed.
is_up() {
    done=$(vms | jq -s 'map(select(.name != "gh-template" and .power == "poweredOn" and .nested
        and .address == "127.0.0.1")) | length')
    [ "$done" = "$1" ] || fail "$client made $done of $1 machines"
}
is_down() { [ "$(vm_names)" = gh-template ] || fail "$client left $(vm_names | wc -l) machines and templates behind"; }

# both CLIENT COUNT: up and down, checked
both() {
    cycle "$1" up "$2"
    is_up "$2"
    cycle "$1" down "$2"
    is_down
}

# --- figures ---

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# taken CLIENT [COLUMN]: the median of up and down together, in ms
taken() { paste -d ' ' "$place/$1.up" "$place/$1.down" | awk '{ print $1 + $4 }' | median; }
has() { case " $clients " in *" $1 "*) return 0 ;; esac && return 1; }

# line WHAT MEASURED REFERENCE UNIT OPERATOR TARGET: <= compares measured / reference, >= the other way round; a TARGET
# of - is for information
line() {
    awk -v what="$1" -v m="$2" -v r="$3" -v unit="$4" -v op="$5" -v target="$6" 'BEGIN {
        ratio = op == ">=" ? r / m : m / r
        printf "%-44s %9.1f %-5s %9.1f %-5s %7.2f", what, m, unit, r, unit, ratio
        if (target == "-")
            print ""
        else
            printf " %s %5.2f  %s\n", op, target, (op == ">=" ? ratio >= target : ratio <= target) ? "ok" : "MISSED"
    }'
}
alone() { printf '%-44s %9.1f %s\n' "$1" "$2" "$3"; }

# rounds COUNT: every client in turn, $runs times
rounds() {
    rm -f "$place"/*.up "$place"/*.down
    i=0
    while [ $i -lt "$runs" ]; do
        for each in $clients; do
            both "$each" "$1"
        done
        i=$((i + 1))
    done
}

# cycles LABEL TARGET-CEILING TARGET-PYVMOMI TARGET-GOVC: - is for information
cycles() {
    rounds "$n"
    for each in $clients; do
        [ "$each" = nestor ] || alone "$1: $each, $n machines" "$(taken "$each")" ms
    done
    has nestor || return 0
    for pair in "ceiling <= $2" "pyvmomi >= $3" "govc >= $4"; do
        # shellcheck disable=SC2086 # three words
        set -- "$1" $pair
        ! has "$2" || line "$1: nestor, against $2" "$(taken nestor)" "$(taken "$2")" ms "$3" "$4"
    done
}

fast() {
    begin_server "$n"
    cycles "0 ms per call" 1.5 3 8
    vcsim_stop
}

delayed() {
    begin_server "$n" -delay 50
    cycles "50 ms per call" - 12 -
    if has nestor; then
        all=$(taken nestor)
        lab 1 "$vcsim_url" "$vcsim_thumbprint"
        was=$clients clients=nestor
        rounds 1
        clients=$was
        rows=$(((n + parallel - 1) / parallel))
        path=$(awk -v one="$(taken nestor)" -v rows=$rows 'BEGIN { print one * rows }')
        line "  against one machine's path, $rows times" "$all" "$path" ms '<=' 1.2
    fi
    vcsim_stop
}

# trips: how many HTTP exchanges each needs per machine, counted by the proxy
trips() {
    begin_server "$n"
    least=
    for each in $clients; do
        rm -f "$place/calls"
        proxy_start --record "$place/calls" --accept all
        lab "$n" "$proxy_url" "$proxy_thumbprint"
        real=$GOVC_URL real_ca=$GOVC_TLS_CA_CERTS
        for verb in up down; do
            export GOVC_URL="$proxy_url" GOVC_TLS_CA_CERTS="$proxy_ca"
            cycle "$each" $verb "$n"
            export GOVC_URL="$real" GOVC_TLS_CA_CERTS="$real_ca"
            case $verb in up) is_up "$n" ;; *) is_down ;; esac
        done
        proxy_stop || fail "the proxy ended with $?"
        per=$(awk -v calls="$(wc -l <"$place/calls")" -v n="$n" 'BEGIN { print calls / n }')
        alone "round trips per machine, $each" "$per" ""
        case $each in
        nestor) own=$per ;;
        ceiling) ;;
        *) least=$(printf '%s\n' $least "$per" | sort -n | head -n 1) ;;
        esac
    done
    ! has nestor || [ -z "$least" ] || line "  nestor, against the best peer" "$own" "$least" "" '<=' 1
    vcsim_stop
}

memory() {
    has nestor || return 0
    begin_server 1000 -host 12 # vcsim's have less than 3 GiB each
    rm -f "$place"/*.up "$place"/*.down
    both nestor 1000
    line "peak memory, 1,000 machines" "$(cut -d' ' -f2 "$place/nestor.up" "$place/nestor.down" | sort -n | tail -n 1 |
        awk '{ print $1 / 1024 }')" 24 MiB '<=' 1
    vcsim_stop
}

# knows_vsphere: nestor makes and removes one machine
knows_vsphere() {
    begin_server 1
    status=0
    timeout 60 "$nestor" up --yes --quiet "$place/lab.yaml" >"$place/err" 2>&1 || status=$?
    [ $status != 0 ] || timeout 60 "$nestor" down --yes --quiet bench >"$place/err" 2>&1 || status=$?
    vcsim_stop
    rm -rf "$NESTOR_HOME" && mkdir "$NESTOR_HOME"
    return $status
}

printf '%s, %s CPUs, load %s, %s, %s runs each, %s machines\n' "$("$nestor" --version)" "$(nproc)" \
    "$(cut -d' ' -f1 /proc/loadavg)" "$(date -u +%Y-%m-%d)" "$runs" "$n"
missing=
if has nestor && ! knows_vsphere; then
    echo "nestor is not measured: $(grep -m 1 error: "$place/err" || tail -n 1 "$place/err")"
    clients=$(echo "$clients" | sed 's/nestor//')
    missing=yes
fi
printf '%-44s %15s %15s %7s %8s\n' what measured reference ratio target
case $what in
all)
    fast
    delayed
    trips
    memory
    ;;
*) $what ;;
esac
[ -z "$missing" ] || exit 1
