#!/bin/sh
# Boots a Debian kernel to a shell on this terminal; more options of dragoman may follow.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
kernel=$("$here/get-kernel.sh" "${KERNEL:-cloud}")
initrd=$("$here/get-kernel.sh" initrd)
echo "Starting $(cat "$kernel.name" 2>/dev/null || echo "$kernel") (to leave: Ctrl-A x, or poweroff -f in the guest)"
exec "$top/build/dragoman" -m "${MEMORY:-512}" -kernel "$kernel" -initrd "$initrd" \
    -append "console=ttyS0 quiet panic=-1" -nographic -no-reboot "$@"
