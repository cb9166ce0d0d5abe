#!/usr/bin/env python3
"""How cost grows with the work: working sets, code, virtual processors and memory, in a Linux guest.

    scale.py [--only load,code,spin,lock,memory] [--runs 2] [--no-qemu] [--json FILE]

Times scalebench.c natively, in QEMU's TCG and in Dragoman, taking turns; each figure is the least of
all runs, in nanoseconds a step (a load, an instruction, an addition), and of `memory` in seconds to
the first shell and in MiB of the emulator's memory then.  A checksum other than the native one is
an error (status 1).  Figures never decide anything else.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from bench import APPEND, INIT, TOP, archive, run

LOADS = [1, 8, 64, 512, 2048, 8192]            # MiB
CODE = [512, 4096, 32768, 65536]                 # KiB
VCPUS = [1, 2, 4, 8]
MEMORY = [128, 1024, 4096, 16384]              # MiB
# kind: title, sizes, what a size means, options for a size
KINDS = {
    "load": ("random loads, ns each, by working set", LOADS, "%s MiB", lambda n: ["-m", str(1024 + n)]),
    "code": ("fresh code called once, then again ten times, ns an instruction, by its size", CODE, "%s KiB",
             lambda n: ["-m", "1024"]),
    "spin": ("additions on as many threads as virtual processors, ns each", VCPUS, "-smp %s",
             lambda n: ["-m", "1024", "-smp", str(n)]),
    "lock": ("locked additions to one word, ns each", VCPUS, "-smp %s",
             lambda n: ["-m", "1024", "-smp", str(n)]),
    "memory": ("boot to the first shell, seconds, and the emulator's MiB then", MEMORY, "-m %s",
               lambda n: ["-m", str(n)]),
}


# Steps of a workload (scalebench.c has the same figures).
STEPS = {
    "load": lambda mib: 1 << 24,
    "code": lambda kib: kib * 1024 // 128 * 16,
    "again": lambda kib: kib * 1024 // 128 * 16 * 10,
    "spin": lambda threads: 1 << 30,
    "lock": lambda threads: 1 << 23,
}


def pack(work, word):
    """An initramfs whose init runs scalebench with this word."""
    root = work / "root"
    shutil.rmtree(root, ignore_errors=True)
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    shutil.copy(work / "scalebench", root / "bin")
    command = f"echo BEGIN {word}; echo END {word} 0" if word.startswith("memory") else f"/bin/scalebench {word}"
    (root / "init").write_text(INIT.format(commands=command))
    (root / "init").chmod(0o755)
    return archive(root, work / "initrd.gz")


def emulators(args, kernel, initrd, options):
    guest = ["-kernel", kernel, "-initrd", str(initrd), "-append", APPEND, "-nographic", "-no-reboot", *options]
    table = {}
    if not args.no_qemu:
        table["qemu"] = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-nodefaults", "-serial",
                         "stdio", *guest]
    table["dbt"] = [str(args.program), "-accel", "dbt", *guest]
    return table


def resident():
    """The most MiB that the only child of this process has had."""
    pid = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[0]
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) >> 10


def note(figures, row, system, value):
    at = figures.setdefault(row, {})
    at[system] = min(value, at.get(system, value))


def measure(args, kernel, work, kind, size, figures):
    """Runs all systems once for this size; yields what was wrong."""
    word = f"{kind}-{size}"
    initrd = pack(work, word)
    table = emulators(args, kernel, initrd, KINDS[kind][3](size))
    want = {}
    if kind != "memory":
        table = {"native": [str(work / "scalebench"), word], **table}
    for system, argv in table.items():
        most = []
        watch = (lambda m=most: m.append(resident())) if kind == "memory" else (lambda: None)
        seconds, sums = run(argv, args.limit, watch)
        if kind == "memory":
            if "boot" not in seconds or not most:
                yield f"{system} with -m {size} did not reach its shell"
                continue
            note(figures, word, system, seconds["boot"])
            note(figures, f"MiB-{size}", system, most[0])
            continue
        want = want or sums
        if not sums or sums != want:
            yield f"{system}: {word} gave {sums}, not {want}"
            continue
        for name in sums:
            note(figures, name, system, seconds[name] * 1e9 / STEPS[name.split("-")[0]](size))


def report(kind, figures, systems):
    title, sizes, unit, _ = KINDS[kind]
    print(f"\n{title}\n{'':<12}", *(f"{s:>9}" for s in systems), f"{'qemu/dbt':>10}" if "qemu" in systems else "")
    for prefix in {"code": ["code", "again"], "memory": ["memory", "MiB"]}.get(kind, [kind]):
        for size in sizes:
            row = figures.get(f"{prefix}-{size}", {})
            name = unit % size + {"again": " again", "MiB": " (MiB)"}.get(prefix, "")
            text = "".join(f" {row[s]:9.2f}" if s in row else f" {'-':>9}" for s in systems)
            if row.get("qemu") and row.get("dbt"):
                text += f" {row['qemu'] / row['dbt']:10.2f}"
            print(f"{name:<12}{text}", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--only", default=",".join(KINDS), help="some of %(default)s")
    ap.add_argument("--runs", type=int, default=2)
    ap.add_argument("--limit", type=int, default=600, help="seconds a run may take")
    ap.add_argument("--no-qemu", action="store_true")
    ap.add_argument("--program", type=pathlib.Path, default=TOP / "build/dragoman")
    ap.add_argument("--json", type=pathlib.Path, help="where to save the figures")
    args = ap.parse_args()
    kinds = args.only.split(",")
    strange = sorted(set(kinds) - set(KINDS))
    if strange:
        ap.error(f"no such kind: {', '.join(strange)}; there are {', '.join(KINDS)}")
    kernel = subprocess.check_output([TOP / "tests/guest/get-kernel.sh", "cloud"], text=True).strip()
    systems = ["native", *([] if args.no_qemu else ["qemu"]), "dbt"]
    figures, wrong = {}, set()
    with tempfile.TemporaryDirectory() as tmp:
        work = pathlib.Path(tmp)
        subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", work / "scalebench",
                        TOP / "tests/bench/scalebench.c"], check=True)
        for kind in kinds:
            for size in KINDS[kind][1]:
                for _ in range(args.runs):
                    wrong |= set(measure(args, kernel, work, kind, size, figures))
            report(kind, figures, systems if kind != "memory" else systems[1:])
    for line in sorted(wrong):
        print("WRONG", line)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
