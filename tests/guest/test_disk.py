#!/usr/bin/env python3
"""The firmware boots disks and CDs: GRUB, isolinux, Debian to its login.

    test_disk.py [--only WORD] [--long]

Each row starts the program on an image as a person does, with the project's firmware and no kernel
given; the guest must come to its prompt, do what it is asked and power off with status 0.  The
short rows boot small ISOs; Debian's disk is made once by get-disk.sh.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from common import DRAGOMAN, TOP, firmware
from linux_guest import LIMIT, Guest, get
from test_terminal import Terminal

MENU = """set timeout=%u
menuentry "Debian kernel" {
    linux /boot/vmlinuz console=ttyS0 quiet panic=-1
    initrd /boot/initrd.gz
}
menuentry "Second entry" { true }
"""
ISOLINUX = """DEFAULT debian
LABEL debian
  KERNEL /boot/vmlinuz
  APPEND initrd=/boot/initrd.gz console=ttyS0 quiet panic=-1
"""


def tree(tmp):
    """What is to be on the ISO: the cloud kernel and the busybox initramfs."""
    root = tmp / "iso"
    (root / "boot/grub").mkdir(parents=True)
    shutil.copy(get("cloud"), root / "boot/vmlinuz")
    shutil.copy(get("initrd"), root / "boot/initrd.gz")
    return root


def grub_iso(tmp, timeout=1):
    root = tree(tmp)
    (root / "boot/grub/grub.cfg").write_text(MENU % timeout)
    iso = tmp / "grub.iso"
    subprocess.run(["grub-mkrescue", "-o", iso, root], check=True, capture_output=True)
    return iso


def isolinux_iso(tmp):
    root = tree(tmp)
    (root / "isolinux").mkdir()
    shutil.copy("/usr/lib/ISOLINUX/isolinux.bin", root / "isolinux")
    shutil.copy("/usr/lib/syslinux/modules/bios/ldlinux.c32", root / "isolinux")
    (root / "isolinux/isolinux.cfg").write_text(ISOLINUX)
    iso = tmp / "isolinux.iso"
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-b",
                    "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot",
                    "-boot-load-size", "4", "-boot-info-table", root], check=True,
                   capture_output=True)
    return iso


def boot_iso(accel, options):
    with Guest(accel, ["-nographic", "-m", "512", "-no-reboot", *options]) as guest:
        assert guest.ask("echo $((6 * 7))") == "42"
        guest.power_off()


def debian(tmp, arch, kind):
    raw = subprocess.run([TOP / "tests/guest/get-disk.sh", arch], capture_output=True, text=True)
    assert raw.returncode == 0, raw.stderr
    path = raw.stdout.strip()
    if kind == "raw":
        return path
    image = tmp / f"{arch}.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "-c", path, image], check=True)
    return str(image)


def boot_debian(accel, path, extra=(), program=None):
    """To the login on the serial line, in, and out by systemd's own power-off."""
    front = [*firmware(), "-accel", accel] if not program else ["-accel", accel]
    t = Terminal(*front, "-nographic", "-m", "512", *extra, path, program=program or DRAGOMAN)
    try:
        t.expect("login:", 3 * LIMIT)
        t.send("root\r")
        t.expect("assword:", LIMIT)
        t.send("dragoman\r")
        t.expect("# ", LIMIT)
        t.send("echo $(cat /etc/debian_version) $((6 * 7)) $(findmnt -no SOURCE /)\r")
        t.expect("12.", LIMIT)
        t.expect(" 42 /dev/sda1", LIMIT)
        t.send("echo kept >/root/kept; sync; systemctl poweroff\r")
        status = t.process.wait(LIMIT)
        assert status == 0, f"status {status} after poweroff"
    finally:
        t.close()


def debian_qcow2(tmp, accel):
    """Writes to the image itself; qemu-img then finds it in order."""
    image = debian(tmp, "amd64", "qcow2")
    boot_debian(accel, image)
    subprocess.run(["qemu-img", "check", image], check=True, capture_output=True)


class Screen(Terminal):
    """A guest on its screen; we are at the monitor."""

    def __init__(self, *options):
        super().__init__(*firmware(), "-display", "none", "-monitor", "stdio", "-snapshot", *options)
        self.expect("(dragoman) ")

    def command(self, line):
        self.send(line + "\r")
        self.expect("(dragoman) ")

    def shows(self, part, seconds=LIMIT):
        """Waits until the text screen has `part`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send("info screen\r")
            self.expect("\n")
            text = self.expect("(dragoman) ")
            if part in text:
                return text
            time.sleep(0.5)
        raise AssertionError(f"no '{part}' on the screen: {text!r}")

    def keys(self, *names):
        for name in names:
            self.command(f"sendkey {name}")

    def picture(self, folder):
        """Width, height and the colours of what the screen shows; also written as a PNG."""
        self.command(f"screendump {folder}/screen.png")
        assert (folder / "screen.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        self.command(f"screendump {folder}/screen.ppm")
        head, size, _, pixels = (folder / "screen.ppm").read_bytes().split(b"\n", 3)
        width, height = map(int, size.split())
        assert head == b"P6" and len(pixels) == 3 * width * height
        return width, height, {pixels[i:i + 3] for i in range(0, len(pixels), 3)}

    def quit(self):
        self.send("quit\r")
        assert self.process.wait(LIMIT) == 0
        self.close()


def grub_menu(tmp):
    """Arrow keys move the bar; the picture is 720 by 400 and more than one colour."""
    s = Screen("-m", "512", grub_iso(tmp, timeout=60))
    try:
        s.shows("GNU GRUB")
        s.shows("*Debian kernel")
        s.keys("down")
        s.shows("*Second entry")
        width, height, colours = s.picture(tmp)
        assert (width, height) == (720, 400) and len(colours) > 1, (width, height, colours)
        s.quit()
    finally:
        s.close_quietly()


def memtest(bits, how, full):
    """memtest86+ draws its screen and begins; with `full` it ends a pass over 64 MiB without error."""
    options = {"kernel": ["-kernel", f"/boot/memtest86+{bits}.bin"],
               "cd": ["-cdrom", f"/usr/lib/memtest86+/memtest86+{bits}.iso"]}[how]
    s = Screen("-m", "64", *options)
    try:
        text = s.shows("Memtest86")
        assert "Dragoman Virtual CPU" in text or "CLK/Temp" in text, text
        s.keys("ret")
        text = s.shows("Testing: ")
        if full:
            text = s.shows("Pass complete", 3600)
            assert "Errors: 0" in text, text
        s.quit()
    finally:
        s.close_quietly()


def ipxe():
    """iPXE's ISO comes to its end: there is no network card yet."""
    s = Screen("-m", "128", "-cdrom", "/usr/lib/ipxe/ipxe.iso")
    try:
        s.shows("iPXE initialising devices...ok")
        s.shows("No more network devices")
        s.quit()
    finally:
        s.close_quietly()


def rows(args):
    """(name, function of a scratch folder) of what is to be done."""
    for accel in ("dbt", "interp") if args.long else ("dbt",):
        yield f"{accel} grub ISO", lambda tmp, a=accel: boot_iso(a, [grub_iso(tmp)])
        yield f"{accel} isolinux ISO", lambda tmp, a=accel: boot_iso(a, [isolinux_iso(tmp)])
    yield "dbt debian raw", lambda tmp: boot_debian("dbt", debian(tmp, "amd64", "raw"),
                                                    ["-snapshot"])
    yield "dbt grub menu", grub_menu
    yield "dbt memtest x64 CD", lambda tmp: memtest("x64", "cd", False)
    yield "dbt memtest ia32 kernel", lambda tmp: memtest("ia32", "kernel", False)
    yield "dbt ipxe ISO", lambda tmp: ipxe()
    if args.long:
        yield "dbt memtest x64 pass", lambda tmp: memtest("x64", "kernel", True)
        yield "dbt memtest ia32 pass", lambda tmp: memtest("ia32", "cd", True)
        yield "dbt debian qcow2", lambda tmp: debian_qcow2(tmp, "dbt")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--only", default="", help="rows whose name has this")
    ap.add_argument("--long", action="store_true")
    args = ap.parse_args()
    failures = 0
    for name, row in rows(args):
        if args.only not in name:
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as tmp:
            try:
                row(pathlib.Path(tmp))
                result = "ok"
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                failures += 1
                result = f"FAILED: {error}"
        print(f"{name}: {result} ({time.monotonic() - start:.1f} s)", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
