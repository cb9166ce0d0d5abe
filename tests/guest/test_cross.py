#!/usr/bin/env python3
"""Builds Dragoman for AArch64 and runs it under user-mode QEMU: every bare-metal guest on the portable
engine, and the software x87, whose results must be the same bits as on this host.

usage: test_cross.py SOURCE BUILD VALUES IMAGE...

SOURCE is the top of the tree, BUILD a folder for the cross build, VALUES the x87_values program of
this host.  Skipped where the compiler or the emulator is missing.
"""
import pathlib
import shutil
import subprocess
import sys

from common import skip_status

TRIPLE = "aarch64-linux-gnu"
CROSS_FILE = f"""[binaries]
c = '{TRIPLE}-gcc'
ar = '{TRIPLE}-ar'
strip = '{TRIPLE}-strip'
pkg-config = 'false'
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
"""
WITHOUT = ("capstone", "tests", "zlib")


def build(source, folder):
    """The program for AArch64."""
    folder.mkdir(parents=True, exist_ok=True)
    cross = folder / "cross.ini"
    cross.write_text(CROSS_FILE)
    if not (folder / "build.ninja").exists():
        subprocess.run(["meson", "setup", "--cross-file", cross, folder, source]
                       + [f"-D{name}=disabled" for name in WITHOUT], check=True,
                       stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", folder, "--quiet", "-j2", "dragoman", "bios/bios.bin"], check=True)
    return folder / "dragoman"


def compare_values(source, folder, here, emulator):
    """Names of the sums that differ."""
    there = folder / "x87_values"
    files = ["tests/unit/x87_values.c"] + sorted(
        p.relative_to(source).as_posix() for p in (source / "cpu").glob("x87_soft*.c"))
    subprocess.run([f"{TRIPLE}-gcc", "-O2", "-std=gnu11", "-D_GNU_SOURCE", "-fno-strict-aliasing",
                    "-fwrapv", "-static", "-I", ".", *files, "-o", there], check=True, cwd=source)
    def run(command):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    want, got = run([here]).splitlines(), run(emulator + [there]).splitlines()
    return [f"{w} / {g}" for w, g in zip(want, got) if w != g] if len(want) == len(got) else ["length"]


def main():
    source, folder, values = (pathlib.Path(a).resolve() for a in sys.argv[1:4])
    images = sys.argv[4:]
    for tool in (f"{TRIPLE}-gcc", "qemu-aarch64"):
        if not shutil.which(tool):
            print(f"{tool} is missing")
            return skip_status()
    emulator = ["qemu-aarch64", "-L", f"/usr/{TRIPLE}"]
    program = build(source, folder)
    wrapper = folder / "run"
    wrapper.write_text("#!/bin/sh\nexec " + " ".join(emulator) + f" {program} \"$@\"\n")
    wrapper.chmod(0o755)
    failed = []
    different = compare_values(source, folder, values, emulator)
    print(f"software x87: {len(different)} sums differ from this host's")
    failed += different
    run_guest = pathlib.Path(__file__).with_name("run_guest.py")
    for image in images:
        if subprocess.run([sys.executable, run_guest, wrapper, image, "interp"]).returncode:
            failed.append(image)
    for name in failed:
        print("failed:", name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
