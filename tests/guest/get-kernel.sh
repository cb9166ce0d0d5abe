#!/bin/sh
# Fetches a Debian kernel and packs a busybox initramfs, once, into a cache outside the sources.
#
#   tests/guest/get-kernel.sh cloud|full|686|686-pae     prints the path of the kernel
#   tests/guest/get-kernel.sh full-floppy                prints the path of "full"'s floppy driver
#   tests/guest/get-kernel.sh initrd|initrd-i386         prints the path of the initramfs
#
# "cloud" is Debian 12's linux-image-6.1*-cloud-amd64 (or the newest cloud kernel of another
# release), "full" linux-image-6.12*-amd64, "686" and "686-pae" Debian 12's 32-bit kernels, for which
# "initrd-i386" has a 32-bit busybox.  32-bit packages come through package lists of their own in the
# cache: the host's apt and dpkg do not learn of another architecture.  The cache is $DRAGOMAN_CACHE, or dragoman/ in
# $XDG_CACHE_HOME or ~/.cache.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${DRAGOMAN_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dragoman}
mkdir -p "$cache"
apt_options=

# The newest package whose name matches the first of the patterns that any name matches.
newest() {
    for pattern in "$@"; do
        # shellcheck disable=SC2086  # options are meant to be split, here and below
        name=$(apt-cache $apt_options search --names-only "$pattern" | awk '{print $1}' | grep -E "$pattern" |
            sort -V | tail -n 1)
        [ -z "$name" ] || break
    done
    echo "$name"
}

# Downloads the newest such package to $work; false with $work/log.
download() {
    : >"$work/log"
    package=$(newest "$@")
    [ -n "$package" ] || return 1
    echo "get-kernel: fetching $package" >&2
    # shellcheck disable=SC2086
    (cd "$work" && apt-get $apt_options download -q "$package" >log 2>&1)
}

# Lets what follows use i386 packages, with lists and a configuration that only this script knows.
i386() {
    apt=$cache/apt-i386
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    : >"$apt/status"
    # The same archives as the host's, as far as they are Debian's.
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' | awk '$1 == "Debian" {
            print "deb [arch=i386 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $2, $3, $4
        }' | sort -u >"$apt/sources.list.$$"
    [ -s "$apt/sources.list.$$" ] || {
        echo "get-kernel: the host has no Debian package lists; run apt-get update" >&2
        exit 1
    }
    mv "$apt/sources.list.$$" "$apt/sources.list"
    apt_options="-o APT::Architecture=i386 -o APT::Architectures=i386 -o Dir::State=$apt
        -o Dir::State::lists=$apt/lists -o Dir::State::status=$apt/status -o Dir::Cache=$apt
        -o Dir::Etc::SourceList=$apt/sources.list -o Dir::Etc::SourceParts=/dev/null"
}

# Unpacks the newest package that matches into $work/tree.
fetch() {
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    # Package lists that are missing or too old are read again, once.
    download "$@" || {
        echo "get-kernel: reading the package lists" >&2
        as_root=
        [ -n "$apt_options" ] || [ "$(id -u)" -eq 0 ] || as_root=sudo
        # One of several archives may fail without harm: what counts is whether the package is there.
        # shellcheck disable=SC2086
        $as_root apt-get $apt_options update -q >"$work/update" 2>&1 || true
        download "$@" || {
            cat "$work/update" "$work/log" >&2
            echo "get-kernel: found no package $*" >&2
            exit 1
        }
    }
    dpkg-deb -x "$work"/*.deb "$work/tree"
}

# The driver belongs to the kernel that it came with.
keep_floppy() {
    module=$(find "$work/tree" -name 'floppy.ko*')
    case $module in
    '') ;;
    *.xz) xz -dc "$module" >"$cache/floppy-$1.ko" ;;
    *) cp "$module" "$cache/floppy-$1.ko" ;;
    esac
}

kernel() {
    kind=$1
    shift
    if [ -e "$cache/vmlinuz-$kind" ]; then
        echo "$cache/vmlinuz-$kind"
        return
    fi
    fetch "$@"
    cp "$work"/tree/boot/vmlinuz-* "$cache/vmlinuz-$kind.$$"
    mv "$cache/vmlinuz-$kind.$$" "$cache/vmlinuz-$kind"
    basename "$(ls "$work"/tree/boot/vmlinuz-*)" >"$cache/vmlinuz-$kind.name"
    keep_floppy "$kind"
    echo "$cache/vmlinuz-$kind"
}

# The path of a 32-bit busybox.
busybox_i386() {
    if [ ! -e "$cache/busybox-i386" ]; then
        fetch '^busybox-static$'
        cp "$work/tree/bin/busybox" "$cache/busybox-i386.$$"
        mv "$cache/busybox-i386.$$" "$cache/busybox-i386"
    fi
    echo "$cache/busybox-i386"
}

initrd() {
    busybox=$1
    # Named by what is in it: several trees may share the cache.
    image=$cache/initrd-$(cat "$busybox" "$here/init" | cksum | cut -d ' ' -f 1).gz
    if [ -e "$image" ]; then
        echo "$image"
        return
    fi
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/bin" "$work/dev" "$work/proc" "$work/sys" "$work/tmp" "$work/root"
    cp "$busybox" "$work/bin/busybox"
    cp "$here/init" "$work/init"
    chmod 755 "$work/init"
    (cd "$work" && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0 | gzip -9n) \
        >"$image.$$"
    mv "$image.$$" "$image"
    echo "$image"
}

case ${1:-} in
cloud)
    kernel cloud '^linux-image-6\.1\.[0-9.-]+-cloud-amd64-unsigned$' \
        '^linux-image-[0-9][0-9a-z.+~-]*-cloud-amd64-unsigned$'
    ;;
full-floppy)
    # A cache from before has the kernel alone.
    [ -e "$cache/floppy-full.ko" ] || rm -f "$cache/vmlinuz-full"
    "$0" full >/dev/null
    echo "$cache/floppy-full.ko"
    ;;
full) kernel full '^linux-image-6\.12\.[0-9.]+[+a-z0-9~.]*-amd64-unsigned$' ;;
686 | 686-pae)
    i386
    kernel "$1" "^linux-image-6\.1\.[0-9.-]+-$1-unsigned\$"
    ;;
initrd)
    busybox=$(command -v busybox) || { echo "get-kernel: busybox is missing" >&2; exit 1; }
    initrd "$busybox"
    ;;
initrd-i386)
    i386
    busybox=$(busybox_i386)
    initrd "$busybox"
    ;;
*)
    echo "usage: get-kernel.sh cloud|full|full-floppy|686|686-pae|initrd|initrd-i386" >&2
    exit 2
    ;;
esac
