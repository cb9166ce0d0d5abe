#!/usr/bin/env python3
"""Floppies: a boot sector that uses INT 13h on disks of each format.

    test_floppy.py BOOTSECTOR FIRMWARE [--only WORD]

Our firmware on both engines and under QEMU, SeaBIOS in our machine; what was written and formatted
is looked for in the image afterwards.  Then Linux's floppy driver.
"""
import hashlib
import pathlib
import random
import struct
import subprocess
import sys

from common import DRAGOMAN, SEABIOS, installed, row_options, run_rows
from linux_guest import Guest, get, initrd_with, machine

LIMIT = 120
# KiB: drive in CMOS, cylinders, sectors
FORMATS = {360: (1, 40, 9), 720: (3, 80, 9), 1200: (2, 80, 15), 1440: (4, 80, 18), 2880: (5, 80, 36)}
QEMU = installed("qemu-system-x86_64")


def checksum(image):
    total = 0
    for (dword,) in struct.iter_unpack("<I", image):
        total = (total << 1 | total >> 31) & 0xffffffff
        total = (total + dword) & 0xffffffff
    return total


def make_image(path, boot, kib):
    image = bytearray(random.Random(kib).randbytes(kib << 10))
    image[:512] = boot
    path.write_bytes(image)
    return image


def check(name, got, wanted):
    assert got == wanted, f"{name}: got {got}, wanted {wanted}"


def run(start, drive_option):
    done = subprocess.run([*start, *drive_option, "-boot", "a", "-display", "none", "-serial", "none",
                           "-monitor", "none", "-debugcon", "stdio", "-device",
                           "isa-debug-exit,iobase=0xf4,iosize=4"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
    lines = [l for l in done.stdout.splitlines() if len(l) == 8 and not l.strip("0123456789abcdef")]
    check("status", done.returncode, 33)
    return lines


def boot(tmp, start, sector, kib, qemu=False, own_bios=True):
    path = tmp / "floppy.img"
    image = make_image(path, sector, kib)
    kind, cylinders, sectors = FORMATS[kib]
    if qemu and kib == 720:
        kind = 4  # QEMU's drive for that is one of 1.44 MB
    option = ["-drive", f"if=floppy,format=raw,file={path}"] if qemu else ["-fda", path]
    lines = run(start, option)
    wanted = [f"{kind:04x}{cylinders - 1:02x}{sectors:02x}", f"{checksum(image):08x}",
              *["00000000"] * 4]
    if not own_bios:  # SeaBIOS says that any disk has been changed
        wanted.pop()
    check("the sector's answers", lines[:len(wanted)], wanted)
    check("no second drive", lines[6] != "00000000", True)
    side = sectors * 512
    after = path.read_bytes()
    check("what was not written", after[:-2 * side] == image[:-2 * side], True)
    if not qemu:  # whose controller formats with zeros
        check("formatted", after[-2 * side:-side] == b"\xf6" * side, True)
    check("written", after[-side:] == bytes(b ^ 0xff for b in image[-side:]), True)


def monitor(tmp):
    """Disks are taken out and put in; one that is too large stays outside."""
    for name, kib in (("a", 1440), ("b", 720), ("c", 3000)):
        (tmp / name).write_bytes(bytes(kib << 10))
    lines = ["info block", f"change floppy0 {tmp}/b", "info block", "eject floppy0", "info block",
             f"change floppy0 {tmp}/c", "info block", f"change floppy1 {tmp}/b", "quit"]
    done = subprocess.run([DRAGOMAN, "-S", "-fda", tmp / "a", "-display", "none", "-serial", "none",
                           "-monitor", "stdio"], input="".join(line + "\n" for line in lines),
                          capture_output=True, text=True, timeout=LIMIT)
    got = [l for l in done.stdout.splitlines() if l.startswith(("floppy", "change: "))]
    drive = "floppy0 (3.5 inch, 1.44 MB): "
    wanted = [f"{drive}{tmp}/a (raw), 1440 KiB", f"{drive}{tmp}/b (raw), 720 KiB",
              f"{drive}[not inserted]", f"'{tmp}/c' is too large for a floppy disk",
              f"{drive}[not inserted]", "there is no drive 'floppy1' (see info block)"]
    check("answers", [l.removeprefix("change: ") for l in got], wanted)


def snapshot(tmp, sector):
    """A disk that is put into an empty drive boots; with -snapshot its image stays as it is."""
    path, said = tmp / "later.img", tmp / "said"
    before = make_image(path, sector, 1440)
    done = subprocess.run([DRAGOMAN, "-S", "-snapshot", "-drive", "if=floppy", "-boot", "a",
                           "-display", "none", "-serial", "none", "-monitor", "stdio", "-debugcon",
                           f"file:{said}", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
                          input=f"change floppy0 {path}\ncont\n", capture_output=True, text=True,
                          timeout=LIMIT)
    check("status", done.returncode, 33)
    lines = said.read_text().splitlines()
    check("read, written, verified", lines[-7:-3],
          ["00054f12", f"{checksum(before):08x}", "00000000", "00000000"])
    check("the image is as it was", path.read_bytes() == before, True)


def linux(tmp):
    """Linux's own driver reads the disk, writes to it, and sees another one and one write-protected."""
    path, other, fixed = tmp / "linux.img", tmp / "other.img", tmp / "fixed.img"
    before = make_image(path, bytes(512), 1440)
    second, third = make_image(other, bytes(512), 720), make_image(fixed, bytes(512), 2880)
    drives = ["-fda", str(path), "-drive", f"if=floppy,index=1,file={fixed},readonly=on"]
    initrd = initrd_with(tmp, {"floppy.ko": pathlib.Path(get("full-floppy")).read_bytes()})
    with Guest("dbt", machine(get("full"), initrd=initrd, extra=drives)) as guest:
        guest.ask("insmod /floppy.ko")
        log = guest.ask("dmesg | tail -n 9")
        check("Linux finds the drive", "fd0 is 1.44M" in log and "82077" in log, True)
        acpi = guest.ask("cd /sys/bus/pnp/devices; cat $(dirname $(grep -l 0700 */id))/res*; cd /")
        check("ACPI says where it is", [part in acpi for part in ("0x3f2-0x3f5", "irq 6", "dma 2")],
              [True] * 3)
        guest.ask("dd if=/dev/fd0 bs=18k of=/disk 2>&-")
        check("Linux reads", guest.ask("md5sum </disk").split()[0], hashlib.md5(before).hexdigest())
        guest.ask("dd if=/disk bs=512 skip=100 count=300 of=/some 2>&-")
        guest.ask("dd if=/some bs=512 of=/dev/fd0 seek=2000 2>&-; sync")
        check("Linux reads 2.88 MB", guest.ask("md5sum </dev/fd1").split()[0],
              hashlib.md5(third).hexdigest())
        said = guest.ask("dd if=/disk of=/dev/fd1 count=1 2>&1")
        check("write protection", [l for l in said.splitlines() if "Read-only" in l], [said])
        guest.send("\x01c")
        guest.expect("(dragoman) ")
        guest.send(f"change floppy0 {other}\r")
        guest.expect("(dragoman) ")
        guest.send("\x01c")
        check("another disk", guest.ask("md5sum </dev/fd0").split()[0],
              hashlib.md5(second).hexdigest())
        check("Linux's kernel log", [l for l in guest.ask("dmesg | tail -n 5").splitlines()
                                     if "error" in l], [])
        guest.power_off()
    wanted = before[:2000 * 512] + before[100 * 512:400 * 512] + before[2300 * 512:]
    check("Linux writes", path.read_bytes() == wanted, True)


def rows(sector, firmware):
    """(name, function of a scratch folder)."""
    qemu = [QEMU, "-accel", "tcg", "-M", "pc", "-nic", "none", "-bios", firmware]
    boots = [("dbt", [DRAGOMAN, "-accel", "dbt"], kib, {}) for kib in FORMATS]
    boots.append(("interp", [DRAGOMAN, "-accel", "interp"], 1440, {}))
    if pathlib.Path(SEABIOS).exists():
        boots.append(("seabios", [DRAGOMAN, "-bios", SEABIOS], 1440, {"own_bios": False}))
    if QEMU:
        boots += [("qemu", qemu, kib, {"qemu": True}) for kib in (720, 1440, 2880)]
    for name, start, kib, how in boots:
        yield f"{name}, {kib}K", lambda tmp, s=start, k=kib, h=how: boot(tmp, s, sector, k, **h)
    yield "monitor", monitor
    yield "snapshot", lambda tmp: snapshot(tmp, sector)
    yield "linux", linux


def main():
    parser = row_options()
    parser.add_argument("sector")
    parser.add_argument("firmware")
    args = parser.parse_args()
    return run_rows(rows(pathlib.Path(args.sector).read_bytes(), args.firmware), args.only)


if __name__ == "__main__":
    sys.exit(main())
