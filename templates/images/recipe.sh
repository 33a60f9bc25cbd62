# shellcheck shell=sh
# shellcheck disable=SC2154 # recipe_dir is the sourcing script's own folder
# What every image recipe needs, sourced by NAME/build.sh:
#   recipe_begin NAME OUTDIR   make the work directory, promise to remove it
#   recipe_say TEXT            one line of progress
#   recipe_bootstrap ...       mmdebstrap with this machine's Debian mirrors
#   recipe_as_root COMMAND     run COMMAND as root, or as pretended root
#   recipe_modules ROOT TREE MODULE...   the modules and all they depend on
#   recipe_cpio TREE           TREE as an initramfs, on standard output
#   recipe_publish FILE...     move finished files into OUTDIR, the disk last
#
# Nothing here mounts anything and nothing here needs a loop device, so that a
# recipe runs in a container and, given subordinate user ids, without root.

recipe_say() { printf '%s: %s\n' "$recipe_name" "$*"; }

recipe_die() {
    printf '%s: %s\n' "$recipe_name" "$*" >&2
    exit 1
}

recipe_need() {
    for recipe_tool; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$recipe_tool" >/dev/null ||
            recipe_die "$recipe_tool not found: apt-get install $(recipe_packages)"
    done
}

# The one place that lists the packages is template.yaml.
recipe_packages() {
    sed -n 's/^packages: *\[\(.*\)\]/\1/p' "$recipe_dir/template.yaml" | tr -d ,
}

recipe_begin() {
    recipe_name=$1
    if [ -z "${2:-}" ]; then
        echo "usage: build.sh OUTDIR" >&2
        exit 2
    fi
    PATH=$PATH:/usr/sbin:/sbin
    umask 022
    mkdir -p "$2"
    recipe_out=$(cd "$2" && pwd)
    recipe_work=$(mktemp -d "${TMPDIR:-$(dirname "$recipe_out")}/.$1.XXXXXX")
    recipe_work=$(cd "$recipe_work" && pwd)
    trap recipe_end EXIT
    # A signal must pass through EXIT too, and still be seen by the caller.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # mmdebstrap's subordinate root has to get through this directory.
    chmod 755 "$recipe_work"
    recipe_epoch
}

recipe_end() {
    recipe_status=$?
    trap - EXIT
    chmod -R u+rwX "$recipe_work" 2>/dev/null || :
    rm -rf "$recipe_work"
    exit "$recipe_status"
}

# One date for every time stamp, so that the same packages make the same image:
# the caller's, else the date of the newest Debian release file apt knows.
recipe_epoch() {
    if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
        SOURCE_DATE_EPOCH=0
        recipe_lists=$(apt-config shell d Dir::State::lists/d)
        eval "${recipe_lists:-d=/var/lib/apt/lists}"
        for recipe_file in "${d:?}"/*Release; do
            recipe_date=$(sed -n 's/^Date: //p;/^SHA256:/q' "$recipe_file" 2>/dev/null) || continue
            recipe_date=$(date -d "$recipe_date" +%s 2>/dev/null) || continue
            [ "$recipe_date" -le "$SOURCE_DATE_EPOCH" ] || SOURCE_DATE_EPOCH=$recipe_date
        done
    fi
    export SOURCE_DATE_EPOCH
}

# deb lines for SUITE: the mirrors are those this machine's apt uses already,
# whatever release it runs itself.
recipe_sources() {
    # shellcheck disable=SC2016 # apt-get replaces these, not the shell
    apt-get indextargets --format '$(CREATED_BY) $(ORIGIN)/$(LABEL) $(SITE)' |
        sort -u |
        while read -r by what site; do
            [ "$by" = Packages ] || continue
            case $what in
            Debian/Debian)
                echo "deb $site $1 main"
                echo "deb $site $1-updates main"
                ;;
            Debian/Debian-Security)
                echo "deb $site $1-security main"
                ;;
            esac
        done
}

# recipe_bootstrap SUITE TARGET OPTION...
recipe_bootstrap() {
    recipe_suite=$1 recipe_target=$2
    shift 2
    recipe_sources "$recipe_suite" >"$recipe_work/sources.list"
    [ -s "$recipe_work/sources.list" ] ||
        recipe_die "apt knows no Debian mirror: configure one and run apt-get update"
    # Proxies and the like belong to the mirrors; other settings of this
    # machine's apt are its own affair.
    apt-config dump |
        grep -E '^Acquire::(https?|Check|ForceIP|Retries)' >"$recipe_work/apt.conf" || :
    case $(id -u) in
    0) recipe_mode=auto ;;
    *) recipe_mode=unshare ;;
    esac
    mmdebstrap --quiet --mode="$recipe_mode" --architectures=amd64 \
        --aptopt="$recipe_work/apt.conf" \
        --aptopt='APT::Install-Recommends "false"' \
        --aptopt='Acquire::Languages "none"' \
        "$@" "$recipe_suite" "$recipe_target" "$recipe_work/sources.list"
}

# Owners and device nodes must survive unpacking: as root they do, else
# fakeroot remembers them.
recipe_as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        fakeroot -- "$@"
    fi
}

# Copies modules, in the order given, with what they depend on, and writes the
# indexes of those copied alone: a small index is soon read.
recipe_modules() {
    recipe_root=$1 recipe_tree=$2
    shift 2
    # Whether /lib is a link to /usr/lib depends on how the root was made.
    recipe_base=$recipe_root
    [ -d "$recipe_root/lib/modules" ] || recipe_base=$recipe_root/usr
    recipe_version=$(basename "$recipe_base"/lib/modules/*)
    recipe_moddir=lib/modules/$recipe_version
    depmod -b "$recipe_base" "$recipe_version"
    mkdir -p "$recipe_tree/$recipe_moddir"
    for recipe_module; do
        # Not every kernel has every driver.
        modprobe -d "$PWD/$recipe_base" -S "$recipe_version" --show-depends "$recipe_module" 2>/dev/null |
            sed -n "s,^insmod .*/\\($recipe_moddir/[^ ]*\\).*,\\1,p"
    done | sort -u | while read -r recipe_file; do
        mkdir -p "$recipe_tree/$(dirname "$recipe_file")"
        cp "$recipe_base/$recipe_file" "$recipe_tree/$recipe_file"
    done
    # depmod asks for these, and they say which drivers need no module.
    for recipe_file in builtin builtin.modinfo order; do
        cp "$recipe_base/$recipe_moddir/modules.$recipe_file" "$recipe_tree/$recipe_moddir/"
    done
    depmod -b "$recipe_tree" "$recipe_version"
    # busybox's modprobe reads only these two.
    find "$recipe_tree/$recipe_moddir" -maxdepth 1 -name 'modules.*' \
        ! -name modules.dep ! -name modules.alias -exec rm {} +
}

recipe_cpio() {
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$1" && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R 0:0)
}

# recipe_publish FILE...: into OUTDIR, each by rename; a reader sees the old
# file or the new, never a half.  disk.qcow2 comes last: it is the sign that
# the image is there.
recipe_publish() {
    for recipe_file; do
        cp --sparse=always "$recipe_work/$recipe_file" "$recipe_out/.$recipe_file.$$"
    done
    for recipe_file; do
        mv -f "$recipe_out/.$recipe_file.$$" "$recipe_out/$recipe_file"
    done
}
