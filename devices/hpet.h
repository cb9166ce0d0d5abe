/* High precision event timer; see hpet.c. */
#ifndef DRAGOMAN_DEVICES_HPET_H
#define DRAGOMAN_DEVICES_HPET_H

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"

#define HPET_TIMERS 3
#define HPET_ROUTES 32
#define HPET_NS_PER_TICK 10u /* 100 MHz */

struct hpet_config {
    u64 base;        /* physical address, FED00000h on a PC */
    u32 route_mask;  /* I/O APIC inputs that the timers may use */
    struct pin irq[HPET_ROUTES]; /* by I/O APIC input */
    struct pin legacy_irq[2];    /* timer 0 instead of the 8254, timer 1 instead of the RTC */
    struct pin legacy;           /* high: legacy replacement is on, the other two are cut off */
};

struct hpet_timer {
    struct hpet *chip;
    u64 config;     /* the writable bits of Tn_CONF */
    u64 comparator;
    u64 period;
    u32 route;      /* pin that it drives now, HPET_ROUTES + n for legacy_irq[n] */
    u8 level;       /* what that pin was told last */
    u8 setting;     /* how far the guest is in setting up a periodic timer */
    struct timer timer;
};

struct hpet {
    struct hpet_config config;
    struct clock *clock;

    u64 general;    /* GEN_CONF */
    u64 status;     /* GINTR_STA */
    u64 counter;    /* main counter while halted */
    u64 offset;     /* while running: counter = virtual ticks + offset */
    struct hpet_timer timer[HPET_TIMERS];
};

/* Maps the registers on `bus`; halted. */
void hpet_init(struct hpet *s, struct bus *bus, struct clock *clock,
               const struct hpet_config *config);

extern const struct device_class hpet_class;

#endif
