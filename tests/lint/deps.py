#!/usr/bin/env python3
"""The layering and shape rules of the house, checked on the source as text.

Who may include whom: the table below, one entry a folder; an include of a folder that is not listed
is an error, and so is a quoted include that is not a path from the top of the tree.  Also: files of
at most 1,000 lines, those of tests/ too, and functions of at most 110 (tables apart), 100 columns, no
marks of unfinished work, and no long double, which would disturb a guest's x87 that the host's holds.
"""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]

MAY_INCLUDE = {
    "base": {"base"},
    "mmu": {"mmu", "base"},
    "cpu": {"cpu", "mmu", "base"},
    "translator": {"translator", "cpu", "mmu", "base"},
    "devices/host": {"devices/host", "base"},
    "devices/board": {"devices/board", "devices/host", "devices", "cpu", "mmu", "base"},
    "devices": {"devices", "devices/host", "mmu", "base"},
    "frontends": {"frontends", "translator", "devices/board", "devices/host", "devices", "cpu", "mmu",
                  "base"},
    "bios": {"bios"},
}
TOP_LEVEL = set("base cpu translator mmu devices frontends bios tests docs meson.build meson_options.txt"
                " Makefile README.md LICENSE .ci".split())
MAX_FILE, MAX_FUNCTION, MAX_COLUMNS = 1000, 110, 100
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


LONG_DOUBLE = re.compile(r"^[^*/]*\blong double\b")


def folder_of(path):
    """The layer that a source file belongs to: the longest entry that is its prefix."""
    parts = path.parent.as_posix()
    best = [f for f in MAY_INCLUDE if parts == f or parts.startswith(f + "/")]
    return max(best, key=len) if best else None


def check_includes(path, text, errors):
    layer = folder_of(path)
    for n, line in enumerate(text.split("\n"), 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not m:
            continue
        target = folder_of(pathlib.Path(m.group(1)))
        if layer == "bios":
            if not (TOP / path.parent / m.group(1)).exists() and target != "bios":
                errors.append(f"{path}:{n}: bios includes {m.group(1)} from outside")
        elif target is None:
            errors.append(f"{path}:{n}: include {m.group(1)} by its path from the top of the tree")
        elif target not in MAY_INCLUDE[layer]:
            errors.append(f"{path}:{n}: {layer} must not include {target} ({m.group(1)})")


def check_length(path, text, errors):
    n = text.count("\n")
    if n > MAX_FILE and path.suffix in (".c", ".h", ".py"):
        errors.append(f"{path}: {n} lines, more than {MAX_FILE}")


def check_shape(path, text, errors):
    start = None
    for n, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_COLUMNS and path.suffix in (".c", ".h"):
            errors.append(f"{path}:{n}: {len(line)} columns")
        if UNFINISHED.search(line):
            errors.append(f"{path}:{n}: unfinished: {line.strip()[:60]}")
        if LONG_DOUBLE.match(line):
            errors.append(f"{path}:{n}: long double")
        if path.suffix != ".c":
            continue
        if line == "{":
            start = n
        elif line == "}" and start:
            if n - start > MAX_FUNCTION:
                errors.append(f"{path}:{start}: function of {n - start} lines")
            start = None


def main():
    errors = []
    for entry in TOP.iterdir():
        if not entry.name.startswith((".", "build")) and entry.name not in TOP_LEVEL:
            errors.append(f"{entry.name}: not a part of the house (docs/design.md)")
    count = 0
    for folder in ("base", "mmu", "cpu", "translator", "devices", "frontends", "bios"):
        for path in sorted((TOP / folder).rglob("*")):
            if path.suffix not in (".c", ".h", ".def", ".inc", ".S"):
                continue
            count += 1
            text = path.read_text()
            rel = path.relative_to(TOP)
            check_includes(rel, text, errors)
            check_length(rel, text, errors)
            check_shape(rel, text, errors)
    for path in sorted((TOP / "tests").rglob("*")):
        if path.suffix in (".c", ".h", ".py"):
            count += 1
            check_length(path.relative_to(TOP), path.read_text(), errors)
    for e in errors:
        print(e)
    print(f"lint: {count} files, {len(errors)} errors")
    return 1 if errors or not count else 0


if __name__ == "__main__":
    sys.exit(main())
