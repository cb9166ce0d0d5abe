/* Interrupt controller 8259A; see i8259.c. */
#ifndef DRAGOMAN_DEVICES_I8259_H
#define DRAGOMAN_DEVICES_I8259_H

#include "devices/device.h"
#include "mmu/bus.h"

struct i8259_config {
    u16 port;      /* of A0 = 0; A0 = 1 is the next one */
    u16 elcr_port; /* 0: the chip has no ELCR and ICW1's LTIM bit counts */
    u8 elcr_mask;  /* the ELCR bits that can be set */
    bool master;   /* SP/EN pin high */
    struct pin intr;
};

struct i8259 {
    struct i8259_config config;
    struct i8259 *slave[8]; /* who sits behind each IR input of a master, or NULL */

    u8 irr, isr, imr;
    u8 lines; /* the IR inputs as they are now */
    u8 elcr;
    u8 vector;  /* ICW2, low three bits clear */
    u8 icw3;
    u8 init_step; /* ICW expected next at A0 = 1 (2 to 4), 0 when none */
    u8 want_icw4, single, ltim;
    u8 special_nested, auto_eoi, rotate_aeoi;
    u8 special_mask, poll, read_isr;
    u8 lowest; /* IR level of lowest priority */
    u8 intr_level;
};

/* Claims the ports on `bus` and puts the chip into its power-on state. */
void i8259_init(struct i8259 *s, struct bus *bus, const struct i8259_config *config);

/* Puts `slave` behind IR input n (0 to 7) of `master` for INTA cycles; the slave's INT pin is wired
 * separately, to i8259_set_irq of the master. */
void i8259_cascade(struct i8259 *master, unsigned n, struct i8259 *slave);

/* IR input n; made to be the function of a pin (opaque: struct i8259). */
void i8259_set_irq(void *opaque, unsigned n, bool level);

/* The two INTA pulses of an 8086 through the master: returns the vector, which is IR7's (of the
 * chip that was asked) when the request has gone meanwhile. */
u8 i8259_ack(struct i8259 *s);

enum i8259_request { I8259_MASKED, I8259_IDLE, I8259_WAITS };

/* How it stands with the request of input n (0 to 7). */
enum i8259_request i8259_request(const struct i8259 *s, unsigned n);

extern const struct device_class i8259_class;

#endif
