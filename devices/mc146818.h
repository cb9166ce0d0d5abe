/* Real-time clock and CMOS memory MC146818; see mc146818.c. */
#ifndef DRAGOMAN_DEVICES_MC146818_H
#define DRAGOMAN_DEVICES_MC146818_H

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"

#define MC146818_BYTES 128

struct mc146818_config {
    u16 port;            /* index; the next one is data */
    s64 epoch;           /* seconds since 1970-01-01 that the clock shows at first */
    struct pin irq;      /* high while register C's IRQF is set */
    struct pin nmi_mask; /* bit 7 of the index port: high masks NMI */
};

struct mc146818 {
    struct mc146818_config config;
    struct clock *clock;

    u8 ram[MC146818_BYTES]; /* registers and CMOS bytes as the guest reads them */
    u8 index;
    u8 nmi_masked;
    s64 divider;    /* virtual ns at which the divider chain stood at zero */
    u64 seconds;    /* ends of divider seconds taken into account */
    u64 ticks;      /* periods of the periodic interrupt taken into account */
    struct timer update_timer, periodic_timer;
};

/* Claims the two ports on `bus`; the time is config->epoch in BCD and 24-hour form. */
void mc146818_init(struct mc146818 *s, struct bus *bus, struct clock *clock,
                   const struct mc146818_config *config);

/* CMOS bytes as the board sets them before a guest runs (memory sizes, drive types, ...); index
 * 0x0E to 0x7F, without the century byte 0x32. */
void mc146818_set_cmos(struct mc146818 *s, unsigned index, u8 value);
u8 mc146818_get_cmos(const struct mc146818 *s, unsigned index);

extern const struct device_class mc146818_class;

#endif
