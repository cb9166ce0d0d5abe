#!/bin/sh
# Boots a Debian kernel to a shell on this terminal.
#
#   [KERNEL=cloud|full|PATH] [MEMORY=MIB] tests/guest/demo.sh [further options of dragoman]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
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
exec "${DRAGOMAN:-$top/build/dragoman}" -m "${MEMORY:-512}" -kernel "$kernel" -initrd "$initrd" \
    -append "$append" -nographic -no-reboot "$@"
