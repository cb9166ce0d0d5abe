/* The firmware's probe: INT 10h with a display adapter. */
#include "bios_probe.h"

enum { SEQ = 0x3c4, GC = 0x3ce, ATTR = 0x3c0, DISPI = 0x1ce };

static u8 *const block = SCRATCH;

static u8 indexed(u16 port, u8 index)
{
    outb(port, index);
    return inb(port + 1);
}

static u16 dispi(u16 index)
{
    outw(DISPI, index);
    return inw(DISPI + 1);
}

static u8 attribute(u8 index)
{
    u16 status = inb(0x3cc) & 1 ? 0x3da : 0x3ba;
    inb(status);
    outb(ATTR, index);
    u8 v = inb(ATTR + 1);
    inb(status);
    outb(ATTR, 0x20);
    inb(status);
    return v;
}

static u32 sum_of(const u8 *p, u32 n)
{
    u8 sum = 0;
    while (n--)
        sum = (u8)(sum + *p++);
    return sum;
}

static void extensions(void)
{
    struct regs r = {.eax = 0x4f00, .edi = (u32)block, .es = own_segment()};
    r = call(0, 0x10, r);
    text("vbe-info");
    hex(r.eax & 0xffff);
    hex(*(u32 *)block);
    hex(block[5] >= 2); /* version */
    end();
    struct regs m = {.eax = 0x4f01, .ecx = 0x118, .edi = (u32)block, .es = own_segment()};
    m = call(0, 0x10, m);
    text("vbe-mode");
    hex(m.eax & 0xffff);
    hex(block[0] & 0x99); /* supported, colour, graphics, linear memory */
    hex(*(u16 *)(block + 18));
    hex(*(u16 *)(block + 20));
    hex(block[25]);
    hex(*(u32 *)(block + 40) >= 0xc0000000);
    end();
    m.eax = 0x4f01;
    m.ecx = 0x1f0;
    m = call(0, 0x10, m);
    text("vbe-no-mode");
    hex((m.eax & 0xffff) != 0x4f);
    end();
    struct regs s = {.eax = 0x4f02, .ebx = 0x4118};
    call("vbe-set", 0x10, s);
    call("vbe-now", 0x10, blank(0x4f03));
    struct regs length = {.eax = 0x4f06, .ebx = 1};
    call("vbe-line", 0x10, length);
    struct regs start = {.eax = 0x4f07, .ecx = 0, .edx = 0};
    call("vbe-start", 0x10, start);
    struct regs power = {.eax = 0x4f10};
    call("vbe-power", 0x10, power);
    struct regs e = {.eax = 0x4f15, .ebx = 1, .edi = (u32)block, .es = own_segment()};
    e = call(0, 0x10, e);
    text("ddc");
    hex(e.eax & 0xffff);
    hex(*(u32 *)block);
    hex(*(u32 *)(block + 4));
    hex(sum_of(block, 128));
    end();
}

/* ---- VGA modes ---- */

static u32 dac_sum(u16 colours)
{
    struct regs r = {
        .eax = 0x1017, .ebx = 0, .ecx = colours, .edx = (u32)block, .es = own_segment()};
    call(0, 0x10, r);
    u32 sum = 0;
    for (u16 i = 0; i < colours * 3; i++)
        sum = sum * 31 + block[i];
    return sum;
}

/* The registers that make a mode: sequencer, CRTC, graphics, attributes, colours. */
static void registers(u8 mode)
{
    u16 crtc = inb(0x3cc) & 1 ? 0x3d4 : 0x3b4;
    text("vga-registers");
    hex(mode);
    hex(inb(0x3cc));
    for (u8 i = 1; i < 5; i++)
        hex(indexed(SEQ, i));
    for (u8 i = 0; i < 25; i++)
        hex(indexed(crtc, i));
    for (u8 i = 0; i < 9; i++)
        hex(indexed(GC, i));
    for (u8 i = 0; i < 20; i++)
        hex(attribute(i));
    hex(dac_sum(mode == 0x13 ? 256 : 64));
    end();
}

/* AH = 1Bh: colours, pages, lines. */
static void functionality(u8 mode)
{
    struct regs r = {.eax = 0x1b00, .edi = (u32)block, .es = own_segment()};
    r = call(0, 0x10, r);
    text("vga-state");
    hex(mode);
    hex(r.eax & 0xff);
    hex(block[4]);
    hex(*(u16 *)(block + 5));
    hex(block[0x22]);
    hex(block[0x23]);
    hex(*(u16 *)(block + 0x27));
    hex(block[0x29]);
    hex(block[0x2a]);
    end();
}

/* Every mode, its columns and rows; in the graphics ones a point comes back, and a character. */
static void modes(void)
{
    static const u8 all[] = {0, 1, 2, 3, 4, 5, 6, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 7};
    for (unsigned i = 0; i < sizeof all; i++) {
        call(0, 0x10, blank(all[i]));
        registers(all[i]);
        functionality(all[i]);
        struct regs w = {.eax = 0x0c01, .ecx = 33, .edx = 44};
        call(0, 0x10, w);
        w.eax = 0x0d00;
        u32 point = call(0, 0x10, w).eax & 0xff, now = call(0, 0x10, blank(0x0f00)).eax;
        struct regs at = {.eax = 0x0200, .edx = 0x0203};
        call(0, 0x10, at);
        struct regs c = {.eax = 0x0951, .ebx = 0x01, .ecx = 1};
        call(0, 0x10, c);
        u32 character = call(0, 0x10, blank(0x0800)).eax & 0xff;
        /* A row up, as part of a window; then its place is empty. */
        struct regs up = {.eax = 0x0601, .ebx = 0, .ecx = 0x0101, .edx = 0x0a11};
        call(0, 0x10, up);
        u32 left = call(0, 0x10, blank(0x0800)).eax & 0xff;
        at.edx = 0x0103;
        call(0, 0x10, at);
        u32 moved = call(0, 0x10, blank(0x0800)).eax & 0xff;
        far_segment(0);
        text("vga-mode");
        hex(now & 0x7f);
        hex(now >> 8 & 0xff);
        hex(FAR(u8, 0x484));
        hex(all[i] > 3 && all[i] != 7 ? point : 1);
        hex(character);
        hex(left);
        hex(moved);
        end();
    }
    /* Page 1 has its own picture and cursor. */
    call(0, 0x10, blank(0x000d));
    struct regs second = {.eax = 0x0952, .ebx = 0x0107, .ecx = 1},
                where = {.eax = 0x0200, .ebx = 0x0100};
    where.edx = 0x0304;
    call(0, 0x10, where);
    call(0, 0x10, second);
    struct regs read = {.eax = 0x0800, .ebx = 0x0100};
    text("pages");
    hex(call(0, 0x10, read).eax & 0xff);
    where.ebx = 0;
    call(0, 0x10, where);
    read.ebx = 0;
    hex(call(0, 0x10, read).eax & 0xff);
    hex(call(0, 0x10, blank(0x0501)).eax & 0xff);
    hex(indexed(0x3d4, 0x0c));
    end();
    call("10-kept", 0x10, blank(0x0083));
    call("10-kept-mode", 0x10, blank(0x0f00));
    call(0, 0x10, blank(0x0003));
    struct regs r = blank(0x1200);
    r.ebx = 0x10;
    call("10-ega-here", 0x10, r);
}

/* ---- what is saved and comes back ---- */

static struct regs colour(u16 eax, u16 bx, u32 cx, u32 dx)
{
    struct regs r = {.eax = eax, .ebx = bx, .ecx = cx, .edx = dx};
    return call(0, 0x10, r);
}

static void saved(void)
{
    struct regs s = {.eax = 0x1c00, .ecx = 7};
    text("state-blocks");
    s = call(0, 0x10, s);
    hex(s.eax & 0xff);
    hex((s.ebx & 0xffff) > 12 && (s.ebx & 0xffff) <= SCRATCH_SIZE / 64);
    end();
    struct regs cursor = {.eax = 0x0200, .edx = 0x0a14};
    call(0, 0x10, cursor);
    colour(0x1010, 7, 0x1234, 0x3f00);
    colour(0x1000, 0x0905, 0, 0);
    s = (struct regs){.eax = 0x1c01, .ebx = (u32)block, .ecx = 7, .es = own_segment()};
    call(0, 0x10, s);
    call(0, 0x10, blank(0x0013));
    colour(0x1010, 7, 0, 0);
    s.eax = 0x1c02;
    call(0, 0x10, s);
    text("state-restored");
    hex(call(0, 0x10, blank(0x0f00)).eax & 0xffff);
    hex(call(0, 0x10, blank(0x0300)).edx & 0xffff);
    struct regs c = colour(0x1015, 7, 0, 0);
    hex(c.ecx & 0xffff);
    hex(c.edx >> 8 & 0xff);
    hex(attribute(5));
    hex(indexed(GC, 6));
    hex(indexed(0x3d4, 9));
    end();
    struct regs m = {.eax = 0x4f02, .ebx = 0x4118};
    call(0, 0x10, m);
    call(0, 0x10, s);
    text("state-from-vbe");
    hex(call(0, 0x10, blank(0x4f03)).ebx & 0xffff);
    hex(dispi(4) & 1);
    hex(indexed(0x3d4, 9));
    end();
    call(0, 0x10, blank(0x0003));
}

/* 04h with a mode of its own. */
static void saved_extended(void)
{
    struct regs m = {.eax = 0x4f02, .ebx = 0x4118}, s = {.eax = 0x4f04, .ecx = 15};
    call(0, 0x10, m);
    struct regs start = {.eax = 0x4f06, .ebx = 0, .ecx = 1280};
    call(0, 0x10, start);
    start = (struct regs){.eax = 0x4f07, .ecx = 8, .edx = 20};
    call(0, 0x10, start);
    s = call(0, 0x10, s);
    text("vbe-blocks");
    hex(s.eax & 0xffff);
    hex((s.ebx & 0xffff) > 12 && (s.ebx & 0xffff) <= SCRATCH_SIZE / 64);
    end();
    s = (struct regs){.eax = 0x4f04, .ebx = (u32)block, .ecx = 15, .edx = 1, .es = own_segment()};
    call("vbe-save", 0x10, s);
    call(0, 0x10, blank(0x0003));
    s.edx = 2;
    call("vbe-restore", 0x10, s);
    text("vbe-restored");
    hex(call(0, 0x10, blank(0x4f03)).ebx & 0xffff);
    struct regs l = {.eax = 0x4f06, .ebx = 1};
    hex(call(0, 0x10, l).ecx & 0xffff);
    l = (struct regs){.eax = 0x4f07, .ebx = 1};
    l = call(0, 0x10, l);
    hex(l.ecx & 0xffff);
    hex(l.edx & 0xffff);
    for (u16 i = 1; i < 5; i++)
        hex(dispi(i) & 0x7f7f);
    end();
}

/* ---- VBE's functions that need a mode, and those for protected mode ---- */

static void banked(void)
{
    struct regs m = {.eax = 0x4f02, .ebx = 0x0105}, w = {.eax = 0x4f05, .edx = 5};
    call("vbe-banked", 0x10, m);
    call("vbe-window", 0x10, w);
    w.ebx = 0x0100;
    w.edx = 0;
    call("vbe-window-now", 0x10, w);
    far_segment(0xa000);
    FAR(u8, 0x1234) = 0x55;
    w = (struct regs){.eax = 0x4f05};
    call(0, 0x10, w);
    far_segment(0xa000);
    FAR(u8, 0x1234) = 0xaa;
    w.edx = 5;
    call(0, 0x10, w);
    far_segment(0xa000);
    text("vbe-banks");
    hex(FAR(u8, 0x1234));
    end();
    w = (struct regs){.eax = 0x4f05, .edx = 0xfff0};
    call("vbe-window-high", 0x10, w);
    w = (struct regs){.eax = 0x4f08, .ebx = 0x0800};
    call("vbe-dac", 0x10, w);
    static const u8 two[] = {0x11, 0x92, 0xf3, 0, 0x44, 0x55, 0x66, 0};
    w = (struct regs){.eax = 0x4f09, .ecx = 2, .edx = 0x30, .edi = (u32)two, .es = own_segment()};
    call("vbe-palette", 0x10, w);
    w.ebx = 1;
    w.edi = (u32)block;
    call(0, 0x10, w);
    text("vbe-colours");
    hex(*(u32 *)block);
    hex(*(u32 *)(block + 4));
    end();
    w.ebx = 2;
    call("vbe-palette-second", 0x10, w);
    w = (struct regs){.eax = 0x4f07, .ecx = 1000, .edx = 0};
    call("vbe-start-far", 0x10, w);
}

static void protected_mode(void)
{
    struct regs r = {.eax = 0x4f0a};
    r = call(0, 0x10, r);
    if ((r.eax & 0xffff) != 0x4f)
        return;
    u16 size = (u16)r.ecx;
    u8 *code = SCRATCH + SCRATCH_SIZE / 2;
    far_segment(r.es);
    for (u16 i = 0; i < size && i < SCRATCH_SIZE / 2; i++)
        code[i] = FAR(u8, (u16)(r.edi + i));
    text("pmi-size");
    hex(size <= SCRATCH_SIZE / 2);
    end();
    const u16 *offsets = (const u16 *)code;
    near_call("pmi-window", code + offsets[0], (struct regs){.edx = 3});
    near_call("pmi-window-now", code + offsets[0], (struct regs){.ebx = 0x0100});
    near_call("pmi-window-high", code + offsets[0], (struct regs){.edx = 0xfff0});
    struct regs s = {.eax = 0x4f06, .ebx = 0, .ecx = 1280};
    call(0, 0x10, s);
    u32 place = (7 * 1280 + 16) / 4;
    near_call("pmi-start", code + offsets[1],
              (struct regs){.ecx = place & 0xffff, .edx = place >> 16});
    static const u8 one[] = {0x12, 0x23, 0x34, 0};
    near_call("pmi-palette", code + offsets[2],
              (struct regs){.ecx = 1, .edx = 0x41, .edi = (u32)one});
    text("pmi-done");
    for (u16 i = 5; i < 10; i++)
        hex(dispi(i));
    outb(0x3c7, 0x41);
    for (u8 i = 0; i < 3; i++)
        hex(inb(0x3c9));
    u16 at = offsets[3] / 2;
    hex(offsets[at]);
    end();
}

/* ---- AH = 0Bh, 12h, 10h AL = 1Bh ---- */

static void alternate(u16 ax, u8 bl)
{
    struct regs r = {.eax = ax, .ebx = bl};
    hex(call(0, 0x10, r).eax & 0xff);
}

static void lines(void)
{
    for (u16 how = 0; how < 3; how++) {
        text("text-lines");
        alternate((u16)(0x1200 | how), 0x30);
        call(0, 0x10, blank(0x0003));
        far_segment(0);
        hex(FAR(u8, 0x484));
        hex(FAR(u16, 0x485));
        hex(indexed(0x3d4, 0x12) | (indexed(0x3d4, 7) & 2) << 7);
        hex(indexed(0x3d4, 9) & 0x1f);
        struct regs r = {.eax = 0x1b00, .edi = (u32)block, .es = own_segment()};
        call(0, 0x10, r);
        hex(block[0x2a]);
        end();
    }
}

/* INT 1Ch looks at the speaker's two bits. */
__asm__(".code16\n"
        "bell_hook:\n"
        "pushw %ax\n"
        "inb $0x61, %al\n"
        "andb $3, %al\n"
        "cmpb $3, %al\n"
        "jne 1f\n"
        "incw %cs:bell_ticks\n"
        "1: popw %ax\n"
        "iretw\n"
        ".code16gcc\n");

static volatile u16 bell_ticks __attribute__((used));
extern const u8 bell_hook[];

static void bell(void)
{
    far_segment(0);
    u32 old = FAR(u32, 0x1c * 4);
    FAR(u32, 0x1c * 4) = (u32)own_segment() << 16 | (u16)(u32)bell_hook;
    call(0, 0x10, blank(0x0e07));
    far_segment(0);
    FAR(u32, 0x1c * 4) = old;
    text("bell");
    hex(bell_ticks >= 3);
    hex(inb(0x61) & 3);
    end();
}

static void greys(void)
{
    text("grey");
    colour(0x1010, 9, 0x0020, 0x1000); /* red 16, green 0, blue 32 */
    struct regs r = {.eax = 0x101b, .ebx = 9, .ecx = 1};
    call(0, 0x10, r);
    r = colour(0x1015, 9, 0, 0);
    hex(r.edx >> 8 & 0xff);
    hex(r.ecx & 0xffff);
    end();
    text("12-answers");
    alternate(0x1200, 0x31);
    alternate(0x1200, 0x32);
    alternate(0x1201, 0x33);
    alternate(0x1200, 0x34);
    alternate(0x1201, 0x36);
    hex(indexed(SEQ, 1) & 0x20);
    alternate(0x1200, 0x36);
    hex(indexed(SEQ, 1) & 0x20);
    end();
    call(0, 0x10, blank(0x0004));
    struct regs p = {.eax = 0x0b00, .ebx = 0x0100};
    call(0, 0x10, p);
    text("cga-palette");
    for (u8 i = 0; i < 4; i++)
        hex(attribute(i));
    p.ebx = 0x0004;
    call(0, 0x10, p);
    for (u8 i = 0; i < 4; i++)
        hex(attribute(i));
    end();
}

void video(void)
{
    if ((call(0, 0x10, blank(0x1a00)).ebx & 0xff) != 8)
        return;
    extensions();
    modes();
    saved();
    saved_extended();
    banked();
    protected_mode();
    struct regs clock = {.eax = 0x4f0b, .ecx = 50000000, .edx = 0x118};
    call("vbe-clock", 0x10, clock);
    call(0, 0x10, blank(0x0003));
    lines();
    greys();
    bell();
    call(0, 0x10, blank(0x0003));
}
