/* The local APIC of one CPU: registers, interrupt acceptance, IPIs, xAPIC and x2APIC interface.
 *
 * Source: Intel SDM vol. 3A, chapter 10 (APIC); the model is that of version 14h with six LVT
 * entries.  The timer is in lapic_timer.c, addressing in lapic_bus.c.
 *
 * Left out: the CMCI entry; EOI-broadcast suppression; focus checking; LVT polarity (pins carry
 * "asserted"); arbitration; the busy state of delivery status bits.  The spurious vector is never
 * delivered, since INTR falls in the instant in which TPR rises (10.9 tells when it would come).
 * IA32_APIC_BASE moves the one region that all APICs share, and a disabled APIC's page reads all
 * ones.
 */
#include "devices/lapic.h"

enum {
    MSR_APIC_BASE = 0x1b,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC = 0x800,
    MSR_X2APIC_LAST = 0x8ff,

    BASE_BSP = BIT(8),
    BASE_EXTD = BIT(10),
    BASE_EN = BIT(11),
};

/* Registers by number: MMIO offset / 16, MSR - 800h (table 10-6). */
enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_RRD = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32,
    REG_LVT_LAST = 0x37,
    REG_INITIAL_COUNT = 0x38,
    REG_CURRENT_COUNT = 0x39,
    REG_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
};

enum {
    VERSION = 0x14 | (LVT_COUNT - 1) << 16,

    SVR_ENABLE = BIT(8),
    SVR_WRITABLE = 0x3ff,

    LVT_MODE_SHIFT = 8,
    LVT_REMOTE_IRR = BIT(14),
    LVT_LEVEL = BIT(15),
    LVT_MASKED = BIT(16),

    ICR_LOGICAL = BIT(11),
    ICR_ASSERT = BIT(14),
    ICR_LEVEL = BIT(15),
    ICR_LOW_WRITABLE = 0xccfff,
    ICR_DELIVERY_STATUS = BIT(12),
    ICR_SHORTHAND_SHIFT = 18,
    SHORTHAND_SELF = 1,
    SHORTHAND_ALL = 2,
    SHORTHAND_OTHERS = 3,

    ESR_SEND_VECTOR = BIT(5),
    ESR_RECEIVE_VECTOR = BIT(6),
    ESR_REGISTER = BIT(7),

    FIRST_VECTOR = 16, /* 0 to 15 are illegal (10.5.2) */
};

/* Bits that software can set in each LVT entry (figure 10-8). */
static const u32 lvt_writable[LVT_COUNT] = {
    [LVT_TIMER] = 0x700ff,   [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
    [LVT_LINT0] = 0x1a7ff,   [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
};

/* ---- state in the large ---- */

bool lapic_enabled(const struct lapic *s)
{
    return s->base_msr & BASE_EN;
}

bool lapic_x2apic(const struct lapic *s)
{
    return s->base_msr & BASE_EXTD;
}

bool lapic_soft_enabled(const struct lapic *s)
{
    return lapic_enabled(s) && (s->svr & SVR_ENABLE);
}

/* Logical x2APIC ID: cluster in the high half, one bit in the low half (10.12.10.2). */
u32 lapic_x2apic_ldr(const struct lapic *s)
{
    return (s->config.id >> 4) << 16 | BIT(s->config.id & 15);
}

/* ---- vectors ---- */

static void set_vector(u32 *bits, u8 v)
{
    bits[v / 32] |= BIT(v % 32);
}

static void clear_vector(u32 *bits, u8 v)
{
    bits[v / 32] &= ~BIT(v % 32);
}

static bool test_vector(const u32 *bits, u8 v)
{
    return bits[v / 32] & BIT(v % 32);
}

static int highest_vector(const u32 *bits)
{
    for (int i = 7; i >= 0; i--) {
        if (bits[i])
            return i * 32 + 31 - __builtin_clz(bits[i]);
    }
    return -1;
}

/* 10.8.3.1: the class in service counts unless the task priority's is at least as high. */
u8 lapic_ppr(const struct lapic *s)
{
    int in_service = highest_vector(s->isr);
    u8 isr = in_service < 0 ? 0 : (u8)in_service;
    return s->tpr >> 4 >= isr >> 4 ? s->tpr : isr & 0xf0;
}

/* The vector to be dispensed next, or -1. */
static int deliverable(const struct lapic *s)
{
    if (!lapic_soft_enabled(s))
        return -1;
    int v = highest_vector(s->irr);
    return v >= 0 && v >> 4 > lapic_ppr(s) >> 4 ? v : -1;
}

static unsigned lvt_mode(u32 entry)
{
    return (entry >> LVT_MODE_SHIFT) & 7;
}

static bool extint_pending(const struct lapic *s)
{
    /* Without the APIC, LINT0 is the CPU's INTR (10.4.3). */
    if (!lapic_enabled(s))
        return s->lint[0];
    for (unsigned n = 0; n < 2; n++) {
        u32 entry = s->lvt[LVT_LINT0 + n];
        if (s->lint[n] && !(entry & LVT_MASKED) && lvt_mode(entry) == APIC_EXTINT)
            return true;
    }
    return s->extint_message;
}

static void update(struct lapic *s)
{
    bool level = deliverable(s) >= 0 || extint_pending(s);
    if (level == s->intr_level)
        return;
    s->intr_level = level;
    pin_set(&s->config.intr, level);
}

static void pulse(const struct pin *p)
{
    pin_set(p, true);
    pin_set(p, false);
}

/* ---- errors and acceptance ---- */

static bool accept_vector(struct lapic *s, u8 vector, bool level);

/* Collects an error and reports it through the LVT (10.5.3). */
static void error(struct lapic *s, u32 bit)
{
    u32 entry = s->lvt[LVT_ERROR];
    s->esr_pending |= bit;
    if (entry & LVT_MASKED)
        return;
    if ((u8)entry < FIRST_VECTOR)
        s->esr_pending |= ESR_RECEIVE_VECTOR; /* the error entry's own vector cannot be reported */
    else
        accept_vector(s, (u8)entry, false);
}

static bool accept_vector(struct lapic *s, u8 vector, bool level)
{
    if (!lapic_soft_enabled(s))
        return false;
    if (vector < FIRST_VECTOR) {
        error(s, ESR_RECEIVE_VECTOR);
        return false;
    }
    set_vector(s->irr, vector);
    if (level)
        set_vector(s->tmr, vector);
    else
        clear_vector(s->tmr, vector);
    update(s);
    return true;
}

bool lapic_accept(struct lapic *s, const struct apic_msg *msg)
{
    switch (msg->mode) {
    case APIC_FIXED:
    case APIC_LOWEST: return accept_vector(s, msg->vector, msg->level);
    case APIC_SMI: pulse(&s->config.smi); return true;
    case APIC_NMI: pulse(&s->config.nmi); return true;
    case APIC_INIT:
        lapic_init_reset(s);
        pulse(&s->config.init);
        return true;
    case APIC_SIPI:
        if (s->config.sipi)
            s->config.sipi(s->config.sipi_opaque, msg->vector);
        return true;
    case APIC_EXTINT:
        s->extint_message = 1;
        update(s);
        return true;
    default: return false;
    }
}

/* ---- local sources ---- */

void lapic_trigger(struct lapic *s, enum lapic_lvt which)
{
    u32 entry = s->lvt[which];
    if (!lapic_enabled(s) || (entry & LVT_MASKED))
        return;
    struct apic_msg msg = {
        .mode = which == LVT_TIMER || which == LVT_ERROR ? APIC_FIXED : (u8)lvt_mode(entry),
        .vector = (u8)entry,
    };
    /* These are no messages in an LVT entry (10.5.1). */
    if (msg.mode != APIC_LOWEST && msg.mode != APIC_SIPI && msg.mode != APIC_EXTINT)
        lapic_accept(s, &msg);
}

/* LINT0 alone can be level-triggered, and only for fixed interrupts (10.5.1, trigger mode). */
static bool lint0_is_level(const struct lapic *s)
{
    u32 entry = s->lvt[LVT_LINT0];
    return (entry & LVT_LEVEL) && lvt_mode(entry) == APIC_FIXED;
}

static void service_lint0(struct lapic *s)
{
    u32 entry = s->lvt[LVT_LINT0];
    if (!lint0_is_level(s) || !s->lint[0] || (entry & (LVT_MASKED | LVT_REMOTE_IRR)))
        return;
    if (accept_vector(s, (u8)entry, true))
        s->lvt[LVT_LINT0] |= LVT_REMOTE_IRR;
}

void lapic_set_lint(void *opaque, unsigned n, bool level)
{
    struct lapic *s = opaque;
    if (n > 1)
        return;

    bool rises = level && !s->lint[n];
    s->lint[n] = level;
    if (!lapic_enabled(s)) {
        /* LINT1 is the CPU's NMI then (10.4.3). */
        if (n == 1 && rises)
            pulse(&s->config.nmi);
    } else if (n == 0 && lint0_is_level(s)) {
        service_lint0(s);
    } else if (rises) {
        lapic_trigger(s, LVT_LINT0 + n);
    }
    update(s);
}

/* ---- the CPU's side ---- */

bool lapic_waits(const struct lapic *s, u8 vector)
{
    return test_vector(s->irr, vector);
}

int lapic_ack(struct lapic *s)
{
    int v = deliverable(s);
    if (v >= 0) {
        clear_vector(s->irr, (u8)v);
        set_vector(s->isr, (u8)v);
        update(s);
        return v;
    }
    if (!extint_pending(s))
        return -1;
    s->extint_message = 0;
    v = s->config.extint ? s->config.extint(s->config.extint_opaque) : (int)(s->svr & 0xff);
    update(s);
    return v;
}

static void end_of_interrupt(struct lapic *s)
{
    int in_service = highest_vector(s->isr);
    if (in_service < 0)
        return;
    u8 v = (u8)in_service;
    clear_vector(s->isr, v);
    if (test_vector(s->tmr, v)) {
        if ((s->lvt[LVT_LINT0] & LVT_REMOTE_IRR) && (u8)s->lvt[LVT_LINT0] == v) {
            s->lvt[LVT_LINT0] &= ~LVT_REMOTE_IRR;
            service_lint0(s);
        }
        if (s->bus->eoi)
            s->bus->eoi(s->bus->eoi_opaque, v);
    }
    update(s);
}

u8 lapic_cr8(const struct lapic *s)
{
    return s->tpr >> 4;
}

void lapic_set_cr8(struct lapic *s, u8 value)
{
    s->tpr = (u8)(value << 4);
    update(s);
}

/* ---- reset ---- */

void lapic_init_reset(struct lapic *s)
{
    memset(s->irr, 0, sizeof s->irr);
    memset(s->isr, 0, sizeof s->isr);
    memset(s->tmr, 0, sizeof s->tmr);
    for (unsigned i = 0; i < LVT_COUNT; i++)
        s->lvt[i] = LVT_MASKED;
    s->svr = 0xff;
    s->dfr = 0xffffffff;
    s->ldr = s->esr = s->esr_pending = 0;
    s->icr = 0;
    s->tpr = s->extint_message = 0;
    lapic_timer_reset(s);
    update(s);
}

static void move_region(struct lapic *s)
{
    if (s->bus->region)
        region_set_address(s->bus->region, s->base_msr & PAGE_MASK);
}

static void reset(void *opaque)
{
    struct lapic *s = opaque;
    bool moved = (s->base_msr & PAGE_MASK) != LAPIC_BASE;

    s->base_msr = LAPIC_BASE | BASE_EN | (s->config.bsp ? BASE_BSP : 0);
    if (moved)
        move_region(s);
    lapic_init_reset(s);
}

/* ---- read ---- */

/* A register's value as MMIO and x2APIC share it. */
static u32 read_reg(struct lapic *s, unsigned reg)
{
    if (reg >= REG_ISR && reg < REG_ISR + 8)
        return s->isr[reg - REG_ISR];
    if (reg >= REG_TMR && reg < REG_TMR + 8)
        return s->tmr[reg - REG_TMR];
    if (reg >= REG_IRR && reg < REG_IRR + 8)
        return s->irr[reg - REG_IRR];
    if (reg >= REG_LVT && reg <= REG_LVT_LAST)
        return s->lvt[reg - REG_LVT];
    switch (reg) {
    case REG_ID: return lapic_x2apic(s) ? s->config.id : s->config.id << 24;
    case REG_VERSION: return VERSION;
    case REG_TPR: return s->tpr;
    case REG_APR:
    case REG_PPR: return lapic_ppr(s);
    case REG_EOI:
    case REG_RRD: return 0;
    case REG_LDR: return lapic_x2apic(s) ? lapic_x2apic_ldr(s) : s->ldr;
    case REG_DFR: return s->dfr;
    case REG_SVR: return s->svr;
    case REG_ESR: return s->esr;
    case REG_ICR: return (u32)s->icr;
    case REG_ICR_HIGH: return (u32)(s->icr >> 32);
    case REG_INITIAL_COUNT: return s->initial_count;
    case REG_CURRENT_COUNT: return lapic_timer_count(s);
    case REG_DIVIDE: return s->divide;
    default: error(s, ESR_REGISTER); return 0;
    }
}

/* Registers are 32 bits wide in slots of 16 bytes; the rest of a slot is undefined and reads 0. */
static u64 read_mmio(void *opaque, u64 offset, unsigned size)
{
    struct lapic *s = opaque;
    if (!lapic_enabled(s) || lapic_x2apic(s))
        return size_mask(size);
    if (offset & 0xc)
        return 0;
    return (read_reg(s, (unsigned)(offset >> 4)) >> (offset & 3) * 8) & size_mask(size);
}

/* ---- write ---- */

static void send_ipi(struct lapic *s)
{
    u32 low = (u32)s->icr, dest = (u32)(s->icr >> 32);
    bool logical = (low & ICR_LOGICAL) != 0;
    unsigned shorthand = (low >> ICR_SHORTHAND_SHIFT) & 3;
    struct apic_msg msg = {
        .dest = lapic_x2apic(s) ? dest : apic_dest8((u8)(dest >> 24), logical),
        .logical = logical,
        .mode = (low >> 8) & 7,
        .vector = (u8)low,
    };

    if (msg.mode == 3 || msg.mode == APIC_EXTINT)
        return; /* reserved */
    if (msg.mode == APIC_INIT && (low & ICR_LEVEL) && !(low & ICR_ASSERT))
        return; /* "INIT level de-assert": only arbitration IDs, which no longer exist */
    if (msg.mode <= APIC_LOWEST && msg.vector < FIRST_VECTOR) {
        error(s, ESR_SEND_VECTOR);
        return;
    }
    switch (shorthand) {
    case SHORTHAND_SELF: lapic_accept(s, &msg); break;
    case SHORTHAND_ALL: lapic_bus_send_all(s->bus, &msg, NULL); break;
    case SHORTHAND_OTHERS: lapic_bus_send_all(s->bus, &msg, s); break;
    default: lapic_bus_send(s->bus, &msg); break;
    }
}

static void write_svr(struct lapic *s, u32 value)
{
    s->svr = value & SVR_WRITABLE;
    if (!(s->svr & SVR_ENABLE)) {
        /* 10.4.7.2: the mask bits are forced while software-disabled. */
        for (unsigned i = 0; i < LVT_COUNT; i++)
            s->lvt[i] |= LVT_MASKED;
        lapic_timer_arm(s);
    }
    update(s);
}

static void write_lvt(struct lapic *s, unsigned i, u32 value)
{
    value &= lvt_writable[i];
    if (!(s->svr & SVR_ENABLE))
        value |= LVT_MASKED;
    if (i == LVT_TIMER) {
        lapic_timer_set_lvt(s, value);
        return;
    }
    value |= s->lvt[i] & LVT_REMOTE_IRR;
    s->lvt[i] = value;
    if (i == LVT_LINT0) {
        if (!lint0_is_level(s))
            s->lvt[i] &= ~LVT_REMOTE_IRR;
        service_lint0(s);
    }
    update(s);
}

static void write_reg(struct lapic *s, unsigned reg, u32 value)
{
    if (reg >= REG_LVT && reg <= REG_LVT_LAST) {
        write_lvt(s, reg - REG_LVT, value);
        return;
    }
    switch (reg) {
    case REG_TPR:
        s->tpr = (u8)value;
        update(s);
        break;
    case REG_EOI: end_of_interrupt(s); break;
    case REG_LDR: s->ldr = value & 0xff000000; break;
    case REG_DFR: s->dfr = value | 0x0fffffff; break;
    case REG_SVR: write_svr(s, value); break;
    case REG_ESR:
        /* A write brings in what has been collected since the last one (10.5.3). */
        s->esr = s->esr_pending;
        s->esr_pending = 0;
        break;
    case REG_ICR:
        s->icr = (s->icr & ~0xffffffffull) | (value & ICR_LOW_WRITABLE & ~ICR_DELIVERY_STATUS);
        send_ipi(s);
        break;
    case REG_ICR_HIGH: s->icr = (u32)s->icr | (u64)(value & 0xff000000) << 32; break;
    case REG_INITIAL_COUNT: lapic_timer_set_count(s, value); break;
    case REG_DIVIDE: lapic_timer_set_divide(s, value); break;
    case REG_ID:
    case REG_VERSION:
    case REG_APR:
    case REG_PPR:
    case REG_RRD:
    case REG_CURRENT_COUNT: break; /* read-only */
    default:
        if (reg < REG_ISR || reg >= REG_ESR)
            error(s, ESR_REGISTER);
        break;
    }
}

static void write_mmio(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct lapic *s = opaque;
    if (lapic_enabled(s) && !lapic_x2apic(s) && !(offset & 0xf))
        write_reg(s, (unsigned)(offset >> 4), (u32)value);
}

/* ---- MSRs ---- */

static bool write_base(struct lapic *s, u64 value)
{
    u64 reserved = ~(BIT64(s->config.phys_bits) - 1) | 0x2ff;
    u64 old = s->base_msr;

    if (!s->config.x2apic)
        reserved |= BASE_EXTD;
    if (value & reserved)
        return false;
    /* Figure 10-27: x2APIC is entered from xAPIC and left through disabled only. */
    bool en = value & BASE_EN, extd = value & BASE_EXTD;
    if (extd && !en)
        return false;
    if (extd && !(old & BASE_EN))
        return false;
    if (en && !extd && (old & BASE_EXTD))
        return false;

    s->base_msr = (value & ~(u64)BASE_BSP) | (old & BASE_BSP);
    if ((old ^ value) & PAGE_MASK)
        move_region(s);
    if (!en && (old & BASE_EN))
        lapic_init_reset(s); /* disabling loses the state (10.4.3) */
    update(s);
    return true;
}

static bool read_x2apic(struct lapic *s, unsigned reg, u64 *value)
{
    switch (reg) {
    case REG_APR:
    case REG_EOI:
    case REG_RRD:
    case REG_DFR:
    case REG_ICR_HIGH:
    case REG_SELF_IPI: return false;
    case REG_ICR: *value = s->icr; return true;
    default: break;
    }
    bool known = reg == REG_ID || reg == REG_VERSION || (reg >= REG_TPR && reg <= REG_ESR) ||
                 (reg >= REG_LVT && reg <= REG_CURRENT_COUNT) || reg == REG_DIVIDE;
    if (!known)
        return false;
    *value = read_reg(s, reg);
    return true;
}

/* Bits that may be set in a write to a register in x2APIC mode; read-only status bits of an LVT
 * entry are ignored, any other bit faults (10.12.1.3). */
static bool x2apic_writable(unsigned reg, u64 *bits)
{
    if (reg >= REG_LVT && reg <= REG_LVT_LAST) {
        *bits = lvt_writable[reg - REG_LVT] | ICR_DELIVERY_STATUS;
        if (reg == REG_LVT + LVT_LINT0 || reg == REG_LVT + LVT_LINT1)
            *bits |= LVT_REMOTE_IRR;
        return true;
    }
    switch (reg) {
    case REG_TPR:
    case REG_SELF_IPI: *bits = 0xff; return true;
    case REG_EOI:
    case REG_ESR: *bits = 0; return true;
    case REG_SVR: *bits = SVR_WRITABLE; return true;
    case REG_ICR: *bits = ~0xffffffffull | ICR_LOW_WRITABLE | ICR_DELIVERY_STATUS; return true;
    case REG_INITIAL_COUNT: *bits = 0xffffffff; return true;
    case REG_DIVIDE: *bits = 0xb; return true;
    default: return false;
    }
}

static bool write_x2apic(struct lapic *s, unsigned reg, u64 value)
{
    u64 bits;
    if (!x2apic_writable(reg, &bits) || (value & ~bits))
        return false;
    if (reg == REG_ICR) {
        s->icr = value & ~(u64)ICR_DELIVERY_STATUS;
        send_ipi(s);
    } else if (reg == REG_SELF_IPI) {
        if (value < FIRST_VECTOR)
            error(s, ESR_SEND_VECTOR);
        else
            accept_vector(s, (u8)value, false);
    } else {
        write_reg(s, reg, (u32)value);
    }
    return true;
}

bool lapic_read_msr(struct lapic *s, u32 msr, u64 *value)
{
    switch (msr) {
    case MSR_APIC_BASE: *value = s->base_msr; return true;
    case MSR_TSC_DEADLINE: *value = lapic_timer_deadline(s); return true;
    default: break;
    }
    if (msr < MSR_X2APIC || msr > MSR_X2APIC_LAST || !lapic_x2apic(s))
        return false;
    return read_x2apic(s, msr - MSR_X2APIC, value);
}

bool lapic_write_msr(struct lapic *s, u32 msr, u64 value)
{
    switch (msr) {
    case MSR_APIC_BASE: return write_base(s, value);
    case MSR_TSC_DEADLINE: lapic_timer_set_deadline(s, value); return true;
    default: break;
    }
    if (msr < MSR_X2APIC || msr > MSR_X2APIC_LAST || !lapic_x2apic(s))
        return false;
    return write_x2apic(s, msr - MSR_X2APIC, value);
}

/* ---- set-up ---- */

void lapic_bus_map(struct lapic_bus *b, struct bus *bus)
{
    static const struct bus_ops ops = {read_mmio, write_mmio, 1, 4};
    /* Above everything else in the hole: MSI addresses of other kinds lie around it. */
    b->region = bus_map_mmio_percpu(bus, "lapic", LAPIC_BASE, PAGE_SIZE, &ops, (void **)b->apic,
                                    b->count, 1000);
}

void lapic_init(struct lapic *s, struct lapic_bus *b, struct clock *clock,
                const struct lapic_config *config)
{
    memset(s, 0, sizeof *s);
    s->config = *config;
    if (s->config.phys_bits < 32 || s->config.phys_bits > 52)
        s->config.phys_bits = 40;
    s->bus = b;
    s->clock = clock;
    s->tsc_khz = config->tsc_khz ? config->tsc_khz : 1;
    s->base_msr = LAPIC_BASE;
    timer_init(&s->timer, clock, lapic_timer_event, s);
    if (b->count < LAPIC_MAX)
        b->apic[b->count++] = s;
    reset(s);
}

/* ---- state ---- */

static void loaded(void *opaque)
{
    struct lapic *s = opaque;
    if (!s->tsc_khz)
        s->tsc_khz = 1;
    pin_set(&s->config.intr, s->intr_level);
    if (s->config.bsp)
        move_region(s);
}

static const struct field fields[] = {
    FIELD(struct lapic, base_msr),       FIELD_ARRAY(struct lapic, irr),
    FIELD_ARRAY(struct lapic, isr),      FIELD_ARRAY(struct lapic, tmr),
    FIELD_ARRAY(struct lapic, lvt),      FIELD(struct lapic, svr),
    FIELD(struct lapic, ldr),            FIELD(struct lapic, dfr),
    FIELD(struct lapic, esr),            FIELD(struct lapic, esr_pending),
    FIELD(struct lapic, icr),            FIELD(struct lapic, tpr),
    FIELD_ARRAY(struct lapic, lint),     FIELD(struct lapic, extint_message),
    FIELD(struct lapic, intr_level),     FIELD(struct lapic, initial_count),
    FIELD(struct lapic, divide),         FIELD(struct lapic, timer_start),
    FIELD(struct lapic, tsc_deadline),   FIELD(struct lapic, tsc_khz),
    FIELD(struct lapic, tsc_offset),     FIELD_TIMER(struct lapic, timer),
    FIELD_END};

const struct device_class lapic_class = {
    .name = "lapic",
    .description = "local APIC",
    .reset = reset,
    .fields = fields,
    .loaded = loaded,
};
