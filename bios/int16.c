/* INT 09h and 16h: the keyboard, US layout, scan code set 1 as the 8042 translates it.
 *
 * IBM PC AT Technical Reference, BIOS listing, KEYBOARD_IO and KB_INT; 101-key functions from the
 * PS/2 BIOS Interface Technical Reference.  Left out: Print Screen, Pause and System Request, LEDs,
 * typematic rate (AH = 03h is accepted and ignored), the enhanced codes of Ctrl with grey keys.
 */
#include "bios/service.h"

enum {
    SHIFT_RIGHT = 0x01,
    SHIFT_LEFT = 0x02,
    SHIFT_CTRL = 0x04,
    SHIFT_ALT = 0x08,
    SHIFT_SCROLL = 0x10,
    SHIFT_NUM = 0x20,
    SHIFT_CAPS = 0x40,
    SHIFT_INSERT = 0x80,
    SHIFT_ANY = SHIFT_RIGHT | SHIFT_LEFT,
    FLAGS3_E0 = 0x02,
    KEY_RELEASE = 0x80,
    SCAN_TAB = 0x0f,
    SCAN_ENTER = 0x1c,
    SCAN_CTRL = 0x1d,
    SCAN_LSHIFT = 0x2a,
    SCAN_SLASH = 0x35,
    SCAN_RSHIFT = 0x36,
    SCAN_ALT = 0x38,
    SCAN_SPACE = 0x39,
    SCAN_CAPS = 0x3a,
    SCAN_F1 = 0x3b,
    SCAN_F10 = 0x44,
    SCAN_NUM = 0x45,
    SCAN_SCROLL = 0x46,
    SCAN_HOME = 0x47,
    SCAN_INSERT = 0x52,
    SCAN_DELETE = 0x53,
    SCAN_F11 = 0x57,
    SCAN_F12 = 0x58,
};

/* ASCII of scan codes 00 to 39. */
static const char plain[] =
    "\0\0331234567890-=\b\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] =
    "\0\033!@#$%^&*()_+\b\0QWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
/* Of 47 to 53, with Num Lock. */
static const char keypad[] = "789-456+1230.";

/* ---- the ring of 16 words in the BIOS data area ---- */

static u16 ring_next(u16 at)
{
    at = (u16)(at + 2);
    return at >= bda16(BDA_KEY_END) ? bda16(BDA_KEY_START) : at;
}

static bool ring_put(u16 key)
{
    u16 tail = bda16(BDA_KEY_TAIL), next = ring_next(tail);
    if (next == bda16(BDA_KEY_HEAD))
        return false;
    bda16_set((u16)(0x400 + tail), key);
    bda16_set(BDA_KEY_TAIL, next);
    return true;
}

static bool ring_peek(u16 *key)
{
    u16 head = bda16(BDA_KEY_HEAD);
    if (head == bda16(BDA_KEY_TAIL))
        return false;
    *key = bda16((u16)(0x400 + head));
    return true;
}

static void ring_drop(void)
{
    bda16_set(BDA_KEY_HEAD, ring_next(bda16(BDA_KEY_HEAD)));
}

/* ---- scan codes to keys ---- */

static bool modifier(u8 code, bool release)
{
    u8 held = 0, toggled = 0;
    switch (code) {
    case SCAN_LSHIFT: held = SHIFT_LEFT; break;
    case SCAN_RSHIFT: held = SHIFT_RIGHT; break;
    case SCAN_CTRL: held = SHIFT_CTRL; break;
    case SCAN_ALT: held = SHIFT_ALT; break;
    case SCAN_CAPS: toggled = SHIFT_CAPS; break;
    case SCAN_NUM: toggled = SHIFT_NUM; break;
    case SCAN_SCROLL: toggled = SHIFT_SCROLL; break;
    default: return false;
    }
    u8 state = bda8(BDA_SHIFT);
    if (held)
        state = release ? state & ~held : state | held;
    else if (!release)
        state ^= toggled;
    bda8_set(BDA_SHIFT, state);
    return true;
}

static u16 function_key(u8 code, u8 state)
{
    u8 how = state & SHIFT_ALT ? 3 : state & SHIFT_CTRL ? 2 : state & SHIFT_ANY ? 1 : 0;
    if (code >= SCAN_F11) {
        static const u8 bases[] = {0x85, 0x87, 0x89, 0x8b};
        return (u16)((bases[how] + code - SCAN_F11) << 8);
    }
    static const u8 bases[] = {0x3b, 0x54, 0x5e, 0x68};
    return (u16)((bases[how] + code - SCAN_F1) << 8);
}

/* Ctrl with 47 to 53; 0: nothing. */
static const u8 ctrl_keypad[] = {0x77, 0x8d, 0x84, 0x8e, 0x73, 0x8f, 0x74,
                                 0x90, 0x75, 0x91, 0x76, 0x92, 0x93};

static u16 keypad_key(u8 code, u8 state, bool grey)
{
    u8 digit = (u8)keypad[code - SCAN_HOME];
    if (!grey && (digit == '-' || digit == '+'))
        return (u16)(code << 8 | digit);
    if (state & SHIFT_CTRL)
        return (u16)(ctrl_keypad[code - SCAN_HOME] << 8);
    bool number = !grey && !(state & SHIFT_NUM) != !(state & SHIFT_ANY);
    if (number)
        return (u16)(code << 8 | digit);
    return (u16)(code << 8 | (grey ? 0xe0 : 0));
}

static u16 alt_key(u8 code, char c)
{
    if (c >= '1' && c <= '9')
        return (u16)((0x78 + c - '1') << 8);
    if (c == '0')
        return 0x8100;
    if (c == '-' || c == '=')
        return (u16)((c == '-' ? 0x82 : 0x83) << 8);
    return code == SCAN_SPACE ? 0x3920 : (u16)(code << 8);
}

static u16 ctrl_key(u8 code, char c)
{
    if (c >= 'a' && c <= 'z')
        return (u16)(code << 8 | (c & 0x1f));
    switch (c) {
    case '2': return 0x0300;
    case '6': return 0x071e;
    case '-': return 0x0c1f;
    case '[': return 0x1a1b;
    case '\\': return 0x2b1c;
    case ']': return 0x1b1d;
    case '\b': return 0x0e7f;
    case '\r': return 0x1c0a;
    case '\033': return 0x011b;
    case ' ': return 0x3920;
    default: return code == SCAN_TAB ? 0x9400 : 0;
    }
}

/* Scan code in the high byte, ASCII in the low one; 0: no key. */
static u16 translate(u8 code, u8 state, bool e0)
{
    if ((code >= SCAN_F1 && code <= SCAN_F10) || code == SCAN_F11 || code == SCAN_F12)
        return function_key(code, state);
    if (code >= SCAN_HOME && code <= SCAN_DELETE)
        return keypad_key(code, state, e0);
    if (code > SCAN_SPACE)
        return 0;
    char c = plain[code];
    if (!c)
        return 0;
    if (e0 && (code == SCAN_ENTER || code == SCAN_SLASH))
        return (u16)(0xe000 | (u8)c);
    if (state & SHIFT_ALT)
        return alt_key(code, c);
    if (state & SHIFT_CTRL)
        return ctrl_key(code, c);
    bool upper = (state & SHIFT_ANY) != 0;
    if (state & SHIFT_CAPS && c >= 'a' && c <= 'z')
        upper = !upper;
    return (u16)(code << 8 | (u8)(upper ? shifted[code] : c));
}

void keyboard_scancode(u8 code)
{
    u8 flags3 = bda8(BDA_KEY_FLAGS3);
    bool e0 = flags3 & FLAGS3_E0;
    if (code == 0xe0) {
        bda8_set(BDA_KEY_FLAGS3, flags3 | FLAGS3_E0);
        return;
    }
    bda8_set(BDA_KEY_FLAGS3, flags3 & ~FLAGS3_E0);
    bool release = code & KEY_RELEASE;
    code &= ~KEY_RELEASE;
    if (e0 && (code == SCAN_LSHIFT || code == SCAN_RSHIFT))
        return; /* the keyboard's own, around grey keys */
    if (modifier(code, release) || release)
        return;
    u8 state = bda8(BDA_SHIFT);
    if (code == SCAN_INSERT && (e0 || !(state & SHIFT_NUM)))
        bda8_set(BDA_SHIFT, state ^ SHIFT_INSERT);
    u16 key = translate(code, state, e0);
    if (key)
        ring_put(key);
}

void service_09(frame_ptr f)
{
    if (inb(0x64) & 1)
        keyboard_scancode(inb(0x60));
    irq_end(1);
}

/* ---- INT 16h ---- */

/* What programs for the 84-key keyboard see: no E0 marks. */
static u16 old_key(u16 key)
{
    if ((key & 0xff) == 0xe0 && key >> 8)
        return key & 0xff00;
    if (key >> 8 == 0xe0)
        return (u16)((key & 0xff) == '/' ? 0x3500 : 0x1c00) | (key & 0xff);
    return key;
}

static void read_key(frame_ptr f, bool enhanced)
{
    u16 key;
    while (!ring_peek(&key))
        wait_interrupt();
    ring_drop();
    f->ax = enhanced ? key : old_key(key);
}

static void peek_key(frame_ptr f, bool enhanced)
{
    u16 key;
    if (ring_peek(&key)) {
        f->ax = enhanced ? key : old_key(key);
        f->flags &= ~FLAG_ZERO;
    } else {
        f->flags |= FLAG_ZERO;
    }
}

void service_16(frame_ptr f)
{
    switch (f->ah) {
    case 0x00: read_key(f, false); break;
    case 0x01: peek_key(f, false); break;
    case 0x02: f->al = bda8(BDA_SHIFT); break;
    case 0x05: f->al = ring_put(f->cx) ? 0 : 1; break;
    case 0x10: read_key(f, true); break;
    case 0x11: peek_key(f, true); break;
    case 0x12: f->ax = (u16)(bda16(BDA_SHIFT)); break;
    default: break; /* 03h typematic rate: nothing to do */
    }
}
