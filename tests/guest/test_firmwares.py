#!/usr/bin/env python3
"""Each half alone: the project's firmware in QEMU, SeaBIOS with its VGA BIOS in our machine.

    test_firmwares.py BIOS [--only WORD] [--long]

The images are those of test_disk.py: what boots there has to boot here too, come to its prompt, do
what it is asked and power off with status 0.
"""
import pathlib
import sys
import tempfile
import time

from common import DRAGOMAN, SEABIOS, TOP, installed, row_options, run_rows
from images import debian, grub_iso, isolinux_iso, visit_debian
from linux_guest import LIMIT, MARK, TYPED_MARK, get, machine
from test_terminal import Terminal

QEMU = installed("qemu-system-x86_64")


def command(who, bios):
    """The start of a command line: "ours" is BIOS in QEMU, "seabios" is SeaBIOS in our machine."""
    if who == "ours":
        return QEMU, ["-accel", "tcg", "-nodefaults", "-bios", bios]
    return DRAGOMAN, ["-bios", SEABIOS]


def console(who, bios, *options):
    program, front = command(who, bios)
    serial = ["-serial", "mon:stdio", "-display", "none"] if who == "ours" else ["-nographic"]
    return Terminal(*front, *serial, *options, program=program)


def boot_iso(who, bios, iso):
    t = console(who, bios, "-m", "512", "-no-reboot", "-cdrom", iso)
    try:
        t.expect("BOOTED", LIMIT)
        t.expect("# ", LIMIT)
        t.send(f"echo $((6 * 7)) $(cat /proc/iomem | grep -c RAM); echo {TYPED_MARK}\r")
        t.expect(TYPED_MARK, LIMIT)
        assert "42 " in t.expect(MARK, LIMIT)
        t.send("poweroff -f\r")
        status = t.wait(LIMIT)
        assert status == 0, f"status {status} after poweroff -f"
    finally:
        t.close_quietly()


def boot_debian(who, bios, image):
    drive = ["-drive", f"file={image},format=raw,if=ide", "-snapshot"]
    visit_debian(console(who, bios, "-m", "512", "-vga", "std", *drive))


def screen(who, bios, iso):
    """GRUB's menu on the display adapter, found in its text memory through the monitor."""
    program, front = command(who, bios)
    prompt = "(qemu) " if who == "ours" else "(dragoman) "
    t = Terminal(*front, "-display", "none", "-monitor", "stdio", "-vga", "std", "-m", "256",
                 "-cdrom", iso, program=program)
    try:
        t.expect(prompt)
        end, text = time.monotonic() + LIMIT, ""
        while "GNU GRUB" not in text or "*Debian kernel" not in text:
            assert time.monotonic() < end, f"no menu on the screen: {text!r}"
            time.sleep(0.5)
            t.send("xp/2000xh 0xb8000\r")
            t.expect("\n")
            dump = t.expect(prompt, LIMIT)
            words = [w for line in dump.splitlines() for w in line.partition(":")[2].split()]
            text = "".join(chr(int(w, 16) & 0x7f) for w in words)
        t.send("quit\r")
        assert t.wait(LIMIT) == 0
    finally:
        t.close_quietly()


def suspend(who, bios):
    """Our machine sleeps until somebody at the monitor, the power button, a key, a button of the mouse
    or the clock's alarm wakes it."""
    kernel = machine(get("cloud"), "no_console_suspend")
    t = Terminal("-bios", bios if who == "ours" else SEABIOS, *kernel)
    try:
        t.expect("BOOTED", LIMIT)
        for command in ("system_wakeup", "system_powerdown", "sendkey a", "mouse_button 1", ""):
            t.expect("# ", LIMIT)
            alarm = "" if command else "echo +4 >/sys/class/rtc/rtc0/wakealarm; "
            t.send(f"{alarm}echo mem >/sys/power/state; echo {TYPED_MARK}\r")
            t.expect(TYPED_MARK, LIMIT)
            t.send("\x01c")
            end, status = time.monotonic() + LIMIT, ""
            while "suspended" not in status:
                assert time.monotonic() < end, "not suspended"
                t.send("info status\r")
                t.expect("VM status: ", LIMIT)
                status = t.expect("(dragoman) ")
            t.send(command + "\r")
            t.expect("(dragoman) ")
            t.send("\x01c")
            t.expect(MARK, LIMIT)
        t.send("poweroff -f\r")
        assert t.wait(LIMIT) == 0
    finally:
        t.close_quietly()


def rows(args, shared):
    """(name, function of a scratch folder); images that several use are in a folder of their own."""
    made = {}

    def image(make):
        if make not in made:
            folder = shared / make.__name__
            folder.mkdir()
            made[make] = make(folder)
        return made[make]

    for who in ("ours", "seabios"):
        name = {"ours": "our firmware in QEMU", "seabios": "SeaBIOS here"}[who]
        if who == "ours" and not QEMU:
            continue
        yield f"{name}: isolinux ISO", lambda _, w=who: boot_iso(
            w, args.bios, image(isolinux_iso))
        yield f"{name}: grub menu on the screen", lambda _, w=who: screen(
            w, args.bios, image(menu_iso))
        yield f"our machine asleep, {who}", lambda _, w=who: suspend(w, args.bios)
        if args.long:
            yield f"{name}: grub ISO", lambda _, w=who: boot_iso(w, args.bios, image(grub_iso))
            yield f"{name}: debian", lambda tmp, w=who: boot_debian(w, args.bios, debian(tmp))


def menu_iso(tmp):
    return grub_iso(tmp, timeout=60)


def main():
    ap = row_options()
    ap.add_argument("--long", action="store_true")
    ap.add_argument("bios", nargs="?", default=str(TOP / "build/bios/bios.bin"))
    args = ap.parse_args()
    with tempfile.TemporaryDirectory() as shared:
        return run_rows(rows(args, pathlib.Path(shared)), args.only)


if __name__ == "__main__":
    sys.exit(main())
