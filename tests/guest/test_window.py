#!/usr/bin/python3
"""The SDL window, on an X server without a screen: picture, keys, sizes, mouse, title, end.

Run by Debian's own Python, which has python3-xlib.  The guest is a boot sector that echoes keys.
"""
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from Xlib import X, Xatom, display, error
from Xlib.ext import xtest
from Xlib.protocol import event

from common import boot_sector_rom, firmware, out_byte, run
from picture import TextScreen
from test_terminal import Terminal

# Three text screens high; in the width that leaves a bar on either side.
WIDTH, HEIGHT, BAR = 2200, 1200, 20
LIMIT = 120
# X key codes of a PC's keyboard: Linux's plus 8.
KEY = {"q": 24, "w": 25, "y": 29, "u": 30, "f": 41, "g": 42, "z": 52, "ret": 36, "ctrl": 37,
       "alt": 64, "2": 11, "shift": 50, "minus": 20}


def boot_sector():
    """Says READY and echoes keys."""
    write = b"\xb4\x0e\xbb\x07\x00\xcd\x10"              # mov ah, 0eh; mov bx, 7; int 10h
    code = b"\x31\xc0\x8e\xd8\xfc\xbe"                   # xor ax, ax; mov ds, ax; cld; mov si, text
    rest = b"\xac\x84\xc0\x74\x09" + write + b"\xeb\xf2"  # next: lodsb; test al, al; jz keys
    keys = b"\xb4\x00\xcd\x16" + write + b"\xeb\xf3"     # keys: mov ah, 0; int 16h; write; jmp keys
    text = 0x7c00 + len(code) + 2 + len(rest) + len(keys)
    code += text.to_bytes(2, "little") + rest + keys + b"READY \0"
    return code.ljust(510, b"\0") + b"\x55\xaa"


class Shot:
    """The window's dots as a picture, taken from the X server; every `step`th of them."""

    def __init__(self, window, step=1, bar=0):
        g = window.get_geometry()
        width = g.width - 2 * bar
        image = window.get_image(bar, 0, width, g.height, X.ZPixmap, 0xffffffff)
        self.whole = [image.data[y * width * 4:(y + 1) * width * 4] for y in range(g.height)]
        self.width, self.height = width // step, g.height // step
        self.rows = [self._rgb(row, step) for row in self.whole[::step]]

    @staticmethod
    def _rgb(row, step):
        out = bytearray(len(row) // 4 // step * 3)
        for i in range(3):  # blue is first in memory
            out[i::3] = row[2 - i::4 * step]
        return bytes(out)


class Window:
    """An X server, a window manager, and dragoman in a window."""

    def __init__(self, tmp, *options):
        self.window = None
        with contextlib.ExitStack() as stack:
            self.start(stack, tmp, options)
            self.ends = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ends.close()

    def start(self, stack, tmp, options):
        """Starts the three, and puts into the stack how each ends."""
        read, write = os.pipe()
        server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0",
                                   f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp", "-noreset"],
                                  pass_fds=[write], stderr=subprocess.DEVNULL)
        stack.callback(self.stop, server)
        os.close(write)
        number = b""
        while not number.endswith(b"\n"):
            part = os.read(read, 16)
            assert part, "Xvfb has ended"
            number += part
        os.close(read)
        self.name = f":{int(number)}"
        os.environ["DISPLAY"] = self.name
        os.environ["HOME"] = str(tmp)  # no settings of a person
        manager = subprocess.Popen(["openbox"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        stack.callback(self.stop, manager)
        self.x = display.Display(self.name)
        stack.callback(self.x.close)
        disk = tmp / "echo.img"
        disk.write_bytes(boot_sector().ljust(1 << 20, b"\0"))
        self.wait("a window manager", lambda: self.x.screen().root.get_full_property(
            self.x.intern_atom("_NET_SUPPORTING_WM_CHECK"), Xatom.WINDOW))
        self.program = Terminal(*firmware(), "-monitor", "stdio", *options, disk)
        stack.callback(self.program.close_quietly)
        self.window = self.wait("the window", self.find)

    @staticmethod
    def stop(process):
        process.terminate()
        process.wait()

    def wait(self, what, look):
        """Waits until look() gives something true; returns it."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                if found := look():
                    return found
            except (error.BadWindow, error.BadMatch, error.BadDrawable):
                # It changed its size while we looked, or SDL made another for its renderer.
                self.window = self.find() or self.window
            time.sleep(0.1)
        raise AssertionError(f"no sign of {what}")

    def find(self, window=None):
        """The window whose title begins with our name."""
        for child in (window or self.x.screen().root).query_tree().children:
            try:
                if self.title(child).startswith("Dragoman") and child.get_wm_class():
                    return child
                if found := self.find(child):
                    return found
            except (error.BadWindow, error.BadDrawable):
                pass  # gone
        return None

    def title(self, window=None):
        # At once: in two requests the second fails if the title has become shorter meanwhile.
        name = (window or self.window).get_full_property(self.x.intern_atom("_NET_WM_NAME"), 0,
                                                         sizehint=1000)
        return name.value.decode() if name else ""

    def size(self):
        g = self.window.get_geometry()
        return g.width, g.height

    def press(self, *names):
        """Keys down in that order, and up again; by their place, as fingers do."""
        for name in names:
            xtest.fake_input(self.x, X.KeyPress, KEY[name])
        for name in reversed(names):
            xtest.fake_input(self.x, X.KeyRelease, KEY[name])
        self.x.sync()

    def click(self):
        x, y = self.size()
        self.window.warp_pointer(x // 2, y // 2)
        for kind in (X.ButtonPress, X.ButtonRelease):
            xtest.fake_input(self.x, kind, 1)
        self.x.sync()

    def shows(self, text, step=1, bar=0):
        """Waits until the window shows the text, each dot of it `step` dots wide and high."""
        def look():
            shot = Shot(self.window, step, bar)
            return TextScreen(shot).has(text) and shot
        return self.wait(f"'{text}'", look)

    def mouse_is_free(self):
        """Whether another program could have the mouse."""
        root = self.x.screen().root
        free = root.grab_pointer(False, 0, X.GrabModeAsync, X.GrabModeAsync, 0, 0, 0) == 0
        if free:
            self.x.ungrab_pointer(0)
        self.x.sync()
        return free

    def monitor(self, line):
        self.program.send(line + "\r")
        self.program.expect("(dragoman) ")

    def close(self):
        """As the frame's button does."""
        data = [self.x.intern_atom("WM_DELETE_WINDOW"), X.CurrentTime, 0, 0, 0]
        self.window.send_event(event.ClientMessage(
            window=self.window, client_type=self.x.intern_atom("WM_PROTOCOLS"), data=(32, data)))
        self.x.sync()


def check_keys(w):
    w.shows("READY")
    w.press("w")
    w.press("shift", "y")
    w.press("2")
    w.shows("READY wY2")
    # By their place: what is printed on them does not count.
    subprocess.run(["setxkbmap", "de"], check=True)
    w.press("z")
    w.press("minus")
    w.press("y")
    w.shows("READY wY2z-y")


def check_sizes(w):
    w.wait("the size of the picture", lambda: w.size() == (720, 400))
    w.window.configure(width=1440, height=800)
    w.wait("the new size", lambda: w.size() == (1440, 800))
    shot = w.shows("READY wY2z-y", step=2)
    assert shot.whole[::2] == shot.whole[1::2], "rows are not doubled"
    assert all(row[8 * i:8 * i + 4] == row[8 * i + 4:8 * i + 8] for row in shot.whole[:64]
               for i in range(720)), "columns are not doubled"
    w.press("ctrl", "alt", "u")
    w.wait("the original size", lambda: w.size() == (720, 400))
    w.press("ctrl", "alt", "f")
    w.wait("the full screen", lambda: w.size() == (WIDTH, HEIGHT))
    w.shows("READY wY2z-y", step=3, bar=BAR)
    assert not any(any(row[:3 * BAR]) or any(row[-3 * BAR:]) for row in Shot(w.window).rows), \
        "the bars are not black"
    w.press("ctrl", "alt", "f")
    w.wait("the window again", lambda: w.size() == (720, 400))
    w.shows("READY wY2z-y")


def check_mouse(w):
    assert w.mouse_is_free()
    w.click()
    w.wait("the mouse's hint", lambda: "Ctrl-Alt-G" in w.title())
    w.wait("the grab", lambda: not w.mouse_is_free())
    w.press("ctrl", "alt", "g")
    w.wait("the plain title", lambda: "Ctrl-Alt-G" not in w.title())
    w.wait("the release", w.mouse_is_free)
    # The shortcut's letter has not been typed.
    w.press("u")
    w.shows("READY wY2z-yu")


def check_title(w):
    assert w.title() == "Dragoman - guest", w.title()
    w.program.expect("(dragoman) ")
    w.monitor("stop")
    w.wait("'stopped'", lambda: w.title() == "Dragoman - guest [stopped]")
    w.monitor("cont")
    w.wait("'stopped' to go", lambda: w.title() == "Dragoman - guest")


def check_no_screen(tmp, name):
    """A display that does not answer is one line, and the guest runs all the same."""
    rom = tmp / "rom"
    rom.write_bytes(boot_sector_rom(out_byte(0xf4, 0) + b"\xf4"))
    os.environ.update({"DISPLAY": name, "XDG_RUNTIME_DIR": str(tmp)})
    result = run("-bios", rom, "-device", "isa-debug-exit,iobase=0xf4", "-display", "sdl")
    assert result.returncode == 1, result
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and "no screen answers" in lines[0], result.stderr
    print("no screen: ok")


def main():
    steps = [check_keys, check_sizes, check_mouse, check_title]
    with tempfile.TemporaryDirectory() as name:
        tmp = pathlib.Path(name)
        with Window(tmp, "-name", "guest") as w:
            for step in steps:
                start = time.monotonic()
                step(w)
                print(f"{step.__name__}: ok ({time.monotonic() - start:.1f} s)", flush=True)
            w.close()
            assert w.program.wait(LIMIT) == 0, "status after the window was closed"
        with Window(tmp, "-full-screen") as w:
            w.wait("the full screen", lambda: w.size() == (WIDTH, HEIGHT))
            w.shows("READY", step=3, bar=BAR)
            w.press("ctrl", "alt", "q")
            assert w.program.wait(LIMIT) == 0, "status after Ctrl-Alt-Q"
        print("closing: ok")
        check_no_screen(tmp, w.name)


if __name__ == "__main__":
    sys.exit(main())
