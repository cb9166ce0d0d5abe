#!/bin/sh
# Fetches a Debian kernel and packs a busybox initramfs, once, into a cache outside the sources.
#
#   tests/guest/get-kernel.sh cloud|full     prints the path of the kernel
#   tests/guest/get-kernel.sh initrd         prints the path of the initramfs
#
# "cloud" is Debian 12's linux-image-6.1*-cloud-amd64, "full" linux-image-6.12*-amd64.  The cache is
# $DRAGOMAN_CACHE, or dragoman/ in $XDG_CACHE_HOME or ~/.cache.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${DRAGOMAN_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dragoman}
mkdir -p "$cache"

# The newest package name that matches the pattern and has a size to download.
newest() {
    apt-cache search --names-only "$1" | awk '{print $1}' | grep -E "$1" | sort -V | tail -n 1
}

fetch() {
    kind=$1 pattern=$2
    if [ -e "$cache/vmlinuz-$kind" ]; then
        echo "$cache/vmlinuz-$kind"
        return
    fi
    package=$(newest "$pattern")
    if [ -z "$package" ]; then
        echo "get-kernel: reading the package lists" >&2
        if [ "$(id -u)" -eq 0 ]; then apt-get update -q >&2; else sudo apt-get update -q >&2; fi
        package=$(newest "$pattern")
    fi
    if [ -z "$package" ]; then
        echo "get-kernel: no package here matches $pattern" >&2
        exit 1
    fi
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    echo "get-kernel: fetching $package" >&2
    (cd "$work" && apt-get download -q "$package" >"$work/log" 2>&1) || {
        cat "$work/log" >&2
        echo "get-kernel: cannot fetch $package" >&2
        exit 1
    }
    dpkg-deb -x "$work"/*.deb "$work/tree"
    cp "$work"/tree/boot/vmlinuz-* "$cache/vmlinuz-$kind.$$"
    mv "$cache/vmlinuz-$kind.$$" "$cache/vmlinuz-$kind"
    basename "$(ls "$work"/tree/boot/vmlinuz-*)" >"$cache/vmlinuz-$kind.name"
    echo "$cache/vmlinuz-$kind"
}

initrd() {
    image=$cache/initrd.gz
    busybox=$(command -v busybox) || { echo "get-kernel: busybox is missing" >&2; exit 1; }
    if [ -e "$image" ] && [ "$image" -nt "$busybox" ] && [ "$image" -nt "$here/init" ]; then
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
cloud) fetch cloud '^linux-image-6\.1\.[0-9.-]+-cloud-amd64-unsigned$' ;;
full) fetch full '^linux-image-6\.12\.[0-9.]+[+a-z0-9~.]*-amd64-unsigned$' ;;
initrd) initrd ;;
*)
    echo "usage: get-kernel.sh cloud|full|initrd" >&2
    exit 2
    ;;
esac
