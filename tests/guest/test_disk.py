#!/usr/bin/env python3
"""The firmware boots disks and CDs: GRUB, isolinux, Debian to its login, all on the serial line.

    test_disk.py [--only WORD] [--long]

Each row starts the program on an image as a person does, with the project's firmware and no kernel
given; the guest must come to its prompt, do what it is asked and power off with status 0.
test_screens.py does the same on the screen.
"""
import sys

from common import DRAGOMAN, firmware, row_options, run_rows
from images import debian, grub_iso, isolinux_iso
from linux_guest import LIMIT, Guest
from test_terminal import Terminal


def boot_iso(accel, options):
    with Guest(accel, ["-nographic", "-m", "512", "-no-reboot", *options]) as guest:
        assert guest.ask("echo $((6 * 7))") == "42"
        guest.power_off()


def boot_debian(accel, path, extra=(), program=None):
    """To the login on the serial line, in, and out by systemd's own power-off."""
    front = [*firmware(), "-accel", accel] if not program else ["-accel", accel]
    t = Terminal(*front, "-nographic", "-m", "512", *extra, path, program=program or DRAGOMAN)
    try:
        t.expect("login:", 3 * LIMIT)
        t.send("root\r")
        t.expect("assword:", LIMIT)
        t.send("dragoman\r")
        t.expect("# ", LIMIT)
        t.send("echo $(cat /etc/debian_version) $((6 * 7)) $(findmnt -no SOURCE /)\r")
        t.expect("12.", LIMIT)
        t.expect(" 42 /dev/sda1", LIMIT)
        t.send("echo kept >/root/kept; sync; systemctl poweroff\r")
        status = t.process.wait(LIMIT)
        assert status == 0, f"status {status} after poweroff"
    finally:
        t.close()


def rows(args):
    """(name, function of a scratch folder) of what is to be done."""
    for accel in ("dbt", "interp") if args.long else ("dbt",):
        yield f"{accel} grub ISO", lambda tmp, a=accel: boot_iso(a, [grub_iso(tmp)])
        yield f"{accel} isolinux ISO", lambda tmp, a=accel: boot_iso(a, [isolinux_iso(tmp)])
    if args.long:
        yield "dbt debian raw", lambda tmp: boot_debian("dbt", debian(tmp), ["-snapshot"])


def main():
    ap = row_options()
    ap.add_argument("--long", action="store_true")
    args = ap.parse_args()
    return run_rows(rows(args), args.only)


if __name__ == "__main__":
    sys.exit(main())
