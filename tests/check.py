#!/usr/bin/env python3
"""Runs `meson test` in a build folder and ends with the line "N passed, N failed".

    check.py BUILD [arguments of meson test...]

Skipped tests are listed and count as neither.  The exit status is 0 if nothing failed.
"""
import json
import pathlib
import subprocess
import sys


def main():
    build = pathlib.Path(sys.argv[1])
    log = build / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    status = subprocess.run(["meson", "test", "-C", str(build), "--print-errorlogs",
                             *sys.argv[2:]]).returncode
    results = []
    if log.exists():
        results = [json.loads(line) for line in log.read_text().splitlines() if line.strip()]
    skipped = [r["name"] for r in results if r["result"] == "SKIP"]
    passed = [r["name"] for r in results if r["result"] in ("OK", "EXPECTEDFAIL")]
    failed = [r["name"] for r in results if r["name"] not in skipped and r["name"] not in passed]
    if skipped:
        print("skipped:", ", ".join(skipped))
    if failed:
        print("failed:", ", ".join(failed))
    print(f"{len(passed)} passed, {len(failed)} failed")
    return 0 if not failed and passed and status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
