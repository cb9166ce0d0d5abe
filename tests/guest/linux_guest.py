"""A Debian kernel with a busybox shell on a terminal: boot it, ask it things, leave it."""
import pathlib
import re
import shutil
import subprocess
import sys

from common import DRAGOMAN, TOP, firmware, skip_status
from test_terminal import Terminal

LIMIT = 300
# The guest's timer follows the host's clock.  When other programs have the processor, ticks come
# late and bunched; kernels notice, in QEMU too.  On a host that had time for us these are errors.
BUSY_SECONDS = 0.05
TIME_IS_SHORT = (r"APIC calibration not consistent with PM-Timer: Nms instead of Nms|"
                 r"tsc: Unable to calibrate against PIT|hrtimer: interrupt took N ns|"
                 r"\.\.MP-BIOS bug: N timer not connected to IO-APIC")
# A 32-bit kernel with page table isolation says so where the processor has PCID, which QEMU's have not.
ADVICE = """
************************************************************
** WARNING! WARNING! WARNING! WARNING! WARNING! WARNING!  **
**                                                        **
** You are using 32-bit PTI on a 64-bit PCID-capable CPU. **
** Your performance will increase dramatically if you     **
** switch to a 64-bit kernel!                             **
**                                                        **
** WARNING! WARNING! WARNING! WARNING! WARNING! WARNING!  **
************************************************************
"""
# Ends what a command printed, and does not look so in the echo of the typed line.
MARK, TYPED_MARK = "-=end=-", "-=e'nd='-"


def get(what):
    """Path of a kernel ("cloud", "full") or of the initramfs; without one the test is skipped, or
    fails where the environment says CI=true."""
    got = subprocess.run([TOP / "tests/guest/get-kernel.sh", what], capture_output=True, text=True)
    if got.returncode:
        print(got.stderr)
        sys.exit(skip_status())
    return got.stdout.strip()


def initrd_with(tmp, files):
    """The initramfs with more files, {name: bytes}, in its root: another archive behind it."""
    image = bytearray(pathlib.Path(get("initrd")).read_bytes())
    image += bytes(-len(image) % 512)
    for inode, (name, data) in enumerate({**files, "TRAILER!!!": b""}.items(), 1000):
        fields = [inode, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        image += b"070701" + "".join(f"{f:08x}" for f in fields).encode() + name.encode() + b"\0"
        image += bytes(-len(image) % 4)
        image += data
        image += bytes(-len(image) % 4)
    path = tmp / "initrd-more"
    path.write_bytes(image)
    return path


def initrd_for(kernel):
    """The initramfs with programs that the kernel (its name or path) can run."""
    return get("initrd-i386" if is_32_bit(kernel) else "initrd")


def is_32_bit(kernel):
    return "686" in pathlib.Path(kernel).name


def busybox_of(kernel):
    """The host's copy of the busybox that the kernel's initramfs has."""
    return pathlib.Path(kernel).parent / "busybox-i386" if is_32_bit(kernel) else (
        shutil.which("busybox"))


def machine(kernel, append="", extra=(), initrd=None):
    """Options that both emulators understand."""
    size = [] if "-m" in extra else ["-m", "512"]
    if is_32_bit(kernel):
        append += " cryptomgr.notests"  # self-tests of ciphers are half of these kernels' boot
    return [*size, "-kernel", kernel, "-initrd", initrd or initrd_for(kernel), "-no-reboot",
            "-append", f"console=ttyS0 quiet panic=-1 {append}".strip(), "-nographic", *extra]


class Guest(Terminal):
    """A booted guest at its prompt.  accel "qemu" is QEMU's TCG, the machine to compare with."""

    def __init__(self, accel, options):
        if accel == "qemu":
            cpu = [] if "-cpu" in options else ["-cpu", "qemu64"]
            super().__init__("-accel", "tcg", "-nodefaults", "-serial", "mon:stdio", *cpu,
                             *options, program="qemu-system-x86_64")
        else:
            super().__init__(*firmware(), "-accel", accel, *options, program=DRAGOMAN)
        try:
            self.expect("BOOTED", LIMIT)
            self.expect("# ", LIMIT)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, command, seconds=LIMIT):
        """Types a command; returns what it printed."""
        self.send(f"{command}; echo {TYPED_MARK}\r")
        self.expect(TYPED_MARK, seconds)
        text = self.expect(MARK, seconds)
        self.expect("# ", seconds)
        return text.replace("\r", "").strip("\n")

    def power_off(self):
        """What the guest prints at last arrives; the process ends by itself, with status 0."""
        self.send("seq 1 6000; poweroff -f\r")
        for last in ("5998", "5999", "6000"):
            self.expect(f"\n{last}\r", LIMIT)
        status = self.wait(LIMIT)
        assert status == 0, f"status {status} after poweroff -f"

    def waited(self):
        """Seconds that the program's threads could have run and the host let others run."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[1])
        return total / 1e9

    def warnings(self):
        """The kernel log's lines of level 'warning' and worse, with numbers as N; without ADVICE, and
        those that say that time is short, if the host has kept the program waiting."""
        text = self.ask("dmesg -r -s 400000 | grep '^<[0-4]>'")
        lines = re.findall(r"^<[0-4]>\[ *[0-9.]+\] (.*)$", text, re.M)
        text = "".join(line + "\n" for line in lines)
        lines = re.sub("^" + re.escape(ADVICE), "", text, flags=re.M).splitlines()
        lines = [re.sub(r"\b(0x)?[0-9a-f]*\d[0-9a-f]*\b", "N", line) for line in lines]
        lines = {re.sub(r"\d+", "N", line) for line in lines}
        if self.waited() > BUSY_SECONDS:
            lines = {line for line in lines if not re.fullmatch(TIME_IS_SHORT, line)}
        return lines

    def jit_counters(self):
        """{name: number} of the monitor's `info jit`, with the whole text as ""."""
        self.send("\x01c")
        self.expect("(dragoman) ")
        self.send("info jit\r")
        self.expect("\n")
        text = self.expect("(dragoman) ").replace("\r", "")
        self.send("\x01c")
        counters = {name: int(n) for name, n in re.findall(r"^([a-zA-Z].*?) +(\d+)$", text, re.M)}
        return {**counters, "": text}

    def halts(self):
        """How often the threads of virtual processors have gone to sleep."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text().startswith("vcpu"):
                status = (task / "status").read_text()
                total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M).group(1))
        return total

    def processor_seconds(self):
        """Host processor time that the process has used."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1]
        ticks = fields.split()
        return (int(ticks[11]) + int(ticks[12])) / 100
