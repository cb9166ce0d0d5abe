#!/usr/bin/env python3
"""Boots Debian kernels to a shell, types commands, compares the kernel's log with QEMU's, leaves.

    test_linux.py [--accel dbt,interp] [--kernel cloud,full] [--long] [--only WORD]

Each row boots one kernel on one engine with one set of parameters: a person's commands get the
right answers, the parameter took effect, the warnings in the kernel's log are ones that the same
kernel gives in QEMU or comes from a busy host, and poweroff -f ends the process with status 0.
--long adds the parameters and machine sizes that a kernel treats specially, and an idle guest's
use of the host.  Status 77 (skipped) when no kernel can be had.
"""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

from common import installed, row_options, run_rows
from linux_guest import BUSY_SECONDS, LIMIT, Guest, busybox_of, get, is_32_bit, machine

# How often a second an idle kernel may halt: 32-bit ones tick 250 times a second, the others do not.
# A busy host makes halts fewer, not more.  It also makes each cost more processor time, so the share
# that an idle guest may use is far above the few hundredths that one does; what spins uses all.
IDLE_SECONDS, IDLE_HALTS, IDLE_HALTS_32, IDLE_SHARE = 20, 100, 300, 0.3


def says(command, pattern):
    """A check that the guest's answer to the command matches."""
    def check(guest):
        answer = guest.ask(command)
        assert re.search(pattern, answer), f"{command}: {answer!r} does not match {pattern!r}"
    return check


def memory(low, high):
    def check(guest):
        kib = int(guest.ask("awk '/MemTotal/ {print $2}' /proc/meminfo"))
        assert low << 10 <= kib <= high << 10, f"{kib} KiB of RAM"
    return check


SYS = "/sys/devices/system"
SOURCES = f"cat {SYS}/clocksource/clocksource0/"


def pm_timer(guest):
    """The PM timer is the clock source.  The kernel refuses it when it has measured another rate in
    30 ms, which happens where the host lets others run meanwhile."""
    busy = guest.waited() > BUSY_SECONDS and "PM-Timer running at invalid rate" in guest.ask("dmesg")
    if busy:
        print("  the host was too busy for the kernel to accept the PM timer")
    says(SOURCES + "current_clocksource", "^tsc" if busy else "^acpi_pm")(guest)


# options, kernel parameters, what shows that they took effect
VARIANTS = [
    ([], "nokaslr", says("grep ' _text$' /proc/kallsyms", r"^f{8}81000000 ")),
    ([], "nopti", says("dmesg | grep -c 'isolation: enabled'", "^0")),
    ([], "pti=on", says("dmesg | grep isolation:", "page tables isolation: enabled")),
    ([], "noapic", says("cat /proc/interrupts", r"XT-PIC.*\btimer")),
    ([], "nohpet", says(SOURCES + "available_clocksource", "^(?!.*hpet)")),
    ([], "clocksource=acpi_pm", pm_timer),
    ([], "clocksource=hpet", says(SOURCES + "current_clocksource", "^hpet")),
    ([], "mitigations=off", says(f"cat {SYS}/cpu/vulnerabilities/spectre_v1", "^Vulnerable")),
    (["-m", "128"], "", memory(60, 128)),
    (["-m", "16G"], "", memory(15 << 10, 16 << 10)),
    (["-cpu", "qemu64"], "", says("cat /proc/cpuinfo", r"model name.*qemu64")),
    (["-cpu", "max"], "", says("grep flags /proc/cpuinfo", r"sse4_2.*popcnt")),
    (["-smp", "2"], "", says("grep -c ^processor /proc/cpuinfo", "^2")),
    (["-smp", "4"], "", says("grep -c ^processor /proc/cpuinfo", "^4")),
    (["-smp", "8"], "", says("grep -c ^processor /proc/cpuinfo", "^8")),
]


# The same for 32-bit kernels.
VARIANTS_32 = [
    ([], "nokaslr", says("grep ' _text$' /proc/kallsyms", r"^c1000000 ")),
    ([], "noapic", says("cat /proc/interrupts", r"XT-PIC.*\btimer")),
    ([], "clocksource=acpi_pm", pm_timer),
    (["-m", "128"], "", memory(60, 128)),
    (["-m", "2G"], "", memory(1800, 2048)),
    (["-cpu", "pentium3"], "", says("cat /proc/cpuinfo", r"cpu family.*6\b")),
    (["-cpu", "qemu32"], "", says("cat /proc/cpuinfo", r"model name.*[Qq][Ee][Mm][Uu]")),
    (["-cpu", "Haswell"], "", says("grep flags /proc/cpuinfo", r"sse4_2.*popcnt")),
    (["-smp", "2"], "", says("grep -c ^processor /proc/cpuinfo", "^2")),
]


def reference(kernel, append, extra):
    """The warnings of QEMU's guest, kept in the cache: they depend on nothing else."""
    version = subprocess.check_output(["qemu-system-x86_64", "--version"], text=True)
    what = json.dumps([version, pathlib.Path(kernel + ".name").read_text(), append, extra])
    kept = pathlib.Path(kernel).parent / f"log-{hashlib.sha1(what.encode()).hexdigest()}.json"
    if not kept.exists():
        with Guest("qemu", machine(kernel, append, extra)) as guest:
            lines = guest.warnings()
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(sorted(lines)))
        fresh.rename(kept)
    return set(json.loads(kept.read_text()))


def converse(guest, kernel):
    """What a person does: looks around, computes."""
    busybox = hashlib.md5(open(busybox_of(kernel), "rb").read()).hexdigest()
    for command, answer in [("echo $((6 * 7))", "42"), ("md5sum /bin/busybox", busybox),
                            ("echo abc | tr a-c A-C", "ABC"), ("ls /proc/self/fd", "0"),
                            ("for i in 1 2 3; do (exit $i); echo $?; done", "1\n2\n3"),
                            ("seq 1 2000 | awk '{s += $1 * 1.5} END {print s}'", "3001500")]:
        got = guest.ask(command)
        assert got.startswith(answer), f"{command}: {got!r} instead of {answer!r}"
    # Says so itself when the shell has handed it the terminal.
    guest.send("sh -c \"echo run'ning'; exec sleep 1000\"\r")
    guest.expect("running", LIMIT)
    guest.send("\x1a")  # Ctrl-Z
    guest.expect("Stopped", LIMIT)
    guest.expect("# ", LIMIT)


def stay_idle(guest, most_halts):
    """The guest halts, seldom wakes, and does nothing else."""
    time.sleep(3)
    before, halts = guest.processor_seconds(), guest.halts()
    time.sleep(IDLE_SECONDS)
    rate = (guest.halts() - halts) / IDLE_SECONDS
    share = (guest.processor_seconds() - before) / IDLE_SECONDS
    print(f"  idle: {rate:.1f} halts a second, {100 * share:.2f} % of a host processor")
    assert 0 < rate < most_halts, f"an idle guest halts {rate} times a second"
    assert share < IDLE_SHARE, f"an idle guest uses {100 * share:.1f} % of a host processor"


def boot(accel, kernel, append="", extra=(), check=None, idle=False):
    with Guest(accel, machine(kernel, append, list(extra))) as guest:
        converse(guest, kernel)
        if check:
            check(guest)
        lines = guest.warnings()
        if accel.startswith("dbt"):
            unfit = guest.jit_counters()["blocks made shorter because the selector could not do them"]
            assert not unfit, f"the selector could not do {unfit} blocks of this kernel"
        if idle:
            stay_idle(guest, IDLE_HALTS_32 if is_32_bit(kernel) else IDLE_HALTS)
        guest.power_off()
    if lines and installed("qemu-system-x86_64"):
        odd = lines - reference(kernel, append, list(extra))
        assert not odd, f"warnings that QEMU's guest does not give: {sorted(odd)}"


def main():
    ap = row_options()
    ap.add_argument("--long", action="store_true")
    ap.add_argument("--accel", default="dbt,interp")
    ap.add_argument("--kernel", default="cloud")
    args = ap.parse_args()
    rows = []
    for name in args.kernel.split(","):
        kernel = get(name)
        for accel in args.accel.split(","):
            rows.append((f"{accel} {name}", lambda _, a=accel, k=kernel: boot(a, k, idle=args.long)))
            variants = VARIANTS_32 if is_32_bit(kernel) else VARIANTS
            for extra, append, check in variants if args.long else []:
                rows.append((" ".join([accel, name, *extra, append]).strip(),
                             lambda _, a=accel, k=kernel, e=extra, p=append, c=check:
                             boot(a, k, p, e, c)))
    return run_rows(rows, args.only)


if __name__ == "__main__":
    sys.exit(main())
