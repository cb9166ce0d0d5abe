#!/usr/bin/env python3
"""What the firmware boots from: floppies and disks that a CD emulates, the boot menu, the order.

    test_boot.py SECTORS FIRMWARE [--only WORD]

SECTORS (cd_emulation.S) asks INT 13h for the emulated drive and the real one beside it; on both engines
and under QEMU, and SeaBIOS has to agree.
"""
import pathlib
import re
import struct
import subprocess
import sys

from common import DRAGOMAN, installed, out_byte, out_string, row_options, run_rows
from screen import Screen

LIMIT = 60
QEMU = installed("qemu-system-x86_64")
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


def says(text, then=b""):
    """A boot sector that says so on the debug console, as a line, and resets the machine."""
    code = b"\xfa" + out_string(text + "\n", 0xe9) + then + b"\xb0\xfe\xe6\x64\xf4\xeb\xfd"
    return code.ljust(510, b"\0") + b"\x55\xaa"


def media(tmp):
    """A floppy, a disk and a CD that say what they are."""
    (tmp / "a.img").write_bytes(says("<floppy>").ljust(1440 << 10, b"\0"))
    (tmp / "c.img").write_bytes(says("<disk>").ljust(2 << 20, b"\0"))
    iso(tmp / "d.iso", 0, says("<CD>"))
    return ["-fda", tmp / "a.img", "-hda", tmp / "c.img", "-cdrom", tmp / "d.iso", "-m", "32"]


def first_boots(start, *args):
    """What the first three boots are of."""
    machine = subprocess.Popen([*start, *args, "-display", "none", "-serial", "none", "-monitor", "none",
                                "-debugcon", "stdio"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               errors="replace")
    said = ""
    try:
        while len(re.findall("<.*?>", said)) < 3:
            line = machine.stdout.readline()
            assert line, f"{args}: it ended: {said}"
            said += line
    finally:
        machine.kill()
        machine.communicate()
    return re.findall("<(.*?)>", said)[:3]


def order(tmp, start):
    """The order, and what is different for one boot: each says what it is and resets."""
    for option, wanted in (("a", ["floppy"] * 3), ("order=c", ["disk"] * 3), ("dca", ["CD"] * 3),
                           ("order=a,once=d", ["CD", "floppy", "floppy"]),
                           ("once=d", ["CD", "disk", "disk"])):
        check(f"-boot {option}", first_boots(start, *media(tmp), "-boot", option), wanted)


def order_written(tmp, start):
    """A program makes the disk (2) the first device, in CMOS: a reset leaves it that."""
    args = media(tmp)
    sector = says("<floppy>", out_byte(0x70, 0x3d) + out_byte(0x71, 2))
    (tmp / "a.img").write_bytes(sector.ljust(1440 << 10, b"\0"))
    check("CMOS", first_boots(start, *args, "-boot", "a"), ["floppy", "disk", "disk"])


def menu(tmp):
    """POST says what it has found; F12 brings the menu, whose choice comes before the order."""
    said = tmp / "said"
    with Screen(tmp, *media(tmp), "-boot", "order=c,menu=on", "-debugcon", f"file:{said}") as s:
        s.shows("Dragoman BIOS", "32 MiB RAM, 1 processor", "Floppy 0: 1.44 MB", "Disk 0: ", ", 2 MiB",
                "CD-ROM 0: ", "Press F12 for the boot menu.")
        s.keys("f12")
        s.shows("Boot from:", "1. floppy 0", "2. disk: ", "3. CD-ROM: ", "Number, or Escape")
        s.keys("x", "9", "3")
        assert s.process.wait(LIMIT) == 0  # at the reset
    check("the choice", re.findall("<(.*?)>", said.read_text(errors="replace")), ["CD"])


def menu_escape(tmp):
    said = tmp / "said"
    with Screen(tmp, *media(tmp), "-boot", "order=c,menu=on", "-debugcon", f"file:{said}") as s:
        s.shows("Press F12")
        s.keys("f12")
        s.shows("Number, or Escape")
        s.keys("esc")
        assert s.process.wait(LIMIT) == 0
    check("the order", re.findall("<(.*?)>", said.read_text(errors="replace")), ["disk"])


def rows(sectors, firmware):
    starts = [("dbt", [DRAGOMAN, "-accel", "dbt"]), ("interp", [DRAGOMAN, "-accel", "interp"])]
    if QEMU:
        starts.append(("qemu", [QEMU, "-accel", "tcg", "-M", "pc", "-nic", "none", "-bios", firmware]))
    yield "boot menu", menu
    yield "boot menu left", menu_escape
    for name, start in starts:
        yield f"{name}: a floppy on a CD", lambda tmp, s=start: emulated_floppy(tmp, s, sectors)
        yield f"{name}: a disk on a CD", lambda tmp, s=start: emulated_disk(tmp, s, sectors)
        if name != "interp":
            yield f"{name}: boot order", lambda tmp, s=start: order(tmp, s)
            yield f"{name}: an order in CMOS", lambda tmp, s=start: order_written(tmp, s)


def main():
    parser = row_options()
    parser.add_argument("sectors")
    parser.add_argument("firmware")
    args = parser.parse_args()
    return run_rows(rows(pathlib.Path(args.sectors).read_bytes(), args.firmware), args.only)


if __name__ == "__main__":
    sys.exit(main())
