/* Programmable interval timer 8254; see i8254.c. */
#ifndef DRAGOMAN_DEVICES_I8254_H
#define DRAGOMAN_DEVICES_I8254_H

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"

#define I8254_HZ 1193182u

/* What has become of the interrupt that OUT 0's last rise has asked for. */
enum i8254_tick {
    I8254_TICK_UNHEARD, /* it is masked */
    I8254_TICK_OVER,    /* taken; or software has left it for so long that it is lost */
    I8254_TICK_HELD_UP, /* it waits, but the processor has not been given the time to take it */
};

struct i8254_config {
    u16 port;          /* of counter 0 */
    struct pin out[3]; /* OUT pins; one without fn costs no timer */
    /* Says so, for a rise that `ns` ago would have been taken if the host had time; or NULL: no
     * tick is made up for. */
    enum i8254_tick (*tick)(void *opaque, u64 ns);
    void *tick_opaque;
    /* For who follows i8254_out_at(2): software is about to change its course; or NULL. */
    void (*before2)(void *opaque);
    void *before2_opaque;
};

struct i8254_counter {
    struct i8254 *chip;
    const struct pin *pin;

    u8 control;   /* RW, M and BCD bits as last programmed */
    u8 gate;      /* input level */
    u8 pin_level; /* what the OUT pin was last told */
    u8 armed;     /* a count has been written since the control word */
    u8 triggered; /* modes 1 and 5: a gate edge has started the counter */
    u8 pending;   /* reload waits for the end of the period (modes 2 and 3) */
    u8 write_msb; /* RW = 3: the most significant byte is due */
    u8 read_msb;
    u8 write_lsb; /* RW = 3: the byte already written */
    u8 latched;   /* bytes of `latch` still to be read (2, 1, 0) */
    u8 status_latched, status;
    u16 latch;      /* latched count as it will be read */
    u16 reload;     /* count register CR as written */
    u32 count;      /* counting element's initial value: 1 to 65536 */
    s64 start;      /* clock tick at which `count` was loaded; may lie one tick ahead */
    s64 frozen;     /* ticks counted when the gate fell */
    s64 pending_at; /* tick at which `pending` was set */
    s64 rise;       /* tick of the last rise that has been dealt with (counter 0) */
    u64 delivered;  /* ns at which the pin last rose, and */
    u32 missed;     /* how many more rises it should have had */
    struct timer timer;
};

struct i8254 {
    struct i8254_config config;
    struct clock *clock;
    struct i8254_counter counter[3];
    struct timer again; /* a missed tick may be delivered */
};

/* Claims four ports on `bus`; gates start high. */
void i8254_init(struct i8254 *s, struct bus *bus, struct clock *clock,
                const struct i8254_config *config);

/* GATE input of counter n; made to be the function of a pin (opaque: struct i8254). */
void i8254_set_gate(void *opaque, unsigned n, bool level);

/* The processor has taken some interrupt: it may have been that of OUT 0 (i8254_config.tick). */
void i8254_taken(struct i8254 *s);

/* OUT of counter n (0 to 2) at this instant. */
bool i8254_out(struct i8254 *s, unsigned n);
/* The same at a moment (ns) since software has last changed the counter's course. */
bool i8254_out_at(const struct i8254 *s, unsigned n, u64 ns);

extern const struct device_class i8254_class;

#endif
