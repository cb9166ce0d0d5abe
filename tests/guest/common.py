"""What the guest tests share: where the program is, which firmware, small bare-metal kernels."""
import os
import pathlib
import struct
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
DRAGOMAN = os.environ.get("DRAGOMAN", str(TOP / "build/dragoman"))
SEABIOS = "/usr/share/seabios/bios-256k.bin"


def firmware():
    """Options that name a firmware: the project's own unless DRAGOMAN_BIOS says otherwise."""
    named = os.environ.get("DRAGOMAN_BIOS")
    if named:
        return ["-bios", named]
    own = pathlib.Path(DRAGOMAN).parent / "bios/bios.bin"
    return [] if own.exists() else ["-bios", SEABIOS]


def run(*args, timeout=60, **kw):
    """Runs dragoman to its end; the result has status, stdout and stderr as text."""
    return subprocess.run([DRAGOMAN, *map(str, args)], capture_output=True, text=True,
                          errors="replace", timeout=timeout, stdin=subprocess.DEVNULL, **kw)


def boot_sector_rom(code):
    """A 64 KiB firmware image that starts `code` (16-bit, at F000:0000) from the reset vector."""
    assert len(code) <= 0xff00
    image = bytearray(b"\xf4" * 0x10000)
    image[:len(code)] = code
    image[0xfff0:0xfff5] = b"\xea" + struct.pack("<HH", 0x0000, 0xf000)
    return bytes(image)


def out_string(text, port=0x3f8):
    """16-bit code that writes text to a port, byte by byte."""
    code = b"\xba" + struct.pack("<H", port)  # mov dx, port
    for byte in text.encode():
        code += b"\xb0" + bytes([byte]) + b"\xee"  # mov al, byte; out dx, al
    return code


def out_byte(port, value):
    return b"\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"
