#!/usr/bin/env python3
"""Makes the display adapter's fonts: fonts.py FOLDER OUTPUT

Takes the VGA fonts of Debian's package console-setup-linux (PSF version 1, with Unicode tables;
each has a part of the characters), puts their glyphs in the order of code page 437 and writes them
as assembly: vga_font_8, vga_font_14 and vga_font_16, 256 glyphs each, in the firmware's 16-bit code
segment.
"""
import collections
import gzip
import pathlib
import sys

LOW = ("\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼")
# What stands in for glyphs that no font has.
ALIKE = {"₧": "P", "⌐": "¬", "∞": "8", "∩": "n", "≡": "=", "ⁿ": "n"}


def arrowhead(height, right):
    """► or ◄"""
    rows, middle = [], (height - 1) / 2
    for y in range(height):
        n = round(7 - abs(y - middle) * 2) if abs(y - middle) < 4 else 0
        bits = (0xff << (8 - n)) & 0xff if right else (1 << n) - 1
        rows.append(bits if n > 0 else 0)
    return bytes(rows)


def read_psf(path):
    """{character: bytes of its glyph}"""
    data = gzip.decompress(path.read_bytes())
    if data[:2] != b"\x36\x04":
        sys.exit(f"fonts.py: {path} is no PSF font of version 1")
    mode, height = data[2], data[3]
    count = 512 if mode & 1 else 256
    glyphs = [data[4 + i * height:4 + (i + 1) * height] for i in range(count)]
    table = data[4 + count * height:]
    found, at = {}, 0
    for glyph in glyphs:
        sequence = False
        while True:
            value = int.from_bytes(table[at:at + 2], "little")
            at += 2
            if value == 0xffff:
                break
            sequence |= value == 0xfffe
            if not sequence:
                found.setdefault(chr(value), glyph)
    return height, found


def code_page():
    return LOW + bytes(range(32, 127)).decode("cp437") + "⌂" + \
        bytes(range(128, 256)).decode("cp437")


def font(folder, size):
    """The 256 glyphs of that height, each as bytes, in the order of the code page.  Some fonts draw
    characters alike that differ, as double lines like single ones, so that each character comes
    from where the fewest look like it, and of those from the font with the most shapes."""
    wanted, sources = code_page(), []
    for path in sorted(folder.glob(f"*-VGA{size}.psf.gz")):
        height, glyphs = read_psf(path)
        if height == size:
            alike = collections.Counter(glyphs[c] for c in wanted if c in glyphs)
            sources.append((-len(alike), path.name, glyphs, alike))
    found = {"►": arrowhead(size, True), "◄": arrowhead(size, False), "\0": bytes(size)}
    for c in wanted:
        candidates = [s for s in sorted(sources, key=lambda s: s[:2]) if c in s[2]]
        if candidates:
            _, _, glyphs, _ = min(candidates, key=lambda s, c=c: s[3][s[2][c]])
            found[c] = glyphs[c]
    return [found[c] if c in found else found[ALIKE[c]] for c in wanted]


def main():
    folder, output = map(pathlib.Path, sys.argv[1:])
    text = ["/* Made by fonts.py. */", '        .section .fonts, "a"']
    for size in (8, 14, 16):
        text += [f"        .globl  vga_font_{size}", f"vga_font_{size}:"]
        for glyph in font(folder, size):
            text.append("        .byte   " + ", ".join(str(b) for b in glyph))
        if size == 8:
            low = [line for line in text if line.startswith("        .byte")][:128]
    text += ['        .section .font8.text16, "ax"', *low]
    text.append('        .section .note.GNU-stack, "", @progbits')
    output.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
