/* INT 10h's palettes, fonts and questions about the adapter.
 *
 * IBM PS/2 and PC BIOS Interface Technical Reference, INT 10h AH = 0Bh, 10h, 11h, 12h, 1Ah, 1Bh.
 * Left out: the user's save tables; switching between two adapters (12h BL = 35h).
 */
#include "bios/video.h"

enum {
    MISC_WRITE = 0x3c2,
    SEQ = 0x3c4,
    DAC_MASK = 0x3c6,
    DAC_READ = 0x3c7,
    DAC_DATA = 0x3c9,
    MISC_READ = 0x3cc,
};

/* ---- AH = 0Bh, 10h ---- */

/* CGA: background and border, whose bit 4 is the foreground's brightness too; or which palette. */
static void cga_palette(frame_ptr f)
{
    if (f->bh == 0) {
        u8 c = f->bl & 15, v = (u8)(c < 8 ? c : 8 + c);
        if (video_mode_now()->layout != LAYOUT_TEXT)
            video_attribute(0, v);
        video_attribute(0x11, v);
        for (u8 i = 1; i < 4; i++)
            video_attribute(i, (u8)((video_attribute_read(i) & ~0x10) | (f->bl & 0x10)));
    } else if (f->bh == 1) {
        for (u8 i = 1; i < 4; i++)
            video_attribute(i, (u8)((video_attribute_read(i) & ~1) | (f->bl & 1)));
    }
}

static void dac_read(u8 index, u8 c[3])
{
    outb(DAC_READ, index);
    for (u8 i = 0; i < 3; i++)
        c[i] = inb(DAC_DATA);
}

static void dac_block(frame_ptr f, bool set)
{
    u16 at = f->dx;
    for (u16 i = 0; i < f->cx; i++, at += 3) {
        u8 c[3];
        if (!set)
            dac_read((u8)(f->bx + i), c);
        far_segment(f->es);
        for (u8 j = 0; j < 3; j++) {
            if (set)
                c[j] = FAR(u8, (u16)(at + j));
            else
                FAR(u8, (u16)(at + j)) = c[j];
        }
        if (set)
            video_dac((u8)(f->bx + i), c[0], c[1], c[2]);
    }
}

/* 1Bh: CX colours from BX on become greys. */
static void dac_sum(frame_ptr f)
{
    for (u16 i = 0; i < f->cx; i++) {
        u8 c[3];
        dac_read((u8)(f->bx + i), c);
        u8 grey = video_grey(c[0], c[1], c[2]);
        video_dac((u8)(f->bx + i), grey, grey, grey);
    }
}

static void palette(frame_ptr f)
{
    u16 at = f->dx;
    switch (f->al) {
    case 0x00: video_attribute(f->bl & 31, f->bh); break;
    case 0x01: video_attribute(0x11, f->bh); break;
    case 0x02: /* all sixteen and the border */
        for (u8 i = 0; i < 17; i++) {
            far_segment(f->es);
            video_attribute(i == 16 ? 0x11 : i, FAR(u8, at++));
        }
        break;
    case 0x03: { /* blinking or bright background */
        u8 mode = video_attribute_read(0x10);
        video_attribute(0x10, (u8)(f->bl & 1 ? mode | 8 : mode & ~8));
        break;
    }
    case 0x07: f->bh = video_attribute_read(f->bl & 31); break;
    case 0x08: f->bh = video_attribute_read(0x11); break;
    case 0x09:
        for (u8 i = 0; i < 17; i++) {
            u8 v = video_attribute_read(i == 16 ? 0x11 : i);
            far_segment(f->es);
            FAR(u8, at++) = v;
        }
        break;
    case 0x10: video_dac(f->bl, f->dh, f->ch, f->cl); break;
    case 0x12: dac_block(f, true); break;
    case 0x13:
        if (f->bl == 0) {
            u8 mode = video_attribute_read(0x10);
            video_attribute(0x10, (u8)((mode & 0x7f) | f->bh << 7));
        } else {
            u8 mode = video_attribute_read(0x10);
            video_attribute(0x14, (u8)(mode & 0x80 ? f->bh : f->bh << 2));
        }
        break;
    case 0x15: {
        u8 c[3];
        dac_read(f->bl, c);
        f->dh = c[0];
        f->ch = c[1];
        f->cl = c[2];
        break;
    }
    case 0x17: dac_block(f, false); break;
    case 0x18: outb(DAC_MASK, f->bl); break;
    case 0x19: f->bl = inb(DAC_MASK); break;
    case 0x1a: {
        u8 mode = video_attribute_read(0x10) >> 7, page = video_attribute_read(0x14);
        f->bl = mode;
        f->bh = (u8)(mode ? page & 15 : page >> 2 & 3);
        break;
    }
    case 0x1b: dac_sum(f); break;
    default: break;
    }
}

/* ---- AH = 11h ---- */

static void font_pointer(frame_ptr f)
{
    u32 v = 0;
    switch (f->bh) {
    case 0: v = bda32(0x1f * 4); break;
    case 1: v = bda32(0x43 * 4); break;
    case 2:
    case 5: v = video_font(14); break; /* nine dots: the same */
    case 3: v = video_font(8); break;
    case 4: v = video_font(8) + 128 * 8; break;
    case 6:
    case 7: v = video_font(16); break;
    default: return;
    }
    f->es = (u16)(v >> 16);
    f->bp = (u16)v;
    f->cx = bda16(BDA_FONT_HEIGHT);
    f->dl = bda8(BDA_ROWS);
}

/* The font of graphics modes, and how many rows of it there are. */
static void graphics_font(frame_ptr f, u32 pointer, u16 height)
{
    static const u8 rows[] = {0, 14, 25, 43};
    bda32_set(0x43 * 4, pointer);
    bda16_set(BDA_FONT_HEIGHT, height);
    bda8_set(BDA_ROWS, (u8)((f->bl ? rows[f->bl & 3] : f->dl) - 1));
}

static void fonts(frame_ptr f)
{
    static const u8 heights[] = {0, 14, 8, 0, 16};
    u8 what = f->al & 15;
    switch (f->al) {
    case 0x00:
    case 0x10:
        video_load_font(f->es, f->bp, f->cx, f->dx, f->bl, f->bh);
        if (f->al & 0x10)
            video_set_height(f->bh);
        break;
    case 0x01:
    case 0x02:
    case 0x04:
    case 0x11:
    case 0x12:
    case 0x14:
        video_font_built_in(heights[what], f->bl);
        if (f->al & 0x10)
            video_set_height(heights[what]);
        break;
    case 0x03: video_index(SEQ, 3, f->bl); break;
    case 0x20: bda32_set(0x1f * 4, (u32)f->es << 16 | f->bp); break;
    case 0x21: graphics_font(f, (u32)f->es << 16 | f->bp, f->cx); break;
    case 0x22: graphics_font(f, video_font(14), 14); break;
    case 0x23: graphics_font(f, video_font(8), 8); break;
    case 0x24: graphics_font(f, video_font(16), 16); break;
    case 0x30: font_pointer(f); break;
    default: break;
    }
}

/* ---- AH = 12h, 1Ah, 1Bh ---- */

static void flag(u16 at, u8 bit, bool on)
{
    u8 v = bda8(at);
    bda8_set(at, (u8)(on ? v | bit : v & ~bit));
}

/* BL = 30h: how many lines text modes have from the next mode set on: AL = 0 200, 1 350, 2 400. */
static void text_lines(u8 al)
{
    flag(BDA_VGA_FLAGS, VGA_200_LINES, al == 0);
    flag(BDA_VGA_FLAGS, VGA_400_LINES, al == 2);
    flag(BDA_EGA_SWITCHES, 0x0f, false);
    flag(BDA_EGA_SWITCHES, al == 0 ? 0x08 : 0x09, true);
}

static void alternate(frame_ptr f)
{
    bool off = f->al & 1;
    switch (f->bl) {
    case 0x10: /* EGA information: 256 KiB, the switches */
        f->bh = bda16(BDA_CRTC) == 0x3b4;
        f->bl = 3;
        f->ch = 0; /* feature bits */
        f->cl = bda8(BDA_EGA_SWITCHES) & 15;
        return;
    case 0x30:
        if (f->al > 2)
            return;
        text_lines(f->al);
        break;
    case 0x31: flag(BDA_VGA_FLAGS, VGA_NO_PALETTE, off); break;
    case 0x32: /* the processor's access to ports and memory */
        outb(MISC_WRITE, (u8)((inb(MISC_READ) & ~2) | (off ? 0 : 2)));
        break;
    case 0x33: flag(BDA_VGA_FLAGS, VGA_GREY, !off); break;
    case 0x34: flag(BDA_EGA_CONTROL, EGA_NO_CURSOR_EMULATION, off); break;
    case 0x36: /* the screen dark */
        video_index(SEQ, 1, (u8)((video_index_read(SEQ, 1) & ~0x20) | (off ? 0x20 : 0)));
        break;
    default: return;
    }
    f->al = 0x12;
}

/* What the adapter can do, pointed to by AH = 1Bh: all modes, 200, 350 and 400 lines, eight fonts
 * of which two are active, greys, loadable fonts and palettes, cursor emulation; display
 * combination, blinking, saving of its state; no save tables. */
static const u8 abilities[16] = {0xff, 0xe0, 0x0f, 0,    0, 0, 0, 0x07,
                                 0x02, 0x08, 0xff, 0x0e, 0, 0, 0, 0};

static u8 pages_of(const struct video_mode *m)
{
    u32 memory = m->layout == LAYOUT_TEXT ? 0x8000 : m->layout == LAYOUT_CGA ? 0x4000 : 0x10000;
    u8 pages = (u8)(memory / m->page_bytes);
    return pages > 8 ? 8 : pages;
}

/* 0: 200 lines, 1: 350, 2: 400, 3: 480, as the mode's timing has them. */
static u8 scan_lines(const struct video_mode *m)
{
    u8 misc = inb(MISC_READ) >> 6;
    if (misc != 1)
        return misc == 3 ? 3 : 1;
    return m->layout == LAYOUT_TEXT && bda16(BDA_FONT_HEIGHT) > 8 ? 2 : 0;
}

static void state(frame_ptr f)
{
    const struct video_mode *m = video_mode_now();
    u16 at = f->di, colours = m->layout == LAYOUT_LINEAR                              ? 256
                              : m->mode == 0x06 || m->mode == 0x11 || m->mode == 0x0f ? 2
                              : m->mode == 0x07                                       ? 0
                              : m->layout == LAYOUT_CGA                               ? 4
                                                                                      : 16;
    u8 blink = video_attribute_read(0x10) & 8 ? 0x20 : 0, block = video_index_read(SEQ, 3);
    for (u16 i = 0; i < 64; i++) {
        u8 v = 0;
        if (i < 4)
            v = (u8)(((u32)DATA_SEG << 16 | (u16)(u32)abilities) >> (8 * i));
        else if (i < 0x22) /* the data area from the mode on */
            v = bda8((u16)(BDA_VIDEO_MODE + i - 4));
        else if (i == 0x22)
            v = (u8)(bda8(BDA_ROWS) + 1);
        else if (i < 0x25)
            v = bda8((u16)(BDA_FONT_HEIGHT + i - 0x23));
        else if (i == 0x25)
            v = bda8(BDA_COMBINATION);
        else if (i == 0x27 || i == 0x28)
            v = (u8)(colours >> (8 * (i - 0x27)));
        else if (i == 0x29)
            v = pages_of(m);
        else if (i == 0x2a)
            v = scan_lines(m);
        else if (i == 0x2b)
            v = (u8)((block & 3) | (block >> 2 & 4));
        else if (i == 0x2c)
            v = (u8)((block >> 2 & 3) | (block >> 3 & 4));
        else if (i == 0x2d) /* all modes on all displays; greys, cursor emulation */
            v = (u8)(0x01 | (bda8(BDA_VGA_FLAGS) & VGA_GREY) | blink |
                     (bda8(BDA_VGA_FLAGS) & VGA_NO_PALETTE) |
                     (bda8(BDA_EGA_CONTROL) & EGA_NO_CURSOR_EMULATION ? 0 : 0x10));
        else if (i == 0x31)
            v = 3; /* 256 KiB */
        far_segment(f->es);
        FAR(u8, at++) = v;
    }
    f->al = 0x1b;
}

bool video_palette_service(frame_ptr f)
{
    switch (f->ah) {
    case 0x0b: cga_palette(f); break;
    case 0x10: palette(f); break;
    case 0x11: fonts(f); break;
    case 0x12: alternate(f); break;
    case 0x1a:
        if (f->al == 0)
            f->bx = bda8(BDA_COMBINATION);
        else if (f->al == 1)
            bda8_set(BDA_COMBINATION, f->bl);
        f->al = 0x1a;
        break;
    case 0x1b: state(f); break;
    case 0x1c: video_state_service(f); break;
    default: return false;
    }
    return true;
}
