#!/usr/bin/env python3
"""Which bare-metal test executes which system row of the opcode tables.

usage: system_rows.py SNIPPETS PAGE IMAGE.elf...           checks PAGE, docs/coverage-system.md
       system_rows.py --write SNIPPETS PAGE IMAGE.elf...   writes it

A system row is one that user-level comparisons with the host processor cannot execute (ROW_SYSTEM,
ROW_PRIV).  SNIPPETS (snippets.c) decodes the named pieces of code of the test images; a row without
any is an error.  Each image's checks run on both engines and on QEMU (run_guest.py).
"""
import pathlib
import re
import subprocess
import sys

HEAD = """# System instructions and their tests

Written by `tests/guest/system_rows.py --write`; the test `guest-rows` fails when a row has no test or
something here is not true any more.

Each row is one of the opcode tables that only bare-metal tests can execute; R0 marks what only ring 0
may. The tests name pieces of code in `tests/guest/NAME.c`, each with its checks and the manual's
section; they run on both engines and on QEMU, and where QEMU differs `run_guest.py` says why.

| row | | tests |
|---|---|---|
"""
SHOWN = 4  # names of pieces a test


def collect(lines):
    """Rows as (text, ring 0?) -> {image: pieces}, in the order of the tables."""
    ids, rows = {}, {}
    for line in lines:
        kind, number, rest = line.split(" ", 2)
        if kind == "row":
            props, text = rest.split(" ", 1)
            if props != "U":
                ids[number] = (text, props == "P")
                rows.setdefault(ids[number], {})
        elif number in ids:
            image, piece = rest.split(" ")
            pieces = rows[ids[number]].setdefault(image, [])
            if piece not in pieces:
                pieces.append(piece)
    return rows


def covered(lines):
    """Numbers of the system rows that no piece has: rows may share their text."""
    system = {x.split(" ")[1]: x for x in lines if x.startswith("row ") and x.split(" ")[2] != "U"}
    used = {x.split(" ")[1] for x in lines if x.startswith("use ")}
    return [text for number, text in system.items() if number not in used]


def page(rows):
    out = HEAD
    for (text, ring0), images in sorted(rows.items(), key=lambda x: x[0][0].lower()):
        cells = []
        for image, pieces in sorted(images.items()):
            pieces = sorted(p.strip("_") for p in pieces)
            more = f" and {len(pieces) - SHOWN} more" if len(pieces) > SHOWN else ""
            cells.append(f"{image}: {', '.join(pieces[:SHOWN])}{more}")
        out += f"| `{text}` | {'R0' if ring0 else ''} | {'; '.join(cells)} |\n"
    return out


def untrue(text, rows):
    """What the page says that is not so.  It need not name every piece: tests grow."""
    listed = {}
    for row, ring0, cell in re.findall(r"^\| `([^`]+)` \| (R0|) \| (.*) \|$", text, re.M):
        listed[row, ring0 == "R0"] = cell
    for row in rows.keys() - listed.keys():
        yield f"row {row[0]} is not on the page"
    for row, cell in listed.items():
        for item in cell.split("; "):
            image, _, pieces = item.partition(": ")
            there = {p.strip("_") for p in rows.get(row, {}).get(image, [])}
            for piece in re.sub(r" and \d+ more$", "", pieces).split(", "):
                if piece not in there:
                    yield f"row {row[0]}: there is no {piece} in {image}"


def main():
    args = sys.argv[1:]
    write = args[0] == "--write"
    snippets, path, images = args[write], pathlib.Path(args[write + 1]), args[write + 2:]
    lines = subprocess.run([snippets, *sorted(images)], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    missing = covered(lines)
    for row in missing:
        print(f"no bare-metal test has {row}")
    rows = collect(lines)
    if write:
        path.write_text(page(rows))
    wrong = list(untrue(path.read_text(), rows))
    for line in wrong:
        print(line)
    if wrong:
        print("tests/guest/system_rows.py --write renews the page")
    return 1 if missing or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
