/* INT 09h and 16h: the keyboard, US layout, scan code set 1 as the 8042 translates it.
 *
 * IBM PC AT Technical Reference, BIOS listing, KEYBOARD_IO and KB_INT; 101-key functions from
 * the PS/2 BIOS Interface Technical Reference, also for the marks that INT 15h AH = 4Fh, 85h
 * and 91h make.
 */
#include "bios/chips.h"
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
    /* The second byte: left Ctrl and Alt, and which of the others are down. */
    SHIFT2_CTRL = 0x01,
    SHIFT2_ALT = 0x02,
    SHIFT2_SYSREQ = 0x04,
    SHIFT2_PAUSE = 0x08,
    SHIFT2_INSERT = 0x80,
    FLAGS3_E1 = 0x01,
    FLAGS3_E0 = 0x02,
    FLAGS3_CTRL = 0x04,
    FLAGS3_ALT = 0x08,
    FLAGS2_LEDS = 0x07,
    BREAK_SEEN = 0x80,
    KEY_RELEASE = 0x80,
    SCAN_TAB = 0x0f,
    SCAN_ENTER = 0x1c,
    SCAN_BACKSPACE = 0x0e,
    SCAN_CTRL = 0x1d,
    SCAN_LSHIFT = 0x2a,
    SCAN_SLASH = 0x35,
    SCAN_RSHIFT = 0x36,
    SCAN_STAR = 0x37,
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
    SCAN_SYSREQ = 0x54,
    KEYBOARD_LEDS = 0xed,
    KEYBOARD_READ_ID = 0xf2,
    KEYBOARD_TYPEMATIC = 0xf3,
    TYPEMATIC_USUAL = 1 << 5 | 0x0b, /* half a second, 10.9 a second */
    WARM = 0x1234,
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

static void set_bit(u16 at, u8 bit, bool on)
{
    u8 v = bda8(at);
    bda8_set(at, (u8)(on ? v | bit : v & ~bit));
}

/* Ctrl and Alt are two keys each, which are told apart too. */
static void pair(u8 both, u8 left, u8 right, bool is_right, bool down)
{
    if (is_right)
        set_bit(BDA_KEY_FLAGS3, right, down);
    else
        set_bit(BDA_SHIFT2, left, down);
    set_bit(BDA_SHIFT, both, bda8(BDA_SHIFT2) & left || bda8(BDA_KEY_FLAGS3) & right);
}

/* The keyboard repeats a key that is held; its lock changes once. */
static void lock(u8 bit, bool down)
{
    if (down && !(bda8(BDA_SHIFT2) & bit))
        bda8_set(BDA_SHIFT, bda8(BDA_SHIFT) ^ bit);
    set_bit(BDA_SHIFT2, bit, down);
}

static bool modifier(u8 code, bool e0, bool down)
{
    switch (code) {
    case SCAN_LSHIFT: set_bit(BDA_SHIFT, SHIFT_LEFT, down); break;
    case SCAN_RSHIFT: set_bit(BDA_SHIFT, SHIFT_RIGHT, down); break;
    case SCAN_CTRL: pair(SHIFT_CTRL, SHIFT2_CTRL, FLAGS3_CTRL, e0, down); break;
    case SCAN_ALT: pair(SHIFT_ALT, SHIFT2_ALT, FLAGS3_ALT, e0, down); break;
    case SCAN_CAPS: lock(SHIFT_CAPS, down); break;
    case SCAN_NUM:
        if (bda8(BDA_SHIFT) & SHIFT_CTRL)
            return false;
        lock(SHIFT_NUM, down);
        break;
    case SCAN_SCROLL:
        if (bda8(BDA_SHIFT) & SHIFT_CTRL)
            return false;
        lock(SHIFT_SCROLL, down);
        break;
    default: return false;
    }
    return true;
}

/* Scroll, Num and Caps Lock as the keyboard's lamps have them. */
static void show_locks(void)
{
    u8 leds = bda8(BDA_SHIFT) >> 4 & FLAGS2_LEDS, flags2 = bda8(BDA_KEY_FLAGS2);
    if (leds == (flags2 & FLAGS2_LEDS))
        return;
    bda8_set(BDA_KEY_FLAGS2, (u8)((flags2 & ~FLAGS2_LEDS) | leds));
    kbc_tell(KEYBOARD_LEDS, leds);
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

/* Alt with a digit of the keypad: a character's number is being typed. */
static u16 alt_keypad(u8 code, bool grey)
{
    char digit = keypad[code - SCAN_HOME];
    if (grey) /* 97h to A3h in the order of the keys */
        return (u16)((0x97 + code - SCAN_HOME) << 8);
    if (digit == '-' || digit == '+')
        return (u16)(code << 8);
    if (digit != '.')
        bda8_set(BDA_KEYPAD, (u8)(bda8(BDA_KEYPAD) * 10 + digit - '0'));
    return 0;
}

static u16 keypad_key(u8 code, u8 state, bool grey)
{
    u8 digit = (u8)keypad[code - SCAN_HOME];
    if (state & SHIFT_ALT)
        return alt_keypad(code, grey);
    if (state & SHIFT_CTRL)
        return (u16)(ctrl_keypad[code - SCAN_HOME] << 8 | (grey ? 0xe0 : 0));
    if (!grey && (digit == '-' || digit == '+'))
        return (u16)(code << 8 | digit);
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
    switch (code) {
    case SCAN_SPACE: return 0x3920;
    case SCAN_TAB: return 0xa500;
    default: return (u16)(code << 8);
    }
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
    default: return code == SCAN_TAB ? 0x9400 : code == SCAN_STAR ? 0x9600 : 0;
    }
}

/* Enter and the slash of the keypad, whose scan codes come with E0. */
static u16 grey_key(u8 code, char c, u8 state)
{
    bool enter = code == SCAN_ENTER;
    if (state & SHIFT_ALT)
        return enter ? 0xa600 : 0xa400;
    if (state & SHIFT_CTRL)
        return enter ? 0xe00a : 0x9500;
    return (u16)(0xe000 | (u8)c);
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
        return grey_key(code, c, state);
    if (state & SHIFT_ALT)
        return alt_key(code, c);
    if (state & SHIFT_CTRL)
        return ctrl_key(code, c);
    if (code == SCAN_TAB && state & SHIFT_ANY)
        return 0x0f00;
    bool upper = (state & SHIFT_ANY) != 0;
    if (state & SHIFT_CAPS && c >= 'a' && c <= 'z')
        upper = !upper;
    return (u16)(code << 8 | (u8)(upper ? shifted[code] : c));
}

/* ---- keys that do something ---- */

/* Ctrl-Break: the buffer holds one key that is none. */
static void break_key(void)
{
    bda16_set(BDA_KEY_HEAD, bda16(BDA_KEY_START));
    bda16_set(BDA_KEY_TAIL, bda16(BDA_KEY_START));
    bda8_set(BDA_BREAK, BREAK_SEEN);
    call_int(0x1b);
    ring_put(0);
}

static void system_request(bool down)
{
    u16 ax = down ? 0x8500 : 0x8501;
    set_bit(BDA_SHIFT2, SHIFT2_SYSREQ, down);
    call_int_ax(0x15, &ax);
}

/* Whether the key has done what it is there for. */
static bool action(u8 code, u8 state, bool e0, bool down)
{
    const u8 both = SHIFT_CTRL | SHIFT_ALT;
    bool print = e0 && code == SCAN_STAR;
    if (code == SCAN_SYSREQ || (print && state & SHIFT_ALT)) {
        system_request(down);
        return true;
    }
    if (!down)
        return false;
    if (code == SCAN_DELETE && (state & both) == both) {
        bda16_set(BDA_RESET_FLAG, WARM);
        reset_machine();
    }
    if (print || (code == SCAN_STAR && state & SHIFT_ANY && !(state & both))) {
        if (state & SHIFT_CTRL)
            ring_put(0x7200);
        else
            call_int(0x05);
        return true;
    }
    if (code == SCAN_SCROLL && state & SHIFT_CTRL) {
        break_key();
        return true;
    }
    return false;
}

/* Alt has been let go: what was typed on the keypad is a character. */
static void typed_number(bool was_alt)
{
    u8 number = bda8(BDA_KEYPAD);
    if (!was_alt || bda8(BDA_SHIFT) & SHIFT_ALT || !number)
        return;
    bda8_set(BDA_KEYPAD, 0);
    ring_put(number);
}

static void key(u8 code, bool e0, bool down)
{
    u8 state = bda8(BDA_SHIFT);
    if (down && bda8(BDA_SHIFT2) & SHIFT2_PAUSE) {
        set_bit(BDA_SHIFT2, SHIFT2_PAUSE, false);
        return;
    }
    if (modifier(code, e0, down)) {
        typed_number(state & SHIFT_ALT);
        return;
    }
    if (action(code, state, e0, down))
        return;
    if (code == SCAN_INSERT && (e0 || !(state & SHIFT_NUM))) {
        if (down && !(bda8(BDA_SHIFT2) & SHIFT2_INSERT))
            bda8_set(BDA_SHIFT, state ^ SHIFT_INSERT);
        set_bit(BDA_SHIFT2, SHIFT2_INSERT, down);
    }
    u16 k = down ? translate(code, state, e0) : 0;
    if (k && ring_put(k)) {
        u16 ax = 0x9102; /* the keyboard has what somebody may wait for */
        call_int_ax(0x15, &ax);
    }
}

void keyboard_scancode(u8 code)
{
    u8 flags3 = bda8(BDA_KEY_FLAGS3);
    bool e0 = flags3 & FLAGS3_E0, e1 = flags3 & FLAGS3_E1;
    if (code == 0xe0 || code == 0xe1) {
        bda8_set(BDA_KEY_FLAGS3, flags3 | (code == 0xe0 ? FLAGS3_E0 : FLAGS3_E1));
        return;
    }
    bool down = !(code & KEY_RELEASE);
    code &= ~KEY_RELEASE;
    if (e1) { /* Pause: E1 1D 45 E1 9D C5 */
        if (code == SCAN_CTRL)
            return;
        bda8_set(BDA_KEY_FLAGS3, flags3 & ~FLAGS3_E1);
        if (code == SCAN_NUM && down)
            set_bit(BDA_SHIFT2, SHIFT2_PAUSE, true);
        return;
    }
    bda8_set(BDA_KEY_FLAGS3, flags3 & ~FLAGS3_E0);
    if (e0 && (code == SCAN_LSHIFT || code == SCAN_RSHIFT))
        return; /* the keyboard's own, around grey keys */
    key(code, e0, down);
}

/* After Pause everything stands, but for interrupts, until another key is pressed. */
void service_09(frame_ptr f)
{
    u8 paused = bda8(BDA_SHIFT2) & SHIFT2_PAUSE;
    if (inb(KBC_COMMAND) & KBC_OUTPUT_FULL) {
        u16 ax = (u16)(0x4f00 | inb(KBC_DATA));
        if (call_int_ax(0x15, &ax))
            keyboard_scancode((u8)ax);
        show_locks();
    }
    irq_end(1);
    while (!paused && bda8(BDA_SHIFT2) & SHIFT2_PAUSE)
        wait_interrupt();
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

/* 03h: AL = 0 the keyboard's own values, 5: BH delay and BL rate, 6: what they are. */
static void typematic(frame_ptr f)
{
    static u8 now = TYPEMATIC_USUAL;
    if (f->al == 6) {
        f->bx = (u16)((now >> 5) << 8 | (now & 0x1f));
        return;
    }
    if (f->al != 0 && f->al != 5)
        return;
    now = (u8)(f->al ? (f->bh & 3) << 5 | (f->bl & 0x1f) : TYPEMATIC_USUAL);
    kbc_tell(KEYBOARD_TYPEMATIC, now);
}

/* 0Ah: the first byte of the identification in BL. */
static void read_id(frame_ptr f)
{
    u8 id[2] = {0};
    kbc_begin(false);
    if (kbc_ask(false, KEYBOARD_READ_ID) && kbc_answer(&id[0]))
        kbc_answer(&id[1]);
    kbc_end();
    f->bx = (u16)(id[1] << 8 | id[0]);
}

/* 12h: AH has locks that are held and left keys from the second byte, right keys from the third,
 * System Request on top. */
static u16 all_shifts(void)
{
    u8 second = bda8(BDA_SHIFT2), third = bda8(BDA_KEY_FLAGS3);
    u8 high = (u8)((second & 0x73) | (third & (FLAGS3_CTRL | FLAGS3_ALT)) |
                   (second & SHIFT2_SYSREQ ? 0x80 : 0));
    return (u16)(high << 8 | bda8(BDA_SHIFT));
}

void service_16(frame_ptr f)
{
    switch (f->ah) {
    case 0x00: read_key(f, false); break;
    case 0x01: peek_key(f, false); break;
    case 0x02: f->al = bda8(BDA_SHIFT); break;
    case 0x03: typematic(f); break;
    case 0x05: f->al = ring_put(f->cx) ? 0 : 1; break;
    case 0x09: f->al = 0x3d; break; /* 10h to 12h, 0Ah, 03h with 0, 5 and 6 */
    case 0x0a: read_id(f); break;
    case 0x10: read_key(f, true); break;
    case 0x11: peek_key(f, true); break;
    case 0x12: f->ax = all_shifts(); break;
    default: break;
    }
    show_locks();
}
