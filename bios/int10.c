/* INT 10h: whom it goes to, the console's mirror on a UART and the debug port, and what is answered
 * without a display adapter.
 *
 * A VGA without an option ROM is driven by int10_text.c and its neighbours.  Where an adapter's ROM
 * has replaced this vector, only characters pass here, on their way to it.  The mirror tells a
 * terminal where the cursor is put between characters by ECMA-48's CUP.  Without an adapter,
 * cursor, mode and page are kept in the BIOS data area, so that programs get consistent answers.
 * Left out: colours on the terminal, reading the screen back without an adapter.
 */
#include "bios/video.h"

enum { UART_DATA = 0, UART_LSR = 5, UART_LSR_EMPTY = 0x20, COLUMNS = 80, ROWS = 25 };

static void serial_put(u16 port, u8 c)
{
    /* A UART that never gets ready must not hang the machine. */
    for (u32 tries = 0; tries < 100000 && !(inb(port + UART_LSR) & UART_LSR_EMPTY); tries++)
        continue;
    outb(port + UART_DATA, c);
}

static void put_raw(u8 c)
{
    if (shared.debug_port)
        outb(shared.debug_port, c);
    if (shared.serial_port)
        serial_put(shared.serial_port, c);
}

/* Where the terminal's cursor is: row in the high byte.  FFFF: unknown. */
static u16 terminal = 0xffff;

static void put_number(u8 n)
{
    if (n >= 10)
        put_raw((u8)('0' + n / 10));
    put_raw((u8)('0' + n % 10));
}

/* Puts the terminal's cursor where the screen's is, if the last character left it elsewhere. */
static void follow(u16 cursor)
{
    if (terminal == 0xffff)
        terminal = cursor;
    if (terminal == cursor || !shared.serial_port)
        return;
    put_raw(27);
    put_raw('[');
    put_number((u8)((cursor >> 8) + 1));
    put_raw(';');
    put_number((u8)(cursor + 1));
    put_raw('H');
    terminal = cursor;
}

/* A character that is shown at the cursor, which the service leaves alone. */
static void put_at_cursor(u8 c, u16 cursor)
{
    follow(cursor);
    /* What a terminal would take for a command, and the upper half of code page 437. */
    put_raw(c < ' ' || c == 127 ? ' ' : c < 128 ? c : c >= 0xb3 && c <= 0xda ? '+' : '?');
    terminal++;
}

static u16 cursor_at(u8 page)
{
    return (u16)(BDA_CURSOR + 2 * (page & 7));
}

static void advance(u8 c)
{
    u16 at = cursor_at(bda8(BDA_PAGE));
    u16 cursor = bda16(at);
    u8 column = (u8)cursor, row = (u8)(cursor >> 8);
    switch (c) {
    case 7: return;
    case 8: column = column ? column - 1 : 0; break;
    case 10: row++; break;
    case 13: column = 0; break;
    default:
        if (++column >= COLUMNS) {
            column = 0;
            row++;
        }
    }
    if (row >= ROWS)
        row = ROWS - 1;
    bda16_set(at, (u16)(row << 8 | column));
}

/* ---- the firmware's own text ---- */

void console_put(u8 c)
{
    u32 eax = 0x0e00u | c, ebx = 7;
    __asm__ volatile("int $0x10" : "+a"(eax), "+b"(ebx) : : "memory", "cc");
}

void console_print(const char *s)
{
    while (*s)
        console_put((u8)*s++);
}

static u16 screen_cursor(void)
{
    return bda16(cursor_at(bda8(BDA_PAGE)));
}

/* Programs that want a colour write a character with AH = 09h and the same once more with AH = 0Eh,
 * which moves the cursor: whether this call is the second, which has nothing new to show. */
static bool shown_again(frame_ptr f, u16 cursor)
{
    static u16 at = 0xffff;
    static u8 shown;
    bool again = f->ah == 0x0e && f->al == shown && cursor == at;
    if (f->ah == 0x03 || f->ah == 0x08 || f->ah == 0x0f) /* which only ask */
        return false;
    bool one = (f->ah == 0x09 || f->ah == 0x0a) && f->cx == 1;
    at = one ? cursor : 0xffff;
    shown = f->al;
    return again;
}

/* ---- the mirror of an adapter's screen ---- */

/* A string at DX, ES:BP, CX characters; AL bit 1: attributes in between. */
static void mirror_string(frame_ptr f)
{
    u16 at = f->bp;
    follow(f->dx);
    for (u16 n = f->cx; n; n--) {
        far_segment(f->es);
        put_raw(FAR(u8, at));
        at = (u16)(at + (f->al & 2 ? 2 : 1));
    }
    terminal = 0xffff;
}

static void mirror(frame_ptr f)
{
    u16 cursor = screen_cursor();
    if (!shared.serial_port && !shared.debug_port)
        return;
    bool again = shown_again(f, cursor);
    switch (f->ah) {
    case 0x09:
    case 0x0a:
        if (f->cx == 1) /* many are blanks that clear a part of the screen */
            put_at_cursor(f->al, cursor);
        break;
    case 0x0e:
        if (again)
            break;
        follow(cursor);
        put_raw(f->al);
        terminal = 0xffff;
        break;
    case 0x13: mirror_string(f); break;
    default: break;
    }
}

/* ---- without an adapter ---- */

static void set_mode(u8 mode)
{
    bda8_set(BDA_VIDEO_MODE, mode & 0x7f);
    bda16_set(BDA_COLUMNS, COLUMNS);
    bda8_set(BDA_ROWS, ROWS - 1);
    bda8_set(BDA_PAGE, 0);
    for (u8 page = 0; page < 8; page++)
        bda16_set(cursor_at(page), 0);
}

static void plain_put(u8 c)
{
    put_raw(c);
    advance(c);
}

/* AH = 09h and 0Ah: the cursor stays. */
static void write_repeated(u8 c, u16 count)
{
    if (c < ' ')
        return;
    /* Only what is a line at most: a screen is cleared with many blanks. */
    for (; count && count <= COLUMNS; count--)
        put_raw(c);
}

/* AH = 13h: ES:BP, CX characters; AL bit 1: attributes in between. */
static void write_string(frame_ptr f)
{
    u16 at = f->bp;
    for (u16 n = f->cx; n; n--) {
        far_segment(f->es);
        u8 c = FAR(u8, at);
        at = (u16)(at + (f->al & 2 ? 2 : 1));
        plain_put(c);
    }
}

static void plain_service(frame_ptr f)
{
    bool again = shown_again(f, screen_cursor());
    switch (f->ah) {
    case 0x00: set_mode(f->al); break;
    case 0x01: bda16_set(BDA_CURSOR_SHAPE, f->cx); break;
    case 0x02: bda16_set(cursor_at(f->bh), f->dx); break;
    case 0x05: bda8_set(BDA_PAGE, f->al & 7); break;
    case 0x08: f->ax = 0x0720; break;
    case 0x09:
    case 0x0a: write_repeated(f->al, f->cx); break;
    case 0x0e:
        if (!again)
            put_raw(f->al);
        advance(f->al);
        break;
    case 0x13: write_string(f); break;
    default: break; /* EGA, VGA and VBE queries: unchanged registers mean that there is none */
    }
}

/* ---- INT 10h ---- */

/* What AL is afterwards, programs know from the first BIOSes: the CGA's mode register. */
static void mode_service(frame_ptr f)
{
    u8 mode = f->al & 0x7f;
    if (video_set_mode(f->al))
        f->al = mode > 7 ? 0x20 : mode == 6 ? 0x3f : 0x30;
}

void service_10(frame_ptr f)
{
    if (shared.video || shared.vga)
        mirror(f);
    if (shared.video)
        return;
    switch (f->ah) {
    case 0x03:
        f->cx = bda16(BDA_CURSOR_SHAPE);
        f->dx = bda16(cursor_at(f->bh));
        return;
    case 0x0f:
        f->al = (u8)(bda8(BDA_VIDEO_MODE) | (bda8(BDA_EGA_CONTROL) & EGA_KEPT));
        f->ah = (u8)bda16(BDA_COLUMNS);
        f->bh = bda8(BDA_PAGE);
        return;
    default: break;
    }
    if (!shared.vga)
        plain_service(f);
    else if (f->ah == 0x00)
        mode_service(f);
    else if (f->ah == 0x4f)
        vbe_service(f);
    else if (!video_text_service(f))
        video_palette_service(f);
}
