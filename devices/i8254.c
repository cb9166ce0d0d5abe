/* Intel 8254 programmable interval timer, clocked with 1.193182 MHz.
 *
 * Data sheet: Intel 82C54 (231244-006).
 *
 * Nothing is counted: the tick number is a pure function of virtual time, each counter remembers
 * the tick at which it was loaded, and everything else follows from the difference, so that no
 * period drifts.  A count is loaded on the CLK pulse after the write, hence start = now + 1.
 *
 * Old systems count counter 0's interrupts to know the time of day.  A processor never loses one of
 * them unless software keeps interrupts off for a whole period; a host that is busy with other
 * things can keep timers and vCPUs from running for several.  Ticks that were lost for that reason
 * alone are made up for, eight times as fast as they should have come (i8254_config.tick).
 *
 * Left out: OUT pulses of one CLK (modes 2, 4, 5) reach the pin as a fall and a rise at the instant
 * of the rise; edges closer together than MIN_EVENT_NS are merged into one pulse, so that a hostile
 * count cannot keep the host busy.  A count of 1, illegal in modes 2 and 3, gives no edges.
 */
#include "devices/i8254.h"

enum {
    PORT_CONTROL = 3,

    CONTROL_BCD = BIT(0),
    CONTROL_MODE_SHIFT = 1,
    CONTROL_RW_SHIFT = 4,
    CONTROL_SC_SHIFT = 6,
    CONTROL_KEEP = 0x3f,

    RW_LATCH = 0,
    RW_LSB = 1,
    RW_MSB = 2,
    RW_BOTH = 3,

    SC_READ_BACK = 3,
    READ_BACK_NO_STATUS = BIT(4),
    READ_BACK_NO_COUNT = BIT(5),

    STATUS_NULL = BIT(6),
    STATUS_OUT = BIT(7),
};

#define MIN_EVENT_NS 10000u
#define TICK_COUNT_MIN 119u       /* ticks of up to 10 kHz are made up for ... */
#define TICK_MISSED_NS NS_PER_SEC /* ... if they are not older */
#define TICK_PACE 8u

/* ---- time ---- */

static s64 ns_to_tick(u64 ns)
{
    return (s64)muldiv(ns, I8254_HZ, NS_PER_SEC);
}

static s64 tick_now(const struct i8254_counter *c)
{
    return ns_to_tick(clock_now(c->chip->clock));
}

/* The first nanosecond that belongs to `tick`. */
static u64 tick_to_ns(s64 tick)
{
    return tick <= 0 ? 0 : (u64)(((u128)tick * NS_PER_SEC + I8254_HZ - 1) / I8254_HZ);
}

static unsigned mode_of(const struct i8254_counter *c)
{
    unsigned m = (c->control >> CONTROL_MODE_SHIFT) & 7;
    return m >= 6 ? m - 4 : m; /* the top bit does not matter for modes 2 and 3 */
}

static unsigned rw_of(const struct i8254_counter *c)
{
    return (c->control >> CONTROL_RW_SHIFT) & 3;
}

/* The count that a written 16-bit value stands for; zero is the largest. */
static u32 decode_count(const struct i8254_counter *c, u16 v)
{
    if (!(c->control & CONTROL_BCD))
        return v ? v : 0x10000;
    u32 n = (v >> 12) * 1000u + ((v >> 8) & 15) * 100u + ((v >> 4) & 15) * 10u + (v & 15);
    return n ? n : 10000;
}

static u16 encode_count(const struct i8254_counter *c, s64 v)
{
    if (!(c->control & CONTROL_BCD))
        return (u16)v;
    s64 n = v % 10000;
    if (n < 0)
        n += 10000;
    return (u16)(n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10);
}

static bool running(const struct i8254_counter *c)
{
    switch (mode_of(c)) {
    case 1:
    case 5: return c->armed && c->triggered;
    default: return c->armed && c->gate;
    }
}

/* Ticks counted since the load, -1 when the load is still to come. */
static s64 elapsed(const struct i8254_counter *c, s64 tick)
{
    return running(c) ? tick - c->start : c->frozen;
}

static bool periodic(const struct i8254_counter *c)
{
    return mode_of(c) == 2 || mode_of(c) == 3;
}

/* Mode 3: ticks for which OUT is high, (N + 1) / 2. */
static s64 high_ticks(u32 count)
{
    return (count + 1) / 2;
}

/* Ticks from the load to the first point after `d` at which a new count may be taken. */
static s64 period_end(const struct i8254_counter *c, s64 d)
{
    s64 n = c->count, pos = d % n;
    if (mode_of(c) == 3 && pos < high_ticks(c->count))
        return d - pos + high_ticks(c->count);
    return d - pos + n;
}

/* Takes a count written during a period once that period (mode 3: half of it) has ended. */
static void sync(struct i8254_counter *c, s64 tick)
{
    if (!c->pending || !running(c) || tick < c->start)
        return;
    s64 end = c->start + period_end(c, c->pending_at > c->start ? c->pending_at - c->start : 0);
    if (tick < end)
        return;
    bool half = mode_of(c) == 3 && (end - c->start) % c->count != 0;
    c->count = decode_count(c, c->reload);
    c->start = half ? end - high_ticks(c->count) : end;
    if (half)
        c->rise = c->start;
    c->pending = 0;
}

/* ---- OUT ---- */

static bool out_at(const struct i8254_counter *c, s64 d)
{
    s64 n = c->count;

    if (!c->armed)
        return mode_of(c) != 0;
    switch (mode_of(c)) {
    case 0: return d >= n;
    case 1: return !c->triggered || d < 0 || d >= n;
    case 2: return !c->gate || d < 0 || n == 1 || d % n != n - 1;
    case 3: return !c->gate || d < 0 || n == 1 || d % n < high_ticks(c->count);
    default: return !running(c) || d != n;
    }
}

/* The tick count after `d` at which OUT next rises or falls as the pin sees it, or -1. */
static s64 next_edge(const struct i8254_counter *c, s64 d)
{
    s64 n = c->count;

    if (!running(c))
        return -1;
    switch (mode_of(c)) {
    case 0: return d < n ? n : -1;
    case 1: return d < 0 ? 0 : d < n ? n : -1;
    case 2:
    case 3:
        if (n == 1)
            return c->pending ? d + 1 : -1;
        if (d < 0)
            return mode_of(c) == 3 ? high_ticks(c->count) : n;
        return mode_of(c) == 3 ? period_end(c, d) : d - d % n + n;
    default: return d < n + 1 ? n + 1 : -1;
    }
}

static void drive(struct i8254_counter *c, bool level)
{
    if (c->pin_level == level)
        return;
    c->pin_level = level;
    pin_set(c->pin, level);
}

static void arm(struct i8254_counter *c, s64 tick)
{
    s64 next = c->pin->fn ? next_edge(c, elapsed(c, tick)) : -1;
    if (next < 0) {
        timer_cancel(&c->timer);
        return;
    }
    u64 when = tick_to_ns(c->start + next);
    u64 soonest = clock_now(c->chip->clock) + MIN_EVENT_NS;
    /* Only a free-running counter can flood; what software starts each time is left exact. */
    timer_arm(&c->timer, periodic(c) && c->count < 32 && when < soonest ? soonest : when);
}

/* Brings the pin and the timer in line with the counter after a change at `tick`. */
static void refresh(struct i8254_counter *c, s64 tick)
{
    drive(c, out_at(c, elapsed(c, tick)));
    arm(c, tick);
}

/* ---- ticks that the host has held up ---- */

static bool keeps_ticks(const struct i8254_counter *c)
{
    return c == &c->chip->counter[0] && c->chip->config.tick && periodic(c) && running(c) &&
           c->count >= TICK_COUNT_MIN;
}

/* What has become of a rise after so many ticks. */
static enum i8254_tick fate(const struct i8254_counter *c, s64 ticks)
{
    return c->chip->config.tick(c->chip->config.tick_opaque, tick_to_ns(ticks));
}

static void forget_ticks(struct i8254_counter *c)
{
    c->missed = 0;
    timer_cancel(&c->chip->again);
}

static void rise(struct i8254_counter *c)
{
    drive(c, false);
    drive(c, true);
    c->delivered = clock_now(c->chip->clock);
}

/* OUT as it is, but while an interrupt is held up it must not fall: that would withdraw it. */
static void settle(struct i8254_counter *c, s64 tick)
{
    bool level = out_at(c, elapsed(c, tick));
    if (level || fate(c, high_ticks(c->count)) != I8254_TICK_HELD_UP)
        drive(c, level);
}

/* Rises of OUT after c->rise and up to `tick`; where a period starts there is one. */
static s64 fresh_rises(const struct i8254_counter *c, s64 tick)
{
    if (tick < c->start)
        return 0;
    s64 now = (tick - c->start) / c->count;
    return c->rise < c->start ? now + 1 : now - (c->rise - c->start) / c->count;
}

static void tick_due(struct i8254_counter *c, s64 tick)
{
    s64 fresh = fresh_rises(c, tick);
    if (fresh > 0) {
        enum i8254_tick last = fate(c, c->count);
        u64 most = TICK_MISSED_NS / tick_to_ns(c->count);
        u64 missed = c->missed + (u64)fresh - (last != I8254_TICK_HELD_UP);
        c->rise = tick - (tick - c->start) % c->count;
        if (last == I8254_TICK_UNHEARD)
            forget_ticks(c);
        else
            c->missed = (u32)(missed < most ? missed : most);
        if (last != I8254_TICK_HELD_UP)
            rise(c);
    }
    settle(c, tick);
}

/* Another one, if the last was taken and is not too recent. */
static void deliver_missed(struct i8254_counter *c)
{
    s64 tick = tick_now(c);
    sync(c, tick);
    if (!keeps_ticks(c) || fate(c, c->count) == I8254_TICK_UNHEARD) {
        forget_ticks(c);
        return;
    }
    if (fate(c, c->count) == I8254_TICK_HELD_UP)
        return;
    u64 soonest = c->delivered + tick_to_ns(c->count) / TICK_PACE;
    if (c->missed && clock_now(c->chip->clock) < soonest) {
        timer_arm(&c->chip->again, soonest);
    } else if (c->missed) {
        c->missed--;
        rise(c);
    }
    settle(c, tick);
}

static void on_again(void *opaque)
{
    deliver_missed(&((struct i8254 *)opaque)->counter[0]);
}

void i8254_taken(struct i8254 *s)
{
    struct i8254_counter *c = &s->counter[0];
    if (keeps_ticks(c) && (c->missed || c->pin_level != out_at(c, elapsed(c, tick_now(c)))))
        deliver_missed(c);
}

static void on_timer(void *opaque)
{
    struct i8254_counter *c = opaque;
    s64 tick = tick_now(c);
    unsigned mode = mode_of(c);

    sync(c, tick);
    if (keeps_ticks(c)) {
        tick_due(c, tick);
        arm(c, tick);
        return;
    }
    s64 d = elapsed(c, tick);
    /* Mode 3 with both edges gone by since the last event: the far side must see one of them. */
    if (mode == 3 && out_at(c, d) == c->pin_level && c->count > 1)
        drive(c, !c->pin_level);
    if (mode == 2 || mode >= 4)
        drive(c, false);
    refresh(c, tick);
}

/* ---- reset ---- */

static void reset(void *opaque)
{
    struct i8254 *s = opaque;
    /* The state after power-up is undefined; idle in mode 3 serves the PC. */
    timer_cancel(&s->again);
    for (unsigned i = 0; i < 3; i++) {
        struct i8254_counter *c = &s->counter[i];
        timer_cancel(&c->timer);
        c->control = RW_BOTH << CONTROL_RW_SHIFT | 3 << CONTROL_MODE_SHIFT;
        c->armed = c->triggered = c->pending = 0;
        c->write_msb = c->read_msb = c->write_lsb = 0;
        c->latched = c->status_latched = c->status = 0;
        c->latch = c->reload = 0;
        c->count = 0x10000;
        c->start = c->frozen = c->pending_at = c->rise = 0;
        c->missed = 0;
        c->delivered = 0;
        refresh(c, tick_now(c));
    }
}

/* ---- read ---- */

/* The counting element at this instant, in the coding that is read. */
static u16 current_count(struct i8254_counter *c, s64 tick)
{
    s64 n = c->count, d = elapsed(c, tick);

    if (!c->armed)
        return c->reload;
    if (d < 0)
        d = 0;
    switch (mode_of(c)) {
    case 1:
    case 5:
        if (!c->triggered)
            return c->reload;
        break;
    case 2: return encode_count(c, n - d % n);
    case 3: {
        /* Counts down by two, an odd N from N - 1 (figure 17). */
        s64 pos = d % n, high = high_ticks(c->count);
        return encode_count(c, (n & ~1ll) - 2 * (pos < high ? pos : pos - high));
    }
    default: break;
    }
    return encode_count(c, n - d);
}

static u8 current_status(struct i8254_counter *c, s64 tick)
{
    s64 d = elapsed(c, tick);
    bool waits = (mode_of(c) == 1 || mode_of(c) == 5) && !c->triggered;
    bool null = !c->armed || c->pending || waits || d < 0;
    return c->control | (null ? STATUS_NULL : 0) | (out_at(c, d) ? STATUS_OUT : 0);
}

static void latch_count(struct i8254_counter *c, s64 tick)
{
    /* Counter latch command: a latched count stays until it has been read; a second latch command
     * before that does nothing. */
    if (c->latched)
        return;
    c->latch = current_count(c, tick);
    c->latched = rw_of(c) == RW_BOTH ? 2 : 1;
    if (rw_of(c) == RW_MSB)
        c->latch >>= 8;
}

static u64 read_port(void *opaque, u64 offset, unsigned size)
{
    struct i8254 *s = opaque;
    if (offset >= PORT_CONTROL)
        return 0xff; /* no operation: the data bus floats */

    struct i8254_counter *c = &s->counter[offset];
    s64 tick = tick_now(c);
    sync(c, tick);
    if (c->status_latched) {
        c->status_latched = 0;
        return c->status;
    }
    if (c->latched) {
        u8 value = (u8)c->latch;
        c->latch >>= 8;
        c->latched--;
        return value;
    }
    u16 count = current_count(c, tick);
    switch (rw_of(c)) {
    case RW_LSB: return count & 0xff;
    case RW_MSB: return count >> 8;
    default: c->read_msb = !c->read_msb; return c->read_msb ? count & 0xff : count >> 8;
    }
}

bool i8254_out(struct i8254 *s, unsigned n)
{
    struct i8254_counter *c = &s->counter[n];
    s64 tick = tick_now(c);
    sync(c, tick);
    return out_at(c, elapsed(c, tick));
}

bool i8254_out_at(const struct i8254 *s, unsigned n, u64 ns)
{
    struct i8254_counter copy = s->counter[n];
    s64 tick = ns_to_tick(ns);
    sync(&copy, tick);
    return out_at(&copy, elapsed(&copy, tick));
}

/* ---- write ---- */

static void about_to_change(const struct i8254_counter *c)
{
    if (c == &c->chip->counter[2] && c->chip->config.before2)
        c->chip->config.before2(c->chip->config.before2_opaque);
}

/* A whole count has been written at `tick`. */
static void load_count(struct i8254_counter *c, s64 tick, u16 value)
{
    unsigned mode = mode_of(c);
    bool first = !c->armed;

    c->reload = value;
    c->armed = 1;
    if (mode == 1 || mode == 5)
        return; /* taken at the next trigger */
    if (periodic(c) && !first && c->gate && tick >= c->start) {
        /* Taken at the end of the period in which it was written first. */
        if (!c->pending)
            c->pending_at = tick;
        c->pending = 1;
        arm(c, tick);
        return;
    }
    c->count = decode_count(c, value);
    c->start = c->rise = tick + 1;
    c->frozen = c->gate ? -1 : 0;
    c->pending = 0;
    refresh(c, tick);
}

static void write_count(struct i8254_counter *c, u8 value)
{
    s64 tick = tick_now(c);
    about_to_change(c);
    sync(c, tick);
    switch (rw_of(c)) {
    case RW_LSB: load_count(c, tick, value); break;
    case RW_MSB: load_count(c, tick, (u16)(value << 8)); break;
    default:
        if (c->write_msb) {
            c->write_msb = 0;
            load_count(c, tick, (u16)(value << 8 | c->write_lsb));
            break;
        }
        c->write_msb = 1;
        c->write_lsb = value;
        if (mode_of(c) == 0) {
            /* Mode 0: the first byte stops the counter, and OUT falls at once. */
            c->armed = 0;
            refresh(c, tick);
        }
        break;
    }
}

static void write_control(struct i8254_counter *c, u8 value)
{
    s64 tick = tick_now(c);
    sync(c, tick);
    if (((value >> CONTROL_RW_SHIFT) & 3) == RW_LATCH) {
        latch_count(c, tick);
        return;
    }
    about_to_change(c);
    c->control = value & CONTROL_KEEP;
    c->armed = c->triggered = c->pending = 0;
    c->write_msb = c->read_msb = 0;
    c->latched = c->status_latched = 0;
    c->frozen = 0;
    if (c == c->chip->counter)
        forget_ticks(c);
    refresh(c, tick);
}

static void read_back(struct i8254 *s, u8 value)
{
    for (unsigned i = 0; i < 3; i++) {
        struct i8254_counter *c = &s->counter[i];
        if (!(value & BIT(i + 1)))
            continue;
        s64 tick = tick_now(c);
        sync(c, tick);
        if (!(value & READ_BACK_NO_COUNT))
            latch_count(c, tick);
        if (!(value & READ_BACK_NO_STATUS) && !c->status_latched) {
            c->status = current_status(c, tick);
            c->status_latched = 1;
        }
    }
}

static void write_port(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct i8254 *s = opaque;
    unsigned select = ((u8)value >> CONTROL_SC_SHIFT) & 3;

    if (offset < PORT_CONTROL)
        write_count(&s->counter[offset], (u8)value);
    else if (select == SC_READ_BACK)
        read_back(s, (u8)value);
    else
        write_control(&s->counter[select], (u8)value);
}

/* ---- gate ---- */

static void gate_rises(struct i8254_counter *c, s64 tick)
{
    switch (mode_of(c)) {
    case 1:
    case 5: /* trigger: load on the next CLK pulse */
        c->triggered = c->armed;
        c->count = decode_count(c, c->reload);
        c->start = tick + 1;
        break;
    case 2:
    case 3: /* reloaded on the next CLK pulse, which synchronises the counter */
        c->count = decode_count(c, c->reload);
        c->start = c->rise = tick + 1;
        c->pending = 0;
        break;
    default: c->start = tick - c->frozen; break; /* goes on where it stood */
    }
}

void i8254_set_gate(void *opaque, unsigned n, bool level)
{
    struct i8254 *s = opaque;
    struct i8254_counter *c = &s->counter[n < 3 ? n : 0];
    s64 tick = tick_now(c);

    if (n >= 3 || c->gate == level)
        return;
    about_to_change(c);
    sync(c, tick);
    if (!level)
        c->frozen = elapsed(c, tick);
    c->gate = level;
    if (level)
        gate_rises(c, tick);
    refresh(c, tick);
}

void i8254_init(struct i8254 *s, struct bus *bus, struct clock *clock,
                const struct i8254_config *config)
{
    static const struct bus_ops ops = {read_port, write_port, 1, 1};

    memset(s, 0, sizeof *s);
    s->config = *config;
    s->clock = clock;
    timer_init(&s->again, clock, on_again, s);
    for (unsigned i = 0; i < 3; i++) {
        struct i8254_counter *c = &s->counter[i];
        c->chip = s;
        c->pin = &s->config.out[i];
        c->gate = 1;
        timer_init(&c->timer, clock, on_timer, c);
    }
    bus_map_ports(bus, "i8254", config->port, 4, &ops, s);
    reset(s);
}

/* ---- state ---- */

static void loaded(void *opaque)
{
    struct i8254 *s = opaque;
    for (unsigned i = 0; i < 3; i++) {
        struct i8254_counter *c = &s->counter[i];
        if (!c->count || c->count > 0x10000)
            c->count = 0x10000;
        if (c->latched > 2)
            c->latched = 2;
        pin_set(c->pin, c->pin_level);
    }
}

#define COUNTER_FIELDS(i)                                                                          \
    FIELD(struct i8254, counter[i].control), FIELD(struct i8254, counter[i].gate),                 \
        FIELD(struct i8254, counter[i].pin_level), FIELD(struct i8254, counter[i].armed),          \
        FIELD(struct i8254, counter[i].triggered), FIELD(struct i8254, counter[i].pending),        \
        FIELD(struct i8254, counter[i].write_msb), FIELD(struct i8254, counter[i].read_msb),       \
        FIELD(struct i8254, counter[i].write_lsb), FIELD(struct i8254, counter[i].latched),        \
        FIELD(struct i8254, counter[i].status_latched), FIELD(struct i8254, counter[i].status),    \
        FIELD(struct i8254, counter[i].latch), FIELD(struct i8254, counter[i].reload),             \
        FIELD(struct i8254, counter[i].count), FIELD(struct i8254, counter[i].start),              \
        FIELD(struct i8254, counter[i].frozen), FIELD(struct i8254, counter[i].pending_at),        \
        FIELD(struct i8254, counter[i].rise), FIELD(struct i8254, counter[i].delivered),           \
        FIELD(struct i8254, counter[i].missed), FIELD_TIMER(struct i8254, counter[i].timer)

static const struct field fields[] = {COUNTER_FIELDS(0), COUNTER_FIELDS(1), COUNTER_FIELDS(2),
                                      FIELD_TIMER(struct i8254, again), FIELD_END};

const struct device_class i8254_class = {
    .name = "i8254",
    .description = "interval timer",
    .reset = reset,
    .fields = fields,
    .loaded = loaded,
};
