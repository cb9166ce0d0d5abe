#!/bin/sh
# Installs the Debian packages that building, the tests and the demo need, if any is missing.
#
#   tests/setup.sh [build|disk|test|long]  (default: build; "disk" adds what makes a Debian disk, "test"
#                                           all that only the tests use, "long" what the long ones do)
set -eu

build="gcc libc6-dev meson ninja-build pkg-config binutils libcapstone-dev zlib1g-dev libpng-dev
    libsdl2-dev libncurses-dev check console-setup-linux busybox-static cpio gzip xz-utils"
disk="mmdebstrap arch-test grub-common grub-pc-bin fdisk e2fsprogs"
images="xorriso mtools isolinux syslinux-common memtest86+ ipxe debian-installer-12-netboot-amd64"
# gcc-multilib by itself excludes compilers for other processors.
test="$disk $images python3 qemu-system-x86 qemu-utils seabios gcc-12-multilib openssl libgcrypt20 sqlite3
    bzip2 acpica-tools dmidecode gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user xvfb openbox
    x11-xkb-utils python3-xlib libssl-dev libgcrypt20-dev"

wanted=$build
case ${1:-build} in
disk) wanted="$wanted $disk" ;;
test) wanted="$wanted $test" ;;
long) wanted="$wanted $test clang" ;;
esac

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: these packages are missing, and there is no sudo to install them:$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
    "$@" >"$log" 2>&1 || { cat "$log" >&2; echo "setup: failed: $*" >&2; exit 1; }
}

echo "setup: installing$missing"
# shellcheck disable=SC2086  # the list is meant to be split
if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        $missing >"$log" 2>&1; then
    echo "setup: reading the package lists"
    quietly $as_root apt-get update -q
    quietly $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends $missing
fi
