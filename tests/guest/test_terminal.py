#!/usr/bin/env python3
"""The program on a terminal: Ctrl-A keys, monitor, signals, resets, exits; the terminal as found.

    test_terminal.py [--only WORD]

The guests are firmware images of a few instructions, so that nothing else has to work.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

from common import DRAGOMAN, boot_sector_rom, firmware, out_byte, out_string, row_options, run, run_rows

HALT = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to the hlt


class Terminal:
    """dragoman, or another program, on a pseudo terminal."""

    def __init__(self, *args, program=DRAGOMAN):
        self.master, self.slave = pty.openpty()
        self.found = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen([program, *map(str, args)], stdin=self.slave,
                                        stdout=self.slave, stderr=self.slave,
                                        start_new_session=True)
        self.text = ""

    def expect(self, part, seconds=20):
        """Waits until `part` has been seen; what came up to there is gone then."""
        end = time.monotonic() + seconds
        while part not in self.text:
            left = end - time.monotonic()
            assert left > 0, f"no '{part}' in {self.text!r}"
            if select.select([self.master], [], [], min(left, 1))[0]:
                self.text += os.read(self.master, 65536).decode("latin-1")
            elif self.process.poll() is not None:
                raise AssertionError(f"the program ended ({self.process.returncode}), no '{part}'"
                                     f" in {self.text!r}")
        before, self.text = self.text.split(part, 1)
        return before

    def shows(self, part, seconds=20):
        """Waits until `part` is in what has come since the last `expect`, cursor movements apart."""
        end = time.monotonic() + seconds
        while part not in re.sub(r"\x1b(\[[0-9;?]*[a-zA-Z]|\(B|[=>])", "", self.text):
            assert time.monotonic() < end, f"no '{part}' in {self.text!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode("latin-1")

    def send(self, text):
        os.write(self.master, text.encode("latin-1"))

    def wait(self, seconds=20):
        status = self.process.wait(seconds)
        assert termios.tcgetattr(self.slave) == self.found, "the terminal was left changed"
        return status

    def close_quietly(self):
        """For `finally`: whether or not it has been closed."""
        if self.master >= 0:
            self.close()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
        self.master = -1


def echo_rom(tmp):
    """A firmware that says READY and sends back what it receives on COM1; its path."""
    loop = (b"\xba\xfd\x03\xec\xa8\x01\x74\xf8"  # wait: mov dx,3fd; in al,dx; test al,1; jz wait
            b"\xba\xf8\x03\xec\xee\xeb\xf1")     # mov dx,3f8; in al,dx; out dx,al; jmp wait
    rom = tmp / "echo"
    rom.write_bytes(boot_sector_rom(out_string("READY\n") + loop))
    return rom


def test_keys_and_monitor(tmp):
    rom = echo_rom(tmp)
    t = Terminal("-bios", rom, "-nographic")
    try:
        t.expect("READY")
        t.send("hello")
        t.expect("hello")
        t.send("\x01\x01")
        t.expect("\x01")
        t.send("\x01c")
        t.expect("(dragoman) ")
        for command, answer in [("info status", "VM status: running"), ("info version", "dragoman"),
                                ("info registers", "EIP="), ("info pic", "pic master"),
                                ("info mtree", "firmware"), ("info qtree", "i440fx"),
                                ("info jit", "accelerator:"), ("info chardev", "stdio"),
                                ("info mem", "paging is off"), ("info pci", "8086"),
                                ("x /2i 0xffff0", "jmp"), ("xp /4xb 0xffff0", "0xea 0x00 0x00 0x00"),
                                ("print 2 + 3 * (4 | 1)", "0x11"), ("p/d -1", "-1"),
                                ("print 1 / 0", "division by zero"), ("print $nosuch", "unknown"),
                                ("nosuch", "unknown command 'nosuch'"), ("info nosuch", "nosuch"),
                                ("stop", ""), ("info status", "VM status: paused"), ("cont", ""),
                                ("info status", "VM status: running")]:
            t.send(command + "\r")
            t.expect("\n")
            got = t.expect("(dragoman) ")
            assert answer in got, f"{command}: {got!r}"
        t.send("system_reset\r")
        t.expect("(dragoman) ")
        t.send("\x01c")
        t.expect("READY")
        t.send("\x01x")
        assert t.wait() == 0
    finally:
        t.close()


def test_counted(tmp):
    """With -icount, input arrives and the monitor works as ever; stopped, nothing is counted."""
    rom = echo_rom(tmp)
    t = Terminal("-bios", rom, "-nographic", "-icount", "shift=0,sleep=off")
    try:
        t.expect("READY")
        t.send("hello")
        t.expect("hello")
        t.send("\x01c")
        def command(line):
            t.expect("(dragoman) ")
            t.send(line + "\r")
            t.expect("\n")

        def count():
            command("info status")
            t.expect("VM status: ")
            t.expect("\n")
            return int(t.expect(" instructions, "))

        def goes_on(since):
            end = time.monotonic() + 20
            while count() <= since:
                assert time.monotonic() < end, "the guest stands still"

        goes_on(count())
        command("stop")
        stopped = count()
        assert stopped > 10 and count() == stopped, "a stopped guest is counted"
        command("cont")
        goes_on(stopped)
        t.send("\x01cmore")
        t.expect("more")
        t.send("\x01x")
        assert t.wait() == 0
    finally:
        t.close()


def test_paused_start(tmp):
    rom = echo_rom(tmp)
    t = Terminal("-bios", rom, "-nographic", "-S")
    try:
        t.send("\x01c")
        assert "READY" not in t.expect("(dragoman) ")
        t.send("info status\r")
        t.expect("VM status: paused")
        t.send("cont\r")
        t.send("\x01c")
        t.expect("READY")
        t.send("\x01cquit\r")
        assert t.wait() == 0
    finally:
        t.close()


def test_screen(tmp):
    """The text screen on the terminal: what the firmware says; keys; the way out."""
    os.environ["TERM"] = "xterm"
    t = Terminal("-display", "terminal", "-m", "64", "-boot", "menu=on")
    try:
        fcntl.ioctl(t.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        t.shows("processor")
        t.shows("boot menu")
        t.send("\x1b[24~")  # F12
        t.shows("Boot from")
        t.send("\x01x")
        assert t.wait() == 0
    finally:
        t.close()


def test_screen_colours(tmp):
    """Colours and characters of code page 437 as the terminal has them; keys with Shift and Ctrl."""
    os.environ.update({"TERM": "xterm", "LC_ALL": "C.UTF-8"})
    line = b"\xb8\xc4\x09\xbb\x1e\x00\xb9\x05\x00\xcd\x10"  # ax 9c4h, bx 1eh, cx 5: int 10h
    echo = b"\xb4\x00\xcd\x16\xb4\x0e\xb7\x00\xcd\x10\xeb\xf4"  # int 16h, its character by int 10h
    disk = tmp / "disk"
    disk.write_bytes((line + echo).ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    t = Terminal(*firmware(), "-display", "terminal", "-m", "64", "-snapshot", disk)
    try:
        before = t.expect("\u2500".encode().decode("latin-1") * 5).rsplit("\x1b[H", 1)[-1][-60:]
        # Yellow on blue, which are red and green for the VGA and blue, and bright.
        sgr = ";".join(re.findall("\x1b\\[([0-9;]*)m", before)).split(";")
        assert {"33", "44", "1"} <= set(sgr), before
        t.send("aZ!~\x02")  # Ctrl-B is a black face
        t.shows("aZ!~" + "\u263b".encode().decode("latin-1"))
        text = "All_that_one_pastes_at_once_arrives:0123456789"
        t.send(text)
        t.shows(text)
        t.send("\x01x")
        assert t.wait() == 0
    finally:
        t.close()


def test_signals(tmp):
    rom = echo_rom(tmp)
    for number, status, text in [(signal.SIGTERM, 0, "signal 15"), (signal.SIGINT, 0, "signal 2"),
                                 (signal.SIGHUP, 1, "closed")]:
        t = Terminal("-bios", rom, "-nographic")
        try:
            t.expect("READY")
            t.process.send_signal(number)
            assert t.wait() == status
            t.expect(text)
        finally:
            t.close()


def test_hangup(tmp):
    rom = echo_rom(tmp)
    errors = tmp / "errors"
    master, slave = pty.openpty()
    with open(errors, "w") as log:
        process = subprocess.Popen([DRAGOMAN, "-bios", str(rom), "-nographic"], stdin=slave,
                                   stdout=slave, stderr=log, start_new_session=True)
    os.close(slave)
    assert os.read(master, 1)
    os.close(master)
    assert process.wait(20) == 1
    lines = errors.read_text().splitlines()
    assert len(lines) == 1 and "closed" in lines[0], lines


def boot(tmp, code, *args):
    rom = tmp / "rom"
    rom.write_bytes(boot_sector_rom(code))
    return run("-bios", rom, "-display", "none", "-serial", "stdio", *args)


def test_resets(tmp):
    """Each way to reset starts the firmware again; RAM stays, so that a counter there tells."""
    count = b"\x31\xc0\x8e\xd8\xfe\x06\x00\x05\x80\x3e\x00\x05\x03\x75"  # inc [500]; cmp 3; jne
    finish = out_byte(0xf4, 0)
    start = out_string("x") + count + struct.pack("b", len(finish) + len(HALT)) + finish + HALT
    exit_device = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    ways = {
        "cf9": out_byte(0xcf9, 2) + out_byte(0xcf9, 6),
        "port 92": out_byte(0x92, 0) + out_byte(0x92, 3),
        "keyboard controller": out_byte(0x64, 0xfe),
        # An IDT without room makes three faults of one INT: lidt [600h], of zeros; int 3.
        "triple fault": b"\x0f\x01\x1e\x00\x06\xcc",
    }
    for name, code in ways.items():
        result = boot(tmp, start + code + HALT, *exit_device)
        assert result.returncode == 1 and result.stdout == "xxx", f"{name}: {result}"
        result = boot(tmp, start + code + HALT, *exit_device, "-no-reboot")
        assert result.returncode == 0 and result.stdout == "x", f"{name}, -no-reboot: {result}"
        if name == "triple fault":
            assert "EIP=" in result.stderr, result.stderr


def test_files(tmp):
    """Files alone: told apart by content; the options printed are those that say the same."""
    rom, end = tmp / "rom", out_byte(0xf4, 0) + HALT
    rom.write_bytes(boot_sector_rom(end))
    os.truncate(os.open(tmp / "my disk", os.O_CREAT | os.O_RDWR), 3 << 20)
    os.truncate(os.open(tmp / "floppy", os.O_CREAT | os.O_RDWR), 1440 << 10)
    for name in ("cd", "cd2"):
        (tmp / name).write_bytes(bytes(0x8001) + b"CD001" + bytes(0x8000))
    image = bytearray(16384)
    image[0x1f1], image[0x1fe:0x200], image[0x202:0x208] = 4, b"\x55\xaa", b"HdrS\x0f\x02"
    image[0x211], image[0x22c:0x230], image[0x238:0x23a] = 1, b"\xff\xff\xff\x7f", b"\xff\x07"
    (tmp / "kernel").write_bytes(image)
    (tmp / "ramdisk").write_bytes(b"070701" + bytes(512))
    cpus = max(1, min(4, os.sysconf("SC_NPROCESSORS_ONLN") // 2))
    half = f"-m [0-9]+ -smp {cpus}"
    asked = ["-bios", rom, "-device", "isa-debug-exit,iobase=0xf4", "-display", "none"]
    said = f"-bios {rom} -device isa-debug-exit,iobase=0xf4 -display none"
    for files, extra, line in [
            (["my disk"], [], f"{half} {said} -hda '{tmp}/my disk'"),
            (["cd", "my disk"], [], f"{half} {said} -hda '{tmp}/my disk' -cdrom {tmp}/cd"),
            (["cd", "cd2", "floppy"], ["-m", "32"],
             f"-smp {cpus} {said} -m 32 -fda {tmp}/floppy "
             f"-drive 'file={tmp}/cd2,media=cdrom,index=0' -cdrom {tmp}/cd"),
            (["my disk"], ["-cpu", "486", "-snapshot"],
             f"-m [0-9]+ -smp 1 {said} -cpu 486 -snapshot -hda '{tmp}/my disk'"),
            (["kernel", "ramdisk"], ["-smp", "2", "-append", "a b"],
             f"-m [0-9]+ {said} -smp 2 -append 'a b' -kernel {tmp}/kernel -initrd {tmp}/ramdisk")]:
        result = run(*asked, *extra, *(tmp / name for name in files))
        assert re.fullmatch(f"dragoman: this is dragoman {line}\n", result.stderr), result.stderr
        assert result.returncode == 1, result


def test_exits(tmp):
    for value in (0, 1, 0x31):
        # Nothing of what follows the exit (in another block) may happen any more.
        after = b"\xeb\x00" + out_string("after") + HALT
        result = boot(tmp, out_byte(0xf4, value) + after, "-device", "isa-debug-exit,iobase=0xf4")
        assert result.returncode == (value << 1 | 1) & 0xff and not result.stdout, result
    # S5: PMBASE 600h and its enable bit in 00:01.3, then SLP_TYP 0 and SLP_EN in PM1_CNT.
    def config(register, value):
        return (b"\x66\xb8" + struct.pack("<I", 0x80000b00 | register) + b"\xba\xf8\x0c\x66\xef"
                b"\x66\xb8" + struct.pack("<I", value) + b"\xba\xfc\x0c\x66\xef")
    off = config(0x40, 0x601) + config(0x80, 1) + b"\xba\x04\x06\xb8\x00\x20\xef"
    result = boot(tmp, off + HALT)
    assert result.returncode == 0, result


def test_debugcon(tmp):
    out = tmp / "debug"
    code = out_string("debug text", 0x402) + out_byte(0xf4, 0) + HALT
    result = boot(tmp, code, "-debugcon", f"file:{out}", "-global", "isa-debugcon.iobase=0x402",
                  "-device", "isa-debug-exit,iobase=0xf4")
    assert result.returncode == 1 and out.read_text() == "debug text", result


def main():
    args = row_options().parse_args()
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    return run_rows(tests, args.only)


if __name__ == "__main__":
    sys.exit(main())
