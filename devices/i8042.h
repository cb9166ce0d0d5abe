/* Intel 8042 as PS/2 keyboard controller, with keyboard and mouse. */
#ifndef DRAGOMAN_DEVICES_I8042_H
#define DRAGOMAN_DEVICES_I8042_H

#include "base/clock.h"
#include "devices/device.h"
#include "devices/ps2.h"
#include "mmu/bus.h"

struct i8042_pins {
    struct pin irq1;
    struct pin irq12;
    struct pin a20;   /* gate A20, the level of output port bit 1, driven at each write */
    struct pin reset; /* a pulse */
    struct pin wake;  /* a pulse when a person presses a key or a button */
};

struct i8042 {
    struct i8042_pins pins;
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
    struct timer byte_timer; /* the next byte from a device arrives */
    u8 ram[32];              /* ram[0] is the command byte */
    u8 status;
    u8 output;      /* output buffer, kept after it has been read */
    u8 output_port; /* P2 */
    u8 command;     /* command that waits for its parameter, 0 for none */
    u8 reply, reply_aux, reply_full; /* the controller's own byte, first in line */
    u8 break_code;  /* translation: F0 has been seen */
    u8 ready;       /* bit 0 keyboard, 1 mouse: has a byte; derived */
};

/* Claims ports 0x60 and 0x64. */
void i8042_init(struct i8042 *s, struct bus *b, struct clock *clock,
                const struct i8042_pins *pins);

/* Input of a person: see ps2_keyboard_key and ps2_mouse_move. */
void i8042_key(struct i8042 *s, u8 key, bool down);
void i8042_mouse(struct i8042 *s, int dx, int dy, int dz, u8 buttons);

extern const struct device_class i8042_class;

#endif
