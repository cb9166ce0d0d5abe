/* Interrupt wiring of the PC: which line goes where, and the CPU's view of its local APIC.
 *
 * Lines are numbered as the I/O APIC's inputs (GSI): 0 to 15 are the ISA interrupts, which go to
 * the 8259 pair as well; ISA IRQ 0 reaches the I/O APIC at input 2.  Several drivers may share a
 * line; it is high while any of them drives it.
 */
#ifndef DRAGOMAN_DEVICES_BOARD_PC_IRQ_H
#define DRAGOMAN_DEVICES_BOARD_PC_IRQ_H

#include "devices/board/machine.h"
#include "devices/i8254.h"
#include "devices/i8259.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/portf0.h"

/* Who drives lines. */
enum irq_source {
    IRQ_ISA,  /* chips with an ISA interrupt of their own */
    IRQ_ISA_SHARED, /* COM3 and COM4 */
    IRQ_PIRQ, /* PCI through the PIIX3's router */
    IRQ_SCI,
    IRQ_SMBUS,
    IRQ_HPET,
    IRQ_TEST, /* pc-testdev */
    IRQ_SOURCES
};

struct pc_irq_cpu {
    struct pc_irq *owner;
    struct cpu *cpu;
    struct lapic *lapic;
};

struct pc_irq {
    struct machine *machine;
    struct i8259 master, slave;
    struct ioapic ioapic;
    struct portf0 portf0;
    struct lapic_bus lapic_bus;
    struct lapic *lapic; /* one per vCPU */
    struct pc_irq_cpu cpu[MACHINE_CPUS];
    u32 driven[IRQ_SOURCES]; /* bit n: the source drives line n */
    u32 lines;               /* what the controllers have been told */
    u8 hpet_legacy;          /* the HPET has taken over IRQ 0 and 8 */
    struct i8254 *timer;     /* hears of interrupts that have been taken; or NULL */
    u64 timer_ran;           /* machine_cpu_ns of the first vCPU when the timer's line last rose */
};

#define PC_GSIS 24u

/* Makes 8259s, I/O APIC and local APICs and connects the vCPUs.  False: no memory. */
bool pc_irq_init(struct pc_irq *s, struct machine *m);
void pc_irq_free(struct pc_irq *s);

/* The pin of line n (0 to 23) for one of its drivers. */
struct pin pc_irq_pin(struct pc_irq *s, enum irq_source source, unsigned n);
/* The timer's pin on IRQ 0, and what makes up for its ticks (i8254_config); i8254_init follows.  In
 * counted mode there are none, since the guest's time stands still while the host is busy. */
void pc_irq_wire_timer(struct pc_irq *s, struct i8254 *timer, struct i8254_config *config);
/* HPET legacy replacement: cuts off what IRQ_ISA drives on 0 and 8. */
struct pin pc_irq_legacy_pin(struct pc_irq *s);
/* SMI# of the boot processor, the one that QEMU's pc wires it to. */
struct pin pc_irq_smi_pin(struct pc_irq *s);
/* A pulse on every local APIC's LINT1. */
void pc_irq_nmi(struct pc_irq *s);

#endif
