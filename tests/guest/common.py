"""What the guest tests share: where the program is, which firmware, small bare-metal kernels, and
the running of rows."""
import argparse
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
DRAGOMAN = os.environ.get("DRAGOMAN", str(TOP / "build/dragoman"))
# Tests by hand, too, find nothing in the user's cache.
os.environ.setdefault("DRAGOMAN_ACCEL_CACHE", "off")
SEABIOS = "/usr/share/seabios/bios-256k.bin"
SKIPPED = 77  # the status by which meson knows it


def skip_status():
    """The exit status of what cannot be tested here: a failure where the environment says CI=true."""
    return 1 if os.environ.get("CI") == "true" else SKIPPED


def installed(name):
    """The path of a program with which a test does more than without it; None where it is missing,
    which ends the test where the environment says CI=true."""
    found = shutil.which(name)
    if not found:
        print(f"{name} is missing (tests/setup.sh test); what needs it is left out")
        if os.environ.get("CI") == "true":
            sys.exit(1)
    return found


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


def row_options():
    """A parser with the option that all tests have which consist of rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="rows whose name has this")
    return parser


def run_rows(rows, only=""):
    """Runs the rows, (name, function of a scratch folder), whose name has `only`, all of them even if
    some fail; returns the exit status.  A row skips itself by sys.exit(SKIPPED)."""
    statuses = []
    for name, row in rows:
        if only not in name:
            continue
        start, status, result = time.monotonic(), 0, "ok"
        with tempfile.TemporaryDirectory() as folder:
            try:
                row(pathlib.Path(folder))
            except SystemExit as end:
                status = end.code
                result = "skipped" if status == SKIPPED else f"FAILED: {status}"
            except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
                status, result = 1, f"FAILED: {error}"
        statuses.append(status)
        print(f"{name}: {result} ({time.monotonic() - start:.1f} s)", flush=True)
    if not statuses:
        print(f"no row has '{only}' in its name")
    failed = not statuses or any(status not in (0, SKIPPED) for status in statuses)
    return 1 if failed else max(statuses)
