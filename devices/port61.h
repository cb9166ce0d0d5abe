/* System control port B (0x61); see port61.c. */
#ifndef DRAGOMAN_DEVICES_PORT61_H
#define DRAGOMAN_DEVICES_PORT61_H

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"

struct port61_config {
    struct pin gate2;               /* to the gate of timer counter 2 */
    struct pin speaker;             /* speaker data enable */
    bool (*out2)(void *opaque);     /* OUT of timer counter 2 now; NULL reads 0 */
    void *out2_opaque;
};

struct port61 {
    struct port61_config config;
    struct clock *clock;
    u8 control; /* the four writable bits */
};

/* Claims port 0x61 on `bus`. */
void port61_init(struct port61 *s, struct bus *bus, struct clock *clock,
                 const struct port61_config *config);

extern const struct device_class port61_class;

#endif
