/* The VGA through its ports, window and picture: planes and write modes against the manual's words,
 * pictures of known memory, VBE, retrace on a stepped clock, and a hostile guest.
 *
 *     test_vga [SECONDS]    with a number: random accesses for that long instead
 */
#include <time.h>

#include "devices/video/vga.h"
#include "mmu/mmu.h"
#include "tests/device/hostile.h"
#include "tests/device/io_fixture.h"

#define DEVFN (2 << 3)
#define WINDOW 0xa0000
#define LFB 0xe0000000

struct vga_test {
    struct bus *bus;
    struct clock clock;
    struct pci_bus pci;
    struct vga vga;
    struct vga_surface surface;
};

static void setup(struct vga_test *t)
{
    struct pci_wiring w = {0};
    memset(t, 0, sizeof *t);
    t->bus = bus_create();
    clock_init(&t->clock, CLOCK_STEPPED);
    pci_bus_init(&t->pci, t->bus, &w);
    ck_assert(vga_init(&t->vga, &t->pci, t->bus, &t->clock, DEVFN, NULL, 0));
    t->surface.pixels = malloc((size_t)VGA_WIDTH_MAX * VGA_HEIGHT_MAX * 4);
    bus_out(t->bus, 0, 0xcf8, 0x80000010u | DEVFN << 8, 4);
    bus_out(t->bus, 0, 0xcfc, LFB, 4);
    bus_out(t->bus, 0, 0xcf8, 0x80000018u | DEVFN << 8, 4);
    bus_out(t->bus, 0, 0xcfc, LFB + VGA_MEMORY, 4);
    bus_out(t->bus, 0, 0xcf8, 0x80000004u | DEVFN << 8, 4);
    bus_out(t->bus, 0, 0xcfc, 3, 2);
}

static void teardown(struct vga_test *t)
{
    free(t->surface.pixels);
    vga_free(&t->vga);
    bus_destroy(t->bus);
}

static void indexed(struct vga_test *t, u16 port, u8 index, u8 value)
{
    out8(t->bus, port, index);
    out8(t->bus, (u16)(port + 1), value);
}

static void attribute(struct vga_test *t, u8 index, u8 value)
{
    in8(t->bus, 0x3da);
    out8(t->bus, 0x3c0, index);
    out8(t->bus, 0x3c0, value);
}

/* Registers of a mode: miscellaneous, sequencer 1-4, CRTC 0-18h, graphics 0-8; the attribute
 * controller's palette is the identity, and DAC entry i is (i, 63 - i, i / 2) & 63. */
struct mode {
    u8 misc, seq[4], crtc[25], gc[9], attr_mode;
};

/* Values of the IBM PS/2 hardware reference's tables for BIOS modes 03h, 12h, 13h and 04h. */
static const struct mode text_mode = {0x67,
                                      {0x00, 0x03, 0x00, 0x02},
                                      {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0,
                                       0x4f, 0x0d, 0x0e, 0,    0,    0,    0,    0x9c, 0x8e,
                                       0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
                                      {0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff},
                                      0x0c};
static const struct mode mode_12 = {0xe3,
                                    {0x01, 0x0f, 0x00, 0x06},
                                    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0,
                                     0x40, 0,    0,    0,    0,    0,    0,    0xea, 0x8c,
                                     0xdf, 0x28, 0,    0xe7, 0x04, 0xe3, 0xff},
                                    {0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff},
                                    0x01};
static const struct mode mode_13 = {0x63,
                                    {0x01, 0x0f, 0x00, 0x0e},
                                    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0,
                                     0x41, 0,    0,    0,    0,    0,    0,    0x9c, 0x8e,
                                     0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
                                    {0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff},
                                    0x41};
static const struct mode mode_04 = {0x63,
                                    {0x09, 0x03, 0x00, 0x02},
                                    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0,
                                     0xc1, 0,    0,    0,    0,    0,    0,    0x9c, 0x8e,
                                     0x8f, 0x14, 0,    0x96, 0xb9, 0xa2, 0xff},
                                    {0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff},
                                    0x01};

static void set_mode(struct vga_test *t, const struct mode *m)
{
    out8(t->bus, 0x3c2, m->misc);
    for (u8 i = 0; i < 4; i++)
        indexed(t, 0x3c4, (u8)(i + 1), m->seq[i]);
    indexed(t, 0x3d4, 0x11, 0);
    for (u8 i = 0; i < 25; i++)
        indexed(t, 0x3d4, i, m->crtc[i]);
    for (u8 i = 0; i < 9; i++)
        indexed(t, 0x3ce, i, m->gc[i]);
    for (u8 i = 0; i < 16; i++)
        attribute(t, i, i);
    attribute(t, 0x10, m->attr_mode);
    attribute(t, 0x12, 0x0f);
    attribute(t, 0x13, m == &text_mode ? 8 : 0);
    in8(t->bus, 0x3da);
    out8(t->bus, 0x3c0, 0x20);
    out8(t->bus, 0x3c6, 0xff);
    out8(t->bus, 0x3c8, 0);
    for (unsigned i = 0; i < 256; i++) {
        out8(t->bus, 0x3c9, i & 63);
        out8(t->bus, 0x3c9, (63 - i) & 63);
        out8(t->bus, 0x3c9, i / 2 & 63);
    }
}

static u32 wide6(u32 v)
{
    return (v & 63) << 2 | (v & 63) >> 4;
}

static u32 colour(u32 i)
{
    return wide6(i) << 16 | wide6(63 - i) << 8 | wide6(i / 2);
}

static u32 pixel(struct vga_test *t, u32 x, u32 y)
{
    return t->surface.pixels[y * t->surface.width + x];
}

static void expect_size(struct vga_test *t, u32 width, u32 height)
{
    ck_assert(vga_draw(&t->vga, &t->surface, true));
    ck_assert_uint_eq(t->surface.width, width);
    ck_assert_uint_eq(t->surface.height, height);
}

static void poke(struct vga_test *t, u32 at, u8 v)
{
    bus_write(t->bus, 0, WINDOW + at, v, 1);
}

static u8 peek(struct vga_test *t, u32 at)
{
    return (u8)bus_read(t->bus, 0, WINDOW + at, 1);
}

/* Byte `at` of a plane. */
static u8 plane(struct vga_test *t, u32 at, unsigned n)
{
    indexed(t, 0x3ce, 5, 0);
    indexed(t, 0x3ce, 4, (u8)n);
    return peek(t, at);
}

START_TEST(registers)
{
    struct vga_test t;
    setup(&t);
    out8(t.bus, 0x3c2, 0x66); /* monochrome addresses */
    ck_assert_uint_eq(in8(t.bus, 0x3d4), 0xff);
    out8(t.bus, 0x3b4, 0x0f);
    out8(t.bus, 0x3b5, 0x5a);
    ck_assert_uint_eq(in8(t.bus, 0x3b5), 0x5a);
    out8(t.bus, 0x3c2, 0x67);
    ck_assert_uint_eq(in8(t.bus, 0x3d5), 0x5a);
    ck_assert_uint_eq(in8(t.bus, 0x3cc), 0x67);
    /* CRTC 0-7 behind the protection bit, line compare's bit of 7 excepted */
    indexed(&t, 0x3d4, 0x00, 0x11);
    indexed(&t, 0x3d4, 0x11, 0x80);
    indexed(&t, 0x3d4, 0x00, 0x22);
    out8(t.bus, 0x3d4, 0);
    ck_assert_uint_eq(in8(t.bus, 0x3d5), 0x11);
    indexed(&t, 0x3d4, 0x07, 0xff);
    ck_assert_uint_eq(in8(t.bus, 0x3d5), 0x10);
    /* DAC: three components, then the next entry; 6 bits */
    out8(t.bus, 0x3c8, 7);
    for (unsigned i = 0; i < 6; i++)
        out8(t.bus, 0x3c9, 0xf0 + i);
    out8(t.bus, 0x3c7, 8);
    ck_assert_uint_eq(in8(t.bus, 0x3c7), 3);
    ck_assert_uint_eq(in8(t.bus, 0x3c9), 0x33);
    ck_assert_uint_eq(in8(t.bus, 0x3c9), 0x34);
    /* Attribute controller: index and data share a port; 3DA sets the flip-flop */
    attribute(&t, 0x11, 0x2a);
    in8(t.bus, 0x3da);
    out8(t.bus, 0x3c0, 0x11);
    ck_assert_uint_eq(in8(t.bus, 0x3c1), 0x2a);
    /* A word write is index and data */
    bus_out(t.bus, 0, 0x3ce, 0x5508, 2);
    ck_assert_uint_eq(in8(t.bus, 0x3cf), 0x55);
    teardown(&t);
}
END_TEST

START_TEST(write_modes)
{
    struct vga_test t;
    setup(&t);
    set_mode(&t, &mode_12);
    indexed(&t, 0x3c4, 2, 0x05);
    poke(&t, 100, 0xa5); /* mode 0 into planes 0 and 2 */
    ck_assert_uint_eq(plane(&t, 100, 0), 0xa5);
    ck_assert_uint_eq(plane(&t, 100, 1), 0);
    ck_assert_uint_eq(plane(&t, 100, 2), 0xa5);
    indexed(&t, 0x3c4, 2, 0x0f);
    /* set/reset on planes 0 and 1 only, bit mask from the latches */
    indexed(&t, 0x3ce, 0, 0x01);
    indexed(&t, 0x3ce, 1, 0x03);
    indexed(&t, 0x3ce, 8, 0x0f);
    peek(&t, 100);
    poke(&t, 100, 0x3c);
    ck_assert_uint_eq(plane(&t, 100, 0), 0xaf);
    ck_assert_uint_eq(plane(&t, 100, 1), 0x00);
    ck_assert_uint_eq(plane(&t, 100, 2), 0xac);
    ck_assert_uint_eq(plane(&t, 100, 3), 0x0c);
    /* rotate and XOR */
    indexed(&t, 0x3ce, 1, 0);
    indexed(&t, 0x3ce, 8, 0xff);
    indexed(&t, 0x3ce, 3, 0x18 | 4);
    peek(&t, 100);
    poke(&t, 100, 0x12);
    ck_assert_uint_eq(plane(&t, 100, 0), 0xaf ^ 0x21);
    indexed(&t, 0x3ce, 3, 0);
    /* mode 1 copies the latches */
    peek(&t, 100);
    indexed(&t, 0x3ce, 5, 1);
    poke(&t, 200, 0);
    ck_assert_uint_eq(plane(&t, 200, 2), plane(&t, 100, 2));
    /* mode 2: a colour */
    indexed(&t, 0x3ce, 5, 2);
    indexed(&t, 0x3ce, 8, 0x80);
    peek(&t, 300);
    poke(&t, 300, 0x0a);
    ck_assert_uint_eq(plane(&t, 300, 0), 0);
    ck_assert_uint_eq(plane(&t, 300, 1), 0x80);
    ck_assert_uint_eq(plane(&t, 300, 3), 0x80);
    /* mode 3: the byte is a further bit mask of set/reset */
    indexed(&t, 0x3ce, 0, 0x05);
    indexed(&t, 0x3ce, 8, 0xf0);
    indexed(&t, 0x3ce, 5, 3);
    peek(&t, 400);
    poke(&t, 400, 0x3c);
    ck_assert_uint_eq(plane(&t, 400, 0), 0x30);
    ck_assert_uint_eq(plane(&t, 400, 1), 0);
    /* read mode 1: which dots have the colour 1010, planes 0 to 3 all cared for */
    indexed(&t, 0x3ce, 5, 8);
    indexed(&t, 0x3ce, 2, 0x0a);
    indexed(&t, 0x3ce, 7, 0x0f);
    ck_assert_uint_eq(peek(&t, 300), 0x80);
    teardown(&t);
}
END_TEST

START_TEST(pictures)
{
    struct vga_test t;
    setup(&t);
    set_mode(&t, &mode_12);
    for (u8 i = 0; i < 4; i++) {
        indexed(&t, 0x3c4, 2, (u8)(1 << i));
        poke(&t, 80 * 9 + 5, (u8)(0x80 >> i));
    }
    expect_size(&t, 640, 480);
    for (u32 i = 0; i < 4; i++)
        ck_assert_uint_eq(pixel(&t, 40 + i, 9), colour(1u << i));
    ck_assert_uint_eq(pixel(&t, 44, 9), colour(0));
    /* nothing has changed: nothing is drawn */
    ck_assert(!vga_draw(&t.vga, &t.surface, false));
    poke(&t, 0, 0xff);
    ck_assert(vga_draw(&t.vga, &t.surface, false));
    /* pixel panning, split screen */
    attribute(&t, 0x13, 3);
    in8(t.bus, 0x3da);
    out8(t.bus, 0x3c0, 0x20);
    indexed(&t, 0x3d4, 0x18, 100);
    indexed(&t, 0x3d4, 7, 0x2e);
    indexed(&t, 0x3d4, 9, 0x00);
    expect_size(&t, 640, 480);
    ck_assert_uint_eq(pixel(&t, 40 - 3, 9), colour(1));
    ck_assert_uint_eq(pixel(&t, 40 - 3, 101 + 9), colour(1));

    set_mode(&t, &mode_13);
    for (u32 i = 0; i < 320; i++)
        poke(&t, 320 * 7 + i, (u8)i);
    expect_size(&t, 640, 400);
    for (u32 i = 0; i < 320; i++) {
        ck_assert_uint_eq(pixel(&t, 2 * i, 14), colour(i & 0xff));
        ck_assert_uint_eq(pixel(&t, 2 * i + 1, 15), colour(i & 0xff));
    }
    ck_assert_uint_eq(peek(&t, 320 * 7 + 77), 77);

    set_mode(&t, &mode_04);
    poke(&t, 0x18000 + 80 * 3, 0x1b);          /* line 6: 0 1 2 3 */
    poke(&t, 0x18000 + 0x2000 + 80 * 3, 0xe4); /* line 7: 3 2 1 0 */
    expect_size(&t, 640, 400);
    for (u32 i = 0; i < 4; i++) {
        ck_assert_uint_eq(pixel(&t, 2 * i, 12), colour(i));
        ck_assert_uint_eq(pixel(&t, 2 * i, 14), colour(3 - i));
    }
    teardown(&t);
}
END_TEST

START_TEST(text)
{
    struct vga_test t;
    struct vga_text text;
    setup(&t);
    /* a font's glyph 41h: written to plane 2 as programs do */
    set_mode(&t, &mode_12);
    indexed(&t, 0x3c4, 2, 4);
    for (u32 i = 0; i < 16; i++)
        poke(&t, 0x41 * 32 + i, (u8)(i * 9 + 1));
    for (u32 i = 0; i < 16; i++)
        poke(&t, 0xc4 * 32 + i, 0x01);
    set_mode(&t, &text_mode);
    poke(&t, 0x18000, 0x41);
    poke(&t, 0x18001, 0x1e);
    poke(&t, 0x18002, 0xc4);
    poke(&t, 0x18003, 0x07);
    indexed(&t, 0x3d4, 0x0f, 80); /* the cursor in the second row */
    expect_size(&t, 720, 400);
    for (u32 y = 0; y < 16; y++)
        for (u32 x = 0; x < 8; x++)
            ck_assert_uint_eq(pixel(&t, x, y), colour((y * 9 + 1) & (0x80 >> x) ? 14 : 1));
    ck_assert_uint_eq(pixel(&t, 8, 0), colour(1));  /* the ninth dot */
    ck_assert_uint_eq(pixel(&t, 17, 0), colour(7)); /* of a line character */
    ck_assert(vga_text(&t.vga, &text));
    ck_assert_uint_eq(text.columns, 80);
    ck_assert_uint_eq(text.rows, 25);
    ck_assert_uint_eq(text.cell[0], 0x1e41);
    ck_assert(text.cursor && text.cursor_row == 1 && text.cursor_column == 0);
    /* the cursor blinks: an idle screen is drawn again for it, and for nothing else */
    unsigned drawn = 0;
    for (unsigned i = 0; i < 100; i++) {
        clock_step(&t.clock, NS_PER_SEC / 100);
        if (!vga_draw(&t.vga, &t.surface, false))
            continue;
        drawn++;
        ck_assert_uint_le(t.surface.bottom, 32);
    }
    ck_assert_uint_ge(drawn, 3);
    ck_assert_uint_le(drawn, 5);
    teardown(&t);
}
END_TEST

static void vbe(struct vga_test *t, u16 index, u16 value)
{
    bus_out(t->bus, 0, 0x1ce, index, 2);
    bus_out(t->bus, 0, 0x1cf, value, 2);
}

static u16 vbe_get(struct vga_test *t, u16 index)
{
    bus_out(t->bus, 0, 0x1ce, index, 2);
    return (u16)bus_in(t->bus, 0, 0x1cf, 2);
}

START_TEST(vbe_modes)
{
    struct vga_test t;
    setup(&t);
    ck_assert_uint_eq(vbe_get(&t, VBE_ID), 0xb0c5);
    ck_assert_uint_eq(vbe_get(&t, VBE_VIDEO_MEMORY), VGA_MEMORY >> 16);
    vbe(&t, VBE_ENABLE, 2);
    ck_assert_uint_eq(vbe_get(&t, VBE_XRES), 2560);
    vbe(&t, VBE_ENABLE, 0);
    vbe(&t, VBE_XRES, 800);
    vbe(&t, VBE_YRES, 600);
    vbe(&t, VBE_BPP, 32);
    vbe(&t, VBE_ENABLE, 0x41);
    bus_write(t.bus, 0, LFB + (10 * 800 + 20) * 4, 0xff123456, 4);
    expect_size(&t, 800, 600);
    ck_assert_uint_eq(pixel(&t, 20, 10), 0x123456);
    ck_assert(!vga_draw(&t.vga, &t.surface, false));
    bus_write(t.bus, 0, LFB + 4, 1, 4);
    ck_assert(vga_draw(&t.vga, &t.surface, false));
    ck_assert_uint_eq(t.surface.top, 0);
    ck_assert_uint_eq(t.surface.bottom, 2); /* 4096 bytes are a row and a bit */
    /* a picture for somebody else takes nothing away */
    bus_write(t.bus, 0, LFB + 20 * 3200, 7, 4);
    struct vga_surface other = {.pixels = malloc(800 * 600 * 4)};
    ck_assert(vga_draw(&t.vga, &other, true));
    ck_assert(vga_draw(&t.vga, &t.surface, false));
    ck_assert_uint_eq(pixel(&t, 0, 20), 7);
    ck_assert(!memcmp(other.pixels, t.surface.pixels, 800 * 600 * 4));
    free(other.pixels);
    vbe(&t, VBE_BANK, 0);
    vga_draw(&t.vga, &t.surface, false);
    poke(&t, 15 * 3200, 9);
    ck_assert(vga_draw(&t.vga, &t.surface, false));
    ck_assert_uint_eq(pixel(&t, 0, 15), 9);
    ck_assert_uint_eq(t.surface.top, 14); /* the page begins there */
    ck_assert_uint_eq(t.surface.bottom, 16);
    /* the window shows the bank; offsets scroll */
    vbe(&t, VBE_BANK, 1);
    poke(&t, 8, 0x77);
    ck_assert_uint_eq(bus_read(t.bus, 0, LFB + 0x10008, 1), 0x77);
    vbe(&t, VBE_Y_OFFSET, 10);
    vbe(&t, VBE_X_OFFSET, 0);
    expect_size(&t, 800, 600);
    ck_assert_uint_eq(pixel(&t, 20, 0), 0x123456);
    /* 16 bits, and what does not fit is made to */
    vbe(&t, VBE_ENABLE, 0);
    vbe(&t, VBE_BPP, 16);
    vbe(&t, VBE_XRES, 9999);
    vbe(&t, VBE_ENABLE, 0x41);
    ck_assert_uint_eq(vbe_get(&t, VBE_XRES), 2560);
    bus_write(t.bus, 0, LFB, 0xf81f, 2);
    expect_size(&t, 2560, 600);
    ck_assert_uint_eq(pixel(&t, 0, 0), 0xff00ff);
    /* BAR 2: EDID's head and the registers again */
    ck_assert_uint_eq(bus_read(t.bus, 0, LFB + VGA_MEMORY, 4), 0xffffff00);
    ck_assert_uint_eq(bus_read(t.bus, 0, LFB + VGA_MEMORY + 0x500, 2), 0xb0c5);
    u8 sum = 0;
    for (unsigned i = 0; i < 128; i++)
        sum = (u8)(sum + t.vga.edid[i]);
    ck_assert_uint_eq(sum, 0);
    teardown(&t);
}
END_TEST

/* Whether a picture is drawn, and what that costs in pages of linear memory. */
static void expect_draw(struct vga_test *t, bool drawn, u64 compared, u64 copied)
{
    struct vga_counters before = t->vga.counters, *now = &t->vga.counters;
    ck_assert(vga_draw(&t->vga, &t->surface, false) == drawn);
    ck_assert_uint_eq(now->compared - before.compared, compared);
    ck_assert_uint_eq(now->copied - before.copied, copied);
}

enum { IDLE = 100 };

/* So many pictures that pages are no longer watched. */
static void draw_nothing(struct vga_test *t)
{
    for (unsigned i = 0; i < IDLE; i++)
        ck_assert(!vga_draw(&t->vga, &t->surface, false));
}

/* Linear memory is looked at where it was stored to, by processors through their TLBs or by
 * devices, and a screen on which nothing happens costs nothing. */
START_TEST(idle_screen)
{
    enum { PAGES = 800 * 600 * 4 / 4096 + 1 };
    struct vga_test t;
    struct mmu cpu = {0};
    setup(&t);
    ck_assert(mmu_init(&cpu, t.bus, 0));
    vbe(&t, VBE_XRES, 800);
    vbe(&t, VBE_YRES, 600);
    vbe(&t, VBE_BPP, 32);
    vbe(&t, VBE_ENABLE, 0x41);
    expect_draw(&t, true, 0, PAGES);
    draw_nothing(&t);
    for (unsigned i = 0; i < IDLE; i++)
        expect_draw(&t, false, 0, 0);
    for (unsigned round = 1; round <= 3; round++) {
        /* Two stores, the second through the TLB alone. */
        u64 walks = mmu_counters(&cpu)->walks;
        ck_assert_int_eq(mmu_store(&cpu, MMU_SUPERVISOR, LFB + 0x5004, 4, round), MMU_OK);
        ck_assert_int_eq(mmu_store(&cpu, MMU_SUPERVISOR, LFB + 0x5008, 4, round), MMU_OK);
        ck_assert(round == 1 || mmu_counters(&cpu)->walks == walks);
        expect_draw(&t, true, 1, 1);
        ck_assert_uint_eq(t.surface.pixels[0x5008 / 4], round);
        /* Another one after the picture is not lost. */
        ck_assert_int_eq(mmu_store(&cpu, MMU_SUPERVISOR, LFB + 0x5008, 4, round + 9), MMU_OK);
        expect_draw(&t, true, 1, 1);
        ck_assert_uint_eq(t.surface.pixels[0x5008 / 4], round + 9);
        expect_draw(&t, false, 1, 0); /* still watched */
        draw_nothing(&t);
        expect_draw(&t, false, 0, 0);
    }
    /* The same value again: compared, not drawn. */
    ck_assert_int_eq(mmu_store(&cpu, MMU_SUPERVISOR, LFB + 0x5008, 4, 12), MMU_OK);
    expect_draw(&t, false, 1, 0);
    draw_nothing(&t);
    static const u8 bytes[6000] = {1};
    bus_write_bytes(t.bus, LFB + 0x10ff0, bytes, sizeof bytes); /* a device, over three pages */
    expect_draw(&t, true, 3, 1);
    draw_nothing(&t);
    bus_write(t.bus, 0, LFB + 0x20000, 7, 4);
    expect_draw(&t, true, 1, 1);
    u8 *host;
    ck_assert_int_eq(mmu_host(&cpu, MMU_SUPERVISOR, LFB + 0x30000, 64, MMU_WRITE, &host), MMU_OK);
    memset(host, 0x11, 64);
    expect_draw(&t, true, 2, 1);
    mmu_free(&cpu);
    teardown(&t);
}
END_TEST

/* Vertical retrace at 70 Hz for a tenth or so of a line count of 449. */
START_TEST(retrace)
{
    struct vga_test t;
    unsigned starts = 0, high = 0, blank = 0;
    bool last = true;
    setup(&t);
    set_mode(&t, &text_mode);
    for (unsigned i = 0; i < 100000; i++) {
        clock_step(&t.clock, 10000);
        u8 v = (u8)in8(t.bus, 0x3da);
        bool now = v & 8;
        starts += now && !last;
        high += now;
        blank += v & 1;
        last = now;
    }
    ck_assert_uint_ge(starts, 69);
    ck_assert_uint_le(starts, 71);
    ck_assert_uint_ge(high, 300); /* 2 of 449 lines */
    ck_assert_uint_le(high, 600);
    ck_assert_uint_ge(blank, 20000);
    teardown(&t);
}
END_TEST

START_TEST(hostile)
{
    struct vga_test t;
    struct vga_text text;
    time_t end = time(NULL) + hostile_seconds;
    setup(&t);
    do {
        for (unsigned i = 0; i < 20000; i++) {
            switch (rnd() % 8) {
            case 0: out8(t.bus, (u16)(0x3b0 + rnd() % 48), rnd()); break;
            case 1: in8(t.bus, (u16)(0x3b0 + rnd() % 48)); break;
            case 2: indexed(&t, 0x3d4, rnd() % 25, rnd()); break;
            case 3: indexed(&t, 0x3ce, rnd() % 9, rnd()); break;
            case 4: indexed(&t, 0x3c4, rnd() % 5, rnd()); break;
            case 5: vbe(&t, rnd() % 12, rnd() % 3 ? rnd() % 3000 : rnd()); break;
            case 6: bus_write(t.bus, 0, WINDOW + rnd() % 0x20000, rnd(), 1u << rnd() % 4); break;
            default: bus_read(t.bus, 0, WINDOW + rnd() % 0x20000, 1u << rnd() % 4); break;
            }
            if (rnd() % 100 == 0)
                bus_write(t.bus, 0, LFB + VGA_MEMORY + rnd() % 4096, rnd(), 2);
            if (rnd() % 500 == 0) {
                clock_step(&t.clock, rnd() % NS_PER_SEC);
                vga_draw(&t.vga, &t.surface, rnd() % 2);
                vga_text(&t.vga, &text);
            }
        }
    } while (time(NULL) < end);
    vga_class.reset(&t.vga);
    set_mode(&t, &text_mode);
    expect_size(&t, 720, 400);
    teardown(&t);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {registers, write_modes, pictures, text,
                                  vbe_modes, idle_screen, retrace,  hostile};
    return hostile_main("vga", tests, ARRAY_SIZE(tests), argc, argv);
}
