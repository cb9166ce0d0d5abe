/* IA-PC HPET with three timers of 64 bits, 100 MHz, as in the ICH9 but each able to be periodic.
 *
 * Data sheets: IA-PC HPET Specification 1.0a; Intel ICH9 (316972-004), section 20.
 *
 * Left out: FSB (MSI) delivery, whose capability bit reads 0.  An edge-triggered timer lets its pin
 * fall and rise and leaves it high, as an ISA timer does.  Matches that come sooner than
 * MIN_EVENT_NS after the last are merged, so that a hostile period cannot keep the host busy.
 */
#include "devices/hpet.h"

enum {
    REG_CAPABILITIES = 0x00,
    REG_GENERAL = 0x10,
    REG_STATUS = 0x20,
    REG_COUNTER = 0xf0,
    REG_TIMER = 0x100,
    TIMER_STRIDE = 0x20,
    TIMER_CONFIG = 0x00,
    TIMER_COMPARATOR = 0x08,

    GENERAL_ENABLE = BIT(0),
    GENERAL_LEGACY = BIT(1),
    GENERAL_WRITABLE = GENERAL_ENABLE | GENERAL_LEGACY,

    T_LEVEL = BIT(1),
    T_ENABLE = BIT(2),
    T_PERIODIC = BIT(3),
    T_PERIODIC_CAP = BIT(4),
    T_SIZE_CAP = BIT(5),
    T_VALUE_SET = BIT(6),
    T_32BIT = BIT(8),
    T_ROUTE_SHIFT = 9,
    T_ROUTE = 31 << T_ROUTE_SHIFT,
    T_WRITABLE = T_LEVEL | T_ENABLE | T_PERIODIC | T_VALUE_SET | T_32BIT | T_ROUTE,
};

enum setting {
    SET_DONE,
    SET_MATCH,   /* the first match is written, the period may follow */
    SET_MATCHED, /* and was reached meanwhile */
};

/* Vendor 8086h, legacy replacement, 64-bit counter, three timers, revision 1; period in fs. */
#define PERIOD_FS (HPET_NS_PER_TICK * 1000000u)
#define CAPABILITIES ((u64)PERIOD_FS << 32 | 0x8086a001u | (HPET_TIMERS - 1) << 8)
#define MIN_EVENT_NS 10000u

/* ---- time ---- */

static u64 counter_now(const struct hpet *s)
{
    if (!(s->general & GENERAL_ENABLE))
        return s->counter;
    return clock_now(s->clock) / HPET_NS_PER_TICK + s->offset;
}

/* The bits that a timer's comparator has. */
static u64 timer_mask(const struct hpet_timer *t)
{
    return t->config & T_32BIT ? 0xffffffff : ~0ull;
}

/* Ticks from `counter` to the timer's next match: 1 to 2^width, where 0 stands for 2^64. */
static u64 ticks_to_match(const struct hpet_timer *t, u64 counter)
{
    u64 mask = timer_mask(t);
    u64 diff = (t->comparator - counter) & mask;
    return diff ? diff : mask + 1;
}

/* Arms for the next match.  `at_once`: the comparator was just written, and a value that equals
 * the counter matches now; so does the first match of a periodic timer that has just passed: a
 * guest that was held up since it read the counter would else have no tick for the 43 seconds in
 * which 32 bits come round. */
static void arm(struct hpet_timer *t, bool at_once)
{
    const struct hpet *s = t->chip;
    u64 counter = counter_now(s);
    u64 diff = ticks_to_match(t, counter);

    if (!(s->general & GENERAL_ENABLE)) {
        timer_cancel(&t->timer);
        return;
    }
    u64 mask = timer_mask(t), behind = (counter - t->comparator) & mask;
    if (at_once && (t->config & T_PERIODIC ? behind <= mask / 2 : !behind)) {
        timer_arm(&t->timer, clock_now(s->clock));
        return;
    }
    u128 tick = (u128)(clock_now(s->clock) / HPET_NS_PER_TICK) + diff;
    u128 when = diff ? tick * HPET_NS_PER_TICK : CLOCK_NEVER;
    bool periodic = t->config & T_PERIODIC;
    u64 soonest = clock_now(s->clock) + MIN_EVENT_NS;
    if (periodic && t->period * HPET_NS_PER_TICK < MIN_EVENT_NS && when < soonest)
        when = soonest;
    timer_arm(&t->timer, when < CLOCK_NEVER ? (u64)when : CLOCK_NEVER);
}

/* ---- pins ---- */

static const struct pin *pin_of(const struct hpet *s, unsigned route)
{
    return route < HPET_ROUTES ? &s->config.irq[route] : &s->config.legacy_irq[route - HPET_ROUTES];
}

/* Where timer n's interrupts go now. */
static unsigned route_of(const struct hpet *s, unsigned n)
{
    if ((s->general & GENERAL_LEGACY) && n < 2)
        return HPET_ROUTES + n;
    return (s->timer[n].config & T_ROUTE) >> T_ROUTE_SHIFT;
}

/* Tells a timer's pin its level; timers that share one are ORed. */
static void tell(const struct hpet *s, unsigned route)
{
    bool level = false;
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        level |= s->timer[n].route == route && s->timer[n].level;
    pin_set(pin_of(s, route), level);
}

static void drive(struct hpet_timer *t, bool level)
{
    if (t->level == level)
        return;
    t->level = level;
    tell(t->chip, t->route);
}

/* Moves a timer to the pin that its configuration names; the old pin falls. */
static void reroute(struct hpet *s)
{
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        struct hpet_timer *t = &s->timer[n];
        unsigned route = route_of(s, n);
        bool on = (s->general & GENERAL_ENABLE) && (t->config & T_ENABLE);
        bool level = t->config & T_LEVEL;

        if (route != t->route || !on)
            drive(t, false);
        t->route = route;
        if (level)
            drive(t, on && (s->status & BIT(n)));
    }
}

static void fire(struct hpet_timer *t)
{
    struct hpet *s = t->chip;
    unsigned n = (unsigned)(t - s->timer);
    bool enabled = t->config & T_ENABLE;

    if (t->config & T_LEVEL) {
        /* A timer whose interrupt is off still counts and sets its status (2.3.8, INT_ENB). */
        s->status |= BIT(n);
        drive(t, enabled);
    } else if (enabled) {
        drive(t, false);
        drive(t, true);
    }
}

/* ---- timers ---- */

static void on_timer(void *opaque)
{
    struct hpet_timer *t = opaque;
    u64 counter = counter_now(t->chip), mask = timer_mask(t);

    if (t->setting == SET_MATCH)
        t->setting = SET_MATCHED;
    if ((t->config & T_PERIODIC) && t->period & mask) {
        /* However late it is, one interrupt; the comparator goes to the next match ahead. */
        u64 period = t->period & mask;
        u64 late = (counter - t->comparator) & mask;
        t->comparator = (t->comparator + (late / period + 1) * period) & mask;
    }
    arm(t, false);
    fire(t);
}

static void start(struct hpet *s)
{
    s->offset = s->counter - clock_now(s->clock) / HPET_NS_PER_TICK;
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        arm(&s->timer[n], true);
}

static void halt(struct hpet *s)
{
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        timer_cancel(&s->timer[n].timer);
}

/* ---- reset ---- */

static void reset(void *opaque)
{
    struct hpet *s = opaque;
    halt(s);
    s->general = s->status = 0;
    s->counter = s->offset = 0;
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        struct hpet_timer *t = &s->timer[n];
        drive(t, false);
        t->setting = SET_DONE;
        t->config = 0;
        t->comparator = ~0ull;
        t->period = 0;
    }
    reroute(s);
    pin_set(&s->config.legacy, false);
}

/* ---- read ---- */

static u64 read_timer(const struct hpet *s, const struct hpet_timer *t, unsigned reg)
{
    switch (reg) {
    case TIMER_CONFIG:
        return t->config | T_PERIODIC_CAP | T_SIZE_CAP | (u64)s->config.route_mask << 32;
    case TIMER_COMPARATOR: return t->comparator & timer_mask(t);
    default: return 0; /* FSB route */
    }
}

/* The 64-bit register at `offset`, a multiple of 8. */
static u64 read_reg64(const struct hpet *s, unsigned offset)
{
    if (offset >= REG_TIMER) {
        unsigned n = (offset - REG_TIMER) / TIMER_STRIDE;
        return n < HPET_TIMERS ? read_timer(s, &s->timer[n], offset % TIMER_STRIDE) : 0;
    }
    switch (offset) {
    case REG_CAPABILITIES: return CAPABILITIES;
    case REG_GENERAL: return s->general;
    case REG_STATUS: return s->status;
    case REG_COUNTER: return counter_now(s);
    default: return 0;
    }
}

static u64 read_reg(void *opaque, u64 offset, unsigned size)
{
    return (read_reg64(opaque, offset & ~7u) >> (offset & 7) * 8) & size_mask(size);
}

/* ---- write ---- */

static void write_general(struct hpet *s, u64 value)
{
    u64 old = s->general;
    value &= GENERAL_WRITABLE;

    if ((old & GENERAL_ENABLE) && !(value & GENERAL_ENABLE)) {
        s->counter = counter_now(s);
        s->general = value;
        halt(s);
    } else if (!(old & GENERAL_ENABLE) && (value & GENERAL_ENABLE)) {
        s->general = value;
        start(s);
    }
    s->general = value;
    if ((old ^ value) & GENERAL_LEGACY)
        pin_set(&s->config.legacy, (value & GENERAL_LEGACY) != 0);
    reroute(s);
}

static void write_config(struct hpet *s, struct hpet_timer *t, u64 value)
{
    unsigned route = (value & T_ROUTE) >> T_ROUTE_SHIFT;

    /* A route that is not supported does not read back as written (2.3.8, INT_ROUTE). */
    if (!(s->config.route_mask & BIT(route)))
        value = (value & ~(u64)T_ROUTE) | (t->config & T_ROUTE);
    t->config = value & T_WRITABLE;
    t->comparator &= timer_mask(t);
    arm(t, false);
    reroute(s);
}

/* 2.3.9.2.2: in periodic mode a write sets the period; with VAL_SET, which that write clears, it
 * sets the comparator as well. */
static void write_comparator(struct hpet_timer *t, u64 value, u64 written)
{
    u64 mask = timer_mask(t);
    bool periodic = t->config & T_PERIODIC;

    u64 last_match = t->comparator - t->period;
    bool first = !periodic || (t->config & T_VALUE_SET);
    if (first)
        t->comparator = ((t->comparator & ~written) | (value & written)) & mask;
    if (periodic)
        t->period = ((t->period & ~written) | (value & written)) & mask;
    if (!first && t->setting == SET_MATCHED && t->period) {
        /* The match that came too early for the period has counted on by its own value. */
        u64 late = (counter_now(t->chip) - last_match) & mask;
        t->comparator = (last_match + (late / t->period + 1) * t->period) & mask;
    }
    t->setting = periodic && first ? SET_MATCH : SET_DONE;
    t->config &= ~(u64)T_VALUE_SET;
    arm(t, true);
}

/* Writes the bits of `written` in the 64-bit register at `offset`. */
static void write_reg64(struct hpet *s, unsigned offset, u64 value, u64 written)
{
    if (offset >= REG_TIMER) {
        unsigned n = (offset - REG_TIMER) / TIMER_STRIDE;
        if (n >= HPET_TIMERS)
            return;
        struct hpet_timer *t = &s->timer[n];
        if (offset % TIMER_STRIDE == TIMER_CONFIG)
            write_config(s, t, (t->config & ~written) | (value & written));
        else if (offset % TIMER_STRIDE == TIMER_COMPARATOR)
            write_comparator(t, value, written);
        return;
    }
    switch (offset) {
    case REG_GENERAL: write_general(s, (s->general & ~written) | (value & written)); break;
    case REG_STATUS:
        s->status &= ~(value & written);
        reroute(s);
        break;
    case REG_COUNTER:
        /* To be written only while the counter is halted (2.3.7). */
        if (!(s->general & GENERAL_ENABLE))
            s->counter = (s->counter & ~written) | (value & written);
        break;
    default: break;
    }
}

static void write_reg(void *opaque, u64 offset, u64 value, unsigned size)
{
    unsigned shift = (offset & 7) * 8;
    write_reg64(opaque, offset & ~7u, value << shift, size_mask(size) << shift);
}

void hpet_init(struct hpet *s, struct bus *bus, struct clock *clock,
               const struct hpet_config *config)
{
    static const struct bus_ops ops = {read_reg, write_reg, 1, 8};

    memset(s, 0, sizeof *s);
    s->config = *config;
    s->clock = clock;
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        s->timer[n].chip = s;
        timer_init(&s->timer[n].timer, clock, on_timer, &s->timer[n]);
    }
    bus_map_mmio(bus, "hpet", config->base, 0x400, &ops, s, 0);
    reset(s);
}

/* ---- state ---- */

static void loaded(void *opaque)
{
    struct hpet *s = opaque;
    pin_set(&s->config.legacy, (s->general & GENERAL_LEGACY) != 0);
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        s->timer[n].route = route_of(s, n);
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        tell(s, s->timer[n].route);
}

#define TIMER_FIELDS(n)                                                                       \
    FIELD(struct hpet, timer[n].config), FIELD(struct hpet, timer[n].comparator),             \
        FIELD(struct hpet, timer[n].period), FIELD(struct hpet, timer[n].level),              \
        FIELD(struct hpet, timer[n].setting),                                                 \
        FIELD_TIMER(struct hpet, timer[n].timer)

static const struct field fields[] = {
    FIELD(struct hpet, general), FIELD(struct hpet, status), FIELD(struct hpet, counter),
    FIELD(struct hpet, offset),  TIMER_FIELDS(0),            TIMER_FIELDS(1),
    TIMER_FIELDS(2),             FIELD_END};

const struct device_class hpet_class = {
    .name = "hpet",
    .description = "high precision event timer",
    .reset = reset,
    .fields = fields,
    .loaded = loaded,
};
