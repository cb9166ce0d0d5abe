/* Interrupt wiring of the PC; see pc_irq.h.
 *
 * Left out: the NMI mask bit of port 70 (chips here raise no NMI by themselves), LINT1 wiring of
 * memory parity.
 */
#include "devices/board/pc_irq.h"

#include <stdio.h>
#include <stdlib.h>

#include "cpu/cpu.h"
#include "cpu/cpuid.h"

#define IA32_TSC_DEADLINE 0x6e0u
#define IA32_APIC_BASE 0x1bu
#define IRQ_COPROCESSOR 13u

/* ---- lines ---- */

static void update_lines(struct pc_irq *s)
{
    u32 lines = 0;
    for (unsigned i = 0; i < IRQ_SOURCES; i++) {
        u32 driven = s->driven[i];
        if (i == IRQ_ISA && s->hpet_legacy)
            driven &= ~(BIT(0) | BIT(8));
        lines |= driven;
    }
    u32 changed = lines ^ s->lines;
    s->lines = lines;
    for (unsigned n = 0; changed; n++, changed >>= 1) {
        if (!(changed & 1))
            continue;
        bool level = lines & BIT(n);
        if (n < 8 && n != 2)
            i8259_set_irq(&s->master, n, level);
        else if (n >= 8 && n < 16)
            i8259_set_irq(&s->slave, n - 8, level);
        if (n == 0 || n == 2)
            ioapic_set_irq(&s->ioapic, 2, lines & (BIT(0) | BIT(2)));
        else
            ioapic_set_irq(&s->ioapic, n, level);
    }
}

static void drive(void *opaque, unsigned n, bool level)
{
    struct pc_irq *s = opaque;
    u32 bit = BIT(n & 0xff);
    u32 *driven = &s->driven[n >> 8];
    *driven = level ? *driven | bit : *driven & ~bit;
    update_lines(s);
}

struct pin pc_irq_pin(struct pc_irq *s, enum irq_source source, unsigned n)
{
    return (struct pin){drive, s, (unsigned)source << 8 | n};
}

/* ---- the timer's ticks ---- */

static bool vector_waits(const struct pc_irq *s, u8 vector)
{
    for (unsigned i = 0; i < s->machine->cpu_count; i++)
        if (lapic_waits(&s->lapic[i], vector))
            return true;
    return false;
}

/* The first vCPU is the one that systems without other timers count the ticks on.  If it has run
 * for half the time that it should have, it is software that keeps the interrupt waiting. */
static enum i8254_tick timer_tick(void *opaque, u64 ns)
{
    const struct pc_irq *s = opaque;
    enum i8259_request request = i8259_request(&s->master, 0);
    int vector = ioapic_vector(&s->ioapic, 2);
    if (s->hpet_legacy || (request == I8259_MASKED && vector < 0))
        return I8254_TICK_UNHEARD;
    if (request != I8259_WAITS && (vector < 0 || !vector_waits(s, (u8)vector)))
        return I8254_TICK_OVER;
    u64 ran = machine_cpu_ns(s->machine, 0) - s->timer_ran;
    return ran < ns / 2 ? I8254_TICK_HELD_UP : I8254_TICK_OVER;
}

static void timer_line(void *opaque, unsigned n, bool level)
{
    struct pc_irq *s = opaque;
    if (level)
        s->timer_ran = machine_cpu_ns(s->machine, 0);
    drive(s, n, level);
}

void pc_irq_wire_timer(struct pc_irq *s, struct i8254 *timer, struct i8254_config *config)
{
    config->out[0] = pc_irq_pin(s, IRQ_ISA, 0);
    if (s->machine->config.counted)
        return;
    config->out[0].fn = timer_line;
    config->tick = timer_tick;
    config->tick_opaque = s;
    s->timer = timer;
}

static void set_legacy(void *opaque, unsigned n, bool level)
{
    struct pc_irq *s = opaque;
    s->hpet_legacy = level;
    update_lines(s);
}

struct pin pc_irq_legacy_pin(struct pc_irq *s)
{
    return (struct pin){set_legacy, s, 0};
}

/* The 8259's INT goes to LINT0 of every local APIC. */
static void set_lint0(void *opaque, unsigned n, bool level)
{
    struct pc_irq *s = opaque;
    for (unsigned i = 0; i < s->machine->cpu_count; i++)
        lapic_set_lint(&s->lapic[i], 0, level);
}

void pc_irq_nmi(struct pc_irq *s)
{
    for (unsigned i = 0; i < s->machine->cpu_count; i++) {
        lapic_set_lint(&s->lapic[i], 1, true);
        lapic_set_lint(&s->lapic[i], 1, false);
    }
}

/* ---- pins of the vCPUs ---- */

static void pin_intr(void *opaque, unsigned n, bool level)
{
    if (level)
        cpu_request(opaque, REQ_INTR);
    else
        cpu_withdraw(opaque, REQ_INTR);
}

/* n is the request that a pulse makes. */
static void pin_pulse(void *opaque, unsigned n, bool level)
{
    if (level)
        cpu_request(opaque, n);
}

struct pin pc_irq_smi_pin(struct pc_irq *s)
{
    return (struct pin){pin_pulse, s->machine->cpu[0], REQ_SMI};
}

/* A SIPI from before an INIT has no effect; one that follows at once must not be lost, even if
 * the vCPU's thread sees both together. */
static void pin_init(void *opaque, unsigned n, bool level)
{
    if (!level)
        return;
    cpu_withdraw(opaque, REQ_SIPI);
    cpu_request(opaque, REQ_INIT);
}

static void pin_ignne(void *opaque, unsigned n, bool level)
{
    ((struct cpu *)opaque)->ignne = level;
}

static void start_up(void *opaque, u8 vector)
{
    struct cpu *cpu = opaque;
    cpu->sipi_vector = vector;
    cpu_request(cpu, REQ_SIPI);
}

static u8 inta(void *opaque)
{
    return i8259_ack(&((struct pc_irq *)opaque)->master);
}

static void broadcast_eoi(void *opaque, u8 vector)
{
    ioapic_eoi(&((struct pc_irq *)opaque)->ioapic, vector);
}

/* ---- struct irq_ops: what instructions do to the local APIC ---- */

static int op_ack(void *opaque)
{
    struct pc_irq_cpu *c = opaque;
    bus_lock(c->cpu->bus);
    int vector = lapic_ack(c->lapic);
    if (c->owner->timer)
        i8254_taken(c->owner->timer);
    bus_unlock(c->cpu->bus);
    return vector;
}

static bool read_msr(struct pc_irq_cpu *c, u32 msr, u64 *v)
{
    bus_lock(c->cpu->bus);
    bool good = lapic_read_msr(c->lapic, msr, v);
    bus_unlock(c->cpu->bus);
    return good;
}

static bool write_msr(struct pc_irq_cpu *c, u32 msr, u64 v)
{
    bus_lock(c->cpu->bus);
    bool good = lapic_write_msr(c->lapic, msr, v);
    bus_unlock(c->cpu->bus);
    return good;
}

static u64 op_get_apic_base(void *opaque)
{
    u64 v = 0;
    read_msr(opaque, IA32_APIC_BASE, &v);
    return v;
}

static bool op_set_apic_base(void *opaque, u64 v)
{
    return write_msr(opaque, IA32_APIC_BASE, v);
}

static u8 op_get_tpr(void *opaque)
{
    struct pc_irq_cpu *c = opaque;
    bus_lock(c->cpu->bus);
    u8 v = lapic_cr8(c->lapic);
    bus_unlock(c->cpu->bus);
    return v;
}

static void op_set_tpr(void *opaque, u8 v)
{
    struct pc_irq_cpu *c = opaque;
    bus_lock(c->cpu->bus);
    lapic_set_cr8(c->lapic, v);
    bus_unlock(c->cpu->bus);
}

static bool op_read_x2apic(void *opaque, u32 msr, u64 *v)
{
    return read_msr(opaque, msr, v);
}

static bool op_write_x2apic(void *opaque, u32 msr, u64 v)
{
    return write_msr(opaque, msr, v);
}

static u64 op_get_tsc_deadline(void *opaque)
{
    u64 v = 0;
    read_msr(opaque, IA32_TSC_DEADLINE, &v);
    return v;
}

/* The guest may have written its counter since the last time. */
static void op_set_tsc_deadline(void *opaque, u64 v)
{
    struct pc_irq_cpu *c = opaque;
    bus_lock(c->cpu->bus);
    if (c->lapic->tsc_offset != (u64)c->cpu->tsc_offset)
        lapic_set_tsc(c->lapic, c->cpu->tsc_khz, (u64)c->cpu->tsc_offset);
    lapic_write_msr(c->lapic, IA32_TSC_DEADLINE, v);
    bus_unlock(c->cpu->bus);
}

/* Only the boot processor's pin is connected. */
static void op_set_ferr(void *opaque, bool level)
{
    struct pc_irq_cpu *c = opaque;
    if (c->cpu->index)
        return;
    bus_lock(c->cpu->bus);
    portf0_set_ferr(&c->owner->portf0, 0, level);
    bus_unlock(c->cpu->bus);
}

static void op_tsc_moved(void *opaque)
{
    struct pc_irq_cpu *c = opaque;
    bus_lock(c->cpu->bus);
    lapic_set_tsc(c->lapic, c->cpu->tsc_khz, (u64)c->cpu->tsc_offset);
    bus_unlock(c->cpu->bus);
}

static const struct irq_ops irq_ops = {
    op_ack,         op_get_apic_base, op_set_apic_base,    op_get_tpr,          op_set_tpr,
    op_read_x2apic, op_write_x2apic,  op_get_tsc_deadline, op_set_tsc_deadline, op_set_ferr,
    op_tsc_moved,
};

/* ---- set-up ---- */

static void add_lapic(struct pc_irq *s, unsigned i)
{
    struct machine *m = s->machine;
    struct cpu *cpu = m->cpu[i];
    char name[24];
    s->cpu[i] = (struct pc_irq_cpu){s, cpu, &s->lapic[i]};
    struct lapic_config config = {
        .id = i,
        .bsp = i == 0,
        .x2apic = cpu_cpuid(cpu, 1, 0).ecx & BIT(21),
        .phys_bits = cpu_cpuid(cpu, 0x80000008, 0).eax & 0xff,
        .tsc_khz = cpu->tsc_khz,
        .intr = {pin_intr, cpu, 0},
        .nmi = {pin_pulse, cpu, REQ_NMI},
        .smi = {pin_pulse, cpu, REQ_SMI},
        .init = {pin_init, cpu, 0},
        .sipi = start_up,
        .sipi_opaque = cpu,
        .extint = inta,
        .extint_opaque = s,
    };
    lapic_init(&s->lapic[i], &s->lapic_bus, &m->clock, &config);
    cpu->irq = &irq_ops;
    cpu->irq_opaque = &s->cpu[i];
    snprintf(name, sizeof name, "lapic %u", i);
    machine_add_device(m, &lapic_class, &s->lapic[i], name);
}

bool pc_irq_init(struct pc_irq *s, struct machine *m)
{
    memset(s, 0, sizeof *s);
    s->machine = m;
    s->lapic = calloc(m->cpu_count, sizeof *s->lapic);
    if (!s->lapic)
        return false;
    lapic_bus_init(&s->lapic_bus, broadcast_eoi, s);
    for (unsigned i = 0; i < m->cpu_count; i++)
        add_lapic(s, i);
    lapic_bus_map(&s->lapic_bus, m->bus);

    struct ioapic_config io = {0xfec00000, 0x20, lapic_bus_send_hook, &s->lapic_bus};
    ioapic_init(&s->ioapic, m->bus, &io);
    machine_add_device(m, &ioapic_class, &s->ioapic, "ioapic");

    /* ELCR bits of IRQ 0, 1, 2, 8 and 13 do not exist (PIIX3 data sheet, 2.5.4). */
    struct i8259_config master = {0x20, 0x4d0, 0xf8, true, {set_lint0, s, 0}};
    struct i8259_config slave = {0xa0, 0x4d1, 0xde, false, {i8259_set_irq, &s->master, 2}};
    i8259_init(&s->master, m->bus, &master);
    i8259_init(&s->slave, m->bus, &slave);
    i8259_cascade(&s->master, 2, &s->slave);
    machine_add_device(m, &i8259_class, &s->master, "pic master");
    machine_add_device(m, &i8259_class, &s->slave, "pic slave");

    struct pin irq13 = pc_irq_pin(s, IRQ_ISA, IRQ_COPROCESSOR), ignne = {pin_ignne, m->cpu[0], 0};
    portf0_init(&s->portf0, m->bus, &irq13, &ignne);
    machine_add_device(m, &portf0_class, &s->portf0, "portf0");
    return true;
}

void pc_irq_free(struct pc_irq *s)
{
    free(s->lapic);
    s->lapic = NULL;
}
