#!/usr/bin/env python3
"""Translations kept between runs, from outside: where the file is made, when it is not, and that
whatever is wrong with it or its folder is passed over without a word.

usage: test_cache.py IMAGE      (one of the bare-metal guests)
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from common import DRAGOMAN

GOOD = 33
failures = 0


def start(image, home, *options, **environment):
    named = {"HOME": str(home), **environment}
    env = {k: v for k, v in os.environ.items() if k not in ("DRAGOMAN_ACCEL_CACHE", "XDG_CACHE_HOME", "HOME")}
    env.update({k: str(v) for k, v in named.items() if v is not None})
    return subprocess.Popen([DRAGOMAN, "-m", "128", "-display", "none", "-serial", "stdio", "-monitor", "none",
                             "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", image, *options],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)


def check(good, what):
    global failures
    print(f"{'ok' if good else 'FAIL'}: {what}", flush=True)
    failures += not good


def end(process, what, said=""):
    """Whether the guest did what it does and the emulator said what it should, nothing as a rule."""
    _, err = process.communicate(timeout=110)
    text = err.decode(errors="replace")
    lines = text.splitlines()
    check(process.returncode == GOOD and (len(lines) == 1 and said in text if said else not lines),
          f"{what}: status {process.returncode} {text}")


def run(image, home, what, *options, said="", **environment):
    end(start(image, home, *options, **environment), what, said)


def files(folder):
    return [f for f in pathlib.Path(folder).rglob("*") if f.is_file()]


def places(image, tmp):
    """Where there is a file after a run, and where there is none."""
    home = tmp / "home"
    home.mkdir()
    run(image, home, "by default")
    kept = files(home)
    check(len(kept) == 1 and kept[0].parent == home / ".cache/dragoman" and
          re.fullmatch("dbt-[0-9a-f]{16}", kept[0].name), f"a file in the user's cache folder: {kept}")
    check(kept[0].stat().st_mode & 0o777 == 0o600, "nobody else may read it")
    before = kept[0].stat().st_ino, kept[0].stat().st_size
    run(image, home, "by default, again")
    check((kept[0].stat().st_ino, kept[0].stat().st_size) == before,
          "a second run finds what it needs, and leaves the file as it is")
    (tmp / "xdg").mkdir()
    run(image, home, "XDG_CACHE_HOME", XDG_CACHE_HOME=tmp / "xdg")
    check(len(files(tmp / "xdg/dragoman")) == 1, "XDG_CACHE_HOME is where the folder is made")
    run(image, tmp / "none", "a folder by the environment", DRAGOMAN_ACCEL_CACHE=tmp / "named")
    check(len(files(tmp / "named")) == 1, "the environment names a folder")
    quiet = tmp / "quiet"
    quiet.mkdir()
    for what, options, environment in [
            ("cache=off", ["-accel", "dbt,cache=off"], {}), ("opt=-reuse", ["-accel", "dbt,opt=-reuse"], {}),
            ("-icount", ["-accel", "dbt", "-icount", "shift=0,sleep=off"], {}),
            ("interp", ["-accel", "interp"], {}), ("the environment", [], {"DRAGOMAN_ACCEL_CACHE": "off"})]:
        run(image, quiet, what, *options, **environment)
        check(not list(quiet.iterdir()), f"{what}: nothing is written")
    return home, kept[0]


def damage(image, home, kept):
    """What is in the file's place and is no such file."""
    good = kept.read_bytes()
    flipped = bytearray(good)
    flipped[64::997] = bytes(b ^ 0x5a for b in flipped[64::997])
    for what, data in [("empty", b""), ("cut", good[:len(good) // 2]), ("cut in its head", good[:30]),
                       ("foreign", b"text\n" * 20000), ("of another build", good[:8] + bytes(8) + good[16:]),
                       ("damaged", bytes(flipped)), ("zeros behind the head", good[:64].ljust(len(good), b"\0"))]:
        kept.write_bytes(data)
        run(image, home, f"a file that is {what}")
    kept.unlink()
    kept.mkdir()
    run(image, home, "a folder in the file's place")
    kept.rmdir()


def folders(image, tmp):
    """Where nothing can be kept: nothing is said, unless the place was asked for."""
    run(image, None, "no HOME", HOME=None)
    run(image, "/dev/null/nowhere", "no such HOME")
    home = tmp / "blocked"
    home.mkdir()
    (home / ".cache").write_text("")
    run(image, home, "a file in the folder's place")
    run(image, home, "a folder that was asked for", "-accel", "dbt,cache=on", said="cache")
    if os.geteuid() != 0:
        (tmp / "fixed").mkdir(mode=0o500)
        run(image, tmp / "fixed", "a folder that may not be written")


def together(image, tmp):
    """Two machines at once."""
    home = tmp / "two"
    home.mkdir()
    for again in ("first", "again"):
        for process in [start(image, home), start(image, home)]:
            end(process, f"two at once, {again}")
    check(len(files(home)) == 1, f"one file is left: {files(home)}")


def main():
    image = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        tmp = pathlib.Path(folder)
        damage(image, *places(image, tmp))
        folders(image, tmp)
        together(image, tmp)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
