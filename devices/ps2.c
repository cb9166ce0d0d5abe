/* PS/2 keyboard (101/102 keys) and PS/2 mouse with IntelliMouse extensions.
 *
 * References: IBM Personal System/2 Hardware Interface Technical Reference, Keyboard and Auxiliary
 * Device chapters; Microsoft "Keyboard Scan Code Specification" 1.3a for the codes.
 * Left out: the real devices' half second of self test, and what the mouse's resolution and sample
 * rate do to its movement: they are only told.
 */
#include "devices/ps2.h"

enum {
    REPLY_ACK = 0xfa,
    REPLY_RESEND = 0xfe,
    REPLY_TEST_PASSED = 0xaa,

    KEYBOARD_LEDS = 0xed,
    KEYBOARD_ECHO = 0xee,
    KEYBOARD_SET = 0xf0,
    KEYBOARD_ID = 0xf2,
    KEYBOARD_RATE = 0xf3,
    KEYBOARD_ENABLE = 0xf4,
    KEYBOARD_DISABLE = 0xf5,
    KEYBOARD_DEFAULTS = 0xf6,
    KEYBOARD_ALL_FIRST = 0xf7, /* set 3, type of all keys: repeat, break, neither, both */
    KEYBOARD_ALL_LAST = 0xfa,
    KEYBOARD_KEY_FIRST = 0xfb, /* of the keys that follow: repeat, break, neither */
    KEYBOARD_KEY_LAST = 0xfd,
    KEYBOARD_RESEND = 0xfe,
    KEYBOARD_RESET = 0xff,

    MOUSE_SCALE_1 = 0xe6,
    MOUSE_SCALE_2 = 0xe7,
    MOUSE_RESOLUTION = 0xe8,
    MOUSE_STATUS = 0xe9,
    MOUSE_STREAM = 0xea,
    MOUSE_POLL = 0xeb,
    MOUSE_WRAP_OFF = 0xec,
    MOUSE_WRAP = 0xee,
    MOUSE_REMOTE = 0xf0,
    MOUSE_ID = 0xf2,
    MOUSE_RATE = 0xf3,
    MOUSE_ENABLE = 0xf4,
    MOUSE_DISABLE = 0xf5,
    MOUSE_DEFAULTS = 0xf6,
    MOUSE_RESEND = 0xfe,
    MOUSE_RESET = 0xff,

    /* The keyboard holds this many bytes of events before it reports an overrun. */
    KEYBOARD_BUFFER = 16,
};

/* Set 2 to set 1 by index, as the keyboard controller does it; from 0x85 on bytes stay. */
static const u8 translation[0x85] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29,
    0x59, 0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11,
    0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14,
    0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24,
    0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35,
    0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36,
    0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c,
    0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
    0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, 0x80, 0x81, 0x82, 0x41, 0x54,
};

/* Set 1 codes without prefix to set 3. */
static const u8 set3[0x59] = {
    0x00, 0x08, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66,
    0x0d, 0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x11,
    0x1c, 0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5c, 0x1a,
    0x22, 0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7e, 0x19, 0x29, 0x14, 0x07,
    0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x76, 0x5f, 0x6c, 0x75, 0x7d, 0x84,
    0x6b, 0x73, 0x74, 0x7c, 0x69, 0x72, 0x7a, 0x70, 0x71, 0x00, 0x00, 0x13, 0x56, 0x5e,
};

/* The same for those that E0 comes before in set 1. */
static const struct {
    u8 key, code;
} set3_extended[] = {
    {0x9c, 0x79},          {0x9d, 0x58}, {0xb5, 0x77}, {PS2_KEY_PRINT, 0x57}, {0xb8, 0x39},
    {PS2_KEY_PAUSE, 0x62}, {0xc7, 0x6e}, {0xc8, 0x63}, {0xc9, 0x6f},          {0xcb, 0x61},
    {0xcd, 0x6a},          {0xcf, 0x65}, {0xd0, 0x60}, {0xd1, 0x6d},          {0xd2, 0x67},
    {0xd3, 0x64},          {0xdb, 0x8b}, {0xdc, 0x8c}, {0xdd, 0x8d},
};

/* Set 3 keys that by default do something else than repeat, without a break code. */
static const u8 set3_break[] = {0x11, 0x12, 0x14, 0x19, 0x59};
static const u8 set3_make[] = {0x07, 0x08, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x39, 0x3f,
                               0x47, 0x4f, 0x56, 0x57, 0x58, 0x5e, 0x5f, 0x62, 0x65, 0x67,
                               0x69, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x72, 0x73,
                               0x74, 0x75, 0x76, 0x77, 0x79, 0x7a, 0x7d, 0x7e, 0x84};

u8 ps2_translate(u8 set2)
{
    return set2 < sizeof translation ? translation[set2] : set2;
}

static u8 to_set3(u8 key)
{
    for (unsigned i = 0; i < ARRAY_SIZE(set3_extended); i++)
        if (set3_extended[i].key == key)
            return set3_extended[i].code;
    return key < sizeof set3 ? set3[key] : 0;
}

/* The other way, for the 7-bit make codes; two set 2 codes that mean one set 1 code (F7, SysRq)
 * are settled for the one that keyboards send: the later. */
static u8 to_set2(u8 set1)
{
    for (unsigned i = sizeof translation; i-- > 0;)
        if (translation[i] == set1)
            return (u8)i;
    return 0;
}

/* ---- queues ---- */

static void put(struct ps2_queue *q, u8 byte)
{
    if (q->count < PS2_QUEUE)
        q->data[(q->head + q->count++) % PS2_QUEUE] = byte;
}

static u8 take(struct ps2_queue *q)
{
    u8 byte = q->data[q->head];
    q->head = (u8)((q->head + 1) % PS2_QUEUE);
    q->count--;
    return byte;
}

static void port_update(struct ps2_port *p)
{
    pin_set(&p->ready, p->replies.count || p->events.count);
}

static u8 port_fetch(struct ps2_port *p)
{
    u8 byte = 0;
    if (p->replies.count)
        byte = take(&p->replies);
    else if (p->events.count)
        byte = take(&p->events);
    else
        return 0;
    p->last = byte;
    return byte;
}

static void port_clear(struct ps2_port *p)
{
    p->replies.head = p->replies.count = 0;
    p->events.head = p->events.count = 0;
    p->command = 0;
}

static void port_loaded(struct ps2_port *p)
{
    struct ps2_queue *q[] = {&p->replies, &p->events};
    for (unsigned i = 0; i < 2; i++) {
        q[i]->head %= PS2_QUEUE;
        if (q[i]->count > PS2_QUEUE)
            q[i]->count = PS2_QUEUE;
    }
    port_update(p);
}

/* ---- keyboard ---- */

static void keyboard_defaults(struct ps2_keyboard *k)
{
    k->set = 2;
    k->rate = 0x2b; /* 10.9 characters a second after 500 ms */
    memset(k->types, PS2_KEY_REPEATS, sizeof k->types);
    for (unsigned i = 0; i < sizeof set3_break; i++)
        k->types[set3_break[i]] = PS2_KEY_BREAKS;
    for (unsigned i = 0; i < sizeof set3_make; i++)
        k->types[set3_make[i]] = 0;
}

/* Nothing repeats any more. */
static void keyboard_let_go(struct ps2_keyboard *k)
{
    k->held = 0;
    timer_cancel(&k->repeat);
}

static void keyboard_set_leds(struct ps2_keyboard *k, u8 leds)
{
    k->leds = leds & 7;
    if (k->leds_changed)
        k->leds_changed(k->opaque, k->leds);
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
    port_clear(&k->port);
    k->port.last = 0;
    keyboard_let_go(k);
    keyboard_defaults(k);
    keyboard_set_leds(k, 0);
    k->scanning = 1;
    port_update(&k->port);
}

static void repeat_due(void *opaque);

void ps2_keyboard_init(struct ps2_keyboard *k, struct clock *clock, const struct pin *ready)
{
    memset(k, 0, sizeof *k);
    timer_init(&k->repeat, clock, repeat_due, k);
    ps2_keyboard_reset(k);
    k->port.ready = *ready;
}

void ps2_keyboard_loaded(struct ps2_keyboard *k)
{
    if (k->set < 1 || k->set > 3)
        k->set = 2;
    if (k->leds_changed)
        k->leds_changed(k->opaque, k->leds);
    port_loaded(&k->port);
}

u8 ps2_keyboard_fetch(struct ps2_keyboard *k)
{
    u8 byte = port_fetch(&k->port);
    port_update(&k->port);
    return byte;
}

/* What F7 to FA say of all keys, FB to FD of single ones. */
static const u8 key_types[] = {PS2_KEY_REPEATS, PS2_KEY_BREAKS, 0,
                               PS2_KEY_REPEATS | PS2_KEY_BREAKS};

static void keyboard_parameter(struct ps2_keyboard *k, u8 command, u8 byte)
{
    struct ps2_queue *r = &k->port.replies;
    bool good = true;
    switch (command) {
    case KEYBOARD_LEDS: keyboard_set_leds(k, byte); break;
    case KEYBOARD_RATE: k->rate = byte & 0x7f; break;
    case KEYBOARD_SET:
        if (byte >= 1 && byte <= 3)
            k->set = byte;
        else
            good = byte == 0;
        break;
    case KEYBOARD_KEY_FIRST:
    case KEYBOARD_KEY_FIRST + 1:
    case KEYBOARD_KEY_LAST:
        good = byte < sizeof k->types;
        if (good)
            k->types[byte] = key_types[command - KEYBOARD_KEY_FIRST];
        k->port.command = command; /* more may follow */
        break;
    default: break;
    }
    put(r, good ? REPLY_ACK : REPLY_RESEND);
    if (command == KEYBOARD_SET && byte == 0)
        put(r, k->set);
}

static void keyboard_command(struct ps2_keyboard *k, u8 byte)
{
    struct ps2_queue *r = &k->port.replies;
    if (byte >= KEYBOARD_ALL_FIRST && byte <= KEYBOARD_ALL_LAST) {
        memset(k->types, key_types[byte - KEYBOARD_ALL_FIRST], sizeof k->types);
        put(r, REPLY_ACK);
        return;
    }
    switch (byte) {
    case KEYBOARD_KEY_FIRST:
    case KEYBOARD_KEY_FIRST + 1:
    case KEYBOARD_KEY_LAST: k->port.events.count = 0; /* fall through */
    case KEYBOARD_LEDS:
    case KEYBOARD_SET:
    case KEYBOARD_RATE:
        k->port.command = byte;
        put(r, REPLY_ACK);
        break;
    case KEYBOARD_ECHO: put(r, KEYBOARD_ECHO); break;
    case KEYBOARD_ID:
        put(r, REPLY_ACK);
        put(r, 0xab);
        put(r, 0x83);
        break;
    case KEYBOARD_ENABLE:
    case KEYBOARD_DISABLE:
    case KEYBOARD_DEFAULTS:
        if (byte != KEYBOARD_ENABLE)
            keyboard_defaults(k);
        keyboard_let_go(k);
        k->port.events.count = 0;
        k->scanning = byte != KEYBOARD_DISABLE;
        put(r, REPLY_ACK);
        break;
    case KEYBOARD_RESEND: put(r, k->port.last); break;
    case KEYBOARD_RESET:
        ps2_keyboard_reset(k);
        put(r, REPLY_ACK);
        put(r, REPLY_TEST_PASSED);
        break;
    default: put(r, REPLY_RESEND); break;
    }
}

void ps2_keyboard_write(struct ps2_keyboard *k, u8 byte)
{
    u8 command = k->port.command;
    k->port.command = 0;
    /* No parameter is as high as a command: such a byte starts over. */
    if (command && byte < KEYBOARD_LEDS)
        keyboard_parameter(k, command, byte);
    else
        keyboard_command(k, byte);
    port_update(&k->port);
}

/* Set 3: one code a key, and a break code only of keys that are to have one. */
static unsigned key_bytes3(const struct ps2_keyboard *k, u8 key, bool down, u8 *out)
{
    unsigned n = 0;
    u8 code = to_set3(key);
    if (!code || (!down && !(k->types[code] & PS2_KEY_BREAKS)))
        return 0;
    if (!down)
        out[n++] = 0xf0;
    out[n++] = code;
    return n;
}

/* Writes the bytes of a key event; returns their number, at most 8.  again: the key repeats. */
static unsigned key_bytes(const struct ps2_keyboard *k, u8 key, bool down, bool again, u8 *out)
{
    static const u8 pause1[] = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5};
    static const u8 pause2[] = {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};
    unsigned n = 0, set = k->set;
    if (set == 3)
        return key_bytes3(k, key, down, out);
    if (key == PS2_KEY_PAUSE) { /* sends all at the make, nothing at the break */
        n = set == 1 ? sizeof pause1 : sizeof pause2;
        memcpy(out, set == 1 ? pause1 : pause2, n);
        return down ? n : 0;
    }
    /* Print Screen: a fake left shift around the key, which does not repeat. */
    u8 codes[2] = {key & 0x7f};
    unsigned count = 1;
    if (key == PS2_KEY_PRINT && !again) {
        codes[down ? 0 : 1] = 0x2a;
        codes[down ? 1 : 0] = 0x37;
        count = 2;
    }
    for (unsigned i = 0; i < count; i++) {
        u8 code = set == 1 ? codes[i] : to_set2(codes[i]);
        if (!code)
            return 0;
        if (key & 0x80)
            out[n++] = 0xe0;
        if (set == 1) {
            out[n++] = (u8)(code | (down ? 0 : 0x80));
        } else {
            if (!down)
                out[n++] = 0xf0;
            out[n++] = key == PS2_KEY_PRINT && codes[i] == 0x37 ? 0x7c : code;
        }
    }
    return n;
}

/* Bits 6:5 of F3h's parameter: 250 ms to 1 s; bits 4:3 and 2:0: (8 + A) * 2^B * 1/240 s (IBM PS/2
 * Technical Reference, "Set typematic rate/delay"). */
static u64 delay_ns(const struct ps2_keyboard *k)
{
    return ((k->rate >> 5 & 3) + 1) * (NS_PER_SEC / 4);
}

static u64 period_ns(const struct ps2_keyboard *k)
{
    return ((8ull + (k->rate & 7)) << (k->rate >> 3 & 3)) * NS_PER_SEC / 240;
}

static bool repeats(const struct ps2_keyboard *k, u8 key)
{
    return k->set == 3 ? k->types[to_set3(key)] & PS2_KEY_REPEATS : key != PS2_KEY_PAUSE;
}

/* A repeated key is not queued behind others. */
static void repeat_due(void *opaque)
{
    struct ps2_keyboard *k = opaque;
    u8 bytes[8];
    timer_arm(&k->repeat, clock_now(k->repeat.clock) + period_ns(k));
    if (!k->held || !k->scanning || k->port.events.count || !repeats(k, k->held))
        return;
    unsigned n = key_bytes(k, k->held, true, true, bytes);
    for (unsigned i = 0; i < n; i++)
        put(&k->port.events, bytes[i]);
    port_update(&k->port);
}

/* The key that went down last repeats until it goes up; what the host repeats is not counted. */
static void keyboard_hold(struct ps2_keyboard *k, u8 key, bool down)
{
    if (down) {
        k->held = key;
        timer_arm(&k->repeat, clock_now(k->repeat.clock) + delay_ns(k));
    } else if (k->held == key) {
        keyboard_let_go(k);
    }
}

void ps2_keyboard_key(struct ps2_keyboard *k, u8 key, bool down)
{
    u8 bytes[8];
    struct ps2_queue *q = &k->port.events;
    if (!k->scanning || !key || (down && key == k->held))
        return;
    keyboard_hold(k, key, down);
    unsigned n = key_bytes(k, key, down, false, bytes);
    if (q->count + n < KEYBOARD_BUFFER) {
        for (unsigned i = 0; i < n; i++)
            put(q, bytes[i]);
    } else if (n && q->count < KEYBOARD_BUFFER) {
        /* The last place says that keys were lost, once. */
        while (q->count < KEYBOARD_BUFFER)
            put(q, k->set == 1 ? 0xff : 0x00);
    }
    port_update(&k->port);
}

/* ---- mouse ---- */

static void mouse_defaults(struct ps2_mouse *m)
{
    m->streaming = m->remote = m->wrap = m->scaling = 0;
    m->resolution = 2; /* 4 counts per mm */
    m->rate = 100;
    m->dx = m->dy = m->dz = 0;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    port_clear(&m->port);
    m->port.last = 0;
    mouse_defaults(m);
    m->id = m->knock = 0;
    m->reported = m->buttons;
    port_update(&m->port);
}

void ps2_mouse_init(struct ps2_mouse *m, const struct pin *ready)
{
    memset(m, 0, sizeof *m);
    ps2_mouse_reset(m);
    m->port.ready = *ready;
}

void ps2_mouse_loaded(struct ps2_mouse *m)
{
    if (m->id != 3 && m->id != 4)
        m->id = 0;
    port_loaded(&m->port);
}

/* Takes what one packet can say of an accumulated movement. */
static int portion(s32 *v, int limit)
{
    int n = *v > limit ? limit : *v < -limit ? -limit : *v;
    *v -= n;
    return n;
}

/* Scaling 2:1, which only reports in stream mode have (IBM PS/2 Technical Reference, E7h). */
static int scaled(const struct ps2_mouse *m, int v)
{
    static const u8 small[] = {0, 1, 1, 3, 6, 9};
    int size = v < 0 ? -v : v;
    if (!m->scaling)
        return v;
    size = size < (int)sizeof small ? small[size] : 2 * size;
    return v < 0 ? -size : size;
}

static void mouse_packet(struct ps2_mouse *m, struct ps2_queue *q, bool report)
{
    int limit = report && m->scaling ? 127 : 255;
    int x = portion(&m->dx, limit);
    int y = portion(&m->dy, limit);
    if (report) {
        x = scaled(m, x);
        y = scaled(m, y);
    }
    put(q, (u8)((m->buttons & 7) | 8 | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0)));
    put(q, (u8)x);
    put(q, (u8)y);
    if (m->id == 3)
        put(q, (u8)portion(&m->dz, 127));
    else if (m->id == 4)
        put(q, (u8)((portion(&m->dz, 7) & 15) | (m->buttons & 0x18) << 1));
    else
        m->dz = 0;
    m->reported = m->buttons;
}

/* Packets are made when the port is free, so that movement adds up instead of queueing. */
static void mouse_report(struct ps2_mouse *m)
{
    struct ps2_queue *q = &m->port.events;
    if (!m->streaming || m->remote || m->wrap || q->count)
        return;
    if (m->dx || m->dy || (m->id && m->dz) || m->reported != m->buttons)
        mouse_packet(m, q, true);
}

u8 ps2_mouse_fetch(struct ps2_mouse *m)
{
    u8 byte = port_fetch(&m->port);
    mouse_report(m);
    port_update(&m->port);
    return byte;
}

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, u8 buttons)
{
    s32 *sum[] = {&m->dx, &m->dy, &m->dz};
    const int delta[] = {dx, dy, dz};
    m->buttons = buttons & 0x1f;
    for (unsigned i = 0; i < 3; i++) {
        s64 v = (s64)*sum[i] + delta[i];
        *sum[i] = v > 4096 ? 4096 : v < -4096 ? -4096 : (s32)v;
    }
    mouse_report(m);
    port_update(&m->port);
}

/* IntelliMouse: rates 200, 100, 80 make a wheel mouse, 200, 200, 80 one with five buttons. */
static void mouse_set_rate(struct ps2_mouse *m, u8 rate)
{
    m->rate = rate;
    if (rate == 200)
        m->knock = m->knock == 1 ? 3 : 1;
    else if (rate == 100 && m->knock == 1)
        m->knock = 2;
    else if (rate == 80 && m->knock >= 2) {
        m->id = m->knock == 2 ? 3 : 4;
        m->knock = 0;
    } else
        m->knock = 0;
}

static void mouse_status(const struct ps2_mouse *m, struct ps2_queue *r)
{
    u8 b = m->buttons;
    put(r, (u8)((m->remote ? 0x40 : 0) | (m->streaming ? 0x20 : 0) | (m->scaling ? 0x10 : 0) |
                (b & 1 ? 4 : 0) | (b & 4 ? 2 : 0) | (b & 2 ? 1 : 0)));
    put(r, m->resolution);
    put(r, m->rate);
}

static void mouse_command(struct ps2_mouse *m, u8 byte)
{
    struct ps2_queue *r = &m->port.replies;
    if (byte == MOUSE_RESEND) {
        put(r, m->port.last);
        return;
    }
    put(r, byte >= MOUSE_SCALE_1 ? REPLY_ACK : REPLY_RESEND);
    switch (byte) {
    case MOUSE_SCALE_1:
    case MOUSE_SCALE_2: m->scaling = byte == MOUSE_SCALE_2; break;
    case MOUSE_RESOLUTION:
    case MOUSE_RATE: m->port.command = byte; break;
    case MOUSE_STATUS: mouse_status(m, r); break;
    case MOUSE_STREAM: m->remote = 0; break;
    case MOUSE_POLL: mouse_packet(m, r, false); break;
    case MOUSE_WRAP: m->wrap = 1; break;
    case MOUSE_REMOTE: m->remote = 1; break;
    case MOUSE_ID: put(r, m->id); break;
    case MOUSE_ENABLE: m->streaming = 1; break;
    case MOUSE_DISABLE: m->streaming = 0; break;
    case MOUSE_DEFAULTS: mouse_defaults(m); break;
    case MOUSE_RESET:
        ps2_mouse_reset(m);
        put(r, REPLY_ACK);
        put(r, REPLY_TEST_PASSED);
        put(r, 0x00);
        break;
    default: break;
    }
}

void ps2_mouse_write(struct ps2_mouse *m, u8 byte)
{
    u8 command = m->port.command;
    m->port.command = 0;
    if (m->wrap && byte != MOUSE_WRAP_OFF && byte != MOUSE_RESET) {
        put(&m->port.replies, byte);
    } else if (m->wrap && byte == MOUSE_WRAP_OFF) {
        m->wrap = 0;
        put(&m->port.replies, REPLY_ACK);
    } else if (command && byte < MOUSE_SCALE_1) {
        if (command == MOUSE_RATE)
            mouse_set_rate(m, byte);
        else
            m->resolution = byte & 3;
        put(&m->port.replies, REPLY_ACK);
    } else {
        /* A command ends an unfinished packet. */
        m->port.events.count = 0;
        mouse_command(m, byte);
    }
    mouse_report(m);
    port_update(&m->port);
}
