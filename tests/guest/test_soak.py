#!/usr/bin/env python3
"""A guest that forks, executes, pipes, writes files, signals and makes code, round after round.

    test_soak.py [--minutes 20] [--accel dbt,tb-size=4] [--kernel cloud] [-v]

Each round is soak.sh, with the kernel's part of guestbench; what it prints must be what it prints
natively.  The host memory of the process beyond the guest's RAM stays below a fixed bound, the
kernel's log stays free of warnings, and a small code buffer has been emptied many times.
"""
import argparse
import difflib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from common import TOP
from linux_guest import Guest, get, initrd_for, is_32_bit, machine

MIB = 1 << 20
# What the program may need beside guest RAM and code: TLBs, tables, thread stacks, records of
# blocks and exits (they grow with the code buffer).
BOUND_MIB, BOUND_PER_CODE_MIB = 192, 8
DEFAULT_CODE_MIB = 256


def build(tmp, kernel):
    """An initramfs for the kernel (its name or path) with guestbench and the script behind the usual
    one; and a directory to run them natively."""
    bits = ["-m32", "-msse2", "-idirafter", "/usr/include/x86_64-linux-gnu"]
    root = tmp / "root"
    (root / "bin").mkdir(parents=True)
    subprocess.run(["gcc", *(bits if is_32_bit(kernel) else []), "-O2", "-static", "-pthread", "-o", root / "bin/guestbench",
                    TOP / "tests/bench/guestbench.c", "-lm"], check=True)
    shutil.copy(TOP / "tests/guest/soak.sh", root / "soak.sh")
    image = tmp / "initrd.gz"
    shutil.copy(initrd_for(kernel), image)
    with open(image, "ab") as out:
        subprocess.run("find . | cpio -o -H newc --quiet -R 0:0 | gzip -1", shell=True, cwd=root,
                       stdout=out, check=True)
    busybox = shutil.which("busybox")
    subprocess.run([busybox, "--install", "-s", root / "bin"], check=True)
    return root, image


def native_round(tmp, root):
    work = tmp / "work"
    work.mkdir()
    env = {"PATH": str(root / "bin"), "HOME": str(work)}
    result = subprocess.run([root / "bin/sh", root / "soak.sh", work], env=env, text=True,
                            capture_output=True, check=True)
    return result.stdout.strip("\n")


def memory(pid):
    """Resident MiB of the process: guest RAM, and everything else (code counts in each of its two
    mappings)."""
    ram = other = 0
    name = ""
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            name = line.split(None, 5)[-1]
        elif line.startswith("Rss:"):
            kib = int(line.split()[1])
            if "guest-ram" in name:
                ram += kib
            else:
                other += kib
    assert ram, "no mapping of guest RAM"
    return ram / 1024, other / 1024


def soak(args, tmp):
    root, image = build(tmp, args.kernel)
    expected = native_round(tmp, root)
    size = re.search(r"tb-size=(\d+)", args.accel)
    code = int(size[1]) if size else DEFAULT_CODE_MIB
    bound = BOUND_MIB + BOUND_PER_CODE_MIB * code
    if args.accel.startswith("interp"):
        bound = BOUND_MIB + BOUND_PER_CODE_MIB * DEFAULT_CODE_MIB
    rounds, peak = 0, 0
    options = machine(get(args.kernel), args.append, ["-m", "1024"], image)
    with Guest(args.accel, options) as guest:
        before = guest.warnings()
        end = time.monotonic() + 60 * args.minutes
        while not rounds or time.monotonic() < end:
            start = time.monotonic()
            got = guest.ask("sh /soak.sh /tmp", 1800)
            if got != expected:
                print("\n".join(difflib.unified_diff(expected.split("\n"), got.split("\n"),
                                                     "native", f"round {rounds}", lineterm="")))
                return 1
            rounds += 1
            ram, other = memory(guest.process.pid)
            peak = max(peak, other)
            if args.verbose:
                print(f"round {rounds}: {time.monotonic() - start:.1f} s, guest RAM {ram:.0f} MiB, "
                      f"other {other:.0f} MiB", flush=True)
            assert other < bound, f"{other:.0f} MiB beside guest RAM after {rounds} rounds"
        counters = guest.jit_counters()
        new = guest.warnings() - before
        assert not new, f"the kernel's log has {sorted(new)}"
        guest.power_off()
    if args.verbose:
        print(counters[""])
    flushes = counters["whole flushes"] if args.accel.startswith("dbt") else 0
    print(f"{args.accel}: {rounds} rounds, at most {peak:.0f} MiB beside guest RAM (bound {bound}),"
          f" {flushes} flushes")
    if size:
        assert flushes >= rounds, "the code buffer is too large to test its emptying"
    return 0


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--minutes", type=float, default=20)
    ap.add_argument("--accel", default="dbt,tb-size=4")
    ap.add_argument("--kernel", default="cloud")
    ap.add_argument("--append", default="")
    ap.add_argument("-v", "--verbose", action="store_true")
    args = ap.parse_args()
    with tempfile.TemporaryDirectory() as name:
        try:
            return soak(args, pathlib.Path(name))
        except (AssertionError, subprocess.TimeoutExpired) as error:
            print(f"FAILED: {error}")
            return 1


if __name__ == "__main__":
    sys.exit(main())
