/* The PC's speaker; see pcspk.c. */
#ifndef DRAGOMAN_DEVICES_PCSPK_H
#define DRAGOMAN_DEVICES_PCSPK_H

#include "base/clock.h"
#include "devices/device.h"
#include "devices/host/audio.h"

struct pcspk_config {
    bool (*out2)(void *opaque, u64 ns); /* OUT of timer counter 2 at a moment not after now */
    void *opaque;
    struct audio *audio; /* NULL: nobody listens, and nothing is computed */
};

struct pcspk {
    struct pcspk_config config;
    struct clock *clock;
    u8 enabled; /* speaker data enable of port 61h */
    u64 played; /* samples since time 0 that are through */
    u64 still;  /* samples since the cone last moved */
    s16 last;
    struct timer more;
};

/* Not before counter 2 can be asked; *config is copied. */
void pcspk_init(struct pcspk *s, struct clock *clock, const struct pcspk_config *config);
/* Speaker data enable; made to be the function of a pin. */
void pcspk_enable(void *opaque, unsigned n, bool level);
/* Counter 2 is about to change its course: what it did until now is played. */
void pcspk_catch_up(void *opaque);

extern const struct device_class pcspk_class;

#endif
