/* INT 10h's characters, cursor, scrolling and pixels on a VGA.
 *
 * IBM PS/2 and PC BIOS Interface Technical Reference, INT 10h AH = 01h to 0Eh and 13h.  In graphics
 * modes characters are drawn from the font of vector 43h and read back by comparing with it.  There
 * is no light pen (04h), which a VGA cannot have.
 */
#include "bios/chips.h"
#include "bios/video.h"

enum { GC = 0x3ce };

static u16 cursor_at(u8 page)
{
    return (u16)(BDA_CURSOR + 2 * (page & 7));
}

static u8 rows_now(void)
{
    return (u8)(bda8(BDA_ROWS) + 1);
}

static u16 page_start(u8 page)
{
    return (u16)((page & 7) * bda16(BDA_PAGE_SIZE));
}

/* ---- cursor and pages ---- */

/* Shapes are given as for characters of eight lines; taller ones are scaled, and a line at the foot
 * stays one above the last (EGA and VGA BIOSes' cursor emulation, which bit 0 of 487h switches
 * off). */
void video_cursor_shape(u16 shape)
{
    u16 crtc = bda16(BDA_CRTC);
    u8 start = shape >> 8 & 0x3f, end = shape & 0x1f, height = (u8)bda16(BDA_FONT_HEIGHT);
    bda16_set(BDA_CURSOR_SHAPE, shape);
    if (height > 8 && end < 8 && start < 0x20 &&
        !(bda8(BDA_EGA_CONTROL) & EGA_NO_CURSOR_EMULATION)) {
        bool foot = end == start + 1;
        end = (u8)((end + 1) * height / 8 - (foot ? 2 : 1));
        start = (u8)(foot ? end - 1 : start * height / 8);
    }
    video_index(crtc, 0x0a, start);
    video_index(crtc, 0x0b, end);
}

static void show_cursor(u8 page, u16 at)
{
    u16 crtc = bda16(BDA_CRTC);
    u16 cell = (u16)(page_start(page) / 2 + (at >> 8) * bda16(BDA_COLUMNS) + (at & 0xff));
    video_index(crtc, 0x0e, (u8)(cell >> 8));
    video_index(crtc, 0x0f, (u8)cell);
}

void video_set_cursor(u8 page, u16 at)
{
    bda16_set(cursor_at(page), at);
    if (page == bda8(BDA_PAGE))
        show_cursor(page, at);
}

void video_set_page(u8 page)
{
    const struct video_mode *m = video_mode_now();
    u16 crtc = bda16(BDA_CRTC), start = page_start(page);
    if (page > 7)
        return;
    bda8_set(BDA_PAGE, page);
    bda16_set(BDA_PAGE_SIZE + 2, start);
    if (m->layout == LAYOUT_TEXT)
        start /= 2;
    video_index(crtc, 0x0c, (u8)(start >> 8));
    video_index(crtc, 0x0d, (u8)start);
    show_cursor(page, bda16(cursor_at(page)));
}

/* ---- pixels ---- */

/* Where the dots of a column of characters begin in a line of the picture. */
static u16 line_address(const struct video_mode *m, u8 page, u16 y, u8 column)
{
    switch (m->layout) {
    case LAYOUT_CGA:
        return (u16)((y & 1) * 0x2000 + y / 2 * 80 + column * (m->mode == 0x06 ? 1 : 2));
    case LAYOUT_PLANES: return (u16)(page_start(page) + y * m->columns + column);
    default: return (u16)(y * 320 + column * 8);
    }
}

/* Bytes of eight dots, in a plane or altogether. */
static u8 cell_bytes(const struct video_mode *m)
{
    return m->layout == LAYOUT_PLANES || m->mode == 0x06 ? 1 : m->layout == LAYOUT_CGA ? 2 : 8;
}

/* Eight dots of 16 colours in planes, those whose bits are set; the graphics controller is in its
 * write mode 2 and, for colours with bit 7, XORs. */
static void plane_dots(u16 at, u8 bits, u8 colour)
{
    video_index(GC, 8, bits);
    far_segment(0xa000);
    (void)FAR(u8, at);
    FAR(u8, at) = colour & 15;
}

static void planes_begin(u8 colour)
{
    video_index(GC, 5, 2);
    if (colour & 0x80)
        video_index(GC, 3, 0x18);
}

static void planes_end(void)
{
    video_index(GC, 3, 0);
    video_index(GC, 5, 0);
    video_index(GC, 8, 0xff);
}

static void put_pixel(const struct video_mode *m, u8 page, u16 x, u16 y, u8 colour)
{
    u16 at = line_address(m, page, y, (u8)(x / 8));
    switch (m->layout) {
    case LAYOUT_CGA: {
        u8 bits = m->mode == 0x06 ? 1 : 2, per = 8 / bits, mask = (u8)((1 << bits) - 1);
        u8 shift = (u8)((per - 1 - x % per) * bits);
        at = (u16)(at + (x & 7) / per);
        far_segment(m->segment);
        u8 old = FAR(u8, at), v = (u8)((colour & mask) << shift);
        FAR(u8, at) = colour & 0x80 ? old ^ v : (u8)((old & ~(mask << shift)) | v);
        break;
    }
    case LAYOUT_PLANES:
        planes_begin(colour);
        plane_dots(at, (u8)(0x80 >> (x & 7)), colour);
        planes_end();
        break;
    default:
        far_segment(m->segment);
        FAR(u8, (u16)(at + (x & 7))) = colour;
        break;
    }
}

static u8 get_pixel(const struct video_mode *m, u8 page, u16 x, u16 y)
{
    u16 at = line_address(m, page, y, (u8)(x / 8));
    u8 v = 0;
    switch (m->layout) {
    case LAYOUT_CGA: {
        u8 bits = m->mode == 0x06 ? 1 : 2, per = 8 / bits;
        far_segment(m->segment);
        v = FAR(u8, (u16)(at + (x & 7) / per));
        return (u8)(v >> ((per - 1 - x % per) * bits) & ((1 << bits) - 1));
    }
    case LAYOUT_PLANES:
        for (u8 plane = 0; plane < 4; plane++) {
            video_index(GC, 4, plane);
            far_segment(m->segment);
            if (FAR(u8, at) & (0x80 >> (x & 7)))
                v |= (u8)(1 << plane);
        }
        return v;
    default: far_segment(m->segment); return FAR(u8, (u16)(at + (x & 7)));
    }
}

/* ---- characters ---- */

static u16 cell_address(u8 page, u16 at)
{
    return (u16)(page_start(page) + ((at >> 8) * bda16(BDA_COLUMNS) + (at & 0xff)) * 2);
}

/* Eight dots in one colour on black; with bit 7 of the colour, they are XORed to what is there. */
static void draw_dots(const struct video_mode *m, u8 page, u8 column, u16 y, u8 bits, u8 colour)
{
    if (m->layout == LAYOUT_PLANES) {
        u16 at = line_address(m, page, y, column);
        plane_dots(at, bits, colour);
        if (!(colour & 0x80))
            plane_dots(at, (u8)~bits, 0);
        return;
    }
    for (u8 x = 0; x < 8; x++) {
        bool set = bits & (0x80 >> x);
        if (set || !(colour & 0x80) || m->layout == LAYOUT_LINEAR)
            put_pixel(m, page, (u16)(column * 8 + x), y, set ? colour : 0);
    }
}

static void draw_glyph(const struct video_mode *m, u8 page, u8 c, u16 at, u8 colour)
{
    u32 font = bda32(0x43 * 4);
    u8 height = (u8)bda16(BDA_FONT_HEIGHT);
    if (m->layout == LAYOUT_PLANES)
        planes_begin(colour);
    for (u8 y = 0; y < height; y++) {
        far_segment((u16)(font >> 16));
        u8 bits = FAR(u8, (u16)((u16)font + c * height + y));
        draw_dots(m, page, (u8)at, (u16)((at >> 8) * height + y), bits, colour);
    }
    if (m->layout == LAYOUT_PLANES)
        planes_end();
}

/* One character at a place; `keep`: the attribute that is there stays. */
static void put_cell(u8 page, u16 at, u8 c, u8 attribute, bool keep)
{
    const struct video_mode *m = video_mode_now();
    if (m->layout != LAYOUT_TEXT) {
        draw_glyph(m, page, c, at, attribute);
        return;
    }
    u16 address = cell_address(page, at);
    far_segment(m->segment);
    if (keep)
        FAR(u8, address) = c;
    else
        FAR(u16, address) = (u16)(attribute << 8 | c);
}

static void put_many(u8 page, u8 c, u8 attribute, u16 count, bool keep)
{
    u16 at = bda16(cursor_at(page)), columns = bda16(BDA_COLUMNS);
    while (count-- && at >> 8 < rows_now()) {
        put_cell(page, at, c, attribute, keep);
        if ((++at & 0xff) >= columns)
            at = (u16)((at & 0xff00) + 0x100);
    }
}

/* ---- scrolling ---- */

static void copy_row(const struct video_mode *m, u8 page, u8 to, u8 from, u8 left, u8 right)
{
    u16 a = cell_address(page, (u16)(to << 8 | left)),
        b = cell_address(page, (u16)(from << 8 | left));
    far_segment(m->segment);
    for (u8 x = left; x <= right; x++, a += 2, b += 2)
        FAR(u16, a) = FAR(u16, b);
}

static void blank_row(const struct video_mode *m, u8 page, u8 row, u8 left, u8 right, u8 attribute)
{
    u16 a = cell_address(page, (u16)(row << 8 | left));
    far_segment(m->segment);
    for (u8 x = left; x <= right; x++, a += 2)
        FAR(u16, a) = (u16)(attribute << 8 | ' ');
}

/* A row of characters in a graphics mode, line by line: in planes, the latches carry all four. */
static void scroll_dots(const struct video_mode *m, u8 page, u8 to, u8 from, u8 left, u8 right,
                        bool blank, u8 colour)
{
    u8 height = (u8)bda16(BDA_FONT_HEIGHT);
    u16 count = (u16)((right - left + 1) * cell_bytes(m));
    if (m->layout == LAYOUT_CGA)
        colour = (u8)(m->mode == 0x06 ? -(colour & 1) : (colour & 3) * 0x55);
    if (m->layout == LAYOUT_PLANES)
        video_index(GC, 5, blank ? 2 : 1);
    for (u16 y = 0; y < height; y++) {
        u16 a = line_address(m, page, (u16)(to * height + y), left);
        u16 b = line_address(m, page, (u16)(from * height + y), left);
        far_segment(m->segment);
        for (u16 i = 0; i < count; i++)
            FAR(u8, (u16)(a + i)) = blank ? colour : FAR(u8, (u16)(b + i));
    }
    if (m->layout == LAYOUT_PLANES)
        video_index(GC, 5, 0);
}

static void one_row(const struct video_mode *m, u8 page, u8 to, s16 from, u16 top_left,
                    u16 bottom_right, u8 attribute)
{
    u8 left = (u8)top_left, right = (u8)bottom_right;
    bool blank = from < (s16)(top_left >> 8) || from > (s16)(bottom_right >> 8);
    if (m->layout != LAYOUT_TEXT)
        scroll_dots(m, page, to, (u8)from, left, right, blank, attribute);
    else if (blank)
        blank_row(m, page, to, left, right, attribute);
    else
        copy_row(m, page, to, (u8)from, left, right);
}

/* AH = 06h (up) and 07h (down); 0 lines: all. */
static void scroll(u8 page, bool up, u8 lines, u8 attribute, u16 top_left, u16 bottom_right)
{
    const struct video_mode *m = video_mode_now();
    u8 columns = (u8)bda16(BDA_COLUMNS), rows = rows_now();
    if ((u8)bottom_right >= columns)
        bottom_right = (u16)((bottom_right & 0xff00) | (columns - 1));
    if (bottom_right >> 8 >= rows)
        bottom_right = (u16)((rows - 1) << 8 | (bottom_right & 0xff));
    s16 top = (s16)(top_left >> 8), bottom = (s16)(bottom_right >> 8);
    if (!lines || lines > bottom - top + 1)
        lines = (u8)(bottom - top + 1);
    if (up)
        for (s16 y = top; y <= bottom; y++)
            one_row(m, page, (u8)y, (s16)(y + lines), top_left, bottom_right, attribute);
    else
        for (s16 y = bottom; y >= top; y--)
            one_row(m, page, (u8)y, (s16)(y - lines), top_left, bottom_right, attribute);
}

/* ---- teletype ---- */

/* The bell: 896 Hz for a quarter of a second (IBM PC AT Technical Reference, BIOS listing, BEEP).
 * Interrupts are let in if the caller takes them. */
static void bell(bool open)
{
    enum { PIT_SQUARE_2 = 0xb6, COUNT = 1331, PORT_B = 0x61, SPEAKER = 3, LENGTH_US = 250000 };
    outb(PIT_CONTROL, PIT_SQUARE_2);
    outb(PIT_COUNTER2, COUNT & 0xff);
    outb(PIT_COUNTER2, COUNT >> 8);
    outb(PORT_B, (inb(PORT_B) & 0x0f) | SPEAKER);
    if (open)
        wait_open(LENGTH_US);
    else
        delay_us(LENGTH_US);
    outb(PORT_B, inb(PORT_B) & 0x0f & ~SPEAKER);
}

static u8 attribute_under(u8 page, u16 at)
{
    const struct video_mode *m = video_mode_now();
    if (m->layout != LAYOUT_TEXT)
        return 0;
    u16 address = cell_address(page, at);
    far_segment(m->segment);
    return FAR(u8, (u16)(address + 1));
}

/* A character at the cursor, which moves; `keep`: the attribute that is there stays. */
static void put_and_move(frame_ptr f, u8 c, u8 page, u8 colour, bool keep)
{
    u16 at = bda16(cursor_at(page));
    u8 columns = (u8)bda16(BDA_COLUMNS), rows = rows_now();
    switch (c) {
    case 7: bell(f->flags & FLAG_INTERRUPT); break;
    case 8:
        if (at & 0xff)
            at--;
        break;
    case 10: at += 0x100; break;
    case 13: at &= 0xff00; break;
    default:
        put_cell(page, at, c, colour, keep);
        if ((++at & 0xff) >= columns)
            at = (u16)((at & 0xff00) + 0x100);
    }
    if (at >> 8 >= rows) {
        at = (u16)((rows - 1) << 8 | (at & 0xff));
        scroll(page, true, 1, attribute_under(page, (u16)((rows - 1) << 8)), 0,
               (u16)((rows - 1) << 8 | (columns - 1)));
    }
    video_set_cursor(page, at);
}

/* AH = 13h: ES:BP, CX characters at DX; AL bit 0: the cursor moves, bit 1: with attributes. */
static void write_string(frame_ptr f)
{
    u8 page = f->bh, attribute = f->bl;
    u16 at = f->bp, before = bda16(cursor_at(page));
    video_set_cursor(page, f->dx);
    for (u16 n = f->cx; n; n--) {
        far_segment(f->es);
        u8 c = FAR(u8, at++);
        if (f->al & 2) {
            far_segment(f->es);
            attribute = FAR(u8, at++);
        }
        put_and_move(f, c, page, attribute, false);
    }
    if (!(f->al & 1))
        video_set_cursor(page, before);
}

/* The character whose glyph is there, where whatever is not background counts; 0: none. */
static u8 find_glyph(const struct video_mode *m, u8 page, u16 at)
{
    u32 font = bda32(0x43 * 4);
    u8 height = (u8)bda16(BDA_FONT_HEIGHT), rows[32];
    for (u8 y = 0; y < height && y < sizeof rows; y++) {
        rows[y] = 0;
        for (u8 x = 0; x < 8; x++)
            if (get_pixel(m, page, (u16)((at & 0xff) * 8 + x), (u16)((at >> 8) * height + y)))
                rows[y] |= (u8)(0x80 >> x);
    }
    for (u16 c = 0; c < 256; c++) {
        u8 y = 0;
        far_segment((u16)(font >> 16));
        while (y < height && y < sizeof rows &&
               FAR(u8, (u16)((u16)font + c * height + y)) == rows[y])
            y++;
        if (y == height)
            return (u8)c;
    }
    return 0;
}

static void read_cell(frame_ptr f)
{
    const struct video_mode *m = video_mode_now();
    u16 at = bda16(cursor_at(f->bh)), address = cell_address(f->bh, at);
    if (m->layout != LAYOUT_TEXT) {
        f->al = find_glyph(m, f->bh, at);
        return;
    }
    far_segment(m->segment);
    f->ax = FAR(u16, address);
}

bool video_text_service(frame_ptr f)
{
    const struct video_mode *m = video_mode_now();
    switch (f->ah) {
    case 0x01: video_cursor_shape(f->cx); break;
    case 0x02: video_set_cursor(f->bh, f->dx); break;
    case 0x04: f->ah = 0; break; /* not triggered */
    case 0x05: video_set_page(f->al); break;
    case 0x06:
    case 0x07: scroll(bda8(BDA_PAGE), f->ah == 0x06, f->al, f->bh, f->cx, f->dx); break;
    case 0x08: read_cell(f); break;
    case 0x09: put_many(f->bh, f->al, f->bl, f->cx, false); break;
    case 0x0a: put_many(f->bh, f->al, f->bl, f->cx, m->layout == LAYOUT_TEXT); break;
    case 0x0c:
        if (m->layout != LAYOUT_TEXT)
            put_pixel(m, f->bh, f->cx, f->dx, f->al);
        break;
    case 0x0d:
        if (m->layout != LAYOUT_TEXT)
            f->al = get_pixel(m, f->bh, f->cx, f->dx);
        break;
    case 0x0e: put_and_move(f, f->al, bda8(BDA_PAGE), f->bl, true); break;
    case 0x13: write_string(f); break;
    default: return false;
    }
    return true;
}
