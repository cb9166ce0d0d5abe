/* The VGA's modes: their registers, colours and fonts.
 *
 * IBM PS/2 hardware reference, "Video subsystem", for the values; IBM PS/2 and PC BIOS Interface
 * Technical Reference, INT 10h AH = 00h.  Modes 8 to 0Ch do not exist.
 */
#include "bios/video.h"

enum {
    SEQ = 0x3c4,
    GC = 0x3ce,
    CRTC = 0x3d4,
    STATUS = 0x3da,
    ATTR = 0x3c0,
    MISC = 0x3c2,
    DAC_MASK = 0x3c6,
    DAC_WRITE = 0x3c8,
    DAC_DATA = 0x3c9,
};

/* What several modes share. */
/* clang-format off */
#define TEXT_80 \
    {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, \
     0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff}
#define TEXT_40 \
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, \
     0x8e, 0x8f, 0x14, 0x1f, 0x96, 0xb9, 0xa3, 0xff}
#define CGA_320 \
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, \
     0x8f, 0x14, 0, 0x96, 0xb9, 0xa2, 0xff}
#define LINES_350 \
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x40, 0, 0, 0, 0, 0, 0, 0x83, 0x85, \
     0x5d, 0x28, 0x0f, 0x63, 0xba, 0xe3, 0xff}
#define LINES_480 \
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, \
     0xdf, 0x28, 0, 0xe7, 0x04, 0xe3, 0xff}
#define TEXT_GC \
    {0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff}
#define PLANES_GC \
    {0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff}
static const struct video_mode modes[] = {
    {0x00, LAYOUT_TEXT, 40, 25, 16, 0x0800, 0xb800, 0x67, {0x08, 0x03, 0, 0x02}, TEXT_40, 0x0c,
     TEXT_GC},
    {0x01, LAYOUT_TEXT, 40, 25, 16, 0x0800, 0xb800, 0x67, {0x08, 0x03, 0, 0x02}, TEXT_40, 0x0c,
     TEXT_GC},
    {0x02, LAYOUT_TEXT, 80, 25, 16, 0x1000, 0xb800, 0x67, {0x00, 0x03, 0, 0x02}, TEXT_80, 0x0c,
     TEXT_GC},
    {0x03, LAYOUT_TEXT, 80, 25, 16, 0x1000, 0xb800, 0x67, {0x00, 0x03, 0, 0x02}, TEXT_80, 0x0c,
     TEXT_GC},
    {0x04, LAYOUT_CGA, 40, 25, 8, 0x4000, 0xb800, 0x63, {0x09, 0x03, 0, 0x02}, CGA_320, 0x01,
     {0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff}},
    {0x05, LAYOUT_CGA, 40, 25, 8, 0x4000, 0xb800, 0x63, {0x09, 0x03, 0, 0x02}, CGA_320, 0x01,
     {0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff}},
    {0x06, LAYOUT_CGA, 80, 25, 8, 0x4000, 0xb800, 0x63, {0x01, 0x01, 0, 0x06}, {0x5f, 0x4f,
     0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0,
     0x96, 0xb9, 0xc2, 0xff}, 0x01, {0, 0, 0, 0, 0, 0, 0x0d, 0, 0xff}},
    {0x07, LAYOUT_TEXT, 80, 25, 16, 0x1000, 0xb000, 0x66, {0x00, 0x03, 0, 0x02}, TEXT_80, 0x0e,
     {0, 0, 0, 0, 0, 0x10, 0x0a, 0, 0xff}},
    {0x0d, LAYOUT_PLANES, 40, 25, 8, 0x2000, 0xa000, 0x63, {0x09, 0x0f, 0, 0x06}, {0x2d, 0x27,
     0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0,
     0x96, 0xb9, 0xe3, 0xff}, 0x01, PLANES_GC},
    {0x0e, LAYOUT_PLANES, 80, 25, 8, 0x4000, 0xa000, 0x63, {0x01, 0x0f, 0, 0x06}, {0x5f, 0x4f,
     0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0,
     0x96, 0xb9, 0xe3, 0xff}, 0x01, PLANES_GC},
    {0x0f, LAYOUT_PLANES, 80, 25, 14, 0x8000, 0xa000, 0xa2, {0x01, 0x0f, 0, 0x06}, LINES_350, 0x0b,
     {0, 0, 0, 0, 0, 0, 0x05, 0x05, 0xff}},
    {0x10, LAYOUT_PLANES, 80, 25, 14, 0x8000, 0xa000, 0xa3, {0x01, 0x0f, 0, 0x06}, LINES_350, 0x01,
     PLANES_GC},
    {0x11, LAYOUT_PLANES, 80, 30, 16, 0xa000, 0xa000, 0xe3, {0x01, 0x0f, 0, 0x06}, LINES_480,
     0x01, PLANES_GC},
    {0x12, LAYOUT_PLANES, 80, 30, 16, 0xa000, 0xa000, 0xe3, {0x01, 0x0f, 0, 0x06}, LINES_480,
     0x01, PLANES_GC},
    {0x13, LAYOUT_LINEAR, 40, 25, 8, 0xfa00, 0xa000, 0x63, {0x01, 0x0f, 0, 0x0e}, {0x5f, 0x4f,
     0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28,
     0x40, 0x96, 0xb9, 0xa3, 0xff}, 0x41, {0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff}},
};
/* clang-format on */

const struct video_mode *video_mode_find(u8 mode)
{
    for (u16 i = 0; i < ARRAY_SIZE(modes); i++)
        if (modes[i].mode == mode)
            return &modes[i];
    return NULL;
}

const struct video_mode *video_mode_now(void)
{
    const struct video_mode *m = video_mode_find(bda8(BDA_VIDEO_MODE));
    return m ? m : video_mode_find(3);
}

/* ---- registers ---- */

void video_index(u16 port, u8 index, u8 value)
{
    outb(port, index);
    outb((u16)(port + 1), value);
}

u8 video_index_read(u16 port, u8 index)
{
    outb(port, index);
    return inb((u16)(port + 1));
}

/* Input status 1 sets the attribute controller to its index; it has two addresses. */
static void attribute_flip(void)
{
    inb(STATUS);
    inb(0x3ba);
}

void video_attribute(u8 index, u8 value)
{
    attribute_flip();
    outb(ATTR, index);
    outb(ATTR, value);
    outb(ATTR, 0x20); /* the screen on again */
}

u8 video_attribute_read(u8 index)
{
    attribute_flip();
    outb(ATTR, index);
    u8 v = inb(ATTR + 1);
    attribute_flip();
    outb(ATTR, 0x20);
    return v;
}

void video_dac(u8 index, u8 red, u8 green, u8 blue)
{
    if (bda8(BDA_VGA_FLAGS) & VGA_GREY)
        red = green = blue = video_grey(red, green, blue);
    outb(DAC_WRITE, index);
    outb(DAC_DATA, red);
    outb(DAC_DATA, green);
    outb(DAC_DATA, blue);
}

/* ---- colours ---- */

/* The EGA's 64 colours: two bits of each component, bits 0-2 of two thirds, 3-5 of one. */
static u8 ega_component(u8 colour, u8 bit)
{
    return (u8)((colour >> bit & 1 ? 0x2a : 0) + (colour >> (bit + 3) & 1 ? 0x15 : 0));
}

/* Colours as the modes with 200 lines have them, for a monitor with one line for each component and
 * one for brightness, which is bit 4. */
static u8 cga_component(u8 colour, u8 bit)
{
    u8 level = (u8)(colour >> bit & 1 ? 0x2a : 0);
    if ((colour & 0x17) == 6 && bit == 1) /* brown */
        level = 0x15;
    return (u8)(level + (colour & 0x10 ? 0x15 : 0));
}

/* Monochrome: bits 3 and 4 are a signal each, and together as bright as it gets. */
static u8 mono_component(u8 colour)
{
    u8 signals = colour >> 3 & 3;
    return signals == 3 ? 0x3f : signals ? 0x2a : 0;
}

static void colours_16(enum video_colours how)
{
    for (u8 i = 0; i < 64; i++) {
        u8 c[3];
        for (u8 bit = 0; bit < 3; bit++)
            c[bit] = how == COLOURS_EGA   ? ega_component(i, bit)
                     : how == COLOURS_CGA ? cga_component(i, bit)
                                          : mono_component(i);
        video_dac(i, c[2], c[1], c[0]);
    }
}

static u8 between(u8 low, u8 high, u8 quarters)
{
    return (u8)(low + ((high - low) * quarters + 1) / 4);
}

/* 24 hues from blue over red and green back to blue, between two levels. */
static void hues(u8 first, u8 low, u8 high)
{
    /* For each sixth of the circle, what red, green and blue do: 0 low, 1 high, 2 up, 3 down. */
    static const u8 sixths[6][3] = {{2, 0, 1}, {1, 0, 3}, {1, 2, 0},
                                    {3, 1, 0}, {0, 1, 2}, {0, 3, 1}};
    for (u8 i = 0; i < 24; i++) {
        u8 level[3];
        for (u8 c = 0; c < 3; c++) {
            u8 what = sixths[i / 4][c], step = i % 4;
            level[c] = what == 0   ? low
                       : what == 1 ? high
                                   : between(low, high, what == 2 ? step : (u8)(4 - step));
        }
        video_dac((u8)(first + i), level[0], level[1], level[2]);
    }
}

/* Mode 13h: the 16 colours, 16 greys, three brightnesses of three saturations, black. */
static void colours_256(void)
{
    static const u8 greys[16] = {0, 5, 8, 11, 14, 17, 20, 24, 28, 32, 36, 40, 45, 50, 56, 63};
    static const u8 levels[9][2] = {{0, 63},  {31, 63}, {45, 63}, {0, 28}, {14, 28},
                                    {20, 28}, {0, 16},  {8, 16},  {11, 16}};
    for (u8 i = 0; i < 16; i++) {
        u8 ega = (u8)(i < 8 ? (i == 6 ? 0x14 : i) : 0x38 + (i & 7));
        video_dac(i, ega_component(ega, 2), ega_component(ega, 1), ega_component(ega, 0));
    }
    for (u8 i = 0; i < 16; i++)
        video_dac((u8)(16 + i), greys[i], greys[i], greys[i]);
    for (u8 i = 0; i < 9; i++)
        hues((u8)(32 + 24 * i), levels[i][0], levels[i][1]);
    for (u8 i = 248; i; i++)
        video_dac(i, 0, 0, 0);
}

static enum video_colours colours_of(const struct video_mode *m)
{
    if (m->layout == LAYOUT_LINEAR)
        return COLOURS_256;
    if (!(m->misc & 1))
        return COLOURS_MONO;
    /* The vertical sync's polarity tells a monitor how many lines there are: 200 or 400. */
    return m->misc >> 6 == 1 && m->height == 8 ? COLOURS_CGA : COLOURS_EGA;
}

/* The palette register of colour i. */
static u8 attribute_of(const struct video_mode *m, enum video_colours how, u8 i)
{
    static const u8 mono_graphics[16] = {0, 8, 0, 0, 0x18, 0x18, 0, 0, 0, 8, 0, 0, 0, 0x18, 0, 0};
    if (m->mode == 0x0f)
        return mono_graphics[i];
    if (how == COLOURS_256)
        return i;
    if (how == COLOURS_MONO)
        return i == 0 ? 0 : i < 8 ? 0x08 : i == 8 ? 0x10 : 0x18;
    if (m->mode == 0x06)
        return i ? 0x17 : 0;
    if (m->mode == 0x11) /* plane 0 alone counts */
        return i & 1 ? 0x3f : 0;
    if (m->layout == LAYOUT_CGA && i < 8) { /* light cyan, magenta and white; green, red, brown */
        static const u8 four[] = {0, 0x13, 0x15, 0x17, 2, 4, 6, 7};
        return four[i];
    }
    if (how == COLOURS_CGA)
        return (u8)(i < 8 ? i : 8 + i);
    return (u8)(i < 8 ? (i == 6 ? 0x14 : i) : 0x30 + i);
}

static void attributes(const struct video_mode *m)
{
    enum video_colours how = colours_of(m);
    for (u8 i = 0; i < 16; i++)
        video_attribute(i, attribute_of(m, how, i));
    video_attribute(0x11, 0);
}

static void attribute_modes(const struct video_mode *m)
{
    video_attribute(0x10, m->attr_mode);
    video_attribute(0x12, m->mode == 0x06           ? 1
                          : m->mode == 0x0f         ? 5
                          : m->layout == LAYOUT_CGA ? 3
                                                    : 15);
    video_attribute(0x13, m->layout == LAYOUT_TEXT && !(m->seq[0] & 1) ? 8 : 0);
    video_attribute(0x14, 0);
}

/* ---- fonts ---- */

void video_load_font(u16 seg, u16 offset, u16 count, u16 first, u8 block, u8 height)
{
    u8 map = video_index_read(SEQ, 2), memory = video_index_read(SEQ, 4);
    u8 gc_mode = video_index_read(GC, 5), gc_misc = video_index_read(GC, 6);
    u16 base = (u16)((block & 3) * 0x4000 + (block & 4 ? 0x2000 : 0));
    video_index(SEQ, 2, 4);
    video_index(SEQ, 4, 7);
    video_index(GC, 5, 0);
    video_index(GC, 6, 4);
    for (u16 i = 0; i < count; i++)
        for (u8 y = 0; y < 32; y++) {
            u8 bits = 0;
            if (y < height) {
                far_segment(seg);
                bits = FAR(u8, (u16)(offset + i * height + y));
            }
            far_segment(0xa000);
            FAR(u8, (u16)(base + (first + i) * 32 + y)) = bits;
        }
    video_index(SEQ, 2, map);
    video_index(SEQ, 4, memory);
    video_index(GC, 5, gc_mode);
    video_index(GC, 6, gc_misc);
}

void video_font_built_in(u8 height, u8 block)
{
    video_load_font(FONT_SEG, (u16)video_font(height), 256, 0, block, height);
}

void video_set_height(u8 height)
{
    u16 lines = (u16)(video_index_read(CRTC, 0x12) | (video_index_read(CRTC, 7) & 2) << 7 |
                      (video_index_read(CRTC, 7) & 0x40) << 3);
    u8 rows = (u8)((lines + 1) / height);
    video_index(CRTC, 9, (u8)((video_index_read(CRTC, 9) & 0xe0) | (height - 1)));
    bda8_set(BDA_ROWS, (u8)(rows - 1));
    bda16_set(BDA_FONT_HEIGHT, height);
    bda16_set(BDA_PAGE_SIZE, (u16)((rows * bda16(BDA_COLUMNS) * 2 + 0xff) & 0xff00));
    video_cursor_shape((u16)((height - 3) << 8 | (height - 2)));
}

/* ---- AH = 00h ---- */

static void clear(const struct video_mode *m)
{
    far_segment(m->segment);
    u16 fill = m->layout == LAYOUT_TEXT ? 0x0720 : 0;
    u32 bytes = m->layout == LAYOUT_TEXT || m->layout == LAYOUT_CGA ? 0x8000 : 0x10000;
    for (u32 at = 0; at < bytes; at += 2)
        FAR(u16, (u16)at) = fill;
}

static void data_area(const struct video_mode *m, bool kept)
{
    bda8_set(BDA_VIDEO_MODE, m->mode);
    bda16_set(BDA_COLUMNS, m->columns);
    bda16_set(BDA_PAGE_SIZE, m->page_bytes);
    bda16_set(BDA_PAGE_SIZE + 2, 0); /* where the page begins */
    bda8_set(BDA_ROWS, (u8)(m->rows - 1));
    bda16_set(BDA_FONT_HEIGHT, m->height);
    bda8_set(BDA_PAGE, 0);
    bda16_set(BDA_CRTC, m->misc & 1 ? 0x3d4 : 0x3b4);
    /* 256 KiB, the adapter is active; cursor emulation as it was. */
    bda8_set(BDA_EGA_CONTROL, (u8)(0x60 | (kept ? EGA_KEPT : 0) |
                                   (bda8(BDA_EGA_CONTROL) & EGA_NO_CURSOR_EMULATION)));
    for (u8 page = 0; page < 8; page++)
        bda16_set((u16)(BDA_CURSOR + 2 * page), 0);
}

/* What AH = 12h sets and modes leave alone. */
static void first_time(void)
{
    if (bda8(BDA_VGA_FLAGS) & VGA_ACTIVE)
        return;
    bda8_set(BDA_EGA_SWITCHES, 0xf9);
    bda8_set(BDA_VGA_FLAGS, VGA_ACTIVE | VGA_400_LINES | 0x40);
    bda8_set(BDA_COMBINATION, 0x08); /* VGA with a colour monitor */
}

/* Text modes of colour can have the EGA's 350 lines or the CGA's 200, AH = 12h BL = 30h: its
 * registers, and characters of eight dots. */
static void with_lines(struct video_mode *m)
{
    static const u8 lines_350[] = {0x83, 0x85, 0x5d, 0, 0x1f, 0x63, 0xba};
    u8 lines = bda8(BDA_VGA_FLAGS) & (VGA_200_LINES | VGA_400_LINES);
    if (m->layout != LAYOUT_TEXT || lines == VGA_400_LINES)
        return;
    if (lines & VGA_200_LINES) {
        m->height = 8;
        m->crtc[0x09] = 0xc7;
        m->crtc[0x0a] = 0x06;
        m->crtc[0x0b] = 0x07;
        m->crtc[0x14] = 0x1f;
    } else {
        m->height = 14;
        m->misc = (u8)((m->misc & 0x3f) | 0x80);
        m->crtc[0x09] = 0x4d;
        m->crtc[0x0a] = 0x0b;
        m->crtc[0x0b] = 0x0c;
        for (u8 i = 0; i < sizeof lines_350; i++)
            if (i != 3)
                m->crtc[0x10 + i] = lines_350[i];
    }
    if (!(m->misc & 1))
        return;
    m->misc &= (u8)~0x04; /* 25 MHz */
    m->seq[0] |= 0x01;
    m->attr_mode = (u8)(m->attr_mode & ~0x04);
}

static void registers(const struct video_mode *m)
{
    u16 crtc = m->misc & 1 ? 0x3d4 : 0x3b4;
    attribute_flip();
    outb(ATTR, 0); /* the screen off */
    outb(MISC, m->misc);
    video_index(SEQ, 0, 1);
    for (u8 i = 0; i < 4; i++)
        video_index(SEQ, (u8)(i + 1), m->seq[i]);
    video_index(SEQ, 0, 3);
    video_index(crtc, 0x11, 0);
    for (u8 i = 0; i < 25; i++)
        video_index(crtc, i, m->crtc[i]);
    for (u8 i = 0; i < 9; i++)
        video_index(GC, i, m->gc[i]);
}

bool video_set_mode(u8 mode)
{
    const struct video_mode *found = video_mode_find(mode & 0x7f);
    if (!found)
        return false;
    struct video_mode m = *found;
    vbe_off();
    first_time();
    with_lines(&m);
    registers(&m);
    data_area(&m, mode & 0x80);
    if (!(bda8(BDA_VGA_FLAGS) & VGA_NO_PALETTE)) {
        enum video_colours how = colours_of(&m);
        outb(DAC_MASK, 0xff);
        if (how == COLOURS_256)
            colours_256();
        else
            colours_16(how);
        attributes(&m);
    }
    attribute_modes(&m);
    if (!(mode & 0x80))
        clear(&m);
    if (m.layout == LAYOUT_TEXT)
        video_font_built_in(m.height, 0);
    bda16_set(BDA_CURSOR_SHAPE, 0x0607);
    video_set_cursor(0, 0);
    /* Vectors 1Fh and 43h: the upper half of the 8x8 font, and the font of graphics modes. */
    bda32_set(0x1f * 4, video_font(8) + 128 * 8);
    bda32_set(0x43 * 4, video_font(m.height));
    return true;
}
