/* Registers of the local APIC (SDM vol. 3A table 10-1; MSR 800h + number / 16 in x2APIC mode) and of
 * the I/O APIC (82093AA), for 64-bit tests. */
#ifndef GUEST_APIC_H
#define GUEST_APIC_H

#include "tests/guest/lib/long.h"

enum {
    APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_APR = 0x90, APIC_PPR = 0xa0,
    APIC_EOI = 0xb0, APIC_RRD = 0xc0, APIC_LDR = 0xd0, APIC_DFR = 0xe0, APIC_SVR = 0xf0,
    APIC_ISR = 0x100, APIC_TMR = 0x180, APIC_IRR = 0x200, APIC_ESR = 0x280, APIC_ICR = 0x300,
    APIC_ICR_HIGH = 0x310, APIC_LVT_TIMER = 0x320, APIC_LVT_THERMAL = 0x330, APIC_LVT_PERF = 0x340,
    APIC_LVT_LINT0 = 0x350, APIC_LVT_LINT1 = 0x360, APIC_LVT_ERROR = 0x370, APIC_INITIAL = 0x380,
    APIC_CURRENT = 0x390, APIC_DIVIDE = 0x3e0, APIC_SELF_IPI = 0x3f0,
    MSR_APIC_BASE = 0x1b, BASE_BSP = 0x100, BASE_EXTD = 0x400, BASE_EN = 0x800,
    ICR_LOWEST = 0x100, ICR_SMI = 0x200, ICR_NMI = 0x400, ICR_INIT = 0x500, ICR_SIPI = 0x600,
    ICR_LOGICAL = 0x800, ICR_ASSERT = 0x4000, ICR_LEVEL = 0x8000, ICR_SELF = 1 << 18,
    ICR_ALL = 2 << 18, ICR_OTHERS = 3 << 18, LVT_LEVEL = 0x8000, LVT_MASKED = 0x10000,
};

static inline bool x2apic(void)
{
    return rdmsr(MSR_APIC_BASE) & BASE_EXTD;
}

static inline volatile u32 *apic_mmio(u32 reg)
{
    return (volatile u32 *)(0xfee00000ull + reg);
}

static inline u32 apic_read(u32 reg)
{
    return x2apic() ? (u32)rdmsr(0x800 + reg / 16) : *apic_mmio(reg);
}

static inline void apic_write(u32 reg, u32 v)
{
    if (x2apic())
        wrmsr(0x800 + reg / 16, v);
    else
        *apic_mmio(reg) = v;
}

/* A bit of ISR, TMR or IRR. */
static inline bool apic_bit(u32 reg, u32 vector)
{
    return apic_read(reg + (vector >> 5) * 16) >> (vector & 31) & 1;
}

/* dest: an 8-bit destination in xAPIC mode, 32 bits in x2APIC mode. */
static inline void apic_send(u32 dest, u32 low)
{
    if (x2apic()) {
        wrmsr(0x800 + APIC_ICR / 16, (u64)dest << 32 | low);
    } else {
        *apic_mmio(APIC_ICR_HIGH) = dest << 24;
        *apic_mmio(APIC_ICR) = low;
    }
}

static inline void eoi(void)
{
    apic_write(APIC_EOI, 0);
}

static inline void ioapic_write(u32 reg, u32 v)
{
    *(volatile u32 *)0xfec00000 = reg;
    *(volatile u32 *)0xfec00010 = v;
}

static inline u32 ioapic_read(u32 reg)
{
    *(volatile u32 *)0xfec00000 = reg;
    return *(volatile u32 *)0xfec00010;
}

/* The line of an ISA interrupt or I/O APIC input, as -device pc-testdev drives it. */
static inline void testdev_line(unsigned n, bool level)
{
    outb((u16)(0x2000 + n), level);
}

/* Some time with interrupts on, for what has been sent to arrive. */
static inline void let_in(void)
{
    __asm__ volatile("sti");
    for (unsigned i = 0; i < 2000; i++)
        __asm__ volatile("pause");
    __asm__ volatile("cli");
}

#endif
