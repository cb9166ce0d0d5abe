#!/bin/sh
# Makes a Debian disk image once, into a cache outside the sources.
#
#   tests/guest/get-disk.sh amd64|i386     prints the path of a raw image
#
# Debian 12 by mmdebstrap on one ext4 partition, GRUB in the MBR (its menu waits ten seconds),
# systemd, consoles on the serial line and on the screen; root's password is "dragoman".  Becomes
# root by sudo if need be.  The cache is as in get-kernel.sh.
set -eu

arch=${1:-}
case $arch in
amd64) kernel=linux-image-amd64 ;;
i386) kernel=linux-image-686 ;;
*)
    echo "usage: get-disk.sh amd64|i386" >&2
    exit 2
    ;;
esac

cache=${DRAGOMAN_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dragoman}
image=$cache/debian-$arch-1.raw
if [ -e "$image" ]; then
    echo "$image"
    exit
fi
mkdir -p "$cache"
[ "$(id -u)" -eq 0 ] || exec sudo env DRAGOMAN_CACHE="$cache" "$0" "$arch"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# Where this machine itself gets Debian's packages from; not a third party, nor the security archive.
mirror=$(apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' \
    2>/dev/null | awk '$1 == "Debian" && $2 !~ /-/ { print $3; exit }')
mirror=${mirror:-http://deb.debian.org/debian}

echo "get-disk: making a Debian system for $arch (some minutes)" >&2
mmdebstrap --quiet --variant=minbase --architectures="$arch" \
    --include="$kernel,systemd-sysv,udev,kmod,login,passwd,initramfs-tools,util-linux,procps" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='echo root:dragoman | chroot "$1" chpasswd' \
    --customize-hook='echo dragoman >"$1/etc/hostname"' \
    --customize-hook='echo "/dev/sda1 / ext4 defaults 0 1" >"$1/etc/fstab"' \
    bookworm "$work/root" "$mirror" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
mkdir -p "$work/root/boot/grub/i386-pc"
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst "$work/root/boot/grub/i386-pc/"
cp /usr/share/grub/unicode.pf2 "$work/root/boot/grub/" 2>/dev/null || true
vmlinuz=$(cd "$work/root/boot" && ls vmlinuz-* | head -n 1)
initrd=$(cd "$work/root/boot" && ls initrd.img-* | head -n 1)
cat >"$work/root/boot/grub/grub.cfg" <<END
set timeout=10
menuentry "Debian GNU/Linux" {
    linux /boot/$vmlinuz root=/dev/sda1 ro console=ttyS0 console=tty0
    initrd /boot/$initrd
}
menuentry "Debian GNU/Linux, quiet" {
    linux /boot/$vmlinuz root=/dev/sda1 ro quiet console=ttyS0 console=tty0
    initrd /boot/$initrd
}
END

# One partition from 1 MiB on; boot.img in the MBR loads core.img from the sectors behind it.
mib=1536
truncate -s ${mib}M "$work/image"
mke2fs -q -t ext4 -d "$work/root" -E offset=1048576 -L dragoman "$work/image" $(((mib - 2) * 1024))
echo '2048,,L,*' | sfdisk -q "$work/image"
grub-mkimage -O i386-pc -o "$work/core.img" -p '(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2 \
    normal
dd if=/usr/lib/grub/i386-pc/boot.img of="$work/image" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$work/image" bs=512 seek=1 conv=notrunc status=none
mv "$work/image" "$image"
echo "$image"
