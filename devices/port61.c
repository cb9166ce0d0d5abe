/* System control port B at 0x61: speaker, gate of timer 2, refresh toggle, NMI status.
 *
 * Data sheet: Intel 82371FB/SB PIIX/PIIX3 (290550-002), section 2.5.4 (NMISC, NMI status and
 * control).
 *
 * Left out: SERR# and IOCHK# never come, so that their status bits read 0.
 */
#include "devices/port61.h"

enum {
    GATE2 = BIT(0),
    SPEAKER = BIT(1),
    SERR_DISABLE = BIT(2),
    IOCHK_DISABLE = BIT(3),
    WRITABLE = GATE2 | SPEAKER | SERR_DISABLE | IOCHK_DISABLE,
    REFRESH = BIT(4),
    OUT2 = BIT(5),
};

/* Counter 1 of the timer asks for a DRAM refresh every 18 of its ticks of 1193182 Hz. */
#define REFRESH_NS 15086u

static void drive(struct port61 *s)
{
    pin_set(&s->config.gate2, s->control & GATE2);
    pin_set(&s->config.speaker, s->control & SPEAKER);
}

static void reset(void *opaque)
{
    struct port61 *s = opaque;
    s->control = 0;
    drive(s);
}

static u64 read_port(void *opaque, u64 offset, unsigned size)
{
    struct port61 *s = opaque;
    u8 value = s->control;

    if (clock_now(s->clock) / REFRESH_NS & 1)
        value |= REFRESH;
    if (s->config.out2 && s->config.out2(s->config.out2_opaque))
        value |= OUT2;
    return value;
}

static void write_port(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct port61 *s = opaque;
    s->control = value & WRITABLE;
    drive(s);
}

void port61_init(struct port61 *s, struct bus *bus, struct clock *clock,
                 const struct port61_config *config)
{
    static const struct bus_ops ops = {read_port, write_port, 1, 1};

    memset(s, 0, sizeof *s);
    s->config = *config;
    s->clock = clock;
    bus_map_ports(bus, "port61", 0x61, 1, &ops, s);
    reset(s);
}

static void loaded(void *opaque)
{
    drive(opaque);
}

static const struct field fields[] = {FIELD(struct port61, control), FIELD_END};

const struct device_class port61_class = {
    .name = "port61",
    .description = "system control port B",
    .reset = reset,
    .fields = fields,
    .loaded = loaded,
};
