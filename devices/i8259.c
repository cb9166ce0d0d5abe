/* Intel 8259A programmable interrupt controller, as the PIIX3 holds two of it.
 *
 * Data sheets: Intel 8259A (231468-003); Intel 82371FB/SB PIIX/PIIX3 (290550-002), section 2.5 for
 * the ELCR registers.
 *
 * Left out: the three-byte CALL answer of MCS-80/85 mode (ICW4 uPM = 0 is taken as 8086 mode) and
 * the buffered-mode pin.  Each chip answers for itself; the pair is wired by the board.
 */
#include "devices/i8259.h"

enum {
    ICW1_IC4 = BIT(0),
    ICW1_SNGL = BIT(1),
    ICW1_LTIM = BIT(3),
    ICW1_SELECT = BIT(4), /* at A0 = 0: this is ICW1 and no OCW */
    ICW4_AEOI = BIT(1),
    ICW4_SFNM = BIT(4),

    OCW2_LEVEL = 7,
    OCW2_EOI = BIT(5),
    OCW2_SL = BIT(6),
    OCW2_R = BIT(7),

    OCW3_RIS = BIT(0),
    OCW3_RR = BIT(1),
    OCW3_POLL = BIT(2),
    OCW3_SELECT = BIT(3), /* at A0 = 0: this is OCW3, else OCW2 */
    OCW3_SMM = BIT(5),
    OCW3_ESMM = BIT(6),

    POLL_REQUEST = BIT(7),
};

/* ---- priority ---- */

/* Inputs that are level-triggered.  The PIIX3 ignores LTIM and takes the ELCR instead (its
 * ICW1 and ELCR registers). */
static u8 level_mask(const struct i8259 *s)
{
    if (s->config.elcr_port)
        return s->elcr;
    return s->ltim ? 0xff : 0;
}

/* Distance of the most important level in `set` from the top of the rotated order; 8 if none. */
static unsigned top_rank(const struct i8259 *s, u8 set)
{
    for (unsigned rank = 0; rank < 8; rank++) {
        if (set & BIT((s->lowest + 1 + rank) & 7))
            return rank;
    }
    return 8;
}

/* The IR level to be served next, or -1. */
static int pending_level(const struct i8259 *s)
{
    unsigned rank = top_rank(s, s->irr & ~s->imr);
    if (rank == 8)
        return -1;

    u8 in_service = s->isr;
    /* In special mask mode a masked level in service blocks nobody. */
    if (s->special_mask)
        in_service &= ~s->imr;
    unsigned level = (s->lowest + 1 + rank) & 7;
    unsigned serving = top_rank(s, in_service);
    /* In special fully nested mode the master hears further, higher requests of a slave that it
     * is serving already. */
    bool nested = s->special_nested && s->config.master && (s->icw3 & BIT(level));
    if (rank > serving || (rank == serving && !nested))
        return -1;
    return (int)level;
}

static void update(struct i8259 *s)
{
    bool level = pending_level(s) >= 0;
    if (level == s->intr_level)
        return;
    s->intr_level = level;
    pin_set(&s->config.intr, level);
}

/* Takes up `level` as an INTA cycle or a poll does. */
static void serve(struct i8259 *s, unsigned level)
{
    if (s->auto_eoi) {
        if (s->rotate_aeoi)
            s->lowest = (u8)level;
    } else {
        s->isr |= BIT(level);
    }
    if (!(level_mask(s) & BIT(level)))
        s->irr &= ~BIT(level);
}

static u8 ack_alone(struct i8259 *s)
{
    int level = pending_level(s);
    if (level >= 0)
        serve(s, (unsigned)level);
    update(s);
    return s->vector | (level < 0 ? 7 : (u8)level);
}

u8 i8259_ack(struct i8259 *s)
{
    int level = pending_level(s);
    if (level < 0 || s->single || !(s->icw3 & BIT(level)) || !s->slave[level])
        return ack_alone(s);

    struct i8259 *slave = s->slave[level];
    serve(s, (unsigned)level);
    /* A slave answers when the cascade lines carry its number; nobody else drives the bus. */
    u8 vector = (slave->icw3 & 7) == level ? ack_alone(slave) : 0xff;
    update(s);
    return vector;
}

/* ---- inputs ---- */

void i8259_set_irq(void *opaque, unsigned n, bool level)
{
    struct i8259 *s = opaque;
    u8 bit = BIT(n & 7);
    bool was = s->lines & bit;

    s->lines = level ? s->lines | bit : s->lines & ~bit;
    /* Even an edge-triggered request is forgotten when the line falls before INTA: an IR input
     * must stay high until the falling edge of the first INTA (interrupt sequence, and the default
     * IR7 of edge and level triggered modes). */
    if (!level)
        s->irr &= ~bit;
    else if (!was || (level_mask(s) & bit))
        s->irr |= bit;
    update(s);
}

enum i8259_request i8259_request(const struct i8259 *s, unsigned n)
{
    u8 bit = BIT(n & 7);
    return s->imr & bit ? I8259_MASKED : s->irr & bit ? I8259_WAITS : I8259_IDLE;
}

static void set_elcr(struct i8259 *s, u8 value)
{
    s->elcr = value & s->config.elcr_mask;
    s->irr = (s->irr & ~s->elcr) | (s->lines & s->elcr);
    update(s);
}

/* ---- reset ---- */

static void reset(void *opaque)
{
    struct i8259 *s = opaque;
    s->irr = s->isr = s->imr = 0;
    s->elcr = s->vector = s->icw3 = 0;
    s->init_step = s->want_icw4 = s->single = s->ltim = 0;
    s->special_nested = s->auto_eoi = s->rotate_aeoi = 0;
    s->special_mask = s->poll = s->read_isr = 0;
    s->lowest = 7;
    update(s);
}

void i8259_cascade(struct i8259 *master, unsigned n, struct i8259 *slave)
{
    master->slave[n & 7] = slave;
}

/* ---- read ---- */

static u64 read_port(void *opaque, u64 offset, unsigned size)
{
    struct i8259 *s = opaque;
    if (s->poll) {
        /* Poll command: the next RD pulse counts as an interrupt acknowledge. */
        s->poll = 0;
        int level = pending_level(s);
        if (level >= 0)
            serve(s, (unsigned)level);
        update(s);
        return level < 0 ? 0 : POLL_REQUEST | (u8)level;
    }
    if (offset == 1)
        return s->imr;
    return s->read_isr ? s->isr : s->irr;
}

static u64 read_elcr(void *opaque, u64 offset, unsigned size)
{
    const struct i8259 *s = opaque;
    return s->elcr;
}

/* ---- write ---- */

static void write_icw1(struct i8259 *s, u8 value)
{
    s->want_icw4 = (value & ICW1_IC4) != 0;
    s->single = (value & ICW1_SNGL) != 0;
    s->ltim = (value & ICW1_LTIM) != 0;
    s->init_step = 2;
    /* Items a to f of "Initialization Command Words 1 and 2"; an edge input must fall and rise
     * again before it counts. */
    s->irr = s->lines & level_mask(s);
    s->isr = s->imr = 0;
    s->icw3 = s->config.master ? 0 : 7;
    s->lowest = 7;
    s->special_mask = s->poll = s->read_isr = 0;
    s->special_nested = s->auto_eoi = s->rotate_aeoi = 0;
    update(s);
}

static void write_ocw2(struct i8259 *s, u8 value)
{
    u8 level = value & OCW2_LEVEL;
    u8 command = value & (OCW2_R | OCW2_SL | OCW2_EOI);

    switch (command) {
    case OCW2_EOI:
    case OCW2_EOI | OCW2_R: {
        /* The unspecific EOI does not see masked levels in special mask mode. */
        unsigned rank = top_rank(s, s->special_mask ? s->isr & ~s->imr : s->isr);
        if (rank == 8)
            break;
        level = (s->lowest + 1 + rank) & 7;
        s->isr &= ~BIT(level);
        if (command & OCW2_R)
            s->lowest = level;
        break;
    }
    case OCW2_EOI | OCW2_SL: s->isr &= ~BIT(level); break;
    case OCW2_EOI | OCW2_SL | OCW2_R:
        s->isr &= ~BIT(level);
        s->lowest = level;
        break;
    case OCW2_R: s->rotate_aeoi = 1; break;
    case OCW2_R | OCW2_SL: s->lowest = level; break;
    case 0: s->rotate_aeoi = 0; break;
    default: break; /* SL alone: no operation */
    }
    update(s);
}

static void write_ocw3(struct i8259 *s, u8 value)
{
    if (value & OCW3_ESMM)
        s->special_mask = (value & OCW3_SMM) != 0;
    /* A poll command wins over a register selection in the same byte. */
    if (value & OCW3_POLL)
        s->poll = 1;
    else if (value & OCW3_RR)
        s->read_isr = value & OCW3_RIS;
    update(s);
}

/* What arrives at A0 = 1: the ICW that is due, else OCW1. */
static void write_data(struct i8259 *s, u8 value)
{
    switch (s->init_step) {
    case 2:
        s->vector = value & 0xf8;
        s->init_step = !s->single ? 3 : s->want_icw4 ? 4 : 0;
        break;
    case 3:
        s->icw3 = value;
        s->init_step = s->want_icw4 ? 4 : 0;
        break;
    case 4:
        s->auto_eoi = (value & ICW4_AEOI) != 0;
        s->special_nested = (value & ICW4_SFNM) != 0;
        s->init_step = 0;
        break;
    default: s->imr = value; break;
    }
    update(s);
}

static void write_port(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct i8259 *s = opaque;
    if (offset == 1)
        write_data(s, (u8)value);
    else if (value & ICW1_SELECT)
        write_icw1(s, (u8)value);
    else if (value & OCW3_SELECT)
        write_ocw3(s, (u8)value);
    else
        write_ocw2(s, (u8)value);
}

static void write_elcr(void *opaque, u64 offset, u64 value, unsigned size)
{
    set_elcr(opaque, (u8)value);
}

void i8259_init(struct i8259 *s, struct bus *bus, const struct i8259_config *config)
{
    static const struct bus_ops port_ops = {read_port, write_port, 1, 1};
    static const struct bus_ops elcr_ops = {read_elcr, write_elcr, 1, 1};

    memset(s, 0, sizeof *s);
    s->config = *config;
    bus_map_ports(bus, "i8259", config->port, 2, &port_ops, s);
    if (config->elcr_port)
        bus_map_ports(bus, "i8259-elcr", config->elcr_port, 1, &elcr_ops, s);
    reset(s);
}

/* ---- state ---- */

static void loaded(void *opaque)
{
    struct i8259 *s = opaque;
    s->lowest &= 7;
    pin_set(&s->config.intr, s->intr_level);
}

static const struct field fields[] = {
    FIELD(struct i8259, irr),          FIELD(struct i8259, isr),
    FIELD(struct i8259, imr),          FIELD(struct i8259, lines),
    FIELD(struct i8259, elcr),         FIELD(struct i8259, vector),
    FIELD(struct i8259, icw3),         FIELD(struct i8259, init_step),
    FIELD(struct i8259, want_icw4),    FIELD(struct i8259, single),
    FIELD(struct i8259, ltim),         FIELD(struct i8259, special_nested),
    FIELD(struct i8259, auto_eoi),     FIELD(struct i8259, rotate_aeoi),
    FIELD(struct i8259, special_mask), FIELD(struct i8259, poll),
    FIELD(struct i8259, read_isr),     FIELD(struct i8259, lowest),
    FIELD(struct i8259, intr_level),   FIELD_END};

const struct device_class i8259_class = {
    .name = "i8259",
    .description = "interrupt controller",
    .reset = reset,
    .fields = fields,
    .loaded = loaded,
};
