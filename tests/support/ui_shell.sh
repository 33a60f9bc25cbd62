# For tests that run the built program: a home of its own, and checks that say what they saw.
# shellcheck shell=sh
set -eu
nestor=$NESTOR_BINARY_DIR/nestor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export NESTOR_HOME="$work/home" NESTOR_TEMPLATES="$NESTOR_SOURCE_DIR/templates" LC_ALL=C.UTF-8 TZ=UTC
unset NO_COLOR
cd "$work"

# run CODE COMMAND...: runs nestor, which must end with CODE; its output is in $out and $err.
run() {
    code=$1
    shift
    got=0
    timeout 60 "$nestor" "$@" >out 2>err </dev/null || got=$?
    out=$(cat out) err=$(cat err)
    [ "$got" = "$code" ] || fail "nestor $* ended with $got, not $code"
}

fail() {
    printf '%s\n--- standard output\n%s\n--- standard error\n%s\n' "$*" "$out" "$err" >&2
    exit 1
}

# has TEXT PART, is TEXT WHOLE
has() {
    case $1 in *"$2"*) ;; *) fail "'$2' is not in: $1" ;; esac
}
hasnt() {
    case $1 in *"$2"*) fail "'$2' is in: $1" ;; esac
}
is() {
    [ "$1" = "$2" ] || fail "'$1' is not '$2'"
}

# requires PROGRAM...: else the test is skipped.
requires() {
    for program; do
        command -v "$program" >/dev/null || {
            echo "skipped: $program is not installed"
            exit 77
        }
    done
}

# lab NAME: writes NAME.yaml, a lab on the fake driver with a guest in a guest hypervisor, and its image.
lab() {
    [ -e disk.raw ] || truncate -s 1M disk.raw
    cat >"$1.yaml" <<END
lab: $1
hosts:
  local: { driver: fake }
templates:
  small: { source: disk.raw, format: raw }
machines:
  kvm1:
    template: small
    hypervisor: fake
    memory: 2GiB
    machines:
      web1: { template: small }
END
}
