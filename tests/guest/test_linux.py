#!/usr/bin/env python3
"""Boots Debian kernels to a shell and compares what they say with what they say in QEMU.

    test_linux.py [--accel interp,dbt] [--kernel cloud|full|cloud,full] [--long]

Per engine and kernel: a person's session on a terminal (commands typed, poweroff -f, status 0), and
a run whose warnings in the kernel's log must all be ones that QEMU's guest gives too.  --long adds
the kernel parameters and machine sizes that a kernel treats specially.  Status 77 (skipped) when
no kernel can be had.
"""
import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import time

from common import DRAGOMAN, SEABIOS, TOP, firmware
from test_terminal import Terminal

LIMIT = 300
VARIANTS = [([], "nokaslr"), ([], "nopti"), ([], "pti=on"), ([], "noapic"), ([], "nohpet"),
            ([], "clocksource=acpi_pm"), ([], "mitigations=off"), (["-m", "128"], ""),
            (["-m", "16G"], ""), (["-cpu", "max"], "")]


def get(what):
    got = subprocess.run([TOP / "tests/guest/get-kernel.sh", what], capture_output=True, text=True)
    if got.returncode:
        print(got.stderr)
        sys.exit(77)
    return got.stdout.strip()


def machine(kernel, initrd, append, extra):
    size = [] if "-m" in extra else ["-m", "512"]
    return [*size, "-kernel", kernel, "-initrd", initrd, "-no-reboot",
            "-append", f"console=ttyS0 quiet panic=-1 {append}", *extra]


def session(accel, kernel, initrd):
    """What a person does: looks around, computes, leaves."""
    busybox = hashlib.md5(open(shutil.which("busybox"), "rb").read()).hexdigest()
    t = Terminal(*firmware(), "-accel", accel, "-nographic", *machine(kernel, initrd, "", []))
    try:
        t.expect("BOOTED", LIMIT)
        t.expect("# ", LIMIT)
        for command, answer in [("echo $((6 * 7))", "42"), ("md5sum /bin/busybox", busybox),
                                ("echo abc | tr a-c A-C", "ABC"), ("ls /proc/self/fd", "0"),
                                ("seq 1 2000 | awk '{s += $1 * 1.5} END {print s}'", "3001500")]:
            t.send(command + "\r")
            t.expect(command[-8:], LIMIT)
            t.expect(answer, LIMIT)
            t.expect("# ", LIMIT)
        t.send("poweroff -f\r")
        status = t.wait(LIMIT)
        assert status == 0, f"status {status} after poweroff -f"
    finally:
        t.close()


def warnings(argv):
    """Boots, lets the guest print the log's lines of level 'warning' and worse, and ends."""
    run = subprocess.run([str(a) for a in argv], capture_output=True, text=True, errors="replace",
                         timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert "BOOTED" in run.stdout, f"no BOOTED in {run.stdout[-2000:]!r} {run.stderr[-2000:]!r}"
    assert run.returncode == 0, f"status {run.returncode}: {run.stderr}"
    lines = re.findall(r"^<[0-4]>\[ *[0-9.]+\] (.*?)\r?$", run.stdout, re.M)
    return {re.sub(r"0x[0-9a-f]+|\d+", "N", line) for line in lines}


def compare(accel, kernel, initrd, append="", extra=()):
    common = machine(kernel, initrd, f"run=dmesg~-r~-s~400000|grep~^.[0-4] {append}", extra)
    ours = warnings([DRAGOMAN, *firmware(), "-accel", accel, "-display", "none", "-serial",
                     "stdio", *common])
    if not ours or not shutil.which("qemu-system-x86_64"):
        return
    cpu = [] if "-cpu" in extra else ["-cpu", "qemu64"]
    theirs = warnings(["qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none",
                       "-bios", SEABIOS, "-serial", "stdio", *cpu, *common])
    assert ours <= theirs, f"warnings that QEMU's guest does not give: {sorted(ours - theirs)}"


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--accel", default="interp")
    ap.add_argument("--kernel", default="cloud")
    ap.add_argument("--long", action="store_true")
    args = ap.parse_args()
    initrd = get("initrd")
    failures = 0
    for accel in args.accel.split(","):
        for name in args.kernel.split(","):
            kernel = get(name)
            steps = [("session", lambda: session(accel, kernel, initrd)),
                     ("log", lambda: compare(accel, kernel, initrd))]
            for extra, append in VARIANTS if args.long else []:
                steps.append((" ".join([*extra, append]),
                              lambda e=extra, a=append: compare(accel, kernel, initrd, a, e)))
            for what, step in steps:
                start = time.monotonic()
                try:
                    step()
                    result = "ok"
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    failures += 1
                    result = f"FAILED: {error}"
                print(f"{accel} {name} {what}: {result} ({time.monotonic() - start:.1f} s)",
                      flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
