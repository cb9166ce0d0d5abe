#!/usr/bin/env python3
"""The firmware boots disks and CDs: GRUB, isolinux, Debian to its login, all on the serial line.

    test_disk.py [--only WORD] [--long]

Each row starts the program on an image as a person does, with the project's firmware and no kernel
given; the guest must come to its prompt, do what it is asked and power off with status 0.
test_screens.py does the same on the screen.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

from common import DRAGOMAN, firmware
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
    ap = argparse.ArgumentParser()
    ap.add_argument("--only", default="", help="rows whose name has this")
    ap.add_argument("--long", action="store_true")
    args = ap.parse_args()
    failures = 0
    for name, row in rows(args):
        if args.only not in name:
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as tmp:
            try:
                row(pathlib.Path(tmp))
                result = "ok"
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                failures += 1
                result = f"FAILED: {error}"
        print(f"{name}: {result} ({time.monotonic() - start:.1f} s)", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
