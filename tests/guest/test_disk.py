#!/usr/bin/env python3
"""The firmware boots disks and CDs: GRUB, isolinux, Debian to its login, all on the serial line.

    test_disk.py [--only WORD] [--long]

Each row starts the program on an image as a person does, with the project's firmware and no kernel
given; the guest must come to its prompt, do what it is asked and power off with status 0.
test_screens.py does the same on the screen.
"""
import sys

from common import firmware, row_options, run_rows
from images import debian, grub_iso, isolinux_iso, visit_debian
from linux_guest import Guest
from test_terminal import Terminal


def boot_iso(accel, options):
    with Guest(accel, ["-nographic", "-m", "512", "-no-reboot", *options]) as guest:
        assert guest.ask("echo $((6 * 7))") == "42"
        guest.power_off()


def boot_debian(accel, path, *options):
    visit_debian(Terminal(*firmware(), "-accel", accel, "-nographic", "-m", "512", *options, path))


def rows(args):
    """(name, function of a scratch folder) of what is to be done."""
    for accel in ("dbt", "interp") if args.long else ("dbt",):
        yield f"{accel} grub ISO", lambda tmp, a=accel: boot_iso(a, [grub_iso(tmp)])
        yield f"{accel} isolinux ISO", lambda tmp, a=accel: boot_iso(a, [isolinux_iso(tmp)])
    if args.long:
        yield "dbt debian raw", lambda tmp: boot_debian("dbt", debian(tmp), "-snapshot")


def main():
    ap = row_options()
    ap.add_argument("--long", action="store_true")
    args = ap.parse_args()
    return run_rows(rows(args), args.only)


if __name__ == "__main__":
    sys.exit(main())
