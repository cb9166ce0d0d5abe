/* Motorola MC146818A real-time clock with 128 bytes of CMOS memory, as in the PIIX4.
 *
 * Data sheet: Motorola MC146818A (ADI-0856); Intel 82371AB PIIX4 (290562-001), section 11.3, for
 * the ports and the 128 bytes.
 *
 * Byte 0x32 holds the century in the coding of the other registers and is kept up to date, as PC
 * firmware would do it.  Left out: daylight saving (DSE), the square wave, time bases other than
 * 32768 Hz (only the divider's reset states are told apart), battery failure (VRT is always set).
 *
 * The registers are brought up to date when somebody looks, and by a timer only while an interrupt
 * needs one.
 */
#include "devices/mc146818.h"

enum {
    REG_SECONDS = 0x00,
    REG_SECONDS_ALARM = 0x01,
    REG_MINUTES = 0x02,
    REG_MINUTES_ALARM = 0x03,
    REG_HOURS = 0x04,
    REG_HOURS_ALARM = 0x05,
    REG_WEEKDAY = 0x06,
    REG_DAY = 0x07,
    REG_MONTH = 0x08,
    REG_YEAR = 0x09,
    REG_A = 0x0a,
    REG_B = 0x0b,
    REG_C = 0x0c,
    REG_D = 0x0d,
    REG_CENTURY = 0x32,

    A_RATE = 0x0f,
    A_DIVIDER = 0x70,
    A_DIVIDER_RESET = 0x60, /* 11x */
    A_UIP = BIT(7),

    B_24_HOURS = BIT(1),
    B_BINARY = BIT(2),
    B_SQWE = BIT(3),
    B_UIE = BIT(4),
    B_AIE = BIT(5),
    B_PIE = BIT(6),
    B_SET = BIT(7),

    C_UF = BIT(4),
    C_AF = BIT(5),
    C_PF = BIT(6),
    C_IRQF = BIT(7),

    D_VRT = BIT(7),

    HOURS_PM = BIT(7),
    ALARM_ANY = 0xc0, /* alarm bytes of 11xxxxxx match everything */

    INDEX_MASK = 0x7f,
    INDEX_NMI = BIT(7),
};

#define CRYSTAL_HZ 32768u
/* Table 5, 32.768 kHz: UIP rises tBUC = 244 us before an update that takes tUC = 1984 us. */
#define UIP_NS (244000u + 1984000u)
#define SECONDS_PER_DAY 86400

/* ---- calendar ---- */

struct date {
    s64 year; /* with century */
    unsigned month, day;
};

/* Days from 1970-01-01 to the date (proleptic Gregorian), counted in years that start in March, so
 * that the leap day is the last of its year. */
static s64 days_from_date(struct date d)
{
    s64 y = d.month <= 2 ? d.year - 1 : d.year;
    s64 era = (y >= 0 ? y : y - 399) / 400;
    s64 of_era = y - era * 400;
    s64 of_year = (153 * (d.month > 2 ? d.month - 3 : d.month + 9) + 2) / 5 + d.day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static struct date date_from_days(s64 days)
{
    days += 719468;
    s64 era = (days >= 0 ? days : days - 146096) / 146097;
    s64 of_era = days - era * 146097;
    s64 year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    s64 of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned m = (unsigned)((5 * of_year + 2) / 153);
    return (struct date){
        .year = year + era * 400 + (m >= 10),
        .month = m < 10 ? m + 3 : m - 9,
        .day = (unsigned)(of_year - (153 * m + 2) / 5) + 1,
    };
}

static u8 encode(const struct mc146818 *s, unsigned v)
{
    return s->ram[REG_B] & B_BINARY ? (u8)v : (u8)(v / 10 << 4 | v % 10);
}

static unsigned decode(const struct mc146818 *s, u8 v)
{
    return s->ram[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static u8 encode_hours(const struct mc146818 *s, unsigned hours)
{
    if (s->ram[REG_B] & B_24_HOURS)
        return encode(s, hours);
    unsigned h = hours % 12;
    return encode(s, h ? h : 12) | (hours >= 12 ? HOURS_PM : 0);
}

static unsigned decode_hours(const struct mc146818 *s, u8 v)
{
    if (s->ram[REG_B] & B_24_HOURS)
        return decode(s, v);
    return decode(s, v & ~HOURS_PM) % 12 + (v & HOURS_PM ? 12 : 0);
}

/* Seconds since 1970 that the registers show; nonsense in them gives some time, never a fault. */
static s64 get_time(const struct mc146818 *s)
{
    const u8 *r = s->ram;
    struct date d = {
        .year = decode(s, r[REG_CENTURY]) * 100 + decode(s, r[REG_YEAR]),
        .month = decode(s, r[REG_MONTH]),
        .day = decode(s, r[REG_DAY]),
    };
    if (d.month < 1 || d.month > 12)
        d.month = 1;
    return days_from_date(d) * SECONDS_PER_DAY + decode_hours(s, r[REG_HOURS]) * 3600 +
           decode(s, r[REG_MINUTES]) * 60 + decode(s, r[REG_SECONDS]);
}

static void set_time(struct mc146818 *s, s64 t)
{
    s64 days = t / SECONDS_PER_DAY, rest = t % SECONDS_PER_DAY;
    if (rest < 0) {
        rest += SECONDS_PER_DAY;
        days--;
    }
    struct date d = date_from_days(days);
    unsigned century = d.year < 0 ? 0 : (unsigned)(d.year / 100 % 100);
    unsigned year = d.year < 0 ? 0 : (unsigned)(d.year % 100);

    s->ram[REG_SECONDS] = encode(s, (unsigned)(rest % 60));
    s->ram[REG_MINUTES] = encode(s, (unsigned)(rest / 60 % 60));
    s->ram[REG_HOURS] = encode_hours(s, (unsigned)(rest / 3600));
    s->ram[REG_DAY] = encode(s, d.day);
    s->ram[REG_MONTH] = encode(s, d.month);
    s->ram[REG_YEAR] = encode(s, year);
    s->ram[REG_CENTURY] = encode(s, century);
}

/* Lets `n` seconds pass; the weekday is a counter of its own (1 to 7). */
static void advance(struct mc146818 *s, u64 n)
{
    s64 before = get_time(s), after = before + (s64)n;
    s64 days = after / SECONDS_PER_DAY - before / SECONDS_PER_DAY;
    set_time(s, after);
    if (days > 0)
        s->ram[REG_WEEKDAY] = (u8)((s->ram[REG_WEEKDAY] + 6 + days) % 7 + 1);
}

/* ---- divider chain and interrupts ---- */

static bool divider_runs(const struct mc146818 *s)
{
    return (s->ram[REG_A] & A_DIVIDER_RESET) != A_DIVIDER_RESET;
}

/* Nanoseconds since the divider chain stood at zero. */
static u64 divider_ns(const struct mc146818 *s)
{
    return (u64)((s64)clock_now(s->clock) - s->divider);
}

/* Crystal periods between two periodic interrupts, 0 for none (table 5). */
static unsigned periodic_ticks(const struct mc146818 *s)
{
    unsigned rate = s->ram[REG_A] & A_RATE;
    if (rate == 0)
        return 0;
    return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

static u64 periods_passed(const struct mc146818 *s)
{
    return muldiv(divider_ns(s), CRYSTAL_HZ, NS_PER_SEC) / periodic_ticks(s);
}

static void update_irq(struct mc146818 *s)
{
    bool irq = s->ram[REG_B] & s->ram[REG_C] & (C_PF | C_AF | C_UF);
    s->ram[REG_C] = (s->ram[REG_C] & ~C_IRQF) | (irq ? C_IRQF : 0);
    pin_set(&s->config.irq, irq);
}

static bool alarm_matches(const u8 *ram)
{
    for (unsigned r = REG_SECONDS; r <= REG_HOURS; r += 2) {
        u8 alarm = ram[r + 1];
        if ((alarm & ALARM_ANY) != ALARM_ANY && alarm != ram[r])
            return false;
    }
    return true;
}

/* Takes `n` updates into account.  The alarm knows only the time of day, so that one day's worth of
 * looking suffices, however long nobody asked. */
static void run_updates(struct mc146818 *s, u64 n)
{
    s->ram[REG_C] |= C_UF;
    if (s->ram[REG_C] & C_AF) {
        advance(s, n);
        return;
    }
    if (n > SECONDS_PER_DAY) {
        advance(s, n - SECONDS_PER_DAY);
        n = SECONDS_PER_DAY;
    }
    for (; n; n--) {
        advance(s, 1);
        if (alarm_matches(s->ram)) {
            s->ram[REG_C] |= C_AF;
            advance(s, n - 1);
            return;
        }
    }
}

/* Brings registers and flags up to the present. */
static void sync(struct mc146818 *s)
{
    if (!divider_runs(s))
        return;
    u64 seconds = divider_ns(s) / NS_PER_SEC;
    u64 passed = seconds - s->seconds;
    if ((s64)passed > 0) {
        s->seconds = seconds;
        if (!(s->ram[REG_B] & B_SET))
            run_updates(s, passed);
    }
    if (periodic_ticks(s)) {
        u64 ticks = periods_passed(s);
        if (ticks != s->ticks)
            s->ram[REG_C] |= C_PF;
        s->ticks = ticks;
    }
    update_irq(s);
}

/* Arms the timers for the interrupts that are enabled and whose flag is not yet up. */
static void arm(struct mc146818 *s)
{
    u8 wanted = s->ram[REG_B] & ~s->ram[REG_C];
    u64 update = CLOCK_NEVER, period = CLOCK_NEVER;

    if (divider_runs(s)) {
        if ((wanted & (B_UIE | B_AIE)) && !(s->ram[REG_B] & B_SET))
            update = (u64)(s->divider + (s64)((s->seconds + 1) * NS_PER_SEC));
        if ((wanted & B_PIE) && periodic_ticks(s)) {
            u128 next = (u128)(s->ticks + 1) * periodic_ticks(s);
            period = (u64)(s->divider + (s64)((next * NS_PER_SEC + CRYSTAL_HZ - 1) / CRYSTAL_HZ));
        }
    }
    timer_arm(&s->update_timer, update);
    timer_arm(&s->periodic_timer, period);
}

static void on_timer(void *opaque)
{
    struct mc146818 *s = opaque;
    sync(s);
    arm(s);
}

/* ---- reset ---- */

static void reset(void *opaque)
{
    struct mc146818 *s = opaque;
    /* The RESET pin leaves clock, calendar and memory alone. */
    sync(s);
    s->ram[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
    s->ram[REG_C] = 0;
    s->index = 0;
    s->nmi_masked = 0;
    pin_set(&s->config.nmi_mask, false);
    update_irq(s);
    arm(s);
}

/* ---- read ---- */

static bool update_in_progress(const struct mc146818 *s)
{
    if (!divider_runs(s) || (s->ram[REG_B] & B_SET))
        return false;
    return divider_ns(s) % NS_PER_SEC >= NS_PER_SEC - UIP_NS;
}

static u64 read_port(void *opaque, u64 offset, unsigned size)
{
    struct mc146818 *s = opaque;
    u8 value;

    if (offset == 0)
        return 0xff; /* the index is write-only */
    sync(s);
    value = s->ram[s->index];
    switch (s->index) {
    case REG_A: return value | (update_in_progress(s) ? A_UIP : 0);
    case REG_C:
        s->ram[REG_C] = 0;
        update_irq(s);
        arm(s);
        return value;
    case REG_D: return D_VRT;
    default: return value;
    }
}

u8 mc146818_get_cmos(const struct mc146818 *s, unsigned index)
{
    return s->ram[index & INDEX_MASK];
}

/* ---- write ---- */

static void write_reg_a(struct mc146818 *s, u8 value)
{
    bool ran = divider_runs(s);
    s->ram[REG_A] = value & ~A_UIP;
    if (!ran && divider_runs(s)) {
        /* Divider control: the first update comes half a second after the reset ends. */
        s->divider = (s64)clock_now(s->clock) - (s64)(NS_PER_SEC / 2);
        s->seconds = 0;
    }
    s->ticks = divider_runs(s) && periodic_ticks(s) ? periods_passed(s) : 0;
}

static void write_reg_b(struct mc146818 *s, u8 value)
{
    if (value & B_SET)
        value &= ~B_UIE; /* SET going high clears UIE (register B, bit 4) */
    s->ram[REG_B] = value;
    update_irq(s);
}

static void write_port(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct mc146818 *s = opaque;

    if (offset == 0) {
        s->index = value & INDEX_MASK;
        s->nmi_masked = (value & INDEX_NMI) != 0;
        pin_set(&s->config.nmi_mask, s->nmi_masked);
        return;
    }
    sync(s);
    switch (s->index) {
    case REG_A: write_reg_a(s, (u8)value); break;
    case REG_B: write_reg_b(s, (u8)value); break;
    case REG_C:
    case REG_D: break; /* read-only */
    default: s->ram[s->index] = (u8)value; break;
    }
    arm(s);
}

void mc146818_set_cmos(struct mc146818 *s, unsigned index, u8 value)
{
    if (index > REG_D && index < MC146818_BYTES)
        s->ram[index] = value;
}

/* ---- set-up ---- */

void mc146818_init(struct mc146818 *s, struct bus *bus, struct clock *clock,
                   const struct mc146818_config *config)
{
    static const struct bus_ops ops = {read_port, write_port, 1, 1};
    /* What fits a century byte and a year byte, so that a wild epoch cannot overflow. */
    const s64 last = 253402300799ll; /* 9999-12-31 23:59:59 */
    s64 epoch = config->epoch < 0 ? 0 : config->epoch > last ? last : config->epoch;

    memset(s, 0, sizeof *s);
    s->config = *config;
    s->clock = clock;
    timer_init(&s->update_timer, clock, on_timer, s);
    timer_init(&s->periodic_timer, clock, on_timer, s);
    s->ram[REG_A] = 0x26; /* 32768 Hz, periodic rate 1024 Hz: what PC firmware sets */
    s->ram[REG_B] = B_24_HOURS;
    s->divider = (s64)clock_now(clock);
    set_time(s, epoch);
    /* 1970 began on a Thursday, day 5. */
    s->ram[REG_WEEKDAY] = (u8)((epoch / SECONDS_PER_DAY + 4) % 7 + 1);
    bus_map_ports(bus, "mc146818", config->port, 2, &ops, s);
    reset(s);
}

/* ---- state ---- */

static void loaded(void *opaque)
{
    struct mc146818 *s = opaque;
    s->index &= INDEX_MASK;
    pin_set(&s->config.nmi_mask, s->nmi_masked);
    pin_set(&s->config.irq, s->ram[REG_C] & C_IRQF);
}

static const struct field fields[] = {
    FIELD_ARRAY(struct mc146818, ram),          FIELD(struct mc146818, index),
    FIELD(struct mc146818, nmi_masked),         FIELD(struct mc146818, divider),
    FIELD(struct mc146818, seconds),            FIELD(struct mc146818, ticks),
    FIELD_TIMER(struct mc146818, update_timer), FIELD_TIMER(struct mc146818, periodic_timer),
    FIELD_END};

const struct device_class mc146818_class = {
    .name = "mc146818",
    .description = "real-time clock and CMOS memory",
    .reset = reset,
    .fields = fields,
    .loaded = loaded,
};
