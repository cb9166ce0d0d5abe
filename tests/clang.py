#!/usr/bin/env python3
"""Builds Dragoman with clang and runs the tests of the parts and of random programs there: gcc and clang
evaluate the operands of an expression in different orders, so that what must not depend on it shows.

usage: clang.py SOURCE BUILD

SOURCE is the top of the tree, BUILD a folder for the second build.  Skipped where clang is missing.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

SKIPPED = 77  # the status by which meson knows it


def main():
    source, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if not shutil.which("clang"):
        print("clang is not installed (tests/setup.sh long)")
        return 1 if os.environ.get("CI") == "true" else SKIPPED
    if not (folder / "build.ninja").exists():
        subprocess.run(["meson", "setup", folder, source], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "CC": "clang"})
    commands = json.loads((folder / "compile_commands.json").read_text())
    assert any(c["command"].startswith("clang ") for c in commands), "not built with clang"
    subprocess.run(["ninja", "-C", folder, "--quiet"], check=True)
    return subprocess.run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", "-t", "5",
                           "--no-suite", "guest", "--no-suite", "long"]).returncode


if __name__ == "__main__":
    sys.exit(main())
