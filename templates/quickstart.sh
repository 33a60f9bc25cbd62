#!/bin/sh
# From a clone of the repository to a running, verified nested lab. Safe to run again: what is done is not done twice.
set -eu
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n==> %s\n' "$*"; }

say "1/4 Packages: compiler, libraries, QEMU, image tools"
sh templates/install-packages.sh build run images

say "2/4 Building nestor (build/nestor)"
mkdir -p build
if ! { cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo && cmake --build build; } >build/build.log 2>&1; then
    tail -n 30 build/build.log >&2
    echo "nestor could not be built; these are the last lines of $PWD/build/build.log" >&2
    exit 1
fi

say "3/4 Images: the guest hypervisor debian-kvm and the nested guest tiny (once; some minutes, then cached)"
build/nestor image build debian-kvm
build/nestor image build tiny

say "4/4 The lab: templates/labs/quickstart.yaml"
build/nestor up templates/labs/quickstart.yaml --yes

cat <<'END'

What next:
  build/nestor ssh quickstart/kvm1/web1               a shell in a nested guest
  build/nestor exec quickstart/kvm1/web1 -- uname -a  a command in it
  build/nestor verify quickstart                      the proof, again
  build/nestor down quickstart                        remove all of it
END
