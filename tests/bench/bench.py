#!/usr/bin/env python3
"""Times guestbench and real programs natively, in QEMU's TCG and in Dragoman, side by side.

    bench.py [--runs 3] [--only sha,fib,python] [--accel "dbt,cache=off dbt"] [--no-qemu]
             [--kernel VMLINUZ] [--json FILE] [--svg FILE]

The real programs are this host's own, from Debian's packages, in the initramfs with their libraries.
Every workload prints BEGIN and END lines on the guest's serial port; the clock is the host's when
they arrive, so the guest's clock does not matter.  Systems take turns, run by run, because shared
machines drift: quote the ratios.  A checksum other than the native one is an error (status 1).
Figures never decide anything else.

Dragoman keeps translations from run to run, here in a folder of the measurement's own which a run
before the others fills; with cache=off each run translates everything.
"""
import argparse
import hashlib
import json
import math
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(TOP / "tests/guest"))
from chart import draw  # noqa: E402  (beside this file)
from test_models import add_libraries, archive, libraries  # noqa: E402
GROUPS = {
    "integer": "sha qsort fib bytecode hash lz string".split(),
    "float and vector": "nbody matmul x87 simdint".split(),
    "kernel": "syscall pipe fork exec pagefault file signal jit".split(),
    "threads": ["threads"],
}
PROGRAMS = {"programs": "python xz cc1 sqlite openssl".split()}
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
echo BOOTED
{commands}
/bin/busybox poweroff -f
"""
APPEND = "console=ttyS0 quiet mitigations=off panic=-1"


def pack_programs(work, root):
    """Puts the real programs, their libraries and their data into root; returns the data's folder."""
    data = root / "data"
    shutil.copytree(HERE / "programs", data)
    cc1 = subprocess.check_output(["gcc", "-print-prog-name=cc1"], text=True).strip()
    shutil.copy(cc1, data / "cc1")
    installed = ["/usr/bin/python3", "/usr/bin/xz", "/usr/bin/sqlite3", "/usr/bin/openssl"]
    add_libraries(root, [*installed, *libraries(*installed, cc1)])
    library = pathlib.Path(subprocess.check_output(
        ["/usr/bin/python3", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"],
        text=True).strip())
    shutil.copytree(library, root / str(library)[1:], ignore=shutil.ignore_patterns(
        "test", "tests", "lib-dynload", "dist-packages", "idlelib", "ensurepip", "lib2to3"))
    subprocess.run(["gcc", "-E", "-O2", HERE / "guestbench.c", "-o", data / "guestbench.i"], check=True)
    text = b"".join(f.read_bytes() for f in sorted(library.glob("*.py")))[:1 << 20]
    (data / "text").write_bytes(text)
    (data / "hash").write_bytes(hashlib.sha256(text).digest())
    subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048",
                    "-out", data / "rsa.pem"], check=True, capture_output=True)
    return data


def pack(work, names, programs):
    """Builds guestbench and an initramfs around it and the programs; returns the initramfs and the
    commands that do the same natively."""
    guestbench = work / "guestbench"
    subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", guestbench, HERE / "guestbench.c",
                    "-lm"], check=True)
    root = work / "root"
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    shutil.copy(guestbench, root / "bin")
    native, commands = [], []
    if names:
        native.append([str(guestbench), *names])
        commands.append(f"/bin/guestbench {' '.join(names)}")
    if programs:
        data = pack_programs(work, root)
        native.append(["/bin/busybox", "sh", str(data / "run.sh"), str(data), *programs])
        commands.append(f"/bin/busybox sh /data/run.sh /data {' '.join(programs)}")
    init = root / "init"
    init.write_text(INIT.format(commands="\n".join(commands)))
    init.chmod(0o755)
    return archive(root, work / "initrd.gz"), native


def run(argv, limit, mark=lambda: None):
    """One run of one system: {workload: seconds} with 'boot', and {workload: checksum}.  mark() is
    called as each workload begins and ends."""
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
                    mark()
                elif len(words) == 3 and words[0] == "END" and words[1] in began:
                    seconds[words[1]] = now - began[words[1]]
                    sums[words[1]] = words[2]
                    mark()
    return seconds, sums


# What explains a figure: column, and the lines of `info jit` (or words of its mmu line) it adds up.
COUNTERS = {
    "translated": [r"^guest instructions translated +(\d+)"],
    "loop": [r"^returns to the run loop +(\d+)"],
    "lookups": [r"^block lookups beyond the jump caches +(\d+)"],
    "slow mem": [r"^loads that left emitted code +(\d+)", r"^stores that left emitted code +(\d+)"],
    "near code": [r"^stores near code +(\d+)"],
    "tlb fills": [r"^mmu 0:.* fills (\d+)"],
    "i/o": [r"^mmu 0:.* i/o accesses (\d+)"],
}


def count(argv, path, limit):
    """One more run, with the monitor on a socket: {workload: {column: count}}, from `info jit` as the
    workload begins and ends."""
    seen, monitor = [], socket.socket(socket.AF_UNIX)

    def ask():
        if not seen:
            monitor.connect(str(path))
            answer(monitor)
        monitor.sendall(b"info jit\n")
        text = answer(monitor)
        seen.append({name: sum(int(re.search(p, text, re.M).group(1)) for p in patterns)
                     for name, patterns in COUNTERS.items()})

    with monitor:
        seconds, _ = run([*argv, "-monitor", f"unix:{path},server=on,wait=off"], limit, ask)
    done = [w for w in seconds if w != "boot"]
    return {w: {name: seen[2 * i + 1][name] - seen[2 * i][name] for name in COUNTERS}
            for i, w in enumerate(done)}


def answer(monitor):
    """What the monitor says up to its next prompt."""
    text = b""
    while not text.endswith(b"(dragoman) "):
        data = monitor.recv(65536)
        if not data:
            sys.exit("the emulator ended while it was asked for counters")
        text += data
    return text.decode().replace("\r", "")


def report_counters(system, counters):
    print(f"\n{system + ':':<10}", *(f"{name:>11}" for name in COUNTERS))
    for w, row in counters.items():
        print(f"{w:<10}", *(f"{n:>11}" for n in row.values()))


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
    for accel in args.accel.split():
        table[accel] = [str(args.program or TOP / "build/dragoman"), "-accel", accel, *guest]
    return table


def report(median, names):
    """Prints the table; the last system is compared with native and with QEMU."""
    ours, qemu = names[-1], names[0] == "qemu" and names[-1] != "qemu"
    wide = {n: max(9, len(n)) for n in names}
    print(f"{'seconds':<10} {'native':>8}", *(f"{n:>{wide[n]}}" for n in names),
          f"{ours + '/native':>12}", f"{'qemu/' + ours:>12}" if qemu else "")
    for group, members in [("boot", ["boot"]), *GROUPS.items(), *PROGRAMS.items()]:
        slower, gains = [], []
        for w in members:
            native, row = median["native"].get(w), [median[n].get(w) for n in names]
            if not any(row):
                continue
            text = f"{w:<10} " + (f"{native:8.3f}" if native else " " * 8)
            text += "".join(f" {v:{wide[n]}.3f}" if v else f" {'-':>{wide[n]}}"
                            for n, v in zip(names, row))
            if native and row[-1]:
                slower.append(row[-1] / native)
                text += f" {slower[-1]:12.2f}"
            else:
                text += " " * 13
            if qemu and row[0] and row[-1]:
                gains.append(row[0] / row[-1])
                text += f" {gains[-1]:11.2f}x"
            print(text)
        if len(slower) > 1:
            faster = f", {geomean(gains):.2f} times as fast as qemu" if gains else ""
            print(f"  {group}: {geomean(slower):.2f} times native{faster}")
    for n in names[1:] if qemu else []:
        for what, members in (("real programs", PROGRAMS["programs"]),
                              ("all of guestbench", [w for g in GROUPS.values() for w in g])):
            gains = [median["qemu"][w] / median[n][w] for w in members
                     if median["qemu"].get(w) and median[n].get(w)]
            if gains:
                print(f"{n}: {what}, {len(gains)}: {geomean(gains):.2f} times as fast as qemu")


def measure(args, table, native):
    """Runs native's commands and the table's systems in turn; {system: {workload: median seconds}} and
    the lines that say where a checksum was not native's."""
    times, sums_of_native, wrong = {}, {}, set()
    if not args.no_warming:
        run(list(table.values())[-1], args.limit)
    for _ in range(args.runs):
        for argv in native:
            seconds, sums = run(argv, args.limit)
            sums_of_native.update(sums)
            for w, s in seconds.items():
                times.setdefault("native", {}).setdefault(w, []).append(s)
        for system, argv in table.items():
            seconds, sums = run(argv, args.limit)
            for w, s in seconds.items():
                times.setdefault(system, {}).setdefault(w, []).append(s)
            wrong |= {f"{system}: {w} gave {sums.get(w)}, native {c}"
                      for w, c in sums_of_native.items() if sums.get(w) != c}
    median = {s: {w: statistics.median(v) for w, v in t.items()} for s, t in times.items()}
    for system in ["native", *table]:
        median.setdefault(system, {})
    return median, sorted(wrong)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--kernel")
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--only", default="", help="workloads, of guestbench and programs")
    ap.add_argument("--accel", default="dbt,cache=off dbt",
                    help="engines with their options, separated by spaces")
    ap.add_argument("--no-warming", action="store_true",
                    help="no run before the others that fills the folder of translations")
    ap.add_argument("--limit", type=int, default=600)
    ap.add_argument("--no-qemu", action="store_true")
    ap.add_argument("--no-counters", action="store_true", help="no last run for the counters")
    ap.add_argument("--extra", default="", help="further options for both emulators")
    ap.add_argument("--program", help="the emulator to measure (build/dragoman)")
    ap.add_argument("--json", help="where to save the figures")
    ap.add_argument("--svg", help="where to save them as a bar chart")
    args = ap.parse_args()
    known = [w for members in [*GROUPS.values(), *PROGRAMS.values()] for w in members]
    chosen = [n for n in args.only.split(",") if n] or known
    strange = sorted(set(chosen) - set(known))
    if strange:
        ap.error(f"no such workload: {', '.join(strange)}; there are {', '.join(known)}")
    kernel = args.kernel or subprocess.check_output(
        [TOP / "tests/guest/get-kernel.sh", "cloud"], text=True).strip()
    programs = [n for n in chosen if n in PROGRAMS["programs"]]
    with tempfile.TemporaryDirectory() as tmp:
        initrd, native = pack(pathlib.Path(tmp), [n for n in chosen if n not in programs], programs)
        os.environ["DRAGOMAN_ACCEL_CACHE"] = str(pathlib.Path(tmp) / "translations")
        table = systems(args, kernel, str(initrd))
        median, wrong = measure(args, table, native)
        report(median, list(table))
        counters = {}
        if not args.no_counters:
            accel = args.accel.split()[-1]
            counters = count(table[accel], pathlib.Path(tmp) / "monitor", args.limit)
            report_counters(accel, counters)
    for line in wrong:
        print("WRONG", line)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"seconds": median, "counters": counters}, indent=1))
    if args.svg:
        pathlib.Path(args.svg).write_text(draw(median, list(table), {**GROUPS, **PROGRAMS}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
