#!/usr/bin/env python3
"""What the firmware boots from: floppies and disks that a CD emulates, the boot menu, the order.

    test_boot.py SECTORS FIRMWARE [--only WORD]

SECTORS (cd_emulation.S) asks INT 13h for the emulated drive and the real one beside it; on both engines
and under QEMU, and SeaBIOS has to agree.
"""
import pathlib
import re
import shutil
import struct
import subprocess
import sys

from common import DRAGOMAN, out_string, row_options, run_rows
from screen import Screen

LIMIT = 60
QEMU = shutil.which("qemu-system-x86_64")
EMULATED, REAL = 0xc0de0000, 0xd15c0000
EXIT = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
CATALOG, IMAGE = 19, 32  # CD sectors


def check(name, got, wanted):
    assert got == wanted, f"{name}: got {got}, wanted {wanted}"


def tagged(tag, sectors):
    """A disk each of whose sectors begins with a number of its own."""
    return bytearray(b"".join(struct.pack("<I508x", tag + n) for n in range(sectors)))


def iso(path, media, image, load_sectors=1):
    """A CD whose only entry is that image (El Torito 1.0, sections 2 and 4)."""
    cd = bytearray(IMAGE * 2048)
    record, catalog = 17 * 2048, CATALOG * 2048
    cd[16 * 2048:16 * 2048 + 7] = b"\1CD001\1"
    cd[record:record + 30] = b"\0CD001\1EL TORITO SPECIFICATION"
    cd[record + 0x47:record + 0x4b] = struct.pack("<I", CATALOG)
    entry = struct.pack("<BBH", 1, 0, 0) + b"Dragoman".ljust(24, b"\0") + b"\0\0\x55\xaa"
    words = struct.unpack("<16H", entry)
    entry = entry[:28] + struct.pack("<H", -sum(words) & 0xffff) + entry[30:]
    initial = struct.pack("<BBHBBHI", 0x88, media, 0, 0, 0, load_sectors, IMAGE)
    cd[catalog:catalog + 32], cd[catalog + 32:catalog + 32 + len(initial)] = entry, initial
    path.write_bytes(cd + image + bytes(-len(image) % 2048))
    return path


def run(start, *args):
    """Until the guest ends the machine; what it said on the debug console."""
    done = subprocess.run([*start, *args, *EXIT, "-display", "none", "-serial", "none", "-monitor",
                           "none", "-debugcon", "stdio", "-m", "32"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=LIMIT, errors="replace")
    check("status", done.returncode, 33)
    return done.stdout


def emulated_floppy(tmp, start, sectors):
    """1.44 MB beside a real one, which is drive 1 as long as the CD's is drive 0."""
    image = tagged(EMULATED, 2880)
    image[:len(sectors)] = sectors
    real = tmp / "real.img"
    real.write_bytes(tagged(REAL, 2880))
    cd = iso(tmp / "floppy.iso", 2, image)
    said = run(start, "-cdrom", cd, "-drive", f"file={real},format=raw,if=floppy", "-boot", "d")
    place = (1 * 2 + 1) * 18 + 4
    two, one = 0x41, 0x01  # equipment: how many floppies
    lines = [int(line, 16) for line in re.findall(r"^[0-9a-f]{8}$", said, re.M)]
    check("what INT 13h says", lines[:6],
          [0, 0x04004f12, 0x0102, EMULATED + place, 0x04004f12, 0x0102])
    check("the real one, writing", lines[6:8], [REAL + place, 0x103])
    check("how many", (lines[8] >> 8 & 0xc1, lines[8] & 0xff), (two, 0))
    check("4Bh", lines[9:13], [0, 0x00000213 | 1 << 24, IMAGE, 0x01124f00])
    check("4Dh", lines[13:15], [0, 1])
    check("after the end", lines[15:19], [0, 0x04004f12, 0x0101, REAL + place])
    check("how many then", lines[19] >> 8 & 0xc1, one)
    check("begun again", lines[20:22], [0, EMULATED + place])
    check("how many again", lines[22] >> 8 & 0xc1, two)
    check("4Ch", lines[23:], [0])


def emulated_disk(tmp, start, sectors):
    """Four cylinders as its partition table says; the real disk is 81h."""
    image = tagged(EMULATED, 4032)
    image[:len(sectors)] = sectors
    real = tmp / "real.img"
    real.write_bytes(tagged(REAL, 16 * 63 * 20))
    cd = iso(tmp / "disk.iso", 4, image)
    said = run(start, "-cdrom", cd, "-drive", f"file={real},format=raw,if=ide,index=0", "-boot", "d")
    place = (1 * 16 + 1) * 63 + 4
    lines = [int(line, 16) for line in re.findall(r"^[0-9a-f]{8}$", said, re.M)]
    check("what INT 13h says", lines[:6],
          [0x80, 0x0000033f, 0x0f02, EMULATED + place, 0x0000133f, 0x0f02])
    check("the real one, writing", lines[6:8], [REAL + place, 0x103])
    check("how many", lines[8] & 0xff, 2)
    check("4Bh", lines[9:13], [0, 0x00800413 | 1 << 24, IMAGE, 0x0f3f0300])
    check("after the end", lines[15:19], [0, 0x0000133f, 0x0f01, REAL + place])
    check("how many then", lines[19] & 0xff, 1)
    check("begun again", lines[20:22], [0, EMULATED + place])
    check("how many again", lines[22] & 0xff, 2)
    check("4Ch", lines[23:], [0x80])


def rows(sectors, firmware):
    starts = [("dbt", [DRAGOMAN, "-accel", "dbt"]), ("interp", [DRAGOMAN, "-accel", "interp"])]
    if QEMU:
        starts.append(("qemu", [QEMU, "-accel", "tcg", "-M", "pc", "-nic", "none", "-bios", firmware]))
    for name, start in starts:
        yield f"{name}: a floppy on a CD", lambda tmp, s=start: emulated_floppy(tmp, s, sectors)
        yield f"{name}: a disk on a CD", lambda tmp, s=start: emulated_disk(tmp, s, sectors)


def main():
    parser = row_options()
    parser.add_argument("sectors")
    parser.add_argument("firmware")
    args = parser.parse_args()
    return run_rows(rows(pathlib.Path(args.sectors).read_bytes(), args.firmware), args.only)


if __name__ == "__main__":
    sys.exit(main())
