#!/bin/sh
# Boots a Debian kernel to a shell on this terminal, or a whole Debian from its disk.
#
#   [KERNEL=cloud|full|PATH] [MEMORY=MIB] tests/guest/demo.sh [further options of dragoman]
#   GUEST=debian [MEMORY=MIB] tests/guest/demo.sh [further options of dragoman]
#
# The disk's guest is in a window where there is a screen, else on this terminal.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
dragoman=${DRAGOMAN:-$top/build/dragoman}

disk() {
    image=$("$here/get-disk.sh" amd64)
    front=
    where="in a window (Ctrl-Alt-Q ends it)"
    if [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || ! "$dragoman" -display help | grep -q '^  sdl'; then
        front=-nographic
        where="on this terminal (there is no screen; Ctrl-A x ends it)"
    fi
    echo "Starting Debian 12 from its disk, $where."
    echo "Log in as root, password dragoman; poweroff ends it. What it writes is lost at the end."
    # shellcheck disable=SC2086
    exec "$dragoman" -m "${MEMORY:-1024}" -name "Debian 12" -snapshot $front "$image" "$@"
}

case ${GUEST:-} in
'') ;;
debian) disk "$@" ;;
*)
    echo "demo: GUEST is debian, or not set" >&2
    exit 2
    ;;
esac

kernel=${KERNEL:-cloud}
case $kernel in
cloud | full) kernel=$("$here/get-kernel.sh" "$kernel") ;;
esac
initrd=$("$here/get-kernel.sh" initrd)

append="console=ttyS0 quiet panic=-1"
# The kernel hands variables that it does not know to the first process.
if size=$(stty size 2>/dev/null) && [ "$size" != "0 0" ]; then
    append="$append rows=${size% *} cols=${size#* } TERM=${TERM:-vt100}"
fi
name=$(cat "$kernel.name" 2>/dev/null || echo "$kernel")
echo "Starting $name.  To leave: poweroff -f in the guest, or the keys Ctrl-A x."
echo "Ctrl-A c goes to the monitor and back, Ctrl-A h lists the other keys."
echo "A whole Debian on a disk, in a window: make demo GUEST=debian"
exec "$dragoman" -m "${MEMORY:-512}" -kernel "$kernel" -initrd "$initrd" \
    -append "$append" -nographic -no-reboot "$@"
