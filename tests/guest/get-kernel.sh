#!/bin/sh
# Fetches a Debian kernel and packs a busybox initramfs, once, into a cache outside the sources.
#
#   tests/guest/get-kernel.sh cloud|full     prints the path of the kernel
#   tests/guest/get-kernel.sh initrd         prints the path of the initramfs
#
# "cloud" is Debian 12's linux-image-6.1*-cloud-amd64 (or the newest cloud kernel of another
# release), "full" linux-image-6.12*-amd64.  The cache is $DRAGOMAN_CACHE, or dragoman/ in
# $XDG_CACHE_HOME or ~/.cache.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${DRAGOMAN_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dragoman}
mkdir -p "$cache"

# The newest package whose name matches the first of the patterns that any name matches.
newest() {
    for pattern in "$@"; do
        name=$(apt-cache search --names-only "$pattern" | awk '{print $1}' | grep -E "$pattern" |
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
    (cd "$work" && apt-get download -q "$package" >log 2>&1)
}

fetch() {
    kind=$1
    shift
    if [ -e "$cache/vmlinuz-$kind" ]; then
        echo "$cache/vmlinuz-$kind"
        return
    fi
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    # Package lists that are missing or too old are read again, once.
    download "$@" || {
        echo "get-kernel: reading the package lists" >&2
        as_root=
        [ "$(id -u)" -eq 0 ] || as_root=sudo
        $as_root apt-get update -q >&2
        download "$@" || {
            cat "$work/log" >&2
            echo "get-kernel: found no package $*" >&2
            exit 1
        }
    }
    dpkg-deb -x "$work"/*.deb "$work/tree"
    cp "$work"/tree/boot/vmlinuz-* "$cache/vmlinuz-$kind.$$"
    mv "$cache/vmlinuz-$kind.$$" "$cache/vmlinuz-$kind"
    basename "$(ls "$work"/tree/boot/vmlinuz-*)" >"$cache/vmlinuz-$kind.name"
    echo "$cache/vmlinuz-$kind"
}

initrd() {
    busybox=$(command -v busybox) || { echo "get-kernel: busybox is missing" >&2; exit 1; }
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
    fetch cloud '^linux-image-6\.1\.[0-9.-]+-cloud-amd64-unsigned$' \
        '^linux-image-[0-9][0-9a-z.+~-]*-cloud-amd64-unsigned$'
    ;;
full) fetch full '^linux-image-6\.12\.[0-9.]+[+a-z0-9~.]*-amd64-unsigned$' ;;
initrd) initrd ;;
*)
    echo "usage: get-kernel.sh cloud|full|initrd" >&2
    exit 2
    ;;
esac
