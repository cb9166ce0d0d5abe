#!/usr/bin/env python3
"""What single things cost, in nanoseconds: the bare-metal guest micro.c in QEMU's TCG and in Dragoman.

    micro.py [--runs 3] [--only call] [--accel "dbt interp"] [--no-qemu] [--json F]

Systems take turns, and each row is its least of all runs; the clock is the guest's HPET.  Status 1 if
a system did not measure each row or got a wrong result; figures never decide anything.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
# name: what it is, and the most it is to take (for GB/s: the least)
ROWS = {
    "x87": ("one x87 operation, half of them with memory", 2),
    "sse": ("one scalar SSE2 operation with a load or store", 1.5),
    "call": ("call + ret", 3),
    "int": ("int + iretq, ring 3 to 0 and back", 80),
    "miss": ("load that misses the TLB, 4,000 pages", 25),
    "cr3": ("CR3 reload and a touch of 16 pages", 700),
    "patch": ("patch an immediate, call the code", 400),
    "own-page": ("store into the page that runs", 100),
    "own-line": ("store into the cache line that runs", None),
    "movs": ("rep movsb, 64 KiB", 10),
    "load": ("load", None),
    "store": ("store", None),
    "push": ("push or pop", None),
    "locked": ("lock xadd", None),
    "far-call": ("call + ret, another page", None),
    "one-call": ("indirect call of one target + ret", None),
    "table-call": ("indirect call through a table + ret", None),
    "table-jump": ("jump through a table, 8 targets at random", None),
    "recursion": ("call of a recursive fib", None),
    "syscall": ("syscall + sysretq", None),
    "kernel-int": ("int + iretq within ring 0", None),
    "ud2": ("#UD and its return, ring 0", None),
    "page-fault": ("#PF and its return, ring 0", None),
    "self-ipi": ("self-IPI through the APIC, its handler and EOI", None),
    "timer": ("timer interrupt: handler and EOI", 2000),
    "miss-40000": ("load that misses the TLB, 40,000 pages", None),
    "invlpg": ("invlpg and a load there", None),
    "rewrite": ("write 64 instructions, call them", None),
    "short-movs": ("rep movsb, 64 bytes", None),
    "stos": ("rep stosb, 64 KiB", None),
    "clts": ("clts", None),
    "sti-cli": ("sti + cli", None),
    "flags": ("pushfq + popfq", None),
    "rdtsc": ("rdtsc", None),
    "cpuid": ("cpuid", None),
    "out": ("out to a port", None),
    "in": ("in from a port", None),
    "swapgs": ("swapgs", None),
    "wrmsr": ("wrmsr of the FS base", None),
    "rdmsr": ("rdmsr of the FS base", None),
    "deadline": ("wrmsr of the TSC deadline", None),
    "eoi": ("APIC: EOI", None),
}
RATES = {"movs", "stos"}


def run(argv, limit):
    """{row: figure} of one run; None and the output if it did not end well."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
    out = done.stdout.decode(errors="replace")
    if done.returncode != 33 or "failed 0" not in out:
        return None, out + done.stderr.decode(errors="replace")
    rows = re.findall(r"^ROW (\S+)=([0-9a-f]+)", out, re.M)
    return {n: int(v, 16) / (1e6 if n in RATES else 1e3) for n, v in rows}, out


def systems(args):
    guest = ["-m", "128", "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-device",
             "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", str(args.image)]
    if args.only:
        guest += ["-append", args.only]
    table = {}
    if not args.no_qemu and shutil.which("qemu-system-x86_64"):
        table["qemu"] = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-net", "none", *guest]
    for accel in args.accel.split(" "):
        table[accel] = [str(args.program.resolve()), "-accel", accel, "-cpu", "max", *guest]
    return table


def better(name, a, b):
    return max(a, b) if name in RATES else min(a, b)


def report(best):
    names = list(best)
    print(f"{'ns (rep: GB/s)':<50}", *(f"{n:>9}" for n in names), f"{names[0] + '/' + names[-1]:>12}"
          if len(names) > 1 else "", f"{'at most':>9}")
    for row, (what, bar) in ROWS.items():
        figures = [best[n].get(row) for n in names]
        if not any(figures):
            continue
        line = f"{what:<50} " + " ".join(f"{f:9.2f}" if f else f"{'-':>9}" for f in figures)
        if len(names) > 1 and all(figures):
            gain = figures[-1] / figures[0] if row in RATES else figures[0] / figures[-1]
            line += f" {gain:11.1f}x"
        if bar:
            missed = figures[-1] and better(row, figures[-1], bar) != figures[-1]
            line += f" {bar:>9}" + (" missed" if missed else "")
        print(line)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--only", default="", help="the beginning of the rows' names")
    ap.add_argument("--accel", default="dbt", help="engines with their options, separated by spaces")
    ap.add_argument("--limit", type=int, default=100)
    ap.add_argument("--no-qemu", action="store_true")
    ap.add_argument("--program", type=pathlib.Path, default=TOP / "build/dragoman")
    ap.add_argument("--image", type=pathlib.Path, default=TOP / "build/tests/guest/micro.img")
    ap.add_argument("--json")
    args = ap.parse_args()
    wanted = {n for n in ROWS if n.startswith(args.only)}
    best = {}
    for _ in range(args.runs):
        for system, argv in systems(args).items():
            figures, out = run(argv, args.limit)
            if figures is None or set(figures) != wanted:
                print(f"{system}: did not measure {sorted(wanted - set(figures or ()))}:\n{out[-2000:]}")
                return 1
            into = best.setdefault(system, figures)
            for n, v in figures.items():
                into[n] = better(n, into[n], v)
    report(best)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(best, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
