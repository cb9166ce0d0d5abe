/* The PC's two Intel 8237A DMA controllers with their page registers; see i8237.c. */
#ifndef DRAGOMAN_DEVICES_I8237_H
#define DRAGOMAN_DEVICES_I8237_H

#include "devices/device.h"
#include "mmu/bus.h"

#define I8237_CHANNELS 8u /* 0 to 3 move bytes, 5 to 7 words; 4 is the cascade */

/* What hangs on a channel.  A cycle puts `data` on the bus (what memory holds, all ones unless the
 * channel reads memory) and takes what the device drives; tc: it is the last of the count.  A
 * device that keeps its request up is given cycles at once, so it must let go after a bounded
 * number. */
struct i8237_client {
    u16 (*cycle)(void *opaque, u16 data, bool tc);
    void *opaque;
};

struct i8237_channel {
    u16 base_address, base_count;
    u16 address, count;
    u8 mode;
};

struct i8237_unit {
    struct i8237_channel channel[4];
    u8 command;
    u8 mask, request, dreq; /* one bit a channel */
    u8 terminal;            /* terminal counts since the status was read */
    u8 high_byte;           /* the byte pointer flip-flop */
    u8 first;               /* channel that is highest in priority */
};

struct i8237 {
    struct bus *bus;
    struct i8237_client client[I8237_CHANNELS];
    struct i8237_unit unit[2];
    u8 page[16];
    bool running; /* cycles are being made: a device's pins come back in here */
};

/* Claims ports 00-0F, 80-8F and C0-DF. */
void i8237_init(struct i8237 *s, struct bus *b);
/* Hangs *client, which is copied, on a channel (not 4); before the machine runs. */
void i8237_connect(struct i8237 *s, unsigned channel, const struct i8237_client *client);
/* The DREQ line of channel n; made to be the function of a pin. */
void i8237_set_dreq(void *opaque, unsigned n, bool level);

extern const struct device_class i8237_class;

#endif
