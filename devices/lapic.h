/* Local APIC (xAPIC and x2APIC) and the bus that joins them; see lapic.c and lapic_bus.c. */
#ifndef DRAGOMAN_DEVICES_LAPIC_H
#define DRAGOMAN_DEVICES_LAPIC_H

#include "base/clock.h"
#include "devices/apic_msg.h"
#include "devices/device.h"
#include "mmu/bus.h"

#define LAPIC_BASE 0xfee00000ull
#define LAPIC_MAX 256         /* on one bus */
#define LAPIC_TIMER_HZ 1000000000ull /* of the timer before its divider: 1 tick is 1 ns */

/* LVT entries, in the order of their registers. */
enum lapic_lvt {
    LVT_TIMER,
    LVT_THERMAL,
    LVT_PERF,
    LVT_LINT0,
    LVT_LINT1,
    LVT_ERROR,
    LVT_COUNT
};

struct lapic;

/* Local APICs of one machine. */
struct lapic_bus {
    struct lapic *apic[LAPIC_MAX];
    unsigned count;
    unsigned next; /* where the search for the lowest priority starts */
    struct region *region;
    /* EOI of a level-triggered vector, for the I/O APICs. */
    void (*eoi)(void *opaque, u8 vector);
    void *eoi_opaque;
};

struct lapic_config {
    u32 id;
    bool bsp;
    bool x2apic;      /* CPUID says that the CPU has x2APIC */
    u8 phys_bits;     /* MAXPHYADDR, 32 to 52 */
    u64 tsc_khz;      /* what the TSC-deadline timer compares with, see lapic_set_tsc */
    struct pin intr;  /* level: lapic_ack would return a vector */
    struct pin nmi;   /* pulses: latch the rise */
    struct pin smi;   /* pulse */
    struct pin init;  /* pulse; the APIC has reset itself already */
    void (*sipi)(void *opaque, u8 vector);
    void *sipi_opaque;
    u8 (*extint)(void *opaque); /* INTA cycle to the 8259s */
    void *extint_opaque;
};

struct lapic {
    struct lapic_config config;
    struct lapic_bus *bus;
    struct clock *clock;

    u64 base_msr; /* IA32_APIC_BASE */
    u32 irr[8], isr[8], tmr[8];
    u32 lvt[LVT_COUNT];
    u32 svr, ldr, dfr;
    u32 esr, esr_pending;
    u64 icr;
    u8 tpr;
    u8 lint[2];        /* input levels */
    u8 extint_message; /* an ExtINT message waits */
    u8 intr_level;
    u32 initial_count, divide;
    u64 timer_start;   /* virtual ns at which the count (re)started; periods count from here */
    u64 tsc_deadline;  /* IA32_TSC_DEADLINE, 0 when not armed */
    u64 tsc_khz, tsc_offset;
    struct timer timer;
};

/* Makes an empty bus of local APICs. */
void lapic_bus_init(struct lapic_bus *b, void (*eoi)(void *opaque, u8 vector), void *eoi_opaque);

/* Maps LAPIC_BASE on the memory bus, for vCPU i the i-th APIC that was added; after all of them. */
void lapic_bus_map(struct lapic_bus *b, struct bus *bus);

/* Delivers a message; returns whether any APIC took it. */
bool lapic_bus_send(struct lapic_bus *b, const struct apic_msg *msg);
/* The same as an ioapic_config.send (opaque: struct lapic_bus). */
bool lapic_bus_send_hook(void *opaque, const struct apic_msg *msg);

/* Delivers to every APIC but `except` (may be NULL), as the ICR's shorthands do. */
void lapic_bus_send_all(struct lapic_bus *b, const struct apic_msg *msg,
                        const struct lapic *except);

/* A device's MSI: a write of `data` to `address` in FEExxxxxh (SDM vol. 3A, 10.11). */
void lapic_bus_msi(struct lapic_bus *b, u64 address, u32 data);

/* Makes the APIC, puts it on `b` and into its power-on state. */
void lapic_init(struct lapic *s, struct lapic_bus *b, struct clock *clock,
                const struct lapic_config *config);

/* LINT0 and LINT1 (n = 0, 1); made to be the function of a pin (opaque: struct lapic). */
void lapic_set_lint(void *opaque, unsigned n, bool level);

/* Fires the LVT entries that have no source inside the APIC (LVT_THERMAL, LVT_PERF). */
void lapic_trigger(struct lapic *s, enum lapic_lvt entry);

/* The CPU's interrupt acknowledge: moves the most important request into service and returns its
 * vector, or the 8259's for an ExtINT; -1 when INTR is low. */
int lapic_ack(struct lapic *s);

/* Whether an interrupt of that vector waits to be taken. */
bool lapic_waits(const struct lapic *s, u8 vector);

/* Local reset that an INIT causes (SDM vol. 3A, 10.4.7.3); also called for INIT messages. */
void lapic_init_reset(struct lapic *s);

/* CR8, bits 3:0 (SDM vol. 3A, 10.8.6). */
u8 lapic_cr8(const struct lapic *s);
void lapic_set_cr8(struct lapic *s, u8 value);

/* RDMSR/WRMSR of IA32_APIC_BASE, IA32_TSC_DEADLINE and 800h to 8FFh; false asks for #GP(0). */
bool lapic_read_msr(struct lapic *s, u32 msr, u64 *value);
bool lapic_write_msr(struct lapic *s, u32 msr, u64 value);

/* The CPU's TSC reads virtual_ns * khz / 1000000 + offset from now on; re-arms the deadline. */
void lapic_set_tsc(struct lapic *s, u64 khz, u64 offset);

/* ---- between lapic.c, lapic_timer.c and lapic_bus.c ---- */

bool lapic_enabled(const struct lapic *s);        /* IA32_APIC_BASE.EN */
bool lapic_x2apic(const struct lapic *s);         /* IA32_APIC_BASE.EXTD */
bool lapic_soft_enabled(const struct lapic *s);   /* and SVR bit 8 */
u8 lapic_ppr(const struct lapic *s);
u32 lapic_x2apic_ldr(const struct lapic *s);
/* Takes a message that was addressed to this APIC; false when it is lost (software disable). */
bool lapic_accept(struct lapic *s, const struct apic_msg *msg);
void lapic_timer_event(void *opaque);
void lapic_timer_reset(struct lapic *s);
void lapic_timer_arm(struct lapic *s);
u32 lapic_timer_count(const struct lapic *s);
void lapic_timer_set_count(struct lapic *s, u32 value);
void lapic_timer_set_divide(struct lapic *s, u32 value);
void lapic_timer_set_lvt(struct lapic *s, u32 value);
void lapic_timer_set_deadline(struct lapic *s, u64 tsc);
u64 lapic_timer_deadline(const struct lapic *s);

extern const struct device_class lapic_class;

#endif
