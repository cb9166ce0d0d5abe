"""Pictures of a guest's screen, and what can be read from them.

Text is read back with the fonts of Debian's package console-setup-linux, from which the firmware's
are made: a picture that reads right has every dot of every glyph in its place.
"""
import pathlib
import re
import struct
import sys
import zlib

from common import TOP

sys.path.insert(0, str(TOP / "bios"))
import fonts  # noqa: E402

FONTS = pathlib.Path("/usr/share/consolefonts")
UNREADABLE = "\ufffd"


def _paeth(a, b, c):
    pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def _unfilter(kind, line, above):
    """PNG specification, section 9.2; three bytes make a pixel."""
    if kind == 1:
        for i in range(3, len(line)):
            line[i] = (line[i] + line[i - 3]) & 0xff
    elif kind == 2:
        for i, b in enumerate(above):
            line[i] = (line[i] + b) & 0xff
    elif kind:
        for i, b in enumerate(above):
            a, c = (line[i - 3], above[i - 3]) if i >= 3 else (0, 0)
            line[i] = (line[i] + ((a + b) >> 1 if kind == 3 else _paeth(a, b, c))) & 0xff


def write_png(path, width, height, colour):
    """A picture whose dot at (x, y) has the colour that the function says."""
    raw = b"".join(b"\0" + bytes(v for x in range(width) for v in colour(x, y))
                   for y in range(height))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
             (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")]
    pathlib.Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts))


class Picture:
    """width, height, and rows of three bytes (red, green, blue) for each pixel; PNG or PPM."""

    def __init__(self, path):
        data = pathlib.Path(path).read_bytes()
        if data[:2] == b"P6":
            self._ppm(data)
        else:
            self._png(data)

    def _ppm(self, data):
        head, size, most, pixels = data.split(b"\n", 3)
        self.width, self.height = map(int, size.split())
        stride = 3 * self.width
        assert most == b"255" and len(pixels) == stride * self.height, (head, size, len(pixels))
        self.rows = [pixels[y * stride:(y + 1) * stride] for y in range(self.height)]

    def _png(self, data):
        assert data[:8] == b"\x89PNG\r\n\x1a\n", f"no PNG: {data[:8]}"
        at, packed = 8, b""
        while at < len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            body = data[at + 8:at + 8 + length]
            crc, = struct.unpack_from(">I", data, at + 8 + length)
            assert crc == zlib.crc32(kind + body), f"wrong sum of {kind}"
            if kind == b"IHDR":
                self.width, self.height, *form = struct.unpack(">IIBBBBB", body)
                assert form == [8, 2, 0, 0, 0], f"form {form}"
            elif kind == b"IDAT":
                packed += body
            at += 12 + length
        raw, stride = zlib.decompress(packed), 3 * self.width
        self.rows, above = [], bytes(stride)
        for y in range(self.height):
            start = y * (stride + 1)
            line = bytearray(raw[start + 1:start + 1 + stride])
            _unfilter(raw[start], line, above)
            self.rows.append(bytes(line))
            above = line

    def pixel(self, x, y):
        return tuple(self.rows[y][3 * x:3 * x + 3])

    def colours(self, left, top, right, bottom):
        """{colour: how many pixels} of a region, whose right and bottom are not in it."""
        found = {}
        for row in self.rows[top:bottom]:
            for x in range(3 * left, 3 * right, 3):
                found[row[x:x + 3]] = found.get(row[x:x + 3], 0) + 1
        return {tuple(colour): n for colour, n in found.items()}

    def places(self, mask, colour):
        """Where a bitmap (rows of bools) stands in that colour on anything else: [(x, y)]."""
        width, ink = len(mask[0]), bytes(colour)
        rows = [bytes(row[i:i + 3] == ink for i in range(0, len(row), 3)) for row in self.rows]
        wanted = [bytes(row) for row in mask]
        first = next(i for i, row in enumerate(wanted) if any(row))
        found = []
        for y in range(first, self.height - len(wanted) + first + 1):
            x = rows[y].find(wanted[first])
            while x >= 0:
                if all(rows[y - first + i][x:x + width] == row for i, row in enumerate(wanted)):
                    found.append((x, y - first))
                x = rows[y].find(wanted[first], x + 1)
        return found


class Pf2Font:
    """A font of GRUB's (GRUB developers' manual, PFF2): sections of a name, a length and data, all
    big-endian."""

    def __init__(self, path):
        self.data, at = pathlib.Path(path).read_bytes(), 0
        self.index, self.ascent = {}, 0
        while at < len(self.data):
            name, length = struct.unpack_from(">4sI", self.data, at)
            at += 8
            if name == b"DATA":
                break
            if name == b"ASCE":
                self.ascent, = struct.unpack_from(">H", self.data, at)
            elif name == b"CHIX":
                for entry in range(at, at + length, 9):
                    code, _, offset = struct.unpack_from(">IBI", self.data, entry)
                    self.index[code] = offset
            at += length

    def _dots(self, c):
        """(x, y) of a character's dots, y from the font's ascent down; how far it goes on."""
        at = self.index[ord(c)]
        width, height, left, below, advance = struct.unpack_from(">HHhhh", self.data, at)
        dots = {(left + i % width, self.ascent - below - height + i // width)
                for i in range(width * height) if self.data[at + 10 + i // 8] >> (7 - i % 8) & 1}
        return dots, advance

    def glyphs(self):
        """For TextScreen: ASCII in cells of 8 by 16."""
        found = {}
        for c in map(chr, range(126, 31, -1)):
            dots, _ = self._dots(c)
            found[tuple((x, y) in dots for y in range(16) for x in range(8))] = c
        return found

    def mask(self, text):
        """Rows of bools that the text is drawn as, one row for each line that has a dot."""
        dots, x = set(), 0
        for c in text:
            own, advance = self._dots(c)
            dots |= {(x + dx, y) for dx, y in own}
            x += advance
        top, bottom = min(y for _, y in dots), max(y for _, y in dots)
        return [[(i, y) in dots for i in range(x)] for y in range(top, bottom + 1)]


class TextScreen:
    """A text screen's picture as text: lines, and (character, ink, paper) of each cell.

    A cell that shows no glyph is UNREADABLE: that is where the cursor stands.  Linux' own font, on
    a frame buffer, draws a few characters (f, v, ~) in another way.
    """

    def __init__(self, picture, glyphs=None, height=16, width=None):
        width = width or (9 if picture.width == 720 else 8)
        self.picture, self.columns = picture, picture.width // width
        self.glyphs, self.known = glyphs or self._glyphs(height, width), {}
        self.cells = [[self._read(x * width, y * height, width, height)
                       for x in range(self.columns)] for y in range(picture.height // height)]
        self.lines = ["".join(c for c, _, _ in row).rstrip() for row in self.cells]
        self.text = "\n".join(self.lines)

    @staticmethod
    def _glyphs(height, width):
        """{tuple of bools for each pixel: character}; the ninth column is empty, but for the
        characters C0h to DFh, which repeat the eighth (VGA's attribute register 10h, bit 2)."""
        found, names = {}, fonts.code_page()
        for code, glyph in reversed(list(enumerate(fonts.font(FONTS, height)))):
            bits = []
            for byte in glyph:
                row = [bool(byte >> (7 - i) & 1) for i in range(8)]
                bits += row + [0xc0 <= code <= 0xdf and row[7]] * (width - 8)
            found[tuple(bits)] = names[code] if code else " "
        return found

    def _read(self, left, top, width, height):
        rows = self.picture.rows[top:top + height]
        key = b"".join(row[3 * left:3 * (left + width)] for row in rows)
        if key not in self.known:
            self.known[key] = self._decode([key[i:i + 3] for i in range(0, len(key), 3)])
        return self.known[key]

    def _decode(self, pixels):
        paper, others = pixels[0], {p for p in pixels if p != pixels[0]}
        if not others:
            return " ", tuple(paper), tuple(paper)
        ink, = others if len(others) == 1 else [None]
        bits = tuple(p == ink for p in pixels)
        for shape, front, back in ((bits, ink, paper), (tuple(not b for b in bits), paper, ink)):
            if ink and shape in self.glyphs:
                return self.glyphs[shape], tuple(front), tuple(back)
        return UNREADABLE, tuple(ink or paper), tuple(paper)

    def _place(self, words):
        form = "".join(f"[{re.escape(c)}{UNREADABLE}]" for c in words)
        for y, line in enumerate(self.lines):
            for found in re.finditer(f"(?=({form}))", line):
                if found[1].count(UNREADABLE) <= len(words) // 6:
                    return y, found.start()
        return None

    def has(self, words):
        """Whether a line has the words, of which few may be letters that cannot be read."""
        return self._place(words) is not None

    def find(self, words):
        """(row, column) of the first place of the words."""
        place = self._place(words)
        assert place, f"'{words}' is not in the picture:\n{self.text}"
        return place

    def paper(self, row, left, right):
        """The background colours of some cells of a row."""
        return {back for _, _, back in self.cells[row][left:right]}

    def unreadable(self):
        return self.text.count(UNREADABLE)
