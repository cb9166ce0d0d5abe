/* What the monitor shows: the VGA's serialisation of memory into dots, line by line, as the CRT
 * controller counts, and the linear VBE modes.
 *
 * IBM PS/2 hardware reference, "Video subsystem": CRT controller, attribute controller.  Each dot
 * of the picture is one of the dot clock, each line one of the frame: 320 by 200 is shown as 640 by
 * 400, and text as 720 by 400.  Left out: overscan, skew, vertical preset in graphics, interlace.
 */
#include <stdlib.h>

#include "devices/video/vga.h"

enum {
    SEQ_CLOCKING = 1,
    SEQ_8_DOTS = BIT(0),
    SEQ_HALF_CLOCK = BIT(3),
    SEQ_OFF = BIT(5),
    SEQ_FONT = 3,
    GC_MODE = 5,
    GC_INTERLEAVE = BIT(5),
    GC_256 = BIT(6),
    CRTC_MODE = 0x17,
    ATTR_MODE = 0x10,
    ATTR_ELG = BIT(2),
    ATTR_BLINK = BIT(3),
    ATTR_PAN_SPLIT = BIT(5),
    ATTR_P54 = BIT(7),
    ATTR_PLANES = 0x12,
    ATTR_PAN = 0x13,
    ATTR_COLOUR = 0x14,
    ATTR_SCREEN_ON = BIT(5), /* of the index */
};

/* The cursor is on for 16 frames, then off; attributes blink half as fast. */
#define CURSOR_NS (16 * NS_PER_SEC / 70)

/* The CRTC's registers put together. */
struct frame {
    u32 lines, columns, dots; /* dots of a character */
    u32 start, pitch, compare, row_lines;
    bool doubled; /* each line twice */
    bool wide;    /* each dot twice */
};

static struct frame frame_of(const struct vga *s)
{
    const u8 *c = s->crtc;
    return (struct frame){
        .lines = (u32)(c[0x12] | (c[7] & 2) << 7 | (c[7] & 0x40) << 3) + 1,
        .columns = (u32)c[1] + 1,
        .dots = s->seq[SEQ_CLOCKING] & SEQ_8_DOTS || !vga_is_text(s) ? 8 : 9,
        .start = (u32)(c[0x0c] << 8 | c[0x0d]),
        .pitch = 2u * c[0x13],
        .compare = (u32)(c[0x18] | (c[7] & 0x10) << 4 | (c[9] & 0x40) << 3),
        .row_lines = (c[9] & 31u) + 1,
        .doubled = c[9] & 0x80,
        .wide = s->seq[SEQ_CLOCKING] & SEQ_HALF_CLOCK,
    };
}

static bool blanked(const struct vga *s)
{
    return !(s->attr_index & ATTR_SCREEN_ON) || (s->seq[SEQ_CLOCKING] & SEQ_OFF);
}

void vga_size(const struct vga *s, u32 *width, u32 *height)
{
    if (vga_vbe_on(s)) {
        *width = s->vbe[VBE_XRES];
        *height = s->vbe[VBE_YRES];
        return;
    }
    struct frame f = frame_of(s);
    *width = f.columns * f.dots * (f.wide ? 2 : 1);
    *height = f.lines;
    /* Before software has set a mode there is no picture. */
    if (*width > VGA_WIDTH_MAX || *height > VGA_HEIGHT_MAX || f.lines < 100 || f.columns < 20)
        *width = *height = 0;
}

/* ---- colours ---- */

static u32 dac_colour(const struct vga *s, u8 index)
{
    const u8 *p = s->dac + 3 * (index & s->dac_mask);
    u32 rgb[3];
    for (unsigned i = 0; i < 3; i++)
        rgb[i] = s->dac_shift ? (u32)((p[i] & 63) << 2 | (p[i] & 63) >> 4) : p[i];
    return rgb[0] << 16 | rgb[1] << 8 | rgb[2];
}

/* The sixteen colours through the attribute controller's palette. */
static void palette_16(const struct vga *s, u32 out[16])
{
    for (unsigned i = 0; i < 16; i++) {
        u8 v = s->attr[i & s->attr[ATTR_PLANES] & 15] & 63, select = s->attr[ATTR_COLOUR] & 15;
        if (s->attr[ATTR_MODE] & ATTR_P54)
            v = (u8)((v & 15) | (select & 3) << 4);
        out[i] = dac_colour(s, (u8)(v | (select & 12) << 4));
    }
}

static void palette_256(const struct vga *s, u32 out[256])
{
    for (unsigned i = 0; i < 256; i++)
        out[i] = dac_colour(s, (u8)i);
}

/* ---- addresses ---- */

/* The plane offset of a memory address counter, with a row scan counter that may stand in for
 * address bits 13 and 14 (CRTC mode control). */
static u32 plane_offset(const struct vga *s, u32 ma, u32 row)
{
    u8 mode = s->crtc[CRTC_MODE];
    u32 a;
    if (s->crtc[0x14] & 0x40)
        a = ma << 2 | (ma >> 14 & 3);
    else if (mode & 0x40)
        a = ma;
    else
        a = ma << 1 | (mode & 0x20 ? ma >> 15 & 1 : ma >> 13 & 1);
    if (!(mode & 1))
        a = (a & ~0x2000u) | (row & 1) << 13;
    if (!(mode & 2))
        a = (a & ~0x4000u) | (row & 2) << 13;
    return a & 0xffff;
}

static const u8 *planes(const struct vga *s, u32 offset)
{
    return s->memory + 4 * (u64)offset;
}

/* ---- text ---- */

static u32 font_base(u8 select)
{
    return (select & 3) * 0x4000u + (select & 4 ? 0x2000u : 0);
}

struct text_look {
    u32 colour[16];
    u32 font[2]; /* plane 2 offsets: without and with attribute bit 3 */
    u32 cursor;  /* memory address counter */
    bool cursor_on, blink_off, blinks;
    u8 top, bottom, underline;
};

static void text_look(const struct vga *s, struct text_look *t)
{
    u8 f = s->seq[SEQ_FONT];
    palette_16(s, t->colour);
    t->font[0] = font_base((u8)((f & 3) | (f >> 2 & 4)));
    t->font[1] = font_base((u8)((f >> 2 & 3) | (f >> 3 & 4)));
    t->cursor = (u32)(s->crtc[0x0e] << 8 | s->crtc[0x0f]);
    t->top = s->crtc[0x0a] & 31;
    t->bottom = s->crtc[0x0b] & 31;
    t->cursor_on = !(s->crtc[0x0a] & 0x20) && s->blink.cursor;
    t->blinks = s->attr[ATTR_MODE] & ATTR_BLINK;
    t->blink_off = t->blinks && s->blink.attribute;
    t->underline = s->attr[ATTR_MODE] & 2 ? s->crtc[0x14] & 31 : 0xff;
}

/* One line of one character. */
static u32 *text_cell(const struct vga *s, const struct frame *f, const struct text_look *t, u32 ma,
                      u32 row, u32 *out)
{
    const u8 *cell = planes(s, plane_offset(s, ma, 0));
    u8 c = cell[0], a = cell[1];
    u8 bits = planes(s, (t->font[a >> 3 & 1] + c * 32u + row) & 0xffff)[2];
    u32 fore = t->colour[a & 15], back = t->colour[t->blinks ? a >> 4 & 7 : a >> 4];
    if ((a & 0x80) && t->blink_off)
        fore = back;
    if ((row == t->underline && (a & 7) == 1) ||
        (t->cursor_on && ma == t->cursor && row >= t->top && row <= t->bottom))
        bits = 0xff;
    bool ninth = (s->attr[ATTR_MODE] & ATTR_ELG) && c >= 0xc0 && c <= 0xdf && (bits & 1);
    if (bits == 0xff && t->cursor_on && ma == t->cursor && row >= t->top && row <= t->bottom)
        ninth = true;
    for (unsigned i = 0; i < 8; i++)
        *out++ = bits & (0x80 >> i) ? fore : back;
    if (f->dots == 9)
        *out++ = ninth ? fore : back;
    return out;
}

/* ---- graphics ---- */

/* Eight dots from the four bytes at an address. */
static void dots(const struct vga *s, const u8 *p, const u32 *colour, const u32 *colour_256,
                 u32 out[8])
{
    if (s->gc[GC_MODE] & GC_256) {
        for (unsigned i = 0; i < 8; i++)
            out[i] = colour_256[p[i / 2]];
    } else if (s->gc[GC_MODE] & GC_INTERLEAVE) {
        for (unsigned i = 0; i < 8; i++) {
            unsigned shift = 6 - 2 * (i & 3), low = p[i / 4] >> shift & 3;
            out[i] = colour[low | (p[2 + i / 4] >> shift & 3) << 2];
        }
    } else {
        for (unsigned i = 0; i < 8; i++) {
            unsigned bit = 7 - i;
            out[i] = colour[(p[0] >> bit & 1) | (p[1] >> bit & 1) << 1 | (p[2] >> bit & 1) << 2 |
                            (p[3] >> bit & 1) << 3];
        }
    }
}

/* ---- a frame of the VGA ---- */

struct drawing {
    struct frame f;
    struct text_look text;
    u32 colour_256[256];
    u32 line[VGA_WIDTH_MAX + 64];
};

/* All dots of one line, from the memory address counter `ma` and row scan `row`; returns where
 * the picture begins in d->line (pixel panning). */
static const u32 *draw_line(const struct vga *s, struct drawing *d, u32 ma, u32 row, bool below)
{
    const struct frame *f = &d->f;
    u32 *out = d->line, pan = s->attr[ATTR_PAN] & 15;
    if (below && (s->attr[ATTR_MODE] & ATTR_PAN_SPLIT))
        pan = 0;
    else
        ma += s->crtc[8] >> 5 & 3;
    for (u32 i = 0; i <= f->columns; i++) {
        u32 group[8];
        if (vga_is_text(s)) {
            u32 *start = out;
            out = text_cell(s, f, &d->text, ma + i, row, out);
            if (f->wide) { /* spread from the end, in place */
                u32 n = (u32)(out - start);
                for (u32 k = n; k--;)
                    start[2 * k] = start[2 * k + 1] = start[k];
                out = start + 2 * n;
            }
            continue;
        }
        dots(s, planes(s, plane_offset(s, ma + i, row)), d->text.colour, d->colour_256, group);
        for (u32 k = 0; k < 8; k++) {
            *out++ = group[k];
            if (f->wide)
                *out++ = group[k];
        }
    }
    /* Nine-dot text: 8 means none, 0 one dot (attribute controller, index 13h). */
    if (vga_is_text(s) && f->dots == 9)
        pan = pan >= 8 ? 0 : pan + 1;
    else
        pan &= 7;
    return d->line + (f->wide ? 2 * pan : pan);
}

static void row_changed(struct vga_surface *out, u32 y)
{
    if (out->top == out->bottom)
        out->top = y;
    out->bottom = y + 1;
}

static void draw_vga(const struct vga *s, struct vga_surface *out, bool all)
{
    struct drawing d;
    d.f = frame_of(s);
    text_look(s, &d.text);
    palette_256(s, d.colour_256);
    u32 ma = d.f.start, row = s->crtc[8] & 31;
    bool below = false, again = false;
    memset(d.line, 0, sizeof d.line);
    for (u32 y = 0; y < out->height; y++) {
        u32 *to = out->pixels + (u64)y * out->width;
        const u32 *line = blanked(s) ? d.line : draw_line(s, &d, ma, row, below);
        if (all || memcmp(to, line, out->width * 4) != 0) {
            memcpy(to, line, out->width * 4);
            row_changed(out, y);
        }
        if (y == d.f.compare) { /* the screen is split: the lower part shows address 0 */
            ma = row = 0;
            below = true;
            again = false;
            continue;
        }
        if (d.f.doubled && !again) {
            again = true;
            continue;
        }
        again = false;
        if (++row >= d.f.row_lines) {
            row = 0;
            ma += d.f.pitch;
        }
    }
}

/* ---- linear modes ---- */

static void draw_vbe_row(const struct vga *s, const u8 *p, u32 width, const u32 *colour, u32 *to)
{
    switch (s->vbe[VBE_BPP]) {
    case 8:
        for (u32 x = 0; x < width; x++)
            to[x] = colour[p[x]];
        break;
    case 15:
        for (u32 x = 0; x < width; x++) {
            u32 v = (u32)load_le(p + 2 * x, 2), r = v >> 10 & 31, g = v >> 5 & 31, b = v & 31;
            to[x] = (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
        }
        break;
    case 16:
        for (u32 x = 0; x < width; x++) {
            u32 v = (u32)load_le(p + 2 * x, 2), r = v >> 11, g = v >> 5 & 63, b = v & 31;
            to[x] = (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
        }
        break;
    case 24:
        for (u32 x = 0; x < width; x++)
            to[x] = (u32)load_le(p + 3 * x, 3);
        break;
    case 32:
        for (u32 x = 0; x < width; x++)
            to[x] = (u32)load_le(p + 4 * x, 4) & 0xffffff;
        break;
    default: /* 4: planes */
        for (u32 x = 0; x < width; x++) {
            const u8 *q = p + (x / 8) * 4;
            unsigned bit = 7 - (x & 7);
            to[x] = colour[(q[0] >> bit & 1) | (q[1] >> bit & 1) << 1 | (q[2] >> bit & 1) << 2 |
                           (q[3] >> bit & 1) << 3];
        }
        break;
    }
}

u32 vga_vbe_pitch(const struct vga *s)
{
    u32 width = s->vbe[VBE_VIRT_WIDTH], bpp = s->vbe[VBE_BPP];
    return bpp == 4 ? width / 8 * 4 : width * ((bpp + 7) / 8);
}

/* Where the picture begins in memory. */
static u64 vbe_start(const struct vga *s)
{
    u32 x = s->vbe[VBE_X_OFFSET], bpp = s->vbe[VBE_BPP];
    return (u64)s->vbe[VBE_Y_OFFSET] * vga_vbe_pitch(s) +
           (bpp == 4 ? x / 8 * 4 : x * ((bpp + 7) / 8));
}

/* Bytes of linear memory, from `low` and below `high`. */
struct span {
    u64 low, high;
};

static void span_add(struct span *a, u64 low, u64 high)
{
    a->low = low < a->low ? low : a->low;
    a->high = high > a->high ? high : a->high;
}

/* The rows that have bytes of `written`. */
static void draw_vbe(const struct vga *s, struct vga_surface *out, const struct span *written)
{
    u32 colour[256], pitch = vga_vbe_pitch(s);
    u64 at = vbe_start(s);
    palette_256(s, colour);
    if (s->vbe[VBE_BPP] == 4)
        palette_16(s, colour);
    for (u32 y = 0; y < out->height; y++, at += pitch) {
        u32 *to = out->pixels + (u64)y * out->width;
        u64 end = at + (out->width * 4 > pitch ? out->width * 4 : pitch);
        if (end <= written->low || at >= written->high)
            continue;
        row_changed(out, y);
        if (at + out->width * 4ull <= VGA_MEMORY || at + pitch <= VGA_MEMORY)
            draw_vbe_row(s, s->memory + at, out->width, colour, to);
        else
            memset(to, 0, out->width * 4);
    }
}

/* ---- what has changed ---- */

/* Compares what is shown of one page with what was drawn. */
static bool page_changed(struct vga *s, u64 page, u64 at, u64 end)
{
    u64 from = page * PAGE_SIZE, to = from + PAGE_SIZE;
    from = from < at ? at : from;
    to = to > end ? end : to;
    s->counters.compared++;
    if (!memcmp(s->shadow + from, s->memory + from, to - from))
        return false;
    memcpy(s->shadow + from, s->memory + from, to - from);
    s->counters.copied++;
    return true;
}

/* Software writes to linear memory without our seeing it, but the bus knows the pages; these are
 * compared with what was drawn.  A store that was under way may come after that, so each is looked
 * at for a while: a screen on which nothing happens then costs nothing. */
static void vbe_changed(struct vga *s, struct span *written)
{
    enum { WATCH = 60 };
    u64 at = vbe_start(s), bytes = (u64)vga_vbe_pitch(s) * s->vbe[VBE_YRES];
    if (at >= VGA_MEMORY)
        return;
    if (bytes > VGA_MEMORY - at)
        bytes = VGA_MEMORY - at;
    if (!s->shadow)
        s->shadow = malloc(VGA_MEMORY);
    if (!s->shadow || !bytes) {
        span_add(written, at, VGA_MEMORY);
        return;
    }
    u8 stored[VGA_PAGES];
    u32 first = (u32)(at / PAGE_SIZE), count = (u32)((at + bytes - 1) / PAGE_SIZE) - first + 1;
    unsigned fresh = bus_take_written(s->bus, s->memory + first * PAGE_SIZE, count, stored);
    u64 key = at << 32 | bytes;
    if (s->shadow_key != key) {
        memcpy(s->shadow + at, s->memory + at, bytes);
        s->shadow_key = key;
        s->counters.copied += count;
        memset(s->watch, 0, sizeof s->watch);
        memset(s->watch + first, WATCH, count);
        s->watched = count;
        span_add(written, at, at + bytes);
        return;
    }
    for (u32 i = 0; (fresh || s->watched) && i < count; i++) {
        u8 *left = &s->watch[first + i];
        if (!stored[i] && !*left)
            continue;
        s->watched += !*left;
        *left = stored[i] ? WATCH : (u8)(*left - 1);
        s->watched -= !*left;
        if (page_changed(s, first + i, at, at + bytes))
            span_add(written, (first + i) * PAGE_SIZE, (first + i + 1) * PAGE_SIZE);
    }
}

static bool blink_changed(struct vga *s)
{
    u64 phase = clock_now(s->clock) / CURSOR_NS;
    bool cursor = phase & 1, attribute = phase & 2;
    bool changed = vga_is_text(s) && (cursor != s->blink.cursor || attribute != s->blink.attribute);
    s->blink.cursor = cursor;
    s->blink.attribute = attribute;
    return changed;
}

bool vga_draw(struct vga *s, struct vga_surface *out, bool all)
{
    u32 width, height;
    struct span written = {s->dirty_low, s->dirty_high};
    bool blinks = blink_changed(s), whole = s->changed;
    if (vga_vbe_on(s))
        vbe_changed(s, &written);
    bool changed = whole || blinks || written.low < written.high;
    s->changed = false;
    s->dirty_low = ~0u;
    s->dirty_high = 0;
    s->serial += changed;
    if (out->serial == s->serial && !all)
        return false;
    vga_size(s, &width, &height);
    /* Another front-end may have had a change that this one has not, and that is gone. */
    all |= whole || !changed || out->serial != s->serial - 1 || width != out->width ||
           height != out->height;
    out->width = width;
    out->height = height;
    out->serial = s->serial;
    out->top = out->bottom = 0;
    if (all)
        written = (struct span){0, VGA_MEMORY};
    if (vga_vbe_on(s))
        draw_vbe(s, out, &written);
    else
        draw_vga(s, out, all);
    s->counters.drawn++;
    s->counters.rows += out->bottom - out->top;
    return true;
}

bool vga_text(const struct vga *s, struct vga_text *out)
{
    if (!vga_is_text(s))
        return false;
    struct frame f = frame_of(s);
    u32 cursor = (u32)(s->crtc[0x0e] << 8 | s->crtc[0x0f]) - f.start;
    out->columns = f.columns < 132 ? f.columns : 132;
    out->rows = f.lines / f.row_lines / (f.doubled ? 2 : 1);
    if (out->rows > 60)
        out->rows = 60;
    out->cursor = !(s->crtc[0x0a] & 0x20) && f.pitch && cursor / f.pitch < out->rows;
    out->cursor_row = f.pitch ? cursor / f.pitch : 0;
    out->cursor_column = f.pitch ? cursor % f.pitch : 0;
    for (u32 y = 0; y < out->rows; y++)
        for (u32 x = 0; x < out->columns; x++) {
            const u8 *p = planes(s, plane_offset(s, f.start + y * f.pitch + x, 0));
            out->cell[y * out->columns + x] = (u16)(p[0] | p[1] << 8);
        }
    return true;
}
