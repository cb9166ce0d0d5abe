/* Several processors, for 64-bit tests: starting the others (ap.S), waiting for them, giving each
 * work.  A test defines ap_main, which ap.S calls on each of them. */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#include "tests/guest/lib/apic.h"

enum { MAX_CPUS = 8, START = 0x8000 };

extern u8 ap_start[], ap_start_end[], ap_pointer[], ap_cr0[], ap_cr3[], ap_cr4[], ap_efer[];
extern volatile u32 ap_count;
void ap_main(unsigned number, u32 cs, u32 cr0);

static inline unsigned cpu_id(void)
{
    return x2apic() ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

static inline void spin(unsigned n)
{
    while (n--)
        __asm__ volatile("pause" : : : "memory");
}

/* Waits until *p is `want`; false when it does not come in seconds. */
static inline bool wait_for(volatile u32 *p, u32 want)
{
    for (u64 end = rdtsc() + 20000000000ull; rdtsc() < end; spin(10))
        if (*p == want)
            return true;
    return false;
}

static inline u8 *ap_placed(const u8 *field)
{
    return (u8 *)START + (field - ap_start);
}

/* Puts the code where a SIPI of START >> 12 begins, with this processor's tables. */
static inline void place_start(void)
{
    memcpy((void *)START, ap_start, (size_t)(ap_start_end - ap_start));
    *(u16 *)ap_placed(ap_pointer) = GDT_ENTRIES * 8 - 1;
    *(u32 *)(ap_placed(ap_pointer) + 2) = (u32)(u64)gdt;
    *(u32 *)ap_placed(ap_cr0) = (u32)read_cr0();
    *(u32 *)ap_placed(ap_cr3) = (u32)read_cr3();
    *(u32 *)ap_placed(ap_cr4) = (u32)read_cr4();
    *(u32 *)ap_placed(ap_efer) = (u32)rdmsr(EFER) & ~EFER_LMA;
}

static inline unsigned cpu_count(void)
{
    __asm__ volatile("outw %w0, %w1" : : "a"(5), "Nd"(0x510)); /* fw_cfg: number of processors */
    return inb(0x511);
}

static inline void settle(void)
{
    u64 end = rdtsc() + 30000000;
    while (rdtsc() < end)
        __asm__ volatile("pause");
}

#endif
