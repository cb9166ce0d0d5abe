#!/usr/bin/env python3
"""What guests show on the screen: boot loaders, kernels, Debian's login and installer, memtest86+.

    test_screens.py [--only WORD] [--long]

Each row starts the program as a person does, presses keys and looks at pictures (screendump). Text
is read back from the dots of the picture; colours are compared where they matter.
"""
import collections
import pathlib
import subprocess
import sys
import time

from common import row_options, run_rows
from images import debian, grub_iso, isolinux_iso
from picture import FONTS, Pf2Font, fonts, write_png
from screen import LIMIT, Screen

BLACK, BLUE, RED, GREY, WHITE = ((0, 0, 0), (0, 0, 170), (170, 0, 0), (170, 170, 170),
                                 (255, 255, 255))
INSTALLER = pathlib.Path("/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64")


def check_fonts():
    """Every character of the code page looks like itself, but for the blanks and, in the small
    sizes, those that no font of Debian's has."""
    alike = {14: ["8∞", "=≡", "P₧", "n∩", "⌐¬"], 16: []}
    for size, allowed in alike.items():
        shapes = collections.defaultdict(str)
        for c, glyph in zip(fonts.code_page(), fonts.font(FONTS, size)):
            shapes[glyph] += c
        same = sorted(v for v in shapes.values() if len(v) > 1)
        assert same == sorted(["\0 \xa0", *allowed]), f"{size}: {same}"


def check_text(s, screen):
    """The picture shows what is in the text mode's memory, every dot of it, but for the cursor."""
    assert screen.picture.height == 400 and screen.unreadable() <= 1, screen.text
    memory = s.command("info screen").removesuffix("\n").split("\n")
    for seen, stored in zip(screen.lines, memory, strict=True):
        wrong = [(a, b) for a, b in zip(seen.ljust(80), stored.ljust(80))
                 if a != b and b != "?" and a != "\ufffd"]
        assert not wrong, f"the picture has {seen!r}, the memory {stored!r}"


def use_shell(s):
    """A busybox shell on the screen: type, look, leave."""
    s.shows("/root #")
    s.type("echo $((6*7)) '|' \"Shift_OK\" ~\n")
    screen = s.shows("42 | Shift_OK /root")
    check_text(s, screen)
    s.type("poweroff -f\n")
    s.ended()


def grub_menu(tmp):
    """Arrow keys move the bar; the entry boots."""
    with Screen(tmp, "-m", "512", grub_iso(tmp, timeout=60, console="tty0")) as s:
        row, left = s.shows("GNU GRUB", "*Debian kernel").find("*Debian kernel")
        s.keys("down")
        s.shows("*Second entry")
        screen = s.until(lambda now: now.paper(row, left, left + 40) == {BLACK} and
                         now.paper(row + 1, left, left + 40) == {GREY}, "the bar does not move")
        check_text(s, screen)
        # The frame is of line graphics, whose ninth column joins them.
        assert screen.cells[row - 1][left + 10][0] == "─" and "┌" in screen.lines[row - 1]
        s.keys("up")
        s.shows("*Debian kernel")
        s.keys("ret")
        use_shell(s)


def cd_pulled(tmp):
    """The disc goes while GRUB's menu stands: GRUB says so; with the disc back it boots."""
    iso = grub_iso(tmp, timeout=60, console="tty0")
    with Screen(tmp, "-m", "512", "-cdrom", iso) as s:
        s.shows("*Debian kernel")
        drive, = [line.split(":")[0] for line in s.command("info block").split("\n")
                  if str(iso) in line]
        said = s.command(f"eject {drive}")
        assert not said, said
        s.keys("ret")
        s.shows("error: ", "Press any key to continue")
        said = s.command(f"change {drive} {tmp}/nosuch.iso")
        assert "No such file" in said and said.count("\n") == 1, said
        said = s.command(f"change {drive} {iso}")
        assert not said, said
        s.shows("*Debian kernel")  # after ten seconds
        s.keys("ret")
        use_shell(s)


def isolinux_menu(tmp):
    with Screen(tmp, "-m", "512", isolinux_iso(tmp, timeout=60, console="tty0")) as s:
        screen = s.shows("A menu by isolinux", "Debian kernel", "Another entry")
        row, left = screen.find("Debian kernel")
        chosen = screen.paper(row, left, left + 20)
        assert chosen != screen.paper(row - 1, left, left + 20), "there is no bar"
        s.keys("up")
        check_text(s, s.until(lambda now: now.paper(row - 1, left, left + 20) == chosen,
                              "the bar does not move"))
        s.keys("down", "ret")
        use_shell(s)


def grub_graphics(tmp):
    """gfxterm: the menu's text in front of a picture."""
    def colour(x, y):
        sun = (x - 480) ** 2 + (y - 300) ** 2 < 90 ** 2
        return (250, 200 - y // 8, 90) if sun else (20 + y // 3, 20 + y // 8, 90 - y // 8)

    write_png(tmp / "back.png", 640, 480, colour)
    iso = grub_iso(tmp, timeout=60, picture=tmp / "back.png")
    font, grey = Pf2Font("/usr/share/grub/unicode.pf2"), (168, 168, 168)
    with Screen(tmp, "-m", "256", iso) as s:
        end, places = time.monotonic() + LIMIT, []
        while not places:
            assert time.monotonic() < end, f"no menu in front of {s.picture().pixel(320, 240)}"
            time.sleep(0.5)
            p = s.picture()
            # The chosen entry is dark on light.
            places = (p.width, p.height) == (640, 480) and p.places(font.mask("Debian"), BLACK)
        assert len(places) == 1, places
        assert p.places(font.mask("GNU GRUB"), grey), "no heading"
        other = p.places(font.mask("Second entry"), grey)
        assert len(other) == 1 and 10 <= other[0][1] - places[0][1] <= 24, (places, other)
        assert other[0][0] == places[0][0], (places, other)
        # Where there is no text the picture is as it was made, dot by dot.
        for region in ((0, 0, 640, 8), (0, 472, 640, 480), (0, 0, 4, 480), (400, 220, 560, 330)):
            wrong = [(x, y) for y in range(region[1], region[3])
                     for x in range(region[0], region[2]) if p.pixel(x, y) != colour(x, y)]
            assert not wrong, f"{len(wrong)} dots of {region}, at first {wrong[0]}: " \
                f"{p.pixel(*wrong[0])} for {colour(*wrong[0])}"
        s.keys("down")
        end = time.monotonic() + LIMIT
        while not s.picture().places(font.mask("Second"), BLACK):
            assert time.monotonic() < end, "the bar does not move"
        s.quit()


def debian_disk(tmp, arch, kind):
    """From the firmware to the login on the screen, in by keys, out by systemd's own power-off."""
    image = debian(tmp, arch, kind)
    with Screen(tmp, "-m", "512", image, snapshot=kind == "raw") as s:
        s.shows("GNU GRUB", "*Debian GNU/Linux")
        s.keys("down")
        screen = s.shows("*Debian GNU/Linux, quiet")
        check_text(s, screen)
        s.keys("ret")
        screen = s.shows("Debian GNU/Linux 12 dragoman tty1", "dragoman login:", seconds=3 * LIMIT)
        s.type("root\n")
        s.shows("Password:")
        s.type("dragoman\n")
        s.shows("root@dragoman:")
        s.type("echo $((6*7)) $(uname -m) $(findmnt -no SOURCE /)\n")
        machine = {"amd64": "x86_64", "i386": "i686"}[arch]
        s.shows(f"42 {machine} /dev/sda1")
        screen = s.read()
        row, _ = screen.find("# echo")
        assert screen.paper(row, 0, screen.columns) == {BLACK}, screen.text
        s.type("echo kept >/root/kept; sync; poweroff\n")
        s.ended()
    if kind == "qcow2":
        subprocess.run(["qemu-img", "check", image], check=True, capture_output=True)


def memtest(tmp, bits, how, full):
    """memtest86+ draws its screen and begins; with `full` a pass over 64 MiB ends without error."""
    image = f"/boot/memtest86+{bits}.bin"
    options = {"kernel": ["-kernel", image], "floppy": ["-fda", image, "-boot", "a", "-snapshot"],
               "CD": ["-cdrom", f"/usr/lib/memtest86+/memtest86+{bits}.iso"]}[how]
    with Screen(tmp, "-m", "64", *options) as s:
        s.memory_shows("Memtest86")
        s.keys("ret")
        s.shows("Memtest86+ v6", "Dragoman Virtual CPU", "Memory  :   64MB", "Errors: 0",
                "Status: Testing", "Testing: ", "<ESC> Exit  <F1> Configuration")
        screen = s.read()
        assert screen.unreadable() <= 1, screen.text
        # A red + in the title's grey bar, all else grey on blue, the last row the other way round.
        row, left = screen.find("Memtest86+")
        assert row == 0 and screen.paper(0, 0, 28) == {GREY}, screen.text
        assert screen.cells[0][left + 9][1:] == (RED, GREY), screen.text
        assert all(screen.paper(y, 0, 80) == {BLUE} for y in range(1, 24)), screen.text
        assert screen.paper(24, 0, 80) == {GREY}, screen.text
        assert "┴" in screen.lines[6] and "┬" in screen.lines[6], screen.text
        if full:
            screen = s.shows("Status: Pass", seconds=3600)
            assert screen.has("Pass:  1") and screen.has("Errors: 0"), screen.text
        s.quit()


def ipxe(tmp):
    """iPXE's ISO comes to its end: there is no network card yet."""
    with Screen(tmp, "-m", "128", "-cdrom", "/usr/lib/ipxe/ipxe.iso") as s:
        check_text(s, s.shows("iPXE initialising devices...ok", "No more network devices"))
        s.quit()


def installer_walk(s, *first):
    """Three dialogs of the installer, the bar moved in the first."""
    screen = s.shows(*first, "English", "<Go Back>", seconds=2 * LIMIT)
    row, left = screen.find("English")
    assert screen.paper(row, left, left + 7) == {RED}, screen.text
    s.keys("down")
    s.shows(*first)
    s.until(lambda now: now.paper(row + 1, left, left + 7) == {RED}, "the bar does not move")
    s.keys("up", "ret")
    screen = s.shows("Select your location", "United States")
    row, left = screen.find("United States")
    assert screen.paper(row, left, left + 13) == {RED}, screen.text
    s.keys("ret")
    screen = s.shows("keyboard", "American English")
    row, left = screen.find("American English")
    assert screen.paper(row, left, left + 16) == {RED}, screen.text
    return screen


def installer(tmp, text):
    """Debian's installer in the VGA's text mode, or as its kernel likes it, on a frame buffer."""
    append = "quiet nomodeset vga=normal fb=false" if text else "quiet"
    with Screen(tmp, "-m", "1024", "-kernel", INSTALLER / "linux", "-initrd",
                INSTALLER / "initrd.gz", "-append", append) as s:
        if not text:
            s.glyphs = Pf2Font("/usr/share/grub/unicode.pf2").glyphs()  # the installer's is Unifont too
        screen = installer_walk(s, "Select a language")
        assert (screen.picture.width == 720) == text, screen.picture.width
        if text:
            check_text(s, screen)
        assert screen.picture.pixel(0, 40) == BLUE and screen.picture.pixel(
            screen.picture.width - 1, 40) == BLUE, "the background is not blue"
        s.quit()


def rows(args):
    """(name, function of a scratch folder) of what is to be done."""
    yield "fonts", lambda tmp: check_fonts()
    yield "grub menu", grub_menu
    yield "CD pulled in use", cd_pulled
    yield "isolinux menu", isolinux_menu
    yield "grub graphics", grub_graphics
    yield "debian amd64 raw", lambda tmp: debian_disk(tmp, "amd64", "raw")
    yield "memtest x64 CD", lambda tmp: memtest(tmp, "x64", "CD", False)
    yield "memtest ia32 kernel", lambda tmp: memtest(tmp, "ia32", "kernel", False)
    yield "memtest x64 floppy", lambda tmp: memtest(tmp, "x64", "floppy", False)
    yield "ipxe ISO", ipxe
    yield "installer in text mode", lambda tmp: installer(tmp, True)
    if args.long:
        yield "installer on a frame buffer", lambda tmp: installer(tmp, False)
        yield "debian amd64 qcow2", lambda tmp: debian_disk(tmp, "amd64", "qcow2")
        yield "debian i386 raw", lambda tmp: debian_disk(tmp, "i386", "raw")
        yield "debian i386 qcow2", lambda tmp: debian_disk(tmp, "i386", "qcow2")
        for bits in ("x64", "ia32"):
            for how in ("kernel", "floppy", "CD"):
                yield f"memtest {bits} {how} pass", lambda tmp, b=bits, h=how: memtest(tmp, b, h, True)


def main():
    ap = row_options()
    ap.add_argument("--long", action="store_true")
    args = ap.parse_args()
    return run_rows(rows(args), args.only)


if __name__ == "__main__":
    sys.exit(main())
