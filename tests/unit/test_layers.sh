#!/bin/sh
# Who may include what: folders are stages, headers are the values that cross between them, and each foreign library
# lives in one place (docs/architecture.md). Paths are below orchestrator/; nestor/ is include/nestor/.
set -eu
root=${1:-${NESTOR_SOURCE_DIR:-$(dirname "$0")/../..}}

# What is included (by the longest prefix that fits), then who may; "*" is everybody. A header that no row knows is an
# error, so a new one must say here whose it is. Headers of the system need no row.
rules='
yaml.h              spec/
libxml/             drivers/libvirt/ drivers/vsphere/
curl/               transport/http
libssh2             transport/ssh/
sqlite3.h           state/
openssl/            identity/ transport/ssh/hostkey.c transport/https_tls.c
zlib.h              drivers/vsphere/guestinfo.c
jansson.h           nestor/qmp.h image/manifest.c state/ ui/

nestor/arena.h      *
nestor/buffer.h     *
nestor/context.h    *
nestor/error.h      *
nestor/event.h      *
nestor/file.h       *
nestor/parallel.h   *
nestor/lab.h        nestor/ spec/ plan/ run/ image/ drivers/ state/ ui/ cli/
nestor/identity.h   nestor/ identity/ image/ drivers/ transport/ state/ run/ cli/
nestor/http.h       transport/ drivers/vsphere/
nestor/transport.h  nestor/ transport/ verify/ image/ drivers/ run/ cli/
nestor/qmp.h        transport/ drivers/
nestor/verify.h     nestor/ verify/ state/ run/ ui/ cli/
nestor/image.h      nestor/ image/ drivers/ run/ cli/
nestor/driver.h     nestor/ drivers/ spec/ run/ cli/
nestor/state.h      nestor/ state/ image/ plan/ run/ ui/ cli/
nestor/inventory.h  nestor/ plan/ run/ ui/ cli/
nestor/plan.h       nestor/ plan/ run/ ui/ cli/
nestor/reach.h      nestor/ run/ cli/
nestor/run.h        nestor/ run/ cli/

spec/               spec/
plan/               plan/
plan/index.h        plan/ run/ ui/ cli/
run/                run/
verify/             verify/
image/              image/
identity/           identity/
state/              state/
transport/          transport/
transport/ssh/      transport/ssh/
drivers/fake/       drivers/fake/
drivers/fake/fake.h drivers/
drivers/fault/      drivers/fault/
drivers/fault/fault.h drivers/
drivers/libvirt/    drivers/libvirt/
drivers/libvirt/libvirt.h drivers/
drivers/qemu/       drivers/qemu/
drivers/qemu/qemu.h drivers/
drivers/vsphere/    drivers/vsphere/
drivers/vsphere/vsphere.h drivers/
qemu_priv.h         drivers/qemu/
ui/                 ui/
ui/text.h           ui/ cli/
ui/ui.h             ui/ cli/
cli/                cli/ main.c
'

# "INCLUDER INCLUDED quoted|system" for every #include below a tree's orchestrator/ and include/.
includes() {
    (cd "$1/orchestrator" && grep -rE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include' .) | sed 's|^\./||'
    (cd "$1/include" && grep -rE --include='*.h' '^[[:space:]]*#[[:space:]]*include' nestor)
}

# Prints what breaks the rules.
violations() {
    { printf '%s\n' "$rules"; echo '--'; includes "$1"; } | awk '
        /^--$/   { in_tree = 1; next }
        !NF      { next }
        !in_tree { for (i = 2; i <= NF; i++) allowed[$1] = allowed[$1] " " $i; next }
        {
            includer = $0; sub(/:.*/, "", includer)
            header = $0; sub(/^[^"<]*["<]/, "", header); sub(/[">].*/, "", header)
            best = ""
            for (rule in allowed)
                if (index(header, rule) == 1 && length(rule) > length(best)) best = rule
            if (best == "") {
                if ($0 ~ /include[[:space:]]*"/) print includer " includes " header ", which no rule knows"
                next
            }
            n = split(allowed[best], who, " "); fine = 0
            for (i = 1; i <= n; i++) fine = fine || who[i] == "*" || index(includer, who[i]) == 1
            if (!fine) print includer " includes " header ", which is for" allowed[best]
        }'
}

# --- does it see what it is for? ---

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
try() { # INCLUDER LINE WANTED
    rm -rf "$tree/orchestrator" "$tree/include"
    mkdir -p "$tree/orchestrator/$(dirname "$1")" "$tree/include/nestor"
    printf '#include <stdio.h>\n#include "nestor/error.h"\n%s\n' "$2" >"$tree/orchestrator/$1"
    : >"$tree/include/nestor/error.h"
    got=$(violations "$tree")
    [ "$got" = "$3" ] || { printf 'the check is blind: %s with %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$3" "$got"; exit 1; }
}
try spec/tree.c '#include <yaml.h>' ''
try plan/plan.c '#include <yaml.h>' 'plan/plan.c includes yaml.h, which is for spec/'
try transport/tcp.c '#include <curl/curl.h>' 'transport/tcp.c includes curl/curl.h, which is for transport/http'
try base/error.c '#include "nestor/lab.h"' \
    'base/error.c includes nestor/lab.h, which is for nestor/ spec/ plan/ run/ image/ drivers/ state/ ui/ cli/'
try spec/lab.c '  #  include "plan/index.h"' 'spec/lab.c includes plan/index.h, which is for plan/ run/ ui/ cli/'
try ui/tree.c '#include "nestor/driver.h"' \
    'ui/tree.c includes nestor/driver.h, which is for nestor/ drivers/ spec/ run/ cli/'
try drivers/qemu/vm.c '#include "nestor/state.h"' \
    'drivers/qemu/vm.c includes nestor/state.h, which is for nestor/ state/ image/ plan/ run/ ui/ cli/'
try drivers/qemu/vm.c '#include "drivers/fake/world.h"' \
    'drivers/qemu/vm.c includes drivers/fake/world.h, which is for drivers/fake/'
try cli/cli.c '#include "nestor/new.h"' 'cli/cli.c includes nestor/new.h, which no rule knows'

# --- the tree ---

found=$(violations "$root")
[ -z "$found" ] || { printf '%s\n' "$found"; exit 1; }
echo "$(includes "$root" | wc -l) includes follow the rules"
