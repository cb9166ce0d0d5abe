"""A guest on its screen, with us at the monitor: keys in, pictures out."""
import pathlib
import time

from common import firmware
from picture import Picture, TextScreen
from test_terminal import Terminal

LIMIT = 300
SHIFTED = dict(zip('!@#$%^&*()_+{}|:"<>?~', "1 2 3 4 5 6 7 8 9 0 minus equal bracket_left "
                   "bracket_right backslash semicolon apostrophe comma dot slash "
                   "grave_accent".split()))
PLAIN = {" ": "spc", "\n": "ret", "\t": "tab", "-": "minus", "=": "equal", "[": "bracket_left",
         "]": "bracket_right", "\\": "backslash", ";": "semicolon", "'": "apostrophe",
         ",": "comma", ".": "dot", "/": "slash", "`": "grave_accent"}


def key_name(c):
    """sendkey's name of the keys that give a character on a keyboard for the USA."""
    if c in SHIFTED:
        return f"shift-{SHIFTED[c]}"
    return PLAIN.get(c) or (f"shift-{c.lower()}" if c.isupper() else c)


class Screen(Terminal):
    """dragoman without a window, its monitor on our terminal; disks stay as they are."""

    def __init__(self, folder, *options, snapshot=True):
        self.folder = pathlib.Path(folder)
        self.glyphs = None  # of the VGA; a guest may draw its own
        super().__init__(*firmware(), "-display", "none", "-monitor", "stdio", "-no-reboot",
                         *(["-snapshot"] if snapshot else []), *options)
        self.expect("(dragoman) ")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close_quietly()

    def command(self, line):
        """Runs a monitor command; returns what it printed."""
        self.send(line + "\r")
        self.expect("\n")
        return self.expect("(dragoman) ").replace("\r", "")

    def keys(self, *names):
        for name in names:
            said = self.command(f"sendkey {name} 30")
            assert not said, said

    def type(self, text):
        self.keys(*map(key_name, text))

    def memory_shows(self, part, seconds=LIMIT):
        """Waits until the text mode's memory has `part`; returns all of it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = self.command("info screen")
            if part in text:
                return text
            time.sleep(0.3)
        raise AssertionError(f"no '{part}' on the screen:\n{text}")

    def picture(self):
        """The screen now, through a PNG file."""
        return self._dump("screen.png")

    def read(self):
        """The picture as text."""
        return TextScreen(self.picture(), self.glyphs)

    def _dump(self, name):
        said = self.command(f"screendump {self.folder / name}")
        assert not said, said
        return Picture(self.folder / name)

    def shows(self, *parts, seconds=LIMIT):
        """Waits until the picture, read back as text, has all the parts."""
        end, missing, said = time.monotonic() + seconds, parts, ""
        while missing:
            assert time.monotonic() < end, f"no {missing} in the picture:\n{said}"
            assert self.process.poll() is None, f"the program ended; its screen was\n{said}"
            time.sleep(0.3)
            screen = TextScreen(self._dump("screen.ppm"), self.glyphs)
            said, missing = screen.text, [part for part in parts if not screen.has(part)]
        return screen

    def until(self, look, what):
        """Waits until look(the picture as text) is true; returns that."""
        end = time.monotonic() + LIMIT
        while not look(screen := self.read()):
            assert time.monotonic() < end, f"{what}:\n{screen.text}"
        return screen

    def ended(self):
        """Waits for the guest to power off."""
        status = self.process.wait(LIMIT)
        assert status == 0, f"status {status} after the guest's power-off"

    def quit(self):
        self.send("quit\r")
        self.ended()
