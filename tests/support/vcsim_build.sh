#!/bin/sh
# vcsim_build.sh [DIR]: vcsim and govc, built from the source package of Debian's govmomi: VMware's own simulator of a
# vCenter and of a bare ESXi, and its client, for the tests of the vsphere driver. Debian's -dev package has neither.
#
#   DIR/vcsim DIR/govc        the programs
#   DIR/gopath                the sources they were built from (GOPATH), for tests/bench/vsphere
#
# Built once; does nothing when they are there. vcsim_build.sh --where [DIR] only tells DIR, whose default is where
# images are cached too: $NESTOR_HOME/cache/vcsim, or $XDG_CACHE_HOME/nestor/vcsim. Sources come from the mirror this
# machine's apt uses for bookworm, over lists of our own: /etc/apt is not touched. Exit 77: not possible here, and why.
set -eu
where=
[ "${1:-}" != --where ] || { where=yes && shift; }
if [ $# -gt 0 ]; then
    dir=$1
elif [ -n "${NESTOR_HOME:-}" ]; then
    dir=$NESTOR_HOME/cache/vcsim
else
    dir=${XDG_CACHE_HOME:-${HOME:?}/.cache}/nestor/vcsim
fi
if [ -n "$where" ]; then
    echo "$dir"
    exit
fi

package=golang-github-vmware-govmomi
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
recipe=1 # another number builds again
say() { printf 'vcsim: %s\n' "$*"; }
skip() {
    say "not built: $*" >&2
    exit 77
}
fail() {
    say "$*" >&2
    [ ! -s "$work/log" ] || tail -n 20 "$work/log" >&2
    exit 1
}
built() { [ -x "$dir/vcsim" ] && [ -x "$dir/govc" ] && [ "$(cat "$dir/recipe" 2>/dev/null)" = $recipe ]; }

! built || exit 0
command -v go >/dev/null || skip "Go is not installed (sh templates/install-packages.sh vcsim)"
[ -r $keyring ] || skip "debian-archive-keyring is not installed"
for library in google/uuid kr/pretty kr/text; do
    [ -d /usr/share/gocode/src/github.com/$library ] ||
        skip "Go's $library is not installed (sh templates/install-packages.sh vcsim)"
done
# shellcheck disable=SC2016 # apt-get replaces these, not the shell
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(LABEL)' 'Created-By: Packages' |
    awk '$2 == "bookworm" && $3 == "main" && $4 == "Debian" { print $1; exit }')
[ -n "$mirror" ] || skip "apt knows no mirror of Debian bookworm (main)"

mkdir -p "$(dirname "$dir")"
dir=$(cd "$(dirname "$dir")" && pwd)/$(basename "$dir")
exec 9>"$dir.lock"
flock -n 9 || { say "waiting for another build" && flock 9; }
! built || exit 0
work=$(mktemp -d "$dir.XXXXXX")
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# --- the sources ---

say "fetching the sources of Debian's govmomi (some seconds)"
mkdir -p "$work/apt/parts" "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/source"
echo "deb-src [signed-by=$keyring] $mirror bookworm main" >"$work/apt/sources.list"
cat >"$work/apt/conf" <<END
Dir::Etc::SourceList "$work/apt/sources.list";
Dir::Etc::SourceParts "$work/apt/parts";
Dir::State::Lists "$work/apt/lists";
Dir::Cache::Archives "$work/apt/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
END
apt() { timeout 600 apt-get -q -c "$work/apt/conf" "$@" >>"$work/log" 2>&1; }
apt update -o APT::Update::Error-Mode=any || fail "the mirror's list of sources could not be fetched"
(cd "$work/source" && apt source --download-only $package) || fail "the source package could not be fetched"
gopath=$work/new/gopath
mkdir -p "$gopath/src/github.com/vmware/govmomi"
tar -x -C "$gopath/src/github.com/vmware/govmomi" --strip-components=1 -f "$work/source/"*.orig.tar.* ||
    fail "the sources could not be unpacked"

# --- the programs ---

build() {
    say "building $1 ($2)"
    (cd "$work" && GO111MODULE=off GOPROXY=off GOFLAGS=-trimpath GOPATH=$gopath:/usr/share/gocode GOCACHE=$work/cache \
        go build -p 2 -ldflags '-s -w' -o "$work/new/$1" "github.com/vmware/govmomi/$1" >>"$work/log" 2>&1) ||
        fail "$1 could not be built"
}
build vcsim "about two minutes, once"
build govc "another minute"
echo $recipe >"$work/new/recipe"
[ ! -e "$dir" ] || mv "$dir" "$work/old"
mv "$work/new" "$dir"
say "ready in $dir"
