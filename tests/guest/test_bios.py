#!/usr/bin/env python3
"""The firmware as a black box, on both engines and QEMU: real-mode services, tables, PCI, resets.

usage: test_bios.py PROBE BIOS PMM_ROM [LEG...]

PROBE (bios_probe*.c) boots as a Linux image and prints what each service answers; what is expected
comes from the manuals named in bios/, and SeaBIOS in QEMU has to agree where it says the same.  A
Debian kernel prints the tables; where none can be had the test is skipped after the other legs.
"""
import base64
import datetime
import gzip
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time

import bios_answers as answers_of
from bios_answers import EAX, ECX, EDX, ES
from common import DRAGOMAN, TOP, installed, out_string, skip_status

BUILT = ["tests/guest/bios_probe.img", "bios/bios.bin", "tests/guest/pmm_rom.bin"]
PROBE, BIOS, PMM_ROM = sys.argv[1:4] if len(sys.argv) > 3 else [str(TOP / "build" / p) for p in BUILT]
QEMU = installed("qemu-system-x86_64")
LIMIT = 150
MIB = 1 << 20
BANNER = "Dragoman BIOS "
DAY, SEABIOS_WRAPS = 86400, 78600  # seconds; SeaBIOS's ticks since midnight wrap then, at 21:50

failures = []


def check(name, got, wanted):
    if got != wanted:
        failures.append(name)
        print(f"FAIL {name}: got {got!r}, wanted {wanted!r}")


def check_that(name, good, what):
    check(name, what if not good else None, None)


class Machine:
    """One of the machines that the firmware runs on; its command line."""

    def __init__(self, name, *start, own=True):
        self.name, self.start, self.own = name, list(start), own

    def keeps_codes(self):
        """Whether a reset leaves CMOS's shutdown code alone, as hardware does: QEMU clears it."""
        return self.own and self.name != "qemu"

    def command(self, *args):
        bios = ["-bios", BIOS] if self.own else []
        return [*self.start, *bios, "-display", "none", "-monitor", "none",
                *[str(a) for a in args]]

    def run(self, *args, reboot=False):
        """Runs to the end: status, serial output, debug console."""
        with tempfile.TemporaryDirectory() as d:
            debug = pathlib.Path(d) / "debug"
            done = subprocess.run(self.command("-serial", "stdio", "-debugcon", f"file:{debug}",
                                               *([] if reboot else ["-no-reboot"]), *args),
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
            said = debug.read_text(errors="replace") if debug.exists() else ""
        return done.returncode, done.stdout.decode(errors="replace").replace("\r", ""), said

    def run_until(self, found, *args):
        """Runs until found(debug console) or the limit; then kills the machine."""
        with tempfile.TemporaryDirectory() as d:
            debug = pathlib.Path(d) / "debug"
            machine = subprocess.Popen(self.command("-debugcon", f"file:{debug}", *args),
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            said = ""
            try:
                end = time.monotonic() + LIMIT
                while time.monotonic() < end and machine.poll() is None and not found(said):
                    time.sleep(0.05)
                    said = debug.read_text(errors="replace") if debug.exists() else ""
            finally:
                machine.kill()
                machine.wait()
        return said


def machines():
    offered = subprocess.run([DRAGOMAN, "-accel", "help"], capture_output=True, text=True)
    found = [Machine(engine, DRAGOMAN, "-accel", engine, "-vga", "none") for engine in ("interp", "dbt")
             if re.search(rf"\b{engine}\b", offered.stdout + offered.stderr)]
    if QEMU:
        found.append(Machine("qemu", QEMU, "-accel", "tcg", "-M", "pc", "-vga", "none", "-nic",
                             "none"))
    return found


# ---- services ----

def probe(machine, size, *args):
    """What the probe says: name -> list of lists of numbers."""
    status, out, debug = machine.run("-kernel", PROBE, "-m", size, "-device",
                                     "isa-debug-exit,iobase=0xf4,iosize=4", "-append",
                                     "resets" if machine.keeps_codes() else "",
                                     *args, reboot=machine.keeps_codes())
    check(f"{machine.name}: the probe ends", (status, out.endswith("END\n")), (1, True))
    answers = {}
    for line in out.splitlines():
        name, *numbers = line.split()
        answers.setdefault(name, []).append([int(n, 16) for n in numbers])
    return answers, debug


def check_map(name, entries, size):
    ranges = [(lo | lo_high << 32, n | n_high << 32, kind)
              for lo, lo_high, n, n_high, kind in entries]
    in_low = min(size, 0xc0000000 if size > 0xc0000000 else size)
    check(f"{name} is sorted and disjoint",
          all(a[0] + a[1] <= b[0] for a, b in zip(ranges, ranges[1:])
              if b[0] < 0xfd00000000), True)
    ram = sum(n for _, n, kind in ranges if kind == 1)
    check_that(f"{name} has the RAM", size - ram <= 0x60000 + 0x400 + 0x20000,
               f"{ram:#x} of {size:#x}")
    check(f"{name} starts", ranges[0], (0, 0x9fc00, 1))
    check(f"{name}: the end of low RAM",
          max(base + n for base, n, kind in ranges if base < 0xf0000000 and kind in (1, 2, 3, 4)),
          in_low)
    if size > in_low:
        check(f"{name}: high RAM", (1 << 32, size - in_low, 1) in ranges, True)
    firmware = [r for r in ranges if r[0] <= 0xf0000 < r[0] + r[1]]
    check(f"{name}: the firmware is reserved", [r[2] for r in firmware], [2])


def bcd(n):
    return (n >> 4) * 10 + (n & 15)


def check_clock(name, answers, own):
    t = answers["1a-time"][0]
    d = answers["1a-date"][0 if bcd(t[ECX] >> 8) else 1]  # at midnight, the second is the time's
    said = datetime.datetime(bcd(d[ECX] >> 8) * 100 + bcd(d[ECX] & 255), bcd(d[EDX] >> 8),
                             bcd(d[EDX] & 255), bcd(t[ECX] >> 8), bcd(t[ECX] & 255),
                             bcd(t[EDX] >> 8))
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    check_that(f"{name}: time of day", abs((said - now).total_seconds()) < LIMIT, f"{said}")
    told = said.hour * 3600 + said.minute * 60 + said.second
    if not own and told >= SEABIOS_WRAPS:
        return
    ticks = answers["1a-ticks"][0]
    seconds = (ticks[ECX] << 16 | ticks[EDX]) * 65536 / 1193182
    off = abs(seconds - told)
    check_that(f"{name}: ticks since midnight", min(off, DAY - off) < 4, f"{seconds} at {said}")


def services(machine, size=128):
    name = f"{machine.name}, {size} MiB"
    answers, debug = probe(machine, size)
    expected = {**answers_of.EXPECTED, **(answers_of.OWN if machine.own else {})}
    for key, (carry, registers) in expected.items():
        got = answers.get(key, [[None] * 8])[0]
        carried = got[0] if carry is not None else None
        check(f"{name}: {key}", (carried, {r: got[r] for r in registers}), (carry, registers))
    lines = {**answers_of.LINES, **(answers_of.OWN_LINES if machine.own else {})}
    for key, numbers in lines.items():
        check(f"{name}: {key}", answers.get(key), [numbers])
    check_map(f"{name}: e820", answers["e820"], size * MIB)
    e801 = answers["e801"][0]
    check(f"{name}: e801", e801[EAX:ES], [0x3c00, (min(size, 3072) - 16) * 16 - 2] * 2)
    entry = answers["entry"][0]
    check(f"{name}: CS:IP and segments", entry[:6], [0x1020] + [0x1000] * 5)
    check(f"{name}: interrupts are off", entry[7] & 0x200, 0)
    check_clock(name, answers, machine.own)
    if machine.keeps_codes():
        check(f"{name}: shutdown codes", answers.get("shutdown"), [[5, 10, 9, 11, 12]])
        check(f"{name}: a key after a reset", answers.get("16-after"), [[0x1e61]])
        check(f"{name}: PIRQA after a reset", answers["pirq-after"][0][ECX] & 0xff, 10)
        check(f"{name}: RAM after a warm reset", answers.get("warm"), [[0x12345678]] * 2)
        check(f"{name}: Ctrl-Alt-Del", "no-reset" in answers, False)
    if machine.own:
        check(f"{name}: shadow RAM is read-only", answers.get("shadow"), [[0, 0, 0]])
        check(f"{name}: other registers are 0", entry[8], 0)
        check_that(f"{name}: banner", debug.startswith(BANNER) and f" {size} MiB" in debug, debug)
        check_that(f"{name}: teletype", "teletype says so" in debug, debug)


def check_registers(name, lines, others):
    """Modes' registers and colours are those of another BIOS; `others`: what that has said."""
    for line in lines:
        mode = line[0]
        if mode in answers_of.OWN_REGISTERS or mode not in others:
            continue
        ignored = answers_of.IGNORED_REGISTERS
        check(f"{name}: registers of mode {mode:#x}",
              [v for i, v in enumerate(line) if i not in ignored],
              [v for i, v in enumerate(others[mode]) if i not in ignored])


def leg_video(machine, seen={}):
    """The same with a display adapter; on SeaBIOS it is the adapter's own ROM that answers."""
    answers, _ = probe(machine, 128)
    wanted = {**answers_of.VIDEO, **(answers_of.OWN_VIDEO if machine.own else {})}
    for key, lines in wanted.items():
        check(f"{machine.name}: {key}", answers.get(key), lines)
    wanted = {**answers_of.VIDEO_CALLS, **(answers_of.OWN_VIDEO_CALLS if machine.own else {})}
    for key, registers in wanted.items():
        got = answers.get(key, [[None] * 8])[0]
        check(f"{machine.name}: {key}", {r: got[r] for r in registers}, registers)
    for line in answers.get("vga-registers", []):
        if not machine.own:
            seen.setdefault(line[0], line)
    check(f"{machine.name}: modes", len(answers.get("vga-registers", [])), len(answers_of.MODES))
    if machine.own and seen:
        check_registers(machine.name, answers["vga-registers"], seen)


def leg_services(machine):
    services(machine)
    services(machine, 6144)


def leg_drives(machine):
    """Disk, CD-ROM, a second serial port; in QEMU a printer too."""
    name = f"{machine.name} with drives"
    with tempfile.TemporaryDirectory() as d:
        folder = pathlib.Path(d)
        (folder / "disk").write_bytes(bytes(40 * 16 * 63 * 512))
        (folder / "cd").write_bytes(bytes(16 * 2048) + b"\1CD001\1".ljust(2048, b"\0"))
        drives = ["-drive", f"file={folder / 'disk'},format=raw,if=ide,index=0", "-cdrom",
                  folder / "cd", "-serial", f"file:{folder / 'com2'}"]
        printer = machine.start[0] == QEMU
        if printer:
            drives += ["-parallel", f"file:{folder / 'lpt'}"]
        answers, _ = probe(machine, 128, *drives)
        check(f"{name}: sent", (folder / "com2").read_bytes(), b"Z")
        if printer:
            check(f"{name}: printed", (folder / "lpt").read_bytes(), b"P")
            check(f"{name}: no time-out", answers["17-print"][0][EAX] & 0x100, 0)
            check(f"{name}: printer's port", answers["17-port"], [[0x378]])
        elif machine.own:
            check(f"{name}: no printer", answers["17-none"][0][EAX], 0x150)
    wanted = {**answers_of.DRIVES, **(answers_of.OWN_DRIVES if machine.own else {})}
    for key, lines in wanted.items():
        check(f"{name}: {key}", answers.get(key), lines)


def leg_nothing(machine):
    said = machine.run_until(lambda s: "nothing to boot" in s, "-serial", "none")
    check_that(f"{machine.name}: nothing to boot", "nothing to boot" in said, said)
    # With -nographic the terminal shows it, as COM1.
    with tempfile.TemporaryDirectory() as d:
        serial = pathlib.Path(d) / "serial"
        said = machine.run_until(
            lambda _: serial.exists() and b"nothing to boot" in serial.read_bytes(),
            "-nographic", "-serial", f"file:{serial}")
        shown = serial.read_text(errors="replace") if serial.exists() else ""
    check_that(f"{machine.name}: shown on COM1", BANNER in shown and "nothing to boot" in shown,
               shown)


# ---- Linux ----

def get(what):
    done = subprocess.run([TOP / "tests/guest/get-kernel.sh", what], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def linux(machine, commands, *args):
    return machine.run("-kernel", get("cloud"), "-initrd", get("initrd"), "-append",
                       f"console=ttyS0 quiet panic=-1 run={commands.replace(' ', '~')}", *args)


SHOW_TABLES = ("for t in DSDT FACP APIC HPET;do echo TABLE $t;base64 /sys/firmware/acpi/tables/$t;"
               "done;echo TABLE DMI;base64 /sys/firmware/dmi/tables/DMI;echo TABLE ROM;"
               "dd if=/dev/mem bs=64k skip=14 count=2 2>/dev/null|gzip|base64;echo TABLES-END;nproc;dmesg")
# The MADT's entries for the machine's interrupt lines, ACPI 6.3, 5.2.12.5: source, GSI, flags.
OVERRIDES = [(0, 2, 0), (5, 5, 13), (9, 9, 13), (10, 10, 13), (11, 11, 13)]


def check_tables(name, out, cpus, size):
    text = re.search(r"TABLE DSDT\n(.*?)TABLES-END", out, re.S)
    check(f"{name}: the tables are printed", bool(text), True)
    if not text:
        return
    found = [part.split("\n", 1) for part in ("DSDT\n" + text.group(1)).split("TABLE ")]
    tables = {t: base64.b64decode(data) for t, data in found}
    for t in ("DSDT", "FACP", "APIC", "HPET"):
        check(f"{name}: checksum of {t}", (sum(tables[t]) & 255, tables[t][:4].decode()), (0, t))
        check(f"{name}: length of {t}", struct.unpack_from("<I", tables[t], 4)[0], len(tables[t]))
    fadt = tables["FACP"]
    check_that(f"{name}: FADT revision", fadt[8] >= 3, f"{fadt[8]}")
    check(f"{name}: SCI", struct.unpack_from("<H", fadt, 46)[0], 9)
    check(f"{name}: SMI command", struct.unpack_from("<IBB", fadt, 48), (0xb2, 0xf1, 0xf0))
    check(f"{name}: PM blocks", [struct.unpack_from("<I", fadt, at)[0] for at in (56, 64, 76)],
          [0x600, 0x604, 0x608])
    check(f"{name}: reset register", (struct.unpack_from("<BBBBQ", fadt, 116)[0::4],
                                      fadt[112 + 1] & 4), ((1, 0xcf9), 4))
    check_madt(name, tables["APIC"], cpus)
    check_dmi(name, tables["DMI"], cpus, size)
    check_aml(name, tables["DSDT"])
    check_anchors(name, gzip.decompress(tables["ROM"]), cpus)


def check_madt(name, madt, cpus):
    at, lapics, overrides = 44, [], []
    while at < len(madt):
        kind, length = madt[at], madt[at + 1]
        if kind == 0:
            lapics.append((madt[at + 3], struct.unpack_from("<I", madt, at + 4)[0] & 1))
        elif kind == 2:
            overrides.append(struct.unpack_from("<BIH", madt, at + 3))
        at += length
    check(f"{name}: local APICs", lapics, [(n, 1) for n in range(cpus)])
    check(f"{name}: overrides", overrides, OVERRIDES)


def check_dmi(name, dmi, cpus, size):
    at, kinds, memory, speeds = 0, [], 0, []
    while at < len(dmi):
        kind, length = dmi[at], dmi[at + 1]
        kinds.append(kind)
        if kind == 17:
            mib = struct.unpack_from("<H", dmi, at + 12)[0]
            memory += mib if mib != 0x7fff else struct.unpack_from("<I", dmi, at + 28)[0]
        if kind == 4:
            speeds += struct.unpack_from("<HH", dmi, at + 20)
        at = dmi.index(b"\0\0", at + length) + 2
    check(f"{name}: SMBIOS processor speeds", all(100 <= mhz <= 30000 for mhz in speeds), True)
    check(f"{name}: SMBIOS types", sorted(set(kinds)), [0, 1, 3, 4, 16, 17, 19, 32, 127])
    check(f"{name}: SMBIOS processors", kinds.count(4), cpus)
    check(f"{name}: SMBIOS memory", memory, size)


# What dmidecode and biosdecode say of tables that they do not like.
DISLIKED = re.compile(r"out of spec|invalid|broken|truncated|wrong|bad index|bad checksum|mismatch|"
                      r"inconsistent|unsupported|not found|failed", re.I)


def check_anchors(name, rom, cpus):
    """dmidecode's and biosdecode's reading of E0000-FFFFF, where they are installed."""
    if not installed("dmidecode"):
        return
    with tempfile.TemporaryDirectory() as d:
        memory = pathlib.Path(d) / "memory"
        memory.write_bytes(bytes(0xe0000) + rom)
        said = {tool: subprocess.run([tool, "-d", memory], capture_output=True, text=True, timeout=60)
                for tool in ("dmidecode", "biosdecode")}
    for tool, done in said.items():
        bad = [line for line in (done.stdout + done.stderr).splitlines() if DISLIKED.search(line)]
        check(f"{name}: {tool}'s complaints", bad, [])
    for tool, wanted in (("dmidecode", ("SMBIOS 2.8 present", "Vendor: Dragoman", "Runtime Size: 128 kB",
                                        "Manufacturer: GenuineIntel|Manufacturer: AuthenticAMD",
                                        r"Version: \w+.*\n.*Voltage", "EDD is supported")),
                         ("biosdecode", ("ACPI 2.0 present", "SMBIOS 2.8 present", "PNP BIOS 1.0 present",
                                         "BIOS32 Service Directory present",
                                         "PCI Interrupt Routing 1.0 present"))):
        for part in wanted:
            check_that(f"{name}: {tool}: {part}", re.search(part, said[tool].stdout), said[tool].stdout)
    check(f"{name}: dmidecode's processors",
          said["dmidecode"].stdout.count("Processor Information"), cpus)


def check_aml(name, dsdt):
    """Through Intel's disassembler and back, where there is one."""
    iasl = installed("iasl")
    if not iasl:
        return
    with tempfile.TemporaryDirectory() as d:
        (pathlib.Path(d) / "dsdt.aml").write_bytes(dsdt)
        subprocess.run([iasl, "-d", "dsdt.aml"], cwd=d, capture_output=True, timeout=60)
        done = subprocess.run([iasl, "-p", "again", "dsdt.dsl"], cwd=d, capture_output=True,
                              text=True, timeout=60)
    check_that(f"{name}: iasl takes the DSDT", re.search(r"\b0 Errors", done.stdout), done.stdout[-2000:])


COMPLAINTS = re.compile(r"ACPI.*(error|warning|exception)|ACPI bug|firmware bug|can't assign|"
                        r"no space|can't find IRQ|no GSI|invalid.*(BAR|bridge)|"
                        r"MTRR.*(wrong|disabled)", re.I)


def leg_tables(machine):
    for size, cpus in ((128, 1), (6144, 2)):
        name = f"{machine.name}, {size} MiB, {cpus} processors"
        status, out, _ = linux(machine, SHOW_TABLES, "-m", size, "-smp", cpus)
        check(f"{name}: S5 ends the machine", (status, "DMI:" in out), (0, True))
        check(f"{name}: processors", re.findall(r"TABLES-END\n(\d+)", out), [str(cpus)])
        bad = [line for line in out.splitlines() if COMPLAINTS.search(line)]
        check(f"{name}: the kernel's complaints", bad, [])
        check_tables(name, out, cpus, size)


def leg_legacy(machine):
    """Without ACPI: processors and interrupts by the MP table, PCI by the 32-bit BIOS interface."""
    _, out, _ = machine.run("-kernel", get("686-pae"), "-initrd", get("initrd-i386"), "-m", 256,
                            "-smp", 2, "-append", "console=ttyS0 acpi=off pci=bios panic=-1 "
                            "cryptomgr.notests run=nproc;cat~/proc/interrupts;dmesg;reboot~-f")
    check_that(f"{machine.name}: two processors", "Brought up 1 node, 2 CPUs" in out, out[-3000:])
    for wanted in (r"MPTABLE: OEM ID: DRAGOMAN", r"Processors: 2$", r"IOAPIC\[0\]: apic_id 0.*GSI 0-23",
                   r"PCI: PCI BIOS revision 2.10 entry at 0xe\w+, last bus=0",
                   r"PnPBIOS: PnP BIOS version 1.0", r"^ *1: .* IO-APIC +1-edge +i8042",
                   r"^ *4: .* IO-APIC +4-edge +ttyS0"):
        check_that(f"{machine.name}: {wanted}", re.search(wanted, out, re.M), out[-3000:])
    check(f"{machine.name}: complaints without ACPI",
          [line for line in out.splitlines() if COMPLAINTS.search(line)], [])


SLEEP = ("echo~+2>/sys/class/rtc/rtc0/wakealarm;echo~mem>/sys/power/state;echo~RESUMED~$(nproc);"
         "cat~/proc/mtrr;dmesg")


def leg_sleep(machine):
    """Suspend to RAM; the clock's alarm wakes both processors."""
    status, out, _ = linux(machine, SLEEP, "-m", 256, "-smp", 2)
    check(f"{machine.name}: status after S3", status, 0)
    for wanted in (r"^RESUMED 2$", r"^reg00: base=0x080000000 .*uncachable",
                   r"ACPI: PM: Waking up from system sleep state S3"):
        check_that(f"{machine.name}: {wanted}", re.search(wanted, out, re.M), out[-3000:])
    check(f"{machine.name}: complaints after S3",
          [line for line in out.splitlines() if COMPLAINTS.search(line)], [])


def leg_reboot(machine):
    """A reset leads through POST again, also after an operating system has used everything."""
    said = machine.run_until(lambda s: s.count(BANNER) >= 3, "-kernel", get("cloud"), "-initrd",
                             get("initrd"), "-append", "console=ttyS0 run=reboot~-f", "-m", 256,
                             "-serial", "none")
    check_that(f"{machine.name}: three boots", said.count(BANNER) >= 3, said)


def leg_pci(machine):
    """Devices behind a bridge, and one that fits only above 4 GiB (QEMU has such devices)."""
    status, out, _ = linux(
        machine, "cd /sys/bus/pci/devices;for d in *;do echo DEVICE $d $(cat $d/irq);"
        "sed s/^/RESOURCE_/ $d/resource;done;dmesg", "-m", 256, "-device",
        "pci-bridge,chassis_nr=1,id=b,addr=5", "-device", "e1000,bus=b,addr=3,romfile=", "-device",
        "pci-bridge,chassis_nr=2,id=c,bus=b,addr=4", "-device", "pci-testdev,bus=c,addr=1",
        "-device", "pci-testdev,membar=1G,addr=6", "-device", "piix3-usb-uhci,addr=7")
    check(f"{machine.name}: PCI status", status, 0)
    bad = [line for line in out.splitlines() if COMPLAINTS.search(line)]
    check(f"{machine.name}: PCI complaints", bad, [])
    moved = re.findall(r"^.*BAR \d+: assigned.*$", out, re.M)
    check(f"{machine.name}: the kernel moves nothing", moved, [])
    irqs = {d: int(irq) for d, irq in re.findall(r"DEVICE (\S+) (\d+)", out)}
    for device in ("0000:00:07.0", "0000:01:03.0", "0000:02:01.0"):
        check_that(f"{machine.name}: IRQ of {device}",
                   device in irqs and (irqs[device] in (10, 11) or device == "0000:02:01.0"),
                   f"{irqs}")
    big = re.findall(r"RESOURCE_(0x\w+) (0x\w+)", out)
    sizes = [(int(a, 16), int(b, 16) - int(a, 16) + 1) for a, b in big]
    check(f"{machine.name}: 1 GiB above 4 GiB",
          [base >= 1 << 32 and base % size == 0 for base, size in sizes if size == 1 << 30], [True])


def isa_rom():
    """An option ROM of 2 KiB whose initialisation, connection and boot vectors say so on port E9."""
    rom = bytearray(2048)
    rom[:5] = b"\x55\xaa\x04\xeb" + bytes([0x40 - 5])
    rom[0x1a] = 0x20
    rom[0x20:0x26] = b"$PnP\x01\x02"
    rom[0x30] = 0x60                                    # product name
    rom[0x36:0x38] = struct.pack("<H", 0x80)            # bootstrap connection vector
    rom[0x3a:0x3c] = struct.pack("<H", 0x100)           # bootstrap entry vector
    rom[0x60:0x6c] = b"a ROM's name"
    for at, text in ((0x40, "<I>"), (0x80, "<connected>"), (0x100, "<booted>")):
        code = out_string(text, 0xe9) + b"\xcb"
        rom[at:at + len(code)] = code
    rom[-1] = -sum(rom) & 255
    return bytes(rom)


def leg_roms(machine):
    """iPXE from a network card's ROM; an ISA card's at D8000, put into memory by QEMU."""
    nothing = "nothing to boot"
    said = machine.run_until(lambda s: s.count("othing to boot") >= 2, "-nic", "user,model=e1000", "-boot",
                             "n", "-serial", "none")
    for part in ("iPXE (PCI 00:02.0) starting execution...ok", "No more network devices",
                 f"{nothing}."):
        check_that(f"{machine.name}: {part}", part in said, said)
    with tempfile.TemporaryDirectory() as d:
        rom = pathlib.Path(d) / "isa.rom"
        rom.write_bytes(isa_rom())
        load = ["-device", f"loader,file={rom},addr=0xd8000,force-raw=on", "-serial", "none"]
        said = machine.run_until(lambda s: nothing in s, *load, "-boot", "n")
        check_that(f"{machine.name}: an ISA ROM's vectors in order", re.search(
            "<I><connected>.*<booted>.*nothing to boot", said, re.S), said)
        broken = bytearray(isa_rom())
        broken[-1] ^= 1
        rom.write_bytes(broken)
        said = machine.run_until(lambda s: nothing in s, *load, "-boot", "n")
        check_that(f"{machine.name}: a bad sum", nothing in said and "<I>" not in said, said)


def leg_rom_files(machine):
    """Two ROMs whose files have one name; one that makes itself larger than what is left of C0000 to
    DFFFF: there is no room after it, and what lies behind stays as it is."""
    growing = bytearray(512)
    growing[:10] = b"\x55\xaa\x01\x2e\xc6\x06\x02\x00\xff\xcb"  # MOV byte CS:[2], FFh; RETF
    with tempfile.TemporaryDirectory() as d:
        args = []
        for n, rom in enumerate((isa_rom(), isa_rom(), growing, isa_rom())):
            folder = pathlib.Path(d) / str(n)
            folder.mkdir()
            (folder / "card.rom").write_bytes(rom)
            args += ["-option-rom", folder / "card.rom"]
        said = machine.run_until(lambda s: "nothing to boot" in s, *args, "-boot", "n", "-serial", "none")
    check(f"{machine.name}: two start", said.count("<I><connected>"), 2)
    for part in ("There is no room for an option ROM of 2048 bytes.", "<booted>", "nothing to boot"):
        check_that(f"{machine.name}: {part}", part in said, said)


def pmm_rom(folder):
    """PMM_ROM at its full size and with its sum."""
    rom = bytearray(pathlib.Path(PMM_ROM).read_bytes())
    rom += bytes(rom[2] * 512 - len(rom))
    rom[-1] = -sum(rom) & 255
    path = pathlib.Path(folder) / "pmm.rom"
    path.write_bytes(rom)
    return path


def leg_pmm(machine):
    """An option ROM asks for memory, low and high (pmm_rom.S), and finds none when it is booted."""
    name = machine.name
    with tempfile.TemporaryDirectory() as d:
        args = ["-option-rom", pmm_rom(d), "-m", 64, "-boot", "n", "-serial", "none", "-device",
                "isa-debug-exit,iobase=0xf4,iosize=4"]
        lines = 15 if machine.own else 12
        said = machine.run_until(lambda s: len(re.findall(r"^[0-9a-f]{8}$", s, re.M)) >= lines, *args)
    got = [int(n, 16) for n in re.findall(r"^[0-9a-f]{8}$", said, re.M)]
    check(f"{name}: answers of PMM", len(got), lines)
    if len(got) != lines:
        return
    low, high, block, found, again, second, holds, freed = got[:8]
    check_that(f"{name}: an aligned block", (1 << 20) <= block < (64 << 20) and block % 4096 == 0,
               f"{block:#x}")
    check(f"{name}: found", found, block)
    check_that(f"{name}: a low block", 0x600 < second < 0xa0000 and second % 16 == 0, f"{second:#x}")
    check(f"{name}: what was written, and the end", (holds, freed), (0x12345678, 0))
    check(f"{name}: no such block, no such function, registers", got[9:12],
          [1, 0xffffffff, 0xaaaaaaaa])
    if machine.own:  # SeaBIOS gives a name twice, and says the largest block in bytes
        check_that(f"{name}: low and high memory", 0x4000 <= low <= 0xa000 and
                   0x200000 <= high <= 0x400000, f"{low:#x} {high:#x}")
        check(f"{name}: one block of a name", (again, got[8]), (0, 0))
        check(f"{name}: after POST", got[12:], [0, 0, 0x9ec00])


IPXE_ROM = pathlib.Path("/usr/lib/ipxe/qemu/pxe-e1000.rom")


def leg_ipxe(machine):
    """iPXE as an option ROM, which moves itself into memory of PMM and comes back from there."""
    nothing = "nothing to boot."
    said = machine.run_until(lambda s: nothing in s, "-option-rom", IPXE_ROM, "-boot", "n", "-m", 64,
                             "-serial", "none")
    for part in (r"PnP PMM\+03\w{6}\+03\w{6} C000", r"starting execution\.\.\.ok",
                 r"initialising devices\.\.\.ok", r"iPXE \d+\.\d+\.\d+", "No more network devices", nothing):
        check_that(f"{machine.name}: {part}", re.search(part, said), said)


def main():
    wanted = sys.argv[4:]
    found = machines()
    adapters = [Machine("dbt with a VGA", DRAGOMAN, "-vga", "std")]
    if QEMU:
        adapters.insert(0, Machine("SeaBIOS with a VGA", QEMU, "-accel", "tcg", "-M", "pc", "-vga",
                                   "std", "-nic", "none", own=False))
    seabios = [Machine("seabios in qemu", QEMU, "-accel", "tcg", "-M", "pc", "-vga", "none", "-nic",
                       "none", own=False)] if QEMU else []
    legs = [(leg_services, found), (leg_drives, found + seabios), (leg_nothing, found), (leg_video, adapters),
            (leg_roms, [m for m in found if m.name == "qemu"])]
    fastest = [m for m in found if m.name != "qemu"][-1:]
    legs += [(leg_rom_files, fastest), (leg_pmm, found + seabios)]
    if IPXE_ROM.exists():
        legs.append((leg_ipxe, fastest))
    missing = [what for what in ("cloud", "initrd", "686-pae", "initrd-i386") if not get(what)]
    if missing:
        print(f"cannot be had: {', '.join(missing)}; the legs with Linux are left out")
    else:
        qemu = [m for m in found if m.name == "qemu"]
        legs += [(leg_legacy, fastest), (leg_tables, fastest + qemu), (leg_sleep, fastest + qemu),
                 (leg_reboot, fastest + qemu), (leg_pci, qemu)]
    for leg, on in legs:
        name = leg.__name__.removeprefix("leg_")
        if wanted and name not in wanted:
            continue
        for machine in on:
            start, before = time.monotonic(), len(failures)
            leg(machine)
            print(f"{name} on {machine.name}: {'ok' if len(failures) == before else 'FAILED'}, "
                  f"{time.monotonic() - start:.1f} s", flush=True)
    if seabios and (not wanted or "seabios" in wanted):
        services(seabios[0])
        print("the probe on SeaBIOS: done")
    print(f"{len(failures)} failures")
    return 1 if failures else skip_status() if missing else 0


if __name__ == "__main__":
    sys.exit(main())
