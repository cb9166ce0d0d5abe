#!/usr/bin/env python3
"""Runs `meson test` in one or more build folders and ends with the line "N passed, N failed".

    check.py BUILD... [-- arguments of meson test]

Skipped tests are listed and count as neither.  The exit status is 0 if nothing failed.
"""
import json
import pathlib
import subprocess
import sys


def run(build, arguments):
    """Names of the tests by outcome, and whether meson is content."""
    log = build / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    status = subprocess.run(["meson", "test", "-C", str(build), "--print-errorlogs",
                             *arguments]).returncode
    outcome = {"passed": [], "failed": [], "skipped": []}
    if log.exists():
        for line in filter(str.strip, log.read_text().splitlines()):
            result = json.loads(line)
            kind = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}
            outcome[kind.get(result["result"], "failed")].append(f"{build.name}/{result['name']}")
    return outcome, status == 0


def main():
    builds, arguments = sys.argv[1:], []
    if "--" in builds:
        split = builds.index("--")
        builds, arguments = builds[:split], builds[split + 1:]
    total = {"passed": [], "failed": [], "skipped": []}
    good = True
    for build in builds:
        outcome, content = run(pathlib.Path(build), arguments)
        good = good and content and bool(outcome["passed"])
        for kind, names in outcome.items():
            total[kind] += names
    for kind in ("skipped", "failed"):
        if total[kind]:
            print(f"{kind}:", ", ".join(total[kind]))
    print(f"{len(total['passed'])} passed, {len(total['failed'])} failed")
    return 0 if good and not total["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
