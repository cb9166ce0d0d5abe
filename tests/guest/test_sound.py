#!/usr/bin/env python3
"""The speaker through SDL, whose "disk" driver writes what would be heard to a file.

A firmware of a few bytes beeps for 0.4 s or more of the machine's time; the file must have the tone.
"""
import os
import struct
import subprocess
import sys
import tempfile

from common import DRAGOMAN, SKIPPED, boot_sector_rom, out_byte

HZ, SECONDS, RATE = 1000, 0.4, 48000


def wait(refreshes):
    """16-bit code that waits for so many changes of port 61h's refresh bit, 15.086 us each."""
    return (b"\xb9" + struct.pack("<H", refreshes) +  # mov cx, n
            b"\xe4\x61\x24\x10\x88\xc4"  # in al, 61h; and al, 10h; mov ah, al
            b"\xe4\x61\x24\x10\x38\xe0\x74\xf8"  # 1: in al, 61h; and al, 10h; cmp al, ah; je 1
            b"\x88\xc4\xe2\xf4")  # mov ah, al; loop 1


def main():
    count = round(1193182 / HZ)
    code = (out_byte(0x43, 0xb6) + out_byte(0x42, count & 255) + out_byte(0x42, count >> 8) +
            out_byte(0x61, 3) + wait(round(SECONDS / 15.086e-6)) + out_byte(0x61, 0) +
            wait(6000) + out_byte(0xf4, 0x10) + b"\xf4")
    with tempfile.TemporaryDirectory() as tmp:
        rom = f"{tmp}/rom"
        with open(rom, "wb") as f:
            f.write(boot_sector_rom(code))
        run = [DRAGOMAN, "-bios", rom, "-display", "none", "-audiodev", "sdl,id=snd", "-machine",
               "pc,pcspk-audiodev=snd", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-m", "16"]
        done = subprocess.run(run, env={**os.environ, "SDL_AUDIODRIVER": "disk",
                                        "SDL_DISKAUDIOFILE": f"{tmp}/heard"},
                              capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        if "-audiodev sdl:" in done.stderr:  # a build without SDL
            print(done.stderr)
            sys.exit(SKIPPED)
        assert done.returncode == 33, (done.returncode, done.stderr)
        raw = open(f"{tmp}/heard", "rb").read()
    heard = struct.unpack(f"<{len(raw) // 2}h", raw[:len(raw) // 2 * 2])
    rises = [i for i in range(1, len(heard)) if heard[i] > 4000 >= heard[i - 1]]
    # On a busy host the firmware's loop waits longer, and a gap may split a period: most are right.
    right = sum(abs(b - a - RATE / HZ) <= 1 for a, b in zip(rises, rises[1:]))
    assert max(heard) == 8000, max(heard)
    assert len(rises) >= 0.8 * HZ * SECONDS, len(rises)
    assert right >= 0.8 * len(rises), (right, len(rises))
    print(f"good: {right} periods of {HZ} Hz")


if __name__ == "__main__":
    main()
