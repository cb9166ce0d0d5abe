#!/usr/bin/env python3
"""Bad input: exactly one line on stderr that names what is wrong, the right status, no more."""
import os
import pathlib
import resource
import sys
import tempfile

from common import DRAGOMAN, boot_sector_rom, out_byte, run

BAD, USAGE = 1, 2


def images(tmp):
    """Disk, CD and floppy images that are not what they should be."""
    for name, head in [("x.vmdk", b"KDMV"), ("x.vhdx", b"vhdxfile"), ("new.qcow2", b"QFI\xfb\0\0\0\x09"),
                       ("x.vdi", bytes(64) + b"\x7f\x10\xda\xbe")]:
        (tmp / name).write_bytes(head.ljust(65536, b"\0"))
        yield ["-hda", tmp / name], BAD, "qemu-img convert"
    for option in ("-hda", "-cdrom", "-fda"):
        yield [option, tmp / "nosuch"], BAD, tmp / "nosuch"
        yield [option, tmp / "empty"], BAD, "is empty"
        yield [option, tmp], BAD, "directory"
    header = bytearray(104)
    header[:8] = b"QFI\xfb\0\0\0\3"
    for at, size, value in [(20, 4, 16), (24, 8, 64 << 20), (36, 4, 1), (40, 8, 0x30000),
                            (48, 8, 0x10000), (56, 4, 1), (96, 4, 4), (100, 4, 104)]:
        header[at:at + size] = value.to_bytes(size, "big")
    (tmp / "cut.qcow2").write_bytes(header)
    yield ["-hda", tmp / "cut.qcow2"], BAD, "is truncated"
    header[8:16], header[16:20] = (104).to_bytes(8, "big"), (9).to_bytes(4, "big")
    over = bytes(header) + b"gone.base"
    (tmp / "over.qcow2").write_bytes(over.ljust(0x40000, b"\0"))
    yield ["-hda", tmp / "over.qcow2"], BAD, "gone.base"
    yield ["-drive", f"file={tmp}/junk,format=qcow2"], BAD, "not a qcow2 image"
    yield ["-drive", f"file={tmp}/junk,format=vdi"], BAD, "vdi"
    yield ["-hda", tmp / "junk", "-hdb", tmp / "junk"], BAD, "in use"
    yield ["-fda", tmp / "initrd"], BAD, "floppy"
    (tmp / "fixed").write_bytes(bytes(65536))
    (tmp / "fixed").chmod(0o444)
    if os.geteuid() != 0:
        yield ["-hda", tmp / "fixed"], BAD, "readonly=on"
    yield [tmp / "x.vdi"], BAD, "qemu-img convert"
    os.mkfifo(tmp / "pipe")
    for option in ("-hda", "-cdrom", "-fda", "-kernel", "-bios", "-option-rom"):
        yield [option, tmp / "pipe"], BAD, tmp / "pipe"
    yield from files(tmp)


def files(tmp):
    """What FILE... cannot be."""
    (tmp / "text").write_text("no image\n")
    (tmp / "initrd.gz").write_bytes(b"\x1f\x8b" + bytes(510))
    for name in ("nosuch", "empty", "pipe", "cut.qcow2", "over.qcow2"):
        yield [tmp / name], BAD, tmp / name
    yield [tmp], BAD, "directory"
    yield ["/dev/null"], BAD, "/dev/null"
    yield [tmp / "text"], BAD, "no image of a disk"
    yield [tmp / "initrd.gz"], BAD, "there is no kernel"
    yield [tmp / "kernel", tmp / "kernel"], BAD, "is a kernel, and so is"
    yield [tmp / "kernel", tmp / "initrd.gz", tmp / "initrd.gz"], BAD, "RAM disk"
    yield [tmp / "short"], BAD, "truncated"


def cases(tmp):
    empty, junk, directory = tmp / "empty", tmp / "junk", tmp
    short, kernel, initrd = tmp / "short", tmp / "kernel", tmp / "initrd"
    empty.write_bytes(b"")
    junk.write_bytes(bytes(range(256)) * 64)
    image = bytearray(16384)
    image[0x1f1] = 4
    image[0x1f4:0x1f8] = (65536).to_bytes(4, "little")
    image[0x1fe:0x200] = b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    image[0x206:0x208] = (0x20f).to_bytes(2, "little")
    image[0x211] = 1
    image[0x22c:0x230] = (0x7fffffff).to_bytes(4, "little")
    image[0x238:0x23c] = (2047).to_bytes(4, "little")
    short.write_bytes(image)
    image[0x1f4:0x1f8] = (512).to_bytes(4, "little")
    kernel.write_bytes(image)
    initrd.write_bytes(b"x" * (9 << 20))
    large = tmp / "large"
    large.write_bytes(bytes(3 << 20))
    secret = tmp / "secret"
    secret.write_bytes(b"x" * 4096)
    secret.chmod(0)
    rom = tmp / "rom"
    rom.write_bytes(boot_sector_rom(b"\xf4"))
    base = ["-bios", rom, "-display", "none"]
    yield ["-kernel", "/nonexistent"], BAD, "/nonexistent"
    yield ["-kernel", directory], BAD, directory
    yield ["-kernel", empty], BAD, empty
    yield ["-kernel", junk], BAD, junk
    yield ["-kernel", short], BAD, "truncated"
    yield ["-kernel", kernel, "-initrd", "/nonexistent"], BAD, "/nonexistent"
    yield ["-kernel", kernel, "-initrd", initrd, "-m", "8"], BAD, initrd
    yield ["-kernel", kernel, "-append", "x" * 3000], BAD, "-append"
    if os.geteuid() != 0:
        yield ["-kernel", secret], BAD, secret
    yield ["-fda", "/nonexistent"], BAD, "/nonexistent"
    yield ["-fda", large], BAD, large
    yield ["-drive", "if=floppy,media=cdrom"], BAD, "floppy"
    yield ["-bios", "/nonexistent"], BAD, "/nonexistent"
    yield ["-bios", empty], BAD, empty
    yield ["-option-rom", "/nonexistent"], BAD, "/nonexistent"
    yield ["-option-rom", empty], BAD, empty
    yield ["-option-rom", junk], BAD, "is no option ROM"
    yield ["-option-rom", directory], BAD, directory
    yield ["-option-rom", large], BAD, "too large"
    (tmp / "cut.rom").write_bytes(b"\x55\xaa\x04".ljust(2047, b"\0"))
    yield ["-option-rom", tmp / "cut.rom"], BAD, "is truncated: it has 2047 bytes of 2048"
    yield ["-option-rom", "x"] * 5, BAD, "at most 4 ROMs"
    yield ["-m", "0"], BAD, "-m"
    yield ["-m", "100T"], BAD, "-m"
    yield ["-m", "lots"], BAD, "lots"
    yield ["-smp", "0"], BAD, "-smp"
    yield ["-smp", "4000"], BAD, "-smp"
    yield ["-cpu", "abacus"], BAD, "abacus"
    yield ["-cpu", "qemu64,+wings"], BAD, "wings"
    yield ["-cpu", "haswel"], BAD, "did you mean Haswell?"
    yield ["-cpu", "486,+sse22"], BAD, "did you mean sse2"
    yield ["-cpu", "max,sse=maybe"], BAD, "sse=maybe"
    yield ["-accel", "magic"], BAD, "magic"
    yield ["-accel", f"dbt,cache={tmp},opt=-reuse"], BAD, "opt=-reuse leaves cache="
    yield ["-machine", "toaster"], BAD, "toaster"
    yield ["-device", "toaster"], BAD, "toaster"
    yield ["-device", "isa-debug-exit,iobase=x"], BAD, "iobase"
    yield ["-serial", "modem"], BAD, "modem"
    yield ["-serial", "file:/nonexistent/x"], BAD, "/nonexistent/x"
    yield ["-serial", "unix:/nonexistent/x"], BAD, "/nonexistent/x"
    yield ["-serial", "stdio", "-monitor", "stdio"], BAD, "stdio"
    yield ["-display", "hologram"], BAD, "hologram"
    yield ["-d", "gossip"], BAD, "gossip"
    yield ["-D", "/nonexistent/log"], BAD, "/nonexistent/log"
    yield from images(tmp)
    yield ["-frobnicate"], USAGE, "-frobnicate"
    yield ["-m"], USAGE, "-m"
    yield ["-initrd", initrd], USAGE, "-initrd"
    for words, status, name in [(["-m", "32G"], BAD, "memory")]:
        yield base + words, status, name


def truncated_iso(tmp):
    """Runs all the same, as a CD that has gone bad would; but that is said."""
    head = bytearray(40000)
    head[0x8001:0x8006], head[0x8050:0x8054], head[0x8080:0x8082] = b"CD001", b"\x64\0\0\0", b"\0\x08"
    (tmp / "cut.iso").write_bytes(head)
    (tmp / "end").write_bytes(boot_sector_rom(out_byte(0xf4, 0) + b"\xf4"))
    result = run("-bios", tmp / "end", "-device", "isa-debug-exit,iobase=0xf4", "-display", "none",
                 tmp / "cut.iso", timeout=20)
    lines = result.stderr.splitlines()
    return (result.returncode == 1 and len(lines) == 2 and "164800 bytes are missing" in lines[0] and
            f"-cdrom {tmp}/cut.iso" in lines[1])


def little_memory():
    """The host refuses the address space for guest RAM."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        tmp = pathlib.Path(name)
        rom = tmp / "rom"
        for args, status, part in cases(tmp):
            words = [str(a) for a in args]
            if "-bios" not in words:
                words = ["-bios", str(rom), *words]
            if "-display" not in words:
                words = ["-display", "none", *words]
            limit = little_memory if part == "memory" else None
            result = run(*words, timeout=20, preexec_fn=limit)
            lines = result.stderr.splitlines()
            good = (result.returncode == status and len(lines) == 1
                    and lines[0].startswith("dragoman: ") and str(part) in lines[0]
                    and not result.stdout)
            if not good:
                failures += 1
                print("FAILED:", *[w if len(w) < 80 else w[:20] + "..." for w in words])
                print(f"  status {result.returncode}, expected {status} and '{part}' in one line")
                print("  stdout:", result.stdout[:300])
                print("  stderr:", result.stderr[:600])
        if not truncated_iso(tmp):
            failures += 1
            print("FAILED: a truncated ISO")
    print(f"{DRAGOMAN}: {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
