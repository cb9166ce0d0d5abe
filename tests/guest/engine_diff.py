#!/usr/bin/env python3
"""Runs a whole guest on two engines in counted mode and compares them state by state.

    engine_diff.py [--engines dbt,interp] [--step N] [--machine N] [--to N] [--least N] [--repeat]
                   [--run COMMAND] WHAT... [-- OPTIONS]

WHAT is a bare-metal image, or "cloud", "686" ... for a Debian kernel with the test's initramfs, in
which --run executes a command before it powers off; "soak" is a round of test_soak.py.
After each --step instructions both engines print a hash of all registers (general, segment,
control, debug and model-specific ones, flags, x87, vectors) and after each --machine instructions
one of guest memory and all chips; both must be equal throughout, and so must what the guest writes to
its serial port.  If they are not, the interval is made smaller, in runs of their own, down to the first
instruction after which the engines differ, which is printed with the registers that differ.
--repeat compares an engine with itself: a counted run can be repeated.  --least demands that so many
instructions have been compared.
"""
import argparse
import difflib
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from common import DRAGOMAN, firmware
from linux_guest import get, initrd_for
from test_soak import build as soak_initrd

LIMIT = 3600
NO_HASH = " machine 0000000000000000"
STATE = re.compile(r"state (\d+) rip ([0-9a-f]+) ")
FIXED = ["-m", "128", "-no-reboot", "-display", "none", "-monitor", "none",
         "-rtc", "base=2026-01-01,clock=vm"]


class Run:
    """One engine running the guest; iterating gives the lines of its trace."""

    def __init__(self, engine, options, directory, trace, more=()):
        self.serial = pathlib.Path(directory, "serial")
        command = [DRAGOMAN, *firmware(), "-accel", engine, *FIXED, "-serial",
                   f"file:{self.serial}", "-icount", f"shift=0,sleep=off,{trace}", *more, *options]
        self.other = []  # lines that are not of the trace
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, errors="replace")

    def __iter__(self):
        for line in self.process.stderr:
            if line.startswith("state "):
                yield line
            else:
                self.other.append(line)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def machine_alone(pair):
    """Whether the two lines differ in the hash of memory and chips and nothing else."""
    return all(pair) and pair[0].split(" machine ")[0] == pair[1].split(" machine ")[0]


def compare(engines, options, trace, more=()):
    """Runs both; returns (lines compared, last equal line, the pair that differs or None).  If the
    pair differs in the machine's hash alone, the last equal line is one that has such a hash."""
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        runs = [Run(e, options, d, trace, more) for e, d in zip(engines, (a, b))]
        try:
            count, last, hashed = 0, None, None
            left, right = map(iter, runs)
            while True:
                pair = next(left, None), next(right, None)
                if pair[0] != pair[1]:
                    return count, hashed if machine_alone(pair) else last, pair
                if pair[0] is None:
                    break
                count, last = count + 1, pair[0]
                hashed = hashed if NO_HASH in last else last
            status = [run.process.wait(LIMIT) for run in runs]
            assert status[0] == status[1], f"exit status {status}"
            assert runs[0].other == runs[1].other, f"{runs[0].other} and {runs[1].other}"
            text = [run.serial.read_bytes() for run in runs]
            assert text[0] == text[1], "the guests' serial output differs"
            assert text[0] or "trace-from" in trace, f"the guest wrote nothing: {runs[0].other}"
            return count, last, None
        finally:
            for run in runs:
                run.end()


def number_of(line):
    return int(STATE.match(line).group(1)) if line else 0


def describe(engines, options, at, machine, first):
    """The registers from count `first` to `at` on both engines, as lists of lines."""
    shown = []
    for engine in engines:
        with tempfile.TemporaryDirectory() as directory:
            step = at if first == at else 1
            run = Run(engine, options, directory,
                      f"trace={step},trace-machine={step if machine else 0},trace-from={first},"
                      f"trace-to={at}", ["-d", "state"])
            lines = run.process.stderr.read().splitlines()
            run.end()
        starts = [i for i, line in enumerate(lines) if line.startswith("state ")] + [len(lines)]
        shown.append([lines[a:b] for a, b in zip(starts, starts[1:])])
    return shown


def disassembly(lines):
    """The instruction at RIP, from a "code" line."""
    found = [re.match(r"code (\d+): ([0-9a-f ]+)", line) for line in lines]
    found = [m for m in found if m]
    if not found:
        return "(not mapped)"
    mode = {"64": "i386:x86-64", "32": "i386", "16": "i8086"}[found[0].group(1)]
    with tempfile.NamedTemporaryFile() as f:
        f.write(bytes.fromhex(found[0].group(2)))
        f.flush()
        text = subprocess.run(["objdump", "-D", "-b", "binary", "-m", mode, "-M", "intel", f.name],
                              capture_output=True, text=True).stdout
    first = re.search(r"^ +0:\t([^\t]*)\t(.*)$", text, re.M)
    return " ".join(first.groups()).strip() if first else found[0].group(2)


def report(engines, options, at, machine):
    before = describe(engines, options, at - 1, machine, at - 1)[0][0]
    shown = describe(engines, options, at, machine, at)
    print(f"the first difference is after instruction {at}:")
    print("   ", STATE.match(before[0]).group(2), disassembly(before))
    print("\n".join("    " + line for line in before))
    after = [next((s for s in one if number_of(s[0]) >= at), ["(nothing)"]) for one in shown]
    for line in difflib.unified_diff(after[0], after[1], *engines, lineterm="", n=0):
        print("   ", line)


def narrow(engines, options, low, high, machine):
    """Looking at each instruction hides a difference that only longer blocks have: one look a run."""
    while high - low > 1:
        middle = (low + high) // 2
        print(f"between {low} and {high}: looking at {middle} alone", flush=True)
        trace = f"trace={middle},trace-machine={middle if machine else 0},trace-from={middle}"
        if compare(engines, options, f"{trace},trace-to={middle}")[2]:
            high = middle
        else:
            low = middle
    return high


def bisect(engines, options, last, pair):
    """Finds the first instruction after which the engines differ."""
    low, high = number_of(last), max(number_of(line) for line in pair)
    machine = machine_alone(pair)
    step = max(1, high - low)
    while step > 1:
        step = max(1, (high - low) // 500)
        print(f"between {low} and {high}: looking at each {step}", flush=True)
        trace = f"trace={step},trace-machine={step if machine else 0},trace-from={low},trace-to={high}"
        _, last, pair = compare(engines, options, trace)
        if pair is None:
            high = narrow(engines, options, low, high, machine)
            break
        low, high = max(low, number_of(last)), max(number_of(line) for line in pair)
    report(engines, options, high, machine)


def guest_options(what, run, extra, directory):
    if pathlib.Path(what).exists():
        return ["-kernel", what, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", *extra]
    initrd = initrd_for(what)
    if run == "soak":
        initrd, run = soak_initrd(pathlib.Path(directory), what)[1], "sh /soak.sh /tmp"
    return ["-kernel", get(what), "-initrd", initrd, "-append",
            "console=ttyS0 earlyprintk=ttyS0 panic=-1 run=" + run.replace(" ", "~"), *extra]


def main():
    argv = sys.argv[1:]
    extra = argv[argv.index("--") + 1:] if "--" in argv else []
    ap = argparse.ArgumentParser()
    ap.add_argument("--engines", default="dbt,interp")
    ap.add_argument("--step", type=int, default=1000000)
    ap.add_argument("--machine", type=int, default=0)
    ap.add_argument("--to", type=int, default=0)
    ap.add_argument("--least", type=int, default=1)
    ap.add_argument("--repeat", action="store_true")
    ap.add_argument("--run", default="uname -a")
    ap.add_argument("what", nargs="+")
    args = ap.parse_args(argv[:len(argv) - len(extra) - ("--" in argv)])
    engines = args.engines.split(",")
    pairs = [(e, e) for e in engines] if args.repeat else [tuple(engines)]
    with tempfile.TemporaryDirectory() as directory:
        return compare_all(args, pairs, extra, directory)


def compare_all(args, pairs, extra, directory):
    failures = 0
    for what in args.what:
        options = guest_options(what, args.run, extra, directory)
        for pair in pairs:
            start = time.monotonic()
            trace = f"trace={args.step},trace-machine={args.machine},trace-to={args.to}"
            try:
                count, last, wrong = compare(pair, options, trace)
                if wrong:
                    bisect(pair, options, last, wrong)
                    result = "FAILED"
                else:
                    assert number_of(last) >= args.least, f"only {number_of(last)} instructions"
                    result = f"equal at {count} points of {number_of(last)} instructions"
            except AssertionError as error:
                result = f"FAILED: {error}"
            failures += "FAILED" in result
            print(f"{pathlib.Path(what).stem}: {' and '.join(pair)}: {result} "
                  f"({time.monotonic() - start:.1f} s)", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
