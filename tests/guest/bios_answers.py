"""What the firmware's services answer to the probe (bios_probe*.c), from the manuals named in bios/.

What is called OWN is said by the project's firmware alone; with the rest SeaBIOS agrees.
"""
# Name: carry (None: not looked at), then register: value.
EAX, EBX, ECX, EDX, ES, EDI = range(2, 8)
EXPECTED = {
    "e820-short": (1, {}),
    "e820-long": (0, {EAX: 0x534d4150, ECX: 20}),
    "88": (0, {EAX: 0xfc00}),
    "e820-unsigned": (1, {}),
    "c1": (0, {ES: 0x9fc0}),
    "4f": (1, {EAX: 0x4f1e}),
    "unknown": (1, {EAX: 0x8600}),
    "c0": (0, {ES: 0xf000}),
    "a20-ways": (0, {EBX: 3}),
    "10-ega": (0, {EBX: 0x10}),
    "10-vga": (0, {EAX: 0x1a00}),
    "12": (0, {EAX: 639}),
    "13-08": (1, {}),
    "13-41": (1, {EBX: 0x55aa}),
    "13-02": (1, {}),
    "16-stuff": (0, {EAX: 0x500}),
    "16-shifts": (0, {EAX: 0x4c4c}),
    "16-shifts-up": (0, {EAX: 0}),
    "16-id": (0, {EBX: 0x41ab}),
    "c2-early": (1, {EAX: 0x500}),
    "c2-init": (0, {EAX: 5, EBX: 0x00aa}),
    "c2-type": (0, {EAX: 4, EBX: 0}),
    "c2-handler": (0, {EAX: 7}),
    "c2-rate": (0, {EAX: 2}),
    "c2-resolution": (0, {EAX: 3}),
    "c2-scaling": (0, {EAX: 6}),
    "c2-enable": (0, {EAX: 0}),
    "c2-status": (0, {EBX: 0x30, ECX: 2, EDX: 100}),
    "c2-bad-rate": (1, {EAX: 0x202}),
    "c2-bad": (1, {EAX: 0x177}),
    "c2-disable": (0, {EAX: 0}),
    "83": (0, {}),
    "83-busy": (1, {}),
    "83-cancel": (0, {}),
    "1a-alarm": (0, {}),
    "1a-alarm-again": (1, {}),
    "1a-alarm-off": (0, {}),
    "bios32-none": (None, {EAX: 0x12345680}),
    "pm-present": (0, {EBX: 0x210, EDX: 0x20494350}),
    "pm-find": (0, {EBX: 0x0008}),
    "pm-id": (0, {ECX: 0x70008086}),
    "pm-none": (1, {EAX: 0x8603}),
    "pci-0e-short": (1, {EAX: 0x890e}),
    "pci-0e": (0, {EAX: 0x000e, EBX: 0}),
    "apm-check": (0, {EAX: 0x102, EBX: 0x504d, ECX: 3}),
    "apm-early": (1, {}),
    "apm-real": (0, {}),
    "apm-version": (0, {EAX: 0x102}),
    "apm-status": (0, {EBX: 0x1ff, ECX: 0x80ff, EDX: 0xffff}),
    "apm-idle": (0, {}),
    "apm-event": (1, {EAX: 0x800b}),
    "apm-leave": (0, {}),
    "apm-32-status": (0, {EBX: 0x1ff, ECX: 0x80ff, EDX: 0xffff}),
    "apm-32-event": (1, {EAX: 0x800b}),
    "apm-16-status": (0, {EBX: 0x1ff, ECX: 0x80ff, EDX: 0xffff}),
    "pci-find": (0, {EBX: 0x0008}),
    "pci-id": (0, {ECX: 0x70008086}),
    "pci-class": (0, {EBX: 0}),
    "pci-none": (1, {EAX: 0x8602}),
}
OWN = {
    "e881": (0, {}),
    "16-able": (0, {EAX: 0x93d}),
    "16-typematic-now": (0, {EBX: 0x0207}),
    "10-cursor": (0, {EDX: 0x0305}),
    "10-mode": (0, {EAX: 0x5003}),
    "13-15": (0, {EAX: 0}),
    "bios32": (0, {EBX: 0xe0000, ECX: 0x20000}),
    "pci-0f": (0, {EAX: 0x000f}),
    "pci-0f-bad": (1, {EAX: 0x880f}),
    "pci-odd": (1, {EAX: 0x8709}),
    "pci-pirqa": (0, {ECX: 0x700a}),
}
OWN_LINES = {
    "hook-15": [4],
    "16-paused": [1],
    "16-after-pause": [0x1e61],
    "16-numbers": [0x41, 0xa500],
}
LINES = {
    "a20": [1, 0, 0, 1, 1],
    "87": [0, 1],
    # Carry, AH, protected mode; CS, DS, ES, SS; interrupt masks; our descriptor's base.
    "89": [0, 0, 1, 0x30, 0x18, 0x20, 0x28, 0xff, 0xff, 0x0f],
    "16-plain": [0x1e61, 0x1c0d, 0x3920],
    "16-shift": [0x1e41, 0x0340, 0x1e61],
    "16-control": [0x2e03, 0x1000],
    "16-grey": [0x48e0, 0x3b00, 0x4800, 0x4838],
    "16-grey-old": [0x4800, 0x3b00, 0x4800, 0x4838],
    "16-stuffed": [0x1234],
    "tick": [0x5678, 639, 1, 0],
    "16-grey-control": [0x8de0, 0x0f00],
    "16-break": [0],
    "hook-1b": [1],
    "hook-05": [1],
    "16-intercepted": [0x1177],
    "break-flag": [0x80],
    "c2-packet": [2, 0x08, 0x11, 0x22],
    "83-done": [1],
    "83-flag": [0],
    "86": [1],
    "1a-rang": [1],
    "1a-set": [0x2359, 1, 0x2031, 0x1230],
    "1a-midnight": [1, 0],
    "fixed": [0xe6f5, 639, 1, 0, 0xcf, 0xfc, 0xea],
    "bda": [0x3f8, 0x9fc0, 639, 0x1e, 0x3e, 0x10, 0, 1, 0],
    "anchor-_32_": [1],
    "anchor-$PIR": [1],
    "anchor-$PnP": [1],
    "anchor-_MP_": [1],
    "pir": [8, 8, 0x60],
    "pci-0e-slots": [1, 0, 8, 0x60],
}

# A disk of 40 cylinders, 16 heads and 63 sectors, a CD, a second serial port.  Name: all its lines.
DRIVES = {
    "disk-plain": [[0, 0]] * 6 + [[1, 1]] * 2,
    "disk-03": [[0, 0]],
    "disk-04": [[0, 0]],
    "disk-0c": [[0, 0]],
    "disk-42": [[0, 0, 1]],
    "disk-same": [[1]],
    "disk-42-none": [[0, 0, 0]],
    "disk-43": [[0, 0, 1]],
    "disk-44": [[0, 0, 3]],
    "disk-47": [[0, 0, 0]],
    "disk-48": [[30, 40 * 16 * 63, 512]],
    "disk-table": [[40, 16, 63]],
    "cd-42": [[0, 0, 1]],
    "cd-signature": [[0x30304443]],
    "cd-43": [[1, 3, 0]],
    "cd-48": [[0x74, 2048]],
    # Locked, asked, not opened; unlocked, not locked, opened.
    "cd-door": [[0, 0], [0, 0], [1, 0xb1], [0, 0], [1, 0xb0], [0, 0]],
    # Status, BL, divisor, line control.
    "14-init": [[0x60, 0, 12, 3]],
    "14-send": [[0x60, 0, 12, 3]],
}
OWN_DRIVES = {
    "disk-08": [[0, 1, 0, 0, 0x273f, 0x0f01, 0, 0]],
    "disk-15": [[0, 1, 0x300, 0, 0, 40 * 16 * 63, 0, 0]],
    "disk-41": [[0, 1, 0x3000, 0xaa55, 5, 0x80, 0, 0]],
    "disk-0c-far": [[1, 4]],
    "disk-42-far": [[1, 4, 0]],
    "disk-42-short": [[1, 1, 1]],
    "disk-47-far": [[1, 4, 0]],
    "disk-removable": [[1, 0xb2], [1, 0xb2], [0, 0]],
    "14-nothing": [[0x80, 0, 12, 3]],
    # 2400 bits a second, even parity, two stop bits.
    "14-extended": [[0x60, 1, 48, 0x1e]],
    "14-modem": [[0x60, 3, 48, 0x1e]],
    "14-modem-now": [[0x60, 3, 48, 0x1e]],
    "14-no-port": [[0, 1, 0x312, 0, 0, 7, 0, 0]],
}

# INT 10h with a display adapter: modes, their columns and rows.
MODES = ((0, 40, 25), (1, 40, 25), (2, 80, 25), (3, 80, 25), (4, 40, 25), (5, 40, 25), (6, 80, 25),
         (13, 40, 25), (14, 80, 25), (15, 80, 25), (16, 80, 25), (17, 80, 30), (18, 80, 30),
         (19, 40, 25), (7, 80, 25))
VIDEO = {
    "vbe-info": [[0x4f, 0x41534556, 1]],
    "vbe-mode": [[0x4f, 0x99, 1024, 768, 24, 1]],
    "vbe-no-mode": [[1]],
    "ddc": [[0x4f, 0xffffff00, 0x00ffffff, 0]],
    # Columns, rows less one, a point that was drawn, a character that was written; what is there, and
    # a row above, after scrolling.  A blank in graphics modes is the first that looks so: 0.
    "vga-mode": [[n, columns, rows - 1, 1, 0x51, 0x20 if n < 4 or n == 7 else 0, 0x51]
                 for n, columns, rows in MODES],
    "state-blocks": [[0x1c, 1]],
    # Mode, cursor, colour 7 and palette register 5 as they were set, text registers.
    "state-restored": [[0x5003, 0x0a14, 0x1234, 0x3f, 9, 0x0e, 0x4f]],
    "vbe-blocks": [[0x4f, 1]],
    "vbe-restored": [[0x4118, 1280, 8, 20, 1024, 768, 24, 0x41]],
    "grey": [[8, 0x0808]],
    "vbe-banks": [[0x55]],
    "cga-palette": [[0, 0x12, 0x14, 0x16, 4, 2, 4, 6]],
}
OWN_VIDEO = {
    "state-from-vbe": [[3, 0, 0x4f]],
    "pages": [[0x52, 0, 1, 0x20]],
    # AL, mode, columns, rows, height of a character, colours, pages, lines (0: 200, 1: 350...).
    "vga-state": [[n, 0x1b, n, columns, rows, height, colours, pages, lines]
                  for (n, columns, rows), (height, colours, pages, lines) in zip(MODES, (
                      (16, 16, 8, 2), (16, 16, 8, 2), (16, 16, 8, 2), (16, 16, 8, 2), (8, 4, 1, 0),
                      (8, 4, 1, 0), (8, 2, 1, 0), (8, 16, 8, 0), (8, 16, 4, 0), (14, 2, 2, 1),
                      (14, 16, 2, 1), (16, 2, 1, 3), (16, 16, 1, 3), (8, 256, 1, 0), (16, 0, 8, 2)))],
    "vbe-colours": [[0xf39211, 0x665544]],
    "pmi-size": [[1]],
    # Bank, width, height, place; red, green, blue; the first of the ports.
    "pmi-done": [[3, 1280, 0x3333, 16, 7, 0x34, 0x23, 0x12, 0x1ce]],
    "text-lines": [[0x12, 24, 8, 399, 7, 0], [0x12, 24, 14, 349, 13, 1], [0x12, 24, 16, 399, 15, 2]],
    "bell": [[1, 0]],
    "12-answers": [[0x12, 0x12, 0x12, 0x12, 0x12, 0x20, 0x12, 0]],
}
VIDEO_CALLS = {
    "vbe-set": {EAX: 0x4f, EBX: 0x4118},
    "vbe-now": {EAX: 0x4f, EBX: 0x4118},
    "vbe-line": {EAX: 0x4f, EBX: 3072},
    "vbe-start": {EAX: 0x4f, EBX: 0},
    "vbe-power": {EAX: 0x4f},
    "vbe-save": {EAX: 0x4f},
    "vbe-restore": {EAX: 0x4f},
    "vbe-banked": {EAX: 0x4f},
    "vbe-window": {EAX: 0x4f},
    "vbe-window-now": {EAX: 0x4f, EDX: 5},
    "vbe-window-high": {EAX: 0x14f},
    "vbe-dac": {EAX: 0x4f, EBX: 0x0800},
    "10-kept": {EAX: 0x30},
    "10-kept-mode": {EAX: 0x5083},
    "10-ega-here": {EBX: 3, ECX: 9},
}
OWN_VIDEO_CALLS = {
    "vbe-palette": {EAX: 0x4f},
    "vbe-palette-second": {EAX: 0x14f},
    "vbe-start-far": {EAX: 0x14f},
    "vbe-clock": {EAX: 0x4f, ECX: 50000000},
    "pmi-window": {EAX: 0x4f, EDX: 3},
    "pmi-window-now": {EAX: 0x4f, EDX: 3},
    "pmi-window-high": {EAX: 0x14f},
    "pmi-start": {EAX: 0x4f},
    "pmi-palette": {EAX: 0x4f},
}
# Registers are compared with SeaBIOS's, whose monochrome modes are those of a colour monitor and whose
# graphics controller ignores no colours in text modes (register 7), which do not read by colour.
OWN_REGISTERS = (0x07, 0x0f)
IGNORED_REGISTERS = (2 + 4 + 25 + 7,)
