/* Support for the services, the data they share with POST, and what answers stray interrupts. */
#include "bios/chips.h"
#include "bios/service.h"

struct shared shared = {0};
/* Stack pointer that the next service from a foreign stack starts with (services.S). */
u16 service_stack = STACK_TOP;

void *memcpy16(void *to, const void *from, u32 n)
{
    u8 *d = to;
    const u8 *s = from;
    while (n--)
        *d++ = *s++;
    return to;
}

void *memset16(void *to, int c, u32 n)
{
    u8 *d = to;
    while (n--)
        *d++ = (u8)c;
    return to;
}

u8 to_bcd(u8 v)
{
    return (u8)(v / 10 << 4 | v % 10);
}

u8 from_bcd(u8 v)
{
    return (u8)((v >> 4) * 10 + (v & 15));
}

/* ACPI's timer has 24 bits and counts at 3.579545 MHz; else port 61h bit 4 changes with each
 * refresh request, every 15.085 us. */
static u32 time_now(void)
{
    return shared.pm_timer ? inl(shared.pm_timer) & 0xffffff : inb(0x61) & 0x10;
}

/* Microseconds that have passed between two calls, at least. */
static u32 passed_us(u32 *last)
{
    u32 now = time_now();
    if (!shared.pm_timer) {
        bool changed = now != *last;
        *last = now;
        return changed ? 15 : 0;
    }
    /* 1 / 3.579545 is 71.5 / 256; what is less than one is counted the next time. */
    u32 us = ((now - *last) & 0xffffff) * 143 / 512;
    if (us)
        *last = now;
    return us;
}

static void delay(u32 us, bool open)
{
    u32 last = time_now();
    for (u32 gone; us; us = us > gone ? us - gone : 0) {
        gone = passed_us(&last);
        if (open)
            __asm__ volatile("sti; nop; cli" : : : "memory");
    }
}

void delay_us(u32 us)
{
    delay(us, false);
}

void wait_open(u32 us)
{
    delay(us, true);
}

void irq_end(u8 irq)
{
    if (irq >= 8)
        outb(PIC_SLAVE, PIC_EOI);
    outb(PIC_MASTER, PIC_EOI);
}

/* IRQs that nobody has taken over: acknowledged and masked, so that they cannot storm.  A spurious
 * one is not in service and gets no EOI (8259A data sheet, "spurious interrupts"). */
void service_irq_low(frame_ptr f)
{
    outb(PIC_MASTER, PIC_READ_ISR);
    u8 isr = inb(PIC_MASTER);
    if (!isr)
        return;
    outb(PIC_MASTER + 1, (u8)(inb(PIC_MASTER + 1) | (isr & ~BIT(2))));
    outb(PIC_MASTER, PIC_EOI);
}

void service_irq_high(frame_ptr f)
{
    outb(PIC_SLAVE, PIC_READ_ISR);
    u8 isr = inb(PIC_SLAVE);
    if (isr) {
        outb(PIC_SLAVE + 1, (u8)(inb(PIC_SLAVE + 1) | isr));
        outb(PIC_SLAVE, PIC_EOI);
    }
    outb(PIC_MASTER, PIC_EOI);
}

/* INT 05h, print screen: there is no printer; byte 50:0 says that it failed. */
void service_05(frame_ptr f)
{
    bda8_set(0x500, 0xff);
}

/* INT 11h: equipment. */
void service_11(frame_ptr f)
{
    f->ax = bda16(BDA_EQUIPMENT);
}

/* INT 12h: KiB of RAM below the EBDA. */
void service_12(frame_ptr f)
{
    f->ax = bda16(BDA_MEMORY);
}

/* INT 18h: what has been started could not boot (BIOS Boot Specification 1.01, section 6.4: the
 * next one, then), or nothing has booted. */
void service_18(frame_ptr f)
{
    if (shared.booting) {
        shared.boot_continue = 1;
        __asm__ volatile("int $0x19");
    }
    console_print("No kernel given and no bootable device found: nothing to boot.\r\n");
    for (;;)
        wait_interrupt();
}
