/* Triple fault and the reset ports start the machine again (SDM vol. 3A 6.15, interrupt 8).
 *
 * Each start does the next way of resetting; how many there were is kept in the CMOS RAM, which
 * survives.  A byte there that nobody else uses holds the count, another says that it is ours.
 */
#include "tests/guest/lib/legacy.h"

enum { COUNT = 0x70, MARK = 0x71, OURS = 0xa7 };

static u8 cmos_read(u8 index)
{
    outb(0x70, index);
    return inb(0x71);
}

static void cmos_write(u8 index, u8 v)
{
    outb(0x70, index);
    outb(0x71, v);
}

static void __attribute__((noreturn)) stay(void)
{
    /* Long enough for any of the ways; then it is a failure. */
    for (u64 end = rdtsc() + 20000000000ull; rdtsc() < end;)
        __asm__ volatile("pause");
    check("the machine was reset", false);
    finish();
}

static void triple_fault(void)
{
    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) none = {0, 0};
    __asm__ volatile("lidt %0\n ud2" : : "m"(none));
}

void test_main(void)
{
    u8 starts = cmos_read(MARK) == OURS ? cmos_read(COUNT) : 0;
    cmos_write(MARK, OURS);
    cmos_write(COUNT, (u8)(starts + 1));
    say("start %x\n", (u32)starts);
    switch (starts) {
    case 0:
        triple_fault();
        stay();
    case 1: /* PIIX3 reset control register */
        outb(0xcf9, 2);
        outb(0xcf9, 6);
        stay();
    case 2: /* keyboard controller: pulse of its output port, bit 0 */
        outb(0x64, 0xfe);
        stay();
    case 3: /* port 92h, bit 0 */
        outb(0x92, inb(0x92) | 1);
        stay();
    }
    cmos_write(MARK, 0);
    check_eq("started five times", starts, 4);
    check_eq("CR0 after it", read_cr0() & (CR0_PG | CR0_PE), CR0_PE);
    check_eq("CR4 after it", read_cr4(), 0);
}
