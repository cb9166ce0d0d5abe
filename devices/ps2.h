/* PS/2 keyboard and mouse: what hangs on the two ports of the keyboard controller. */
#ifndef DRAGOMAN_DEVICES_PS2_H
#define DRAGOMAN_DEVICES_PS2_H

#include "base/clock.h"
#include "devices/device.h"

#define PS2_QUEUE 64 /* bytes; a power of two */
#define PS2_SET3_CODES 0x90

struct ps2_queue {
    u8 data[PS2_QUEUE];
    u8 head, count;
};

/* What both devices have. */
struct ps2_port {
    struct pin ready;         /* high while there is a byte to fetch */
    struct ps2_queue replies; /* answers to commands, sent before anything else */
    struct ps2_queue events;
    u8 last;                  /* for the resend command */
    u8 command;               /* command that waits for its parameter, 0 for none */
};

struct ps2_keyboard {
    struct ps2_port port;
    u8 scanning; /* sends key events */
    u8 set;      /* scan code set 1 to 3 */
    u8 leds;
    u8 rate;     /* typematic: delay and period, as F3h gives them */
    u8 types[PS2_SET3_CODES]; /* of each key of set 3, PS2_KEY_ */
    u8 held;     /* the key that repeats, 0: none */
    struct timer repeat;
    void (*leds_changed)(void *opaque, u8 leds); /* bit 0 scroll, 1 num, 2 caps; may be NULL */
    void *opaque;
};

struct ps2_mouse {
    struct ps2_port port;
    u8 streaming; /* data reporting enabled */
    u8 remote, wrap, scaling;
    u8 resolution, rate;
    u8 id;       /* 0, 3 (wheel) or 4 (wheel and five buttons) */
    u8 knock;    /* how much of a magic rate sequence has been seen */
    u8 buttons, reported; /* bit 0 left, 1 right, 2 middle, 3 side, 4 extra */
    s32 dx, dy, dz;       /* movement not yet reported; y grows upwards */
};

#define PS2_QUEUE_FIELDS(type, m) \
    FIELD_ARRAY(type, m.data), FIELD(type, m.head), FIELD(type, m.count)
#define PS2_PORT_FIELDS(type, m)                                                          \
    PS2_QUEUE_FIELDS(type, m.replies), PS2_QUEUE_FIELDS(type, m.events), FIELD(type, m.last), \
        FIELD(type, m.command)
#define PS2_KEYBOARD_FIELDS(type, m)                                                     \
    PS2_PORT_FIELDS(type, m.port), FIELD(type, m.scanning), FIELD(type, m.set),            \
        FIELD(type, m.leds), FIELD(type, m.rate), FIELD_ARRAY(type, m.types),               \
        FIELD(type, m.held), FIELD_TIMER(type, m.repeat)
#define PS2_MOUSE_FIELDS(type, m)                                                        \
    PS2_PORT_FIELDS(type, m.port), FIELD(type, m.streaming), FIELD(type, m.remote),        \
        FIELD(type, m.wrap), FIELD(type, m.scaling), FIELD(type, m.resolution),            \
        FIELD(type, m.rate), FIELD(type, m.id), FIELD(type, m.knock), FIELD(type, m.buttons), \
        FIELD(type, m.reported), FIELD(type, m.dx), FIELD(type, m.dy), FIELD(type, m.dz)

/* A key of the front-end: its set 1 make code, with bit 7 set if E0 comes first.  Print Screen is
 * 0xB7, Pause 0xC6. */
enum { PS2_KEY_PRINT = 0xb7, PS2_KEY_PAUSE = 0xc6 };

/* What a key of set 3 does besides its make code. */
enum { PS2_KEY_REPEATS = 1, PS2_KEY_BREAKS = 2 };

/* *ready is driven high while there is a byte to fetch; the clock is for keys that repeat. */
void ps2_keyboard_init(struct ps2_keyboard *k, struct clock *clock, const struct pin *ready);
void ps2_keyboard_reset(struct ps2_keyboard *k);
void ps2_keyboard_loaded(struct ps2_keyboard *k);
void ps2_keyboard_write(struct ps2_keyboard *k, u8 byte);
u8 ps2_keyboard_fetch(struct ps2_keyboard *k); /* next byte; 0 if there is none */
void ps2_keyboard_key(struct ps2_keyboard *k, u8 key, bool down);

void ps2_mouse_init(struct ps2_mouse *m, const struct pin *ready);
void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_loaded(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, u8 byte);
u8 ps2_mouse_fetch(struct ps2_mouse *m);
/* Movement since the last call (x to the right, y upwards, z of the wheel towards the person) and
 * the buttons that are down now. */
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, u8 buttons);

/* What the keyboard controller's translation makes of a set 2 byte (not of the F0 prefix). */
u8 ps2_translate(u8 set2);

#endif
