#!/usr/bin/env python3
"""Times guestbench natively, in QEMU's TCG and in Dragoman, side by side.

    bench.py [--runs 3] [--only sha,fib] [--accel dbt,interp] [--no-qemu] [--kernel VMLINUZ] [--json F]

Every workload prints BEGIN and END lines on the guest's serial port; the clock is the host's when
they arrive, so the guest's clock does not matter.  Systems take turns, run by run, because shared
machines drift: quote the ratios.  A checksum other than the native one is an error (status 1).
Figures never decide anything else.
"""
import argparse
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
GROUPS = {
    "integer": "sha qsort fib bytecode hash lz string".split(),
    "float and vector": "nbody matmul x87 simdint".split(),
    "kernel": "syscall pipe fork exec pagefault file signal jit".split(),
    "threads": ["threads"],
}
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
echo BOOTED
/bin/guestbench {names}
/bin/busybox poweroff -f
"""
APPEND = "console=ttyS0 quiet mitigations=off panic=-1"


def pack(work, names):
    """Builds guestbench and an initramfs around it; returns both paths."""
    program = work / "guestbench"
    subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", program, HERE / "guestbench.c", "-lm"],
                   check=True)
    root = work / "root"
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    shutil.copy(program, root / "bin")
    init = root / "init"
    init.write_text(INIT.format(names=" ".join(names)))
    init.chmod(0o755)
    image = work / "initrd.gz"
    subprocess.run(f"find . | cpio -o -H newc --quiet | gzip -1 > {image}", shell=True, cwd=root,
                   check=True)
    return program, image


def run(argv, limit):
    """One run of one system: {workload: seconds} with 'boot', and {workload: checksum}."""
    start = time.monotonic()
    seconds, sums, began, rest = {}, {}, {}, b""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        fd = process.stdout.fileno()
        os.set_blocking(fd, False)
        while True:
            now = time.monotonic()
            if now - start > limit:
                process.kill()
                print(f"  stopped after {limit} s: {argv[0]}", file=sys.stderr)
                break
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                time.sleep(0.0005)
                continue
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                words = line.decode("latin-1").split()
                if line.rstrip().endswith(b"BOOTED"):
                    seconds["boot"] = now - start
                elif len(words) == 2 and words[0] == "BEGIN":
                    began[words[1]] = now
                elif len(words) == 3 and words[0] == "END" and words[1] in began:
                    seconds[words[1]] = now - began[words[1]]
                    sums[words[1]] = words[2]
    return seconds, sums


def geomean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def systems(args, kernel, initrd):
    guest = ["-m", "1024", "-kernel", kernel, "-initrd", initrd, "-append", APPEND, "-nographic",
             "-no-reboot", *args.extra.split()]
    table = {}
    if not args.no_qemu:
        table["qemu"] = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-nodefaults",
                         "-serial", "stdio", *guest]
    for accel in args.accel.split(","):
        table[accel] = [str(args.program or TOP / "build/dragoman"), "-accel", accel, *guest]
    return table


def report(median, names):
    """Prints the table; the last system is compared with native and with the first."""
    first, ours = names[0], names[-1]
    print(f"{'seconds':<10} {'native':>8}", *(f"{n:>9}" for n in names),
          f"{ours + '/native':>12}", f"{first + '/' + ours:>12}" if first != ours else "")
    for group, members in [("boot", ["boot"]), *GROUPS.items()]:
        slower, gains = [], []
        for w in members:
            native, row = median["native"].get(w), [median[n].get(w) for n in names]
            if not any(row):
                continue
            text = f"{w:<10} " + (f"{native:8.3f}" if native else " " * 8)
            text += "".join(f" {v:9.3f}" if v else f" {'-':>9}" for v in row)
            if native and row[-1]:
                slower.append(row[-1] / native)
                text += f" {slower[-1]:12.2f}"
            else:
                text += " " * 13
            if first != ours and row[0] and row[-1]:
                gains.append(row[0] / row[-1])
                text += f" {gains[-1]:11.2f}x"
            print(text)
        if len(members) > 1:
            faster = f", {geomean(gains):.2f} times as fast as {first}" if gains else ""
            print(f"  {group}: {geomean(slower):.2f} times native{faster}")
    both = [w for g in GROUPS.values() for w in g if median[first].get(w) and median[ours].get(w)]
    if first != ours and both:
        total = geomean(median[first][w] / median[ours][w] for w in both)
        print(f"all {len(both)} workloads: {total:.2f} times as fast as {first}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--kernel")
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--only", default="")
    ap.add_argument("--accel", default="dbt")
    ap.add_argument("--limit", type=int, default=600)
    ap.add_argument("--no-qemu", action="store_true")
    ap.add_argument("--extra", default="", help="further options for both emulators")
    ap.add_argument("--program", help="the emulator to measure (build/dragoman)")
    ap.add_argument("--json")
    args = ap.parse_args()
    kernel = args.kernel or subprocess.check_output(
        [TOP / "tests/guest/get-kernel.sh", "cloud"], text=True).strip()
    names = [n for n in args.only.split(",") if n]
    times, native, wrong = {}, {}, set()
    with tempfile.TemporaryDirectory() as tmp:
        program, initrd = pack(pathlib.Path(tmp), names)
        table = systems(args, kernel, str(initrd))
        for _ in range(args.runs):
            for system, argv in [("native", [str(program), *names]), *table.items()]:
                seconds, sums = run(argv, args.limit)
                if system == "native":
                    native.update(sums)
                for w, s in seconds.items():
                    times.setdefault(system, {}).setdefault(w, []).append(s)
                for w, c in native.items():
                    if sums.get(w) != c:
                        wrong.add(f"{system}: {w} gave {sums.get(w)}, native {c}")
    median = {s: {w: statistics.median(v) for w, v in t.items()} for s, t in times.items()}
    for system in table:
        median.setdefault(system, {})
    report(median, list(table))
    for line in sorted(wrong):
        print("WRONG", line)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(median, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
