/* State of the interrupt and timer chips survives save and load (docs/devices.md);
 * test_roundtrip_io.c does the same for the I/O chips.
 *
 * A chip is stirred by random accesses, pin changes and steps of the clock; its fields are saved,
 * loaded into a fresh chip on another bus at the same virtual time, and saved again: they must be
 * equal.  Then both get the same further accesses: what they answer, what they do to their pins and
 * when, and what they hold must stay equal, which shows that the table has left nothing out.
 *
 * One row per chip in rows[]; a row needs a make function and the places to stir.
 */
#include "devices/acpi_pm.h"
#include "devices/hpet.h"
#include "devices/i8254.h"
#include "devices/i8259.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/mc146818.h"
#include "devices/port61.h"
#include "tests/device/rig.h"
#include "tests/suite.h"

#define SEEDS 200
#define STEPS 300

/* Where a row is stirred: `count` ports, or bytes of memory space. */
enum place_kind { PLACE_NONE, PLACE_PORTS, PLACE_MEMORY };

struct place {
    enum place_kind kind;
    u64 base;
    u32 count;
    u8 size;   /* access size, 0: any of 1, 2, 4 */
    u32 never; /* bits that are not written */
};

/* What a chip has done to the outside, as a hash; and how its pins stand. */
struct trace {
    struct clock *clock;
    u64 hash;
    bool level[128];
};

struct specimen {
    struct rig rig;
    struct trace trace;
    void *state;
    void *extra; /* other things that make needed; freed with it */
};

struct row {
    const struct device_class *class;
    void (*make)(struct specimen *s); /* state and extra from calloc */
    struct place place[4];
    /* Pin n (below pins) of the chip changes; may be NULL. */
    void (*input)(struct specimen *s, unsigned n, bool level);
    unsigned pins;
    u64 max_step; /* ns; 0 takes 3 ms */
};

static void *need(size_t size)
{
    void *p = calloc(1, size);
    ck_assert_ptr_nonnull(p);
    return p;
}

static void note(struct trace *t, u64 what)
{
    /* FNV-1a over 64-bit items */
    t->hash = (t->hash ^ what) * 0x100000001b3ull;
    t->hash = (t->hash ^ clock_now(t->clock)) * 0x100000001b3ull;
}

static void note_pin(void *opaque, unsigned n, bool level)
{
    struct trace *t = opaque;
    t->level[n] = level;
    note(t, n << 1 | level);
}

/* An output pin that is watched; n tells the chip's pins apart. */
static struct pin wire(struct specimen *s, unsigned n)
{
    return (struct pin){note_pin, &s->trace, n};
}

/* ---- rows ---- */

static void make_i8259(struct specimen *s)
{
    s->state = need(sizeof(struct i8259));
    i8259_init(s->state, s->rig.bus, &(struct i8259_config){.port = 0x20, .elcr_port = 0x4d0,
                                                            .elcr_mask = 0xf8, .master = true,
                                                            .intr = wire(s, 0)});
}

/* A chip without ELCR, with a slave at IR5. */
static void make_i8259_modes(struct specimen *s)
{
    s->state = need(sizeof(struct i8259));
    struct i8259 *slave = s->extra = need(sizeof *slave);
    i8259_init(slave, s->rig.bus, &(struct i8259_config){.port = 0xa0});
    i8259_init(s->state, s->rig.bus,
               &(struct i8259_config){.port = 0x20, .master = true, .intr = wire(s, 0)});
    i8259_cascade(s->state, 5, slave);
}

/* Pins 0 to 7 are the inputs, the others INTA cycles. */
static void i8259_input(struct specimen *s, unsigned n, bool level)
{
    if (n < 8)
        i8259_set_irq(s->state, n, level);
    else
        note(&s->trace, i8259_ack(s->state));
}

/* The same; pin 12 initialises in one of two ways, as ports that are stirred hardly ever do. */
static void i8259_modes_input(struct specimen *s, unsigned n, bool level)
{
    const u8 icw[] = {0x08, level ? 0xff : 0x21, 0x11 | level << 1};
    if (n < 12) {
        i8259_input(s, n, level);
        return;
    }
    out8(&s->rig, 0x20, 0x11 | level << 3);
    for (unsigned i = 0; i < ARRAY_SIZE(icw); i++)
        out8(&s->rig, 0x21, icw[i]);
}

static void i8254_input(struct specimen *s, unsigned n, bool level)
{
    i8254_set_gate(s->state, n, level);
}

static void make_i8254(struct specimen *s)
{
    s->state = need(sizeof(struct i8254));
    i8254_init(s->state, s->rig.bus, &s->rig.clock,
               &(struct i8254_config){.port = 0x40, .out = {wire(s, 0), {0}, wire(s, 2)}});
}

static void make_port61(struct specimen *s)
{
    s->state = need(sizeof(struct port61));
    port61_init(s->state, s->rig.bus, &s->rig.clock,
                &(struct port61_config){.gate2 = wire(s, 0), .speaker = wire(s, 1)});
}

static void make_mc146818(struct specimen *s)
{
    s->state = need(sizeof(struct mc146818));
    mc146818_init(s->state, s->rig.bus, &s->rig.clock,
                  &(struct mc146818_config){.port = 0x70, .epoch = 1700000000, .irq = wire(s, 0),
                                            .nmi_mask = wire(s, 1)});
}

/* Goes straight to the clock's registers, which are few among the 128 bytes. */
static void mc146818_input(struct specimen *s, unsigned n, bool level)
{
    if (n < 14) {
        out8(&s->rig, 0x70, n | level << 7);
        return;
    }
    /* Periodic interrupts, flags cleared. */
    out8(&s->rig, 0x70, 0x0b);
    out8(&s->rig, 0x71, 0x42);
    out8(&s->rig, 0x70, 0x0c);
    in8(&s->rig, 0x71);
}

static void make_hpet(struct specimen *s)
{
    s->state = need(sizeof(struct hpet));
    struct hpet_config config = {.base = 0xfed00000, .route_mask = 0xff0104, .legacy = wire(s, 99)};
    for (unsigned i = 0; i < HPET_ROUTES; i++)
        config.irq[i] = wire(s, i);
    for (unsigned i = 0; i < 2; i++)
        config.legacy_irq[i] = wire(s, 50 + i);
    hpet_init(s->state, s->rig.bus, &s->rig.clock, &config);
}

/* Sensible programming of timer n % 3: periodic, and level-triggered or not. */
static void hpet_input(struct specimen *s, unsigned n, bool level)
{
    u64 timer = 0xfed00100 + n % 3 * 0x20;
    bus_write(s->rig.bus, 0, timer, 16 << 9 | 0x4c | level << 1, 4);
    bus_write(s->rig.bus, 0, timer + 8, bus_read(s->rig.bus, 0, 0xfed000f0, 8) + 1000 * n, 8);
    bus_write(s->rig.bus, 0, timer + 8, 5000 * n, 8);
    bus_write(s->rig.bus, 0, 0xfed00010, 1, 4);
}

static bool take(void *opaque, const struct apic_msg *msg)
{
    note(opaque, msg->dest ^ (u64)msg->vector << 32 ^ (u64)msg->mode << 40 ^ (u64)msg->level << 48);
    return true;
}

/* Pins 24 and up are EOI messages. */
static void ioapic_input(struct specimen *s, unsigned n, bool level)
{
    if (n < IOAPIC_PINS)
        ioapic_set_irq(s->state, n, level);
    else
        ioapic_eoi(s->state, (u8)n);
}

static void make_ioapic(struct specimen *s)
{
    s->state = need(sizeof(struct ioapic));
    ioapic_init(s->state, s->rig.bus,
                &(struct ioapic_config){.base = 0xfec00000, .version = 0x20, .send = take,
                                        .opaque = &s->trace});
}

static void make_lapic(struct specimen *s)
{
    struct lapic_bus *b = s->extra = need(sizeof *b);
    s->state = need(sizeof(struct lapic));
    lapic_bus_init(b, NULL, NULL);
    lapic_init(s->state, b, &s->rig.clock,
               &(struct lapic_config){.bsp = true, .x2apic = true, .phys_bits = 40,
                                      .tsc_khz = 1000000, .intr = wire(s, 0), .nmi = wire(s, 1),
                                      .init = wire(s, 2), .smi = wire(s, 3)});
    lapic_bus_map(b, s->rig.bus);
    /* Software-enabled, so that most of what is written has an effect. */
    bus_write(s->rig.bus, 0, LAPIC_BASE + 0xf0, 0x1ff, 4);
}

/* Pins 0 and 1 are LINT0 and LINT1; the others are the CPU and the APIC bus at work. */
static void lapic_input(struct specimen *specimen, unsigned n, bool level)
{
    struct lapic *s = specimen->state;
    u8 vector = (u8)(n * 37 + 16);
    u64 value = 0;
    if (n < 2)
        lapic_set_lint(s, n, level);
    else if (n < 10)
        note(&specimen->trace, (u64)lapic_ack(s));
    else if (n < 18)
        lapic_accept(s, &(struct apic_msg){.vector = vector, .level = level});
    else if (n < 20)
        lapic_accept(s, &(struct apic_msg){.mode = APIC_EXTINT});
    else if (n < 23)
        lapic_set_tsc(s, 1000000 + level * 500000, level * 1000000000ull);
    else if (n == 23)
        lapic_write_msr(s, 0x1b, level ? 0xfee00900 : 0xfee00100);
    else if (n < 28)
        lapic_write_msr(s, 0x6e0, clock_now(s->clock) + n * 100000);
    else if (n < 30) /* TSC-deadline mode, software-enabled */
        bus_write(specimen->rig.bus, 0, LAPIC_BASE + 0x320, 0x40000 | vector, 4);
    else
        bus_write(specimen->rig.bus, 0, LAPIC_BASE + 0xf0, 0x1ff, 4);
    lapic_read_msr(s, 0x6e0, &value);
    note(&specimen->trace, value);
    lapic_read_msr(s, 0x1b, &value);
    note(&specimen->trace, value);
}

static void make_acpi_pm(struct specimen *s)
{
    s->state = need(sizeof(struct acpi_pm));
    acpi_pm_init(s->state, s->rig.bus, &s->rig.clock,
                 &(struct acpi_pm_config){.sci = wire(s, 0), .smi = wire(s, 1)});
    acpi_pm_set_base(s->state, 0x600);
    acpi_pm_enable(s->state, true);
}

static void acpi_pm_input(struct specimen *s, unsigned n, bool level)
{
    if (n < 16)
        acpi_pm_set_gpe(s->state, n, level);
    else if (n == 16)
        acpi_pm_set_apmc_smi(s->state, level);
    else
        bus_out(s->rig.bus, 0, 0x602, 1, 2); /* the timer's overflow interrupts ... */
    if (n > 20)
        out8(&s->rig, ACPI_SMI_COMMAND, ACPI_SMI_ENABLE); /* ... in ACPI mode */
}

static const struct row rows[] = {
    {&i8259_class, make_i8259, {{PLACE_PORTS, 0x20, 2, 1}, {PLACE_PORTS, 0x4d0, 1, 1}},
     i8259_input, 12, 0},
    {&i8259_class, make_i8259_modes, {{PLACE_PORTS, 0x20, 2, 1, 0x10}}, i8259_modes_input,
     13, 0},
    {&i8254_class, make_i8254, {{PLACE_PORTS, 0x40, 4, 1}}, i8254_input, 3, 0},
    {&port61_class, make_port61, {{PLACE_PORTS, 0x61, 1, 1}}, NULL, 0, 0},
    {&mc146818_class, make_mc146818, {{PLACE_PORTS, 0x70, 2, 1}}, mc146818_input, 18,
     3 * NS_PER_SEC},
    {&hpet_class, make_hpet,
     {{PLACE_MEMORY, 0xfed00000, 0x160, 0}, {PLACE_MEMORY, 0xfed00020, 4, 4}},
     hpet_input, 100, 0},
    {&ioapic_class, make_ioapic, {{PLACE_MEMORY, 0xfec00000, 0x44, 4}}, ioapic_input, 256, 0},
    {&lapic_class, make_lapic, {{PLACE_MEMORY, LAPIC_BASE, 0x400, 4}}, lapic_input, 32, 0},
    {&acpi_pm_class, make_acpi_pm, {{PLACE_PORTS, 0x600, 64, 0}, {PLACE_PORTS, 0xb2, 2, 1}},
     acpi_pm_input, 32, 10 * NS_PER_SEC},
};

/* ---- stirring ---- */

static u64 next_random(u64 *seed)
{
    /* xorshift64* (Vigna 2016) */
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1dull;
}

static void make(const struct row *row, struct specimen *s)
{
    memset(s, 0, sizeof *s);
    rig_make(&s->rig);
    s->trace.clock = &s->rig.clock;
    row->make(s);
}

static void unmake(struct specimen *s)
{
    rig_free(&s->rig);
    free(s->state);
    free(s->extra);
}

/* Half of the values are small or have few bits, since those mean something to most registers. */
static u32 random_value(u64 *seed)
{
    u64 r = next_random(seed);
    switch (r >> 62) {
    case 0: return r & 0xff;
    case 1: return BIT(r & 31) | BIT(r >> 5 & 31);
    default: return (u32)(r >> 8);
    }
}

/* One random action; returns what a read gave. */
static u64 act(const struct row *row, struct specimen *s, u64 *seed)
{
    struct bus *bus = s->rig.bus;
    unsigned places = 0;
    while (places < ARRAY_SIZE(row->place) && row->place[places].kind)
        places++;

    u64 r = next_random(seed);
    u64 longest = row->max_step ? row->max_step : 3000000;
    u64 step = next_random(seed) % (longest >> (r >> 40) % 16);
    u32 value = random_value(seed);
    const struct place *p = &row->place[(r >> 16) % places];
    unsigned size = p->size ? p->size : 1u << (r >> 24) % 3;
    u32 offset = (u32)((r >> 32) % p->count) & ~(size - 1);
    bool read = r >> 8 & 1;
    value &= ~p->never;

    if (r % 8 == 0) {
        clock_step(&s->rig.clock, step);
        return 0;
    }
    if (r % 8 == 1 && row->input) {
        row->input(s, value % row->pins, r >> 9 & 1);
        return 0;
    }
    if (p->kind == PLACE_PORTS) {
        if (read)
            return bus_in(bus, 0, (u16)(p->base + offset), size);
        bus_out(bus, 0, (u16)(p->base + offset), value, size);
    } else {
        if (read)
            return bus_read(bus, 0, p->base + offset, size);
        bus_write(bus, 0, p->base + offset, value, size);
    }
    return 0;
}

/* Names the first field in which two saved states differ. */
static const char *first_difference(const struct field *f, const u8 *a, const u8 *b)
{
    for (; f->name; f++) {
        size_t n = (size_t)f->size * f->count;
        if (memcmp(a, b, n))
            return f->name;
        a += n;
        b += n;
    }
    return NULL;
}

/* Fails if the two chips do not hold the same. */
static void compare(const struct row *row, struct specimen *x, struct specimen *y, u64 seed,
                    const char *when)
{
    size_t size = fields_size(row->class->fields);
    u8 *a = need(size + 1), *b = need(size + 1);
    fields_save(row->class->fields, x->state, a);
    fields_save(row->class->fields, y->state, b);
    const char *name = first_difference(row->class->fields, a, b);
    ck_assert_msg(!name, "%s, seed %llu, %s: field %s differs", row->class->name,
                  (unsigned long long)seed, when, name);
    free(a);
    free(b);
}

/* Makes `copy` from what `s` saves. */
static void copy_state(const struct row *row, struct specimen *s, struct specimen *copy)
{
    u8 *saved = need(fields_size(row->class->fields) + 1);
    make(row, copy);
    clock_step(&copy->rig.clock, clock_now(&s->rig.clock));
    fields_save(row->class->fields, s->state, saved);
    fields_load(row->class->fields, copy->state, saved);
    if (row->class->loaded)
        row->class->loaded(copy->state);
    free(saved);
}

START_TEST(save_load_compare)
{
    const struct row *row = &rows[_i];
    struct specimen fresh, s, copy;
    unsigned changed = 0;

    make(row, &fresh);
    for (u64 n = 1; n <= SEEDS; n++) {
        u64 seed = n * 0x9e3779b97f4a7c15ull;
        make(row, &s);
        for (unsigned i = 0; i < STEPS; i++)
            act(row, &s, &seed);
        copy_state(row, &s, &copy);
        compare(row, &s, &copy, n, "after loading");

        for (unsigned i = 0; i < ARRAY_SIZE(s.trace.level); i++)
            ck_assert_msg(s.trace.level[i] == copy.trace.level[i], "%s, seed %llu: pin %u",
                          row->class->name, (unsigned long long)n, i);

        u64 seed_a = seed, seed_b = seed;
        s.trace.hash = copy.trace.hash = 0;
        for (unsigned i = 0; i < STEPS; i++) {
            u64 a = act(row, &s, &seed_a), b = act(row, &copy, &seed_b);
            ck_assert_msg(a == b, "%s, seed %llu, action %u: read %llx, the copy %llx",
                          row->class->name, (unsigned long long)n, i, (unsigned long long)a,
                          (unsigned long long)b);
            ck_assert_msg(s.trace.hash == copy.trace.hash,
                          "%s, seed %llu, action %u: pins went different ways", row->class->name,
                          (unsigned long long)n, i);
        }
        compare(row, &s, &copy, n, "after going on");

        size_t size = fields_size(row->class->fields);
        u8 *a = need(size + 1), *b = need(size + 1);
        fields_save(row->class->fields, fresh.state, a);
        fields_save(row->class->fields, s.state, b);
        changed += memcmp(a, b, size) != 0;
        free(a);
        free(b);

        /* A reset of whatever state must work, too. */
        if (row->class->reset)
            row->class->reset(s.state);
        unmake(&s);
        unmake(&copy);
    }
    /* Else the stirring has not reached the chip and the test has shown nothing. */
    ck_assert_msg(changed, "%s: never changed", row->class->name);
    unmake(&fresh);
}
END_TEST

START_TEST(hostile_snapshot)
{
    /* A damaged snapshot may make a chip behave oddly, but not crash the host. */
    const struct row *row = &rows[_i];
    size_t size = fields_size(row->class->fields);
    u8 *bytes = need(size + 1);

    for (u64 n = 1; n <= SEEDS; n++) {
        u64 seed = n * 0x9e3779b97f4a7c15ull;
        struct specimen s;
        make(row, &s);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (u8)(next_random(&seed) >> 32);
        fields_load(row->class->fields, s.state, bytes);
        if (row->class->loaded)
            row->class->loaded(s.state);
        for (unsigned i = 0; i < STEPS; i++)
            act(row, &s, &seed);
        unmake(&s);
    }
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("roundtrip");
    TCase *tc = tcase_create("roundtrip");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, save_load_compare, 0, ARRAY_SIZE(rows));
    tcase_add_loop_test(tc, hostile_snapshot, 0, ARRAY_SIZE(rows));
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
