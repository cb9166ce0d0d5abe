/* INT 10h's palettes, fonts and questions about the adapter.
 *
 * IBM PS/2 and PC BIOS Interface Technical Reference, INT 10h AH = 0Bh, 10h, 11h, 12h, 1Ah, 1Bh.
 * Left out: grey-scale summing, saving the adapter's state (1Ch), the user's save tables.
 */
#include "bios/video.h"

enum { DAC_MASK = 0x3c6, DAC_READ = 0x3c7, DAC_DATA = 0x3c9, SEQ = 0x3c4 };

/* ---- AH = 0Bh, 10h ---- */

/* CGA: background, or which palette. */
static void cga_palette(frame_ptr f)
{
    if (f->bh == 0) {
        u8 c = f->bl & 15;
        video_attribute(0, (u8)(c < 8 ? c : 0x38 + (c & 7)));
        video_attribute(0x11, c);
    } else {
        static const u8 palettes[2][3] = {{2, 4, 0x14}, {0x13, 0x15, 0x17}};
        for (u8 i = 0; i < 3; i++)
            video_attribute((u8)(i + 1), palettes[f->bl & 1][i]);
    }
}

static void dac_block(frame_ptr f, bool set)
{
    u16 at = f->dx;
    for (u16 i = 0; i < f->cx; i++) {
        outb(set ? DAC_READ + 1 : DAC_READ, (u8)(f->bx + i));
        for (u8 c = 0; c < 3; c++, at++) {
            far_segment(f->es);
            if (set)
                outb(DAC_DATA, FAR(u8, at));
            else
                FAR(u8, at) = inb(DAC_DATA);
        }
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
    case 0x15:
        outb(DAC_READ, f->bl);
        f->dh = inb(DAC_DATA);
        f->ch = inb(DAC_DATA);
        f->cl = inb(DAC_DATA);
        break;
    case 0x17: dac_block(f, false); break;
    case 0x18: outb(DAC_MASK, f->bl); break;
    case 0x19: f->bl = inb(DAC_MASK); break;
    case 0x1a: {
        u8 mode = video_attribute_read(0x10) >> 7, page = video_attribute_read(0x14);
        f->bl = mode;
        f->bh = (u8)(mode ? page & 15 : page >> 2 & 3);
        break;
    }
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
    case 2: v = (u32)CODE_SEG << 16 | (u16)(u32)vga_font_14; break;
    case 3: v = (u32)CODE_SEG << 16 | (u16)(u32)vga_font_8; break;
    case 4: v = (u32)CODE_SEG << 16 | (u16)(u32)(vga_font_8 + 1024); break;
    case 5: v = (u32)CODE_SEG << 16 | (u16)(u32)vga_font_14; break; /* nine dots: the same */
    case 6:
    case 7: v = (u32)CODE_SEG << 16 | (u16)(u32)vga_font_16; break;
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
    case 0x22: graphics_font(f, (u32)CODE_SEG << 16 | (u16)(u32)vga_font_14, 14); break;
    case 0x23: graphics_font(f, (u32)CODE_SEG << 16 | (u16)(u32)vga_font_8, 8); break;
    case 0x24: graphics_font(f, (u32)CODE_SEG << 16 | (u16)(u32)vga_font_16, 16); break;
    case 0x30: font_pointer(f); break;
    default: break;
    }
}

/* ---- AH = 12h, 1Ah, 1Bh ---- */

static void alternate(frame_ptr f)
{
    switch (f->bl) {
    case 0x10: /* EGA information: colour, 256 KiB */
        f->bh = (bda16(BDA_CRTC) & 0x20) == 0;
        f->bl = 3;
        f->ch = 0;
        f->cl = 9;
        break;
    case 0x30: /* scan lines of text modes: the next mode set gives 400 */
    case 0x31:
    case 0x33:
    case 0x34:
    case 0x36: f->al = 0x12; break;
    case 0x32: f->al = 0x12; break;
    default: break;
    }
}

/* What the adapter can do, pointed to by AH = 1Bh: all modes, 400 lines, eight fonts of which two
 * are active, loadable palettes, display combination. */
static const u8 abilities[16] = {0xff, 0xe0, 0x0f, 0,    0, 0, 0, 0x07,
                                 0x02, 0x08, 0xe7, 0x0c, 0, 0, 0, 0};

static void state(frame_ptr f)
{
    u16 at = f->di;
    for (u16 i = 0; i < 64; i++) {
        u8 v = 0;
        if (i < 4)
            v = (u8)(((u32)DATA_SEG << 16 | (u16)(u32)abilities) >> (8 * i));
        else if (i < 34) /* the data area from the mode on */
            v = bda8((u16)(BDA_VIDEO_MODE + i - 4));
        else if (i == 34)
            v = (u8)(bda8(BDA_ROWS) + 1);
        else if (i < 37)
            v = bda8((u16)(BDA_FONT_HEIGHT + i - 35));
        else if (i == 37)
            v = 0x08; /* VGA with a colour monitor */
        else if (i == 40)
            v = 16; /* colours: 16, low byte */
        else if (i == 41)
            v = 8; /* pages */
        else if (i == 42)
            v = 2; /* 400 lines */
        else if (i == 49)
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
            f->bx = 0x0008;
        f->al = 0x1a;
        break;
    case 0x1b: state(f); break;
    default: return false;
    }
    return true;
}
