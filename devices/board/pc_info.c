/* What the monitor shows of the PC's interrupt controllers. */
#include "devices/board/pc.h"

static void print_8259(const struct i8259 *s, const char *name, print_fn print, void *opaque)
{
    print(opaque, "%s: lines=%02x irr=%02x isr=%02x imr=%02x elcr=%02x vector=%02x intr=%u%s%s\n",
          name, s->lines, s->irr, s->isr, s->imr, s->elcr, s->vector, s->intr_level,
          s->auto_eoi ? " auto-eoi" : "", s->special_mask ? " special-mask" : "");
}

static void print_ioapic(const struct ioapic *s, print_fn print, void *opaque)
{
    static const char *const modes[8] = {"fixed", "lowest", "smi", "?",
                                         "nmi",   "init",   "?",   "extint"};
    print(opaque, "ioapic: id=%u lines=%06x\n", s->id, s->lines);
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        u64 e = s->redirection[n];
        /* An entry that is masked and was never written says nothing. */
        if ((e & ~0x10000ull) == 0)
            continue;
        print(opaque, "  pin %2u: %016llx vector=%02llx %s %s dest=%02llx %s%s%s%s\n", n,
              (unsigned long long)e, (unsigned long long)(e & 0xff), modes[e >> 8 & 7],
              e & BIT(11) ? "logical" : "physical", (unsigned long long)(e >> 56),
              e & BIT(15) ? "level" : "edge", e & BIT(13) ? " low" : " high",
              e & BIT(14) ? " remote-irr" : "", e & BIT(16) ? " masked" : "");
    }
}

static void print_vectors(const char *name, const u32 *set, print_fn print, void *opaque)
{
    print(opaque, "  %s:", name);
    for (unsigned v = 0; v < 256; v++)
        if (set[v / 32] & BIT(v % 32))
            print(opaque, " %02x", v);
    print(opaque, "\n");
}

static void print_lapic(const struct lapic *s, unsigned i, print_fn print, void *opaque)
{
    static const char *const lvt[LVT_COUNT] = {"timer", "thermal", "perf",
                                               "lint0", "lint1",   "error"};
    print(opaque, "lapic %u: base=%llx%s%s svr=%08x tpr=%02x ppr=%02x ldr=%08x dfr=%08x intr=%u\n",
          i, (unsigned long long)s->base_msr, lapic_enabled(s) ? "" : " (off)",
          lapic_x2apic(s) ? " (x2apic)" : "", s->svr, s->tpr, lapic_ppr(s), s->ldr, s->dfr,
          s->intr_level);
    for (unsigned n = 0; n < LVT_COUNT; n++)
        print(opaque, "  lvt %s=%08x%s", lvt[n], s->lvt[n], n % 3 == 2 ? "\n" : "");
    print(opaque, "  timer: initial=%08x current=%08x tsc-deadline=%llx\n", s->initial_count,
          lapic_timer_count(s), (unsigned long long)s->tsc_deadline);
    print_vectors("irr", s->irr, print, opaque);
    print_vectors("isr", s->isr, print, opaque);
}

void pc_print_irq(struct pc *pc, print_fn print, void *opaque)
{
    print_8259(&pc->irq.master, "pic master", print, opaque);
    print_8259(&pc->irq.slave, "pic slave", print, opaque);
    print_ioapic(&pc->irq.ioapic, print, opaque);
    for (unsigned i = 0; i < pc->machine.cpu_count; i++)
        print_lapic(&pc->irq.lapic[i], i, print, opaque);
}
