"""Disks and ISOs with Debian's kernels and boot loaders, for tests to boot."""
import pathlib
import shutil
import subprocess

from common import TOP
from linux_guest import LIMIT, get

GRUB_MENU = """set timeout=%u
menuentry "Debian kernel" {
    linux /boot/vmlinuz console=%s quiet panic=-1
    initrd /boot/initrd.gz
}
menuentry "Second entry" { true }
"""
# Text in front of a picture.
GRUB_GRAPHICS = """set gfxmode=640x480
loadfont /boot/unicode.pf2
insmod all_video
insmod gfxterm
insmod png
terminal_output gfxterm
background_image /boot/back.png
"""
ISOLINUX = """UI menu.c32
MENU TITLE A menu by isolinux
TIMEOUT %u
LABEL other
  MENU LABEL Another entry
  LOCALBOOT -1
LABEL debian
  MENU LABEL Debian kernel
  MENU DEFAULT
  KERNEL /boot/vmlinuz
  APPEND initrd=/boot/initrd.gz console=%s quiet panic=-1
"""
MODULES = "/usr/lib/syslinux/modules/bios/"


def tree(tmp):
    """What is to be on the ISO: the cloud kernel and the busybox initramfs."""
    root = tmp / "iso"
    (root / "boot/grub").mkdir(parents=True)
    shutil.copy(get("cloud"), root / "boot/vmlinuz")
    shutil.copy(get("initrd"), root / "boot/initrd.gz")
    return root


def grub_iso(tmp, timeout=1, console="ttyS0", picture=None):
    """The menu waits for so many seconds; with a picture (PNG), it is in front of that."""
    root = tree(tmp)
    config = GRUB_MENU % (timeout, console)
    if picture:
        shutil.copy(picture, root / "boot/back.png")
        shutil.copy("/usr/share/grub/unicode.pf2", root / "boot")
        config = GRUB_GRAPHICS + config
    (root / "boot/grub/grub.cfg").write_text(config)
    iso = tmp / "grub.iso"
    subprocess.run(["grub-mkrescue", "-o", iso, root], check=True, capture_output=True)
    return iso


def isolinux_iso(tmp, timeout=1, console="ttyS0"):
    root = tree(tmp)
    (root / "isolinux").mkdir()
    shutil.copy("/usr/lib/ISOLINUX/isolinux.bin", root / "isolinux")
    for module in ("ldlinux.c32", "libutil.c32", "menu.c32"):
        shutil.copy(MODULES + module, root / "isolinux")
    (root / "isolinux/isolinux.cfg").write_text(ISOLINUX % (10 * timeout, console))
    iso = tmp / "isolinux.iso"
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-b",
                    "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot",
                    "-boot-load-size", "4", "-boot-info-table", root], check=True,
                   capture_output=True)
    return iso


def debian(tmp, arch="amd64", kind="raw"):
    """Debian 12 on a disk: the raw image is everyone's (use it with -snapshot), a qcow2 one is
    yours."""
    made = subprocess.run([TOP / "tests/guest/get-disk.sh", arch], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    raw = made.stdout.strip()
    if kind == "raw":
        return raw
    image = pathlib.Path(tmp) / f"{arch}.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "-c", raw, image], check=True)
    return str(image)


def visit_debian(t):
    """On the serial line (a Terminal): to the login, in, and out by systemd's own power-off."""
    try:
        t.expect("login:", 4 * LIMIT)
        t.send("root\r")
        t.expect("assword:", LIMIT)
        t.send("dragoman\r")
        t.expect("# ", LIMIT)
        t.send("echo $(cat /etc/debian_version) $((6 * 7)) $(findmnt -no SOURCE /)\r")
        t.expect("12.", LIMIT)
        t.expect(" 42 /dev/sda1", LIMIT)
        t.send("echo kept >/root/kept; sync; systemctl poweroff\r")
        status = t.wait(LIMIT)
        assert status == 0, f"status {status} after poweroff"
    finally:
        t.close_quietly()
