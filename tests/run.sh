#!/bin/sh
# Builds with sanitizers and runs every test through ctest.
#   sh tests/run.sh            everything, the real nested lab included (under 30 minutes on 2 cores)
#   sh tests/run.sh --quick    no VM, no valgrind, nothing that takes long: for the inner loop (under 2 minutes once built)
set -eu
cd "$(dirname "$0")/.."
quick=
[ "${1:-}" != --quick ] || quick=yes

step() { printf '\n==> [%s] %s\n' "$(date +%H:%M:%S)" "$*"; }

step "Packages"
if [ -n "$quick" ]; then
    sh templates/install-packages.sh build run images tests
else
    sh templates/install-packages.sh build run images tests vcsim
    step "vcsim, the simulator of vCenter and ESXi (once; some minutes, then cached)"
    sh tests/support/vcsim_build.sh || [ $? -eq 77 ]
fi
# Where it is not, tests that need it are skipped.
vcsim=$(sh tests/support/vcsim_build.sh --where)
[ -n "${NESTOR_VCSIM:-}" ] || [ ! -x "$vcsim/vcsim" ] || export NESTOR_VCSIM="$vcsim/vcsim" NESTOR_GOVC="$vcsim/govc"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/nestor
[ -z "${NESTOR_HOME:-}" ] || cache=$NESTOR_HOME/cache
export NESTOR_CLOUD_INIT="$cache/test-images/cloud-init"
sh tests/support/cloud_init.sh "$NESTOR_CLOUD_INIT"

step "Building with AddressSanitizer and UndefinedBehaviorSanitizer"
cmake --preset dev >/dev/null
cmake --build --preset dev

if [ -n "$quick" ]; then
    step "Unit and component tests"
    exec ctest --test-dir build-dev -LE 'e2e|slow|long' -j 3 --output-on-failure
fi

step "Images for the real lab (once; some minutes, then cached)"
for image in debian-kvm tiny; do
    build-dev/nestor image build "$image"
done
[ -e "$cache/test-images/cloud/disk.qcow2" ] || sh tests/support/cloud_image.sh "$cache/test-images/cloud"

step "Threads under ThreadSanitizer"
cmake --preset tsan >/dev/null
cmake --build --preset tsan
ctest --test-dir build-tsan -L 'unit|component' -LE 'e2e|slow|one-thread|kills' -j 3 --output-on-failure

step "Unit tests under valgrind, built with clang"
# valgrind 3.19 cannot read the DWARF 5 that clang 14 writes: the preset asks for DWARF 4.
cmake --preset valgrind -DCMAKE_C_COMPILER=clang >/dev/null
cmake --build --preset valgrind
ctest --test-dir build-valgrind -L unit -LE sources -j 3 --output-on-failure

step "Everything, with AddressSanitizer and UndefinedBehaviorSanitizer; the real nested lab takes some minutes"
ctest --test-dir build-dev -j 3 --output-on-failure
