/* The chips of an AT: interrupt vectors, BIOS data area, 8259s, 8254, real-time clock, 8042, UARTs;
 * and the consoles.
 */
#include "bios/bda.h"
#include "bios/chips.h"
#include "bios/post.h"

enum {
    UART_IER = 1,
    UART_LCR = 3,
    UART_MCR = 4,
    UART_SCRATCH = 7,
    DEBUG_PORT_E9 = 0xe9,
    DEBUG_PORT_402 = 0x402,
    DEBUG_PRESENT = 0xe9, /* what both ports read as */
    PM_TIMER = PM_BASE + 8,
};

const u16 uart_ports[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
const u8 uart_irqs[4] = {4, 3, 4, 3};

extern const u16 vector_table[], vector_ignore[];
extern const u8 crtc_table[]; /* offset in CODE_SEG */

static u8 uarts_found;

/* ---- vectors and data areas ---- */

void platform_vectors(void)
{
    for (u32 i = 0; i < 0x100; i++)
        MEMORY(u32, i * 4) = (u32)CODE_SEG << 16 | *SERVICE_CODE(vector_ignore);
    for (const u16 *v = SERVICE_CODE(vector_table); v[0] != 0xffff; v += 2)
        MEMORY(u32, v[0] * 4) = (u32)CODE_SEG << 16 | v[1];
    /* Pointers to tables, not code; and vectors that belong to programs. */
    MEMORY(u32, 0x1d * 4) = (u32)CODE_SEG << 16 | (u16)(u32)crtc_table;
    static const u8 none[] = {0x1f, 0x41, 0x43, 0x46, 0x60, 0x61,
                              0x62, 0x63, 0x64, 0x65, 0x66, 0x67};
    for (u32 i = 0; i < sizeof none; i++)
        MEMORY(u32, none[i] * 4) = 0;

    memset((void *)0x400, 0, 0x100);
    memset((void *)((u32)EBDA_SEG << 4), 0, EBDA_KB * 1024);
    MEMORY(u8, (u32)EBDA_SEG << 4) = EBDA_KB;
    MEMORY(u16, BDA_EBDA) = EBDA_SEG;
    MEMORY(u16, BDA_MEMORY) = 640 - EBDA_KB;
    MEMORY(u16, BDA_EQUIPMENT) = EQUIPMENT_FPU | EQUIPMENT_VIDEO_80;
    MEMORY(u16, BDA_KEY_START) = 0x1e;
    MEMORY(u16, BDA_KEY_END) = 0x3e;
    MEMORY(u16, BDA_KEY_HEAD) = 0x1e;
    MEMORY(u16, BDA_KEY_TAIL) = 0x1e;
    MEMORY(u8, BDA_KEY_FLAGS3) = 0x10;
    MEMORY(u8, BDA_VIDEO_MODE) = 3;
    MEMORY(u16, BDA_COLUMNS) = 80;
    MEMORY(u16, BDA_PAGE_SIZE) = 0x1000;
    MEMORY(u16, BDA_CURSOR_SHAPE) = 0x0607;
    MEMORY(u16, BDA_CRTC) = 0x3d4;
    MEMORY(u8, BDA_ROWS) = 24;
    MEMORY(u16, BDA_FONT_HEIGHT) = 16;
}

/* ---- chips ---- */

static u8 bcd(u8 v)
{
    return (u8)((v >> 4) * 10 + (v & 15));
}

/* 32.768 kHz, BCD, 24 hours; and ticks since midnight, 1193182 / 65536 of them a second. */
static void clock_init(void)
{
    cmos_write(RTC_A, 0x26);
    cmos_write(RTC_B, 0x02);
    cmos_read(RTC_C);
    for (u32 i = 0; i < 100000 && cmos_read(RTC_A) & 0x80; i++)
        continue;
    u32 seconds = bcd(cmos_read(RTC_HOURS)) * 3600u + bcd(cmos_read(RTC_MINUTES)) * 60u +
                  bcd(cmos_read(RTC_SECONDS));
    if (seconds >= 86400)
        seconds = 0;
    /* 1193182 / 65536 = 18 + 13534 / 65536 */
    MEMORY(u32, BDA_TICKS) = seconds * 18 + seconds / 16 * 13534 / 4096;
    pit_init();
}

/* A second at most: port 61h's bit 4 changes every 15 us, and a machine where it stands is given up
 * as well. */
static bool kbc_wait(u8 bit, bool set)
{
    u8 last = 0;
    for (u32 spins = 0, changes = 0; spins < 5000000 && changes < 66000; spins++) {
        if (!(inb(KBC_COMMAND) & bit) != set)
            return true;
        u8 now = inb(0x61) & 0x10;
        changes += now != last;
        last = now;
    }
    return false;
}

static void kbc_write(u16 port, u8 v)
{
    if (kbc_wait(KBC_INPUT_FULL, false))
        outb(port, v);
}

/* 8042: self test, a pointing device's interface, then translation, IRQ 1, keyboard on. */
static void keyboard_init(void)
{
    if (inb(KBC_COMMAND) == 0xff)
        return;
    for (u32 i = 0; i < 64 && inb(KBC_COMMAND) & KBC_OUTPUT_FULL; i++)
        inb(KBC_DATA);
    kbc_write(KBC_COMMAND, KBC_SELF_TEST);
    if (!kbc_wait(KBC_OUTPUT_FULL, true) || inb(KBC_DATA) != 0x55)
        return;
    kbc_write(KBC_COMMAND, KBC_AUX_TEST);
    if (kbc_wait(KBC_OUTPUT_FULL, true) && inb(KBC_DATA) == 0x00)
        MEMORY(u16, BDA_EQUIPMENT) |= EQUIPMENT_MOUSE;
    kbc_write(KBC_COMMAND, KBC_KEYBOARD_ON);
    kbc_write(KBC_COMMAND, KBC_SET_MODE);
    kbc_write(KBC_DATA, KBC_MODE);
    kbc_write(KBC_DATA, 0xf4); /* keyboard: scan */
    if (kbc_wait(KBC_OUTPUT_FULL, true))
        inb(KBC_DATA);
}

/* The scratch register holds what is written where there is a 16450 or better. */
static void uart_init(void)
{
    u16 slot = BDA_COM, count = 0;
    for (u32 i = 0; i < 4; i++) {
        u16 port = uart_ports[i];
        outb(port + UART_SCRATCH, 0x5a);
        if (inb(port + UART_SCRATCH) != 0x5a)
            continue;
        outb(port + UART_SCRATCH, 0);
        outb(port + UART_IER, 0);
        uarts_found |= (u8)BIT(i);
        MEMORY(u16, slot) = port;
        slot += 2;
        MEMORY(u8, BDA_COM_TIMEOUT + count++) = 1;
    }
    MEMORY(u16, BDA_EQUIPMENT) |= (u16)(count << EQUIPMENT_COM_SHIFT);
}

/* A parallel port's data register holds what is written. */
static void lpt_init(void)
{
    static const u16 ports[] = {0x3bc, 0x378, 0x278};
    u16 slot = BDA_LPT, count = 0;
    for (u32 i = 0; i < ARRAY_SIZE(ports); i++) {
        outb(ports[i], 0xaa);
        if (inb(ports[i]) != 0xaa)
            continue;
        MEMORY(u16, slot) = ports[i];
        slot += 2;
        MEMORY(u8, BDA_LPT_TIMEOUT + count++) = 20;
    }
    MEMORY(u16, BDA_EQUIPMENT) |= (u16)(count << EQUIPMENT_LPT_SHIFT);
}

u8 platform_uarts(void)
{
    return uarts_found;
}

void platform_chips(void)
{
    outb(0x92, (inb(0x92) | 2) & ~1); /* A20 */
    pic_init();
    clock_init();
    keyboard_init();
    uart_init();
    lpt_init();
}

/* ---- consoles ---- */

void platform_console(void)
{
    struct shared *s = SERVICE_DATA(shared);
    s->debug_port = inb(DEBUG_PORT_E9) == DEBUG_PRESENT    ? DEBUG_PORT_E9
                    : inb(DEBUG_PORT_402) == DEBUG_PRESENT ? DEBUG_PORT_402
                                                           : 0;
    /* The file names a port; without one, -nographic means COM1. */
    u32 size;
    u16 key = fw_find("etc/sercon-port", &size), port = 0, no_graphic = 0;
    fw_get(FW_NO_GRAPHIC, &no_graphic, sizeof no_graphic);
    if (key)
        fw_get(key, &port, size < sizeof port ? size : sizeof port);
    else if (no_graphic)
        port = uart_ports[0];
    for (u32 i = 0; i < 4; i++) {
        if (uart_ports[i] != port || !(uarts_found & BIT(i)))
            continue;
        outb(port + UART_LCR, 0x80); /* 115200, 8 bits, no parity */
        outb(port, 1);
        outb(port + UART_IER, 0);
        outb(port + UART_LCR, 0x03);
        outb(port + UART_MCR, 0x03);
        s->serial_port = port;
    }
}

/* ---- shadow RAM ---- */

/* i440FX data sheet 290549, 3.2.18: in each half byte bit 0 enables reads and bit 1 writes.
 * PAM0 high: F0000; PAM5: E0000, E4000; PAM6: E8000, EC000. */
void platform_lock_shadow(void)
{
    if (!pci.present)
        return;
    outl(PCI_ADDRESS, 0x80000058);
    outb(PCI_DATA + 1, 0x10);
    outl(PCI_ADDRESS, 0x8000005c);
    outb(PCI_DATA + 2, 0x11);
    outb(PCI_DATA + 3, 0x31);
}

/* The 24-bit timer counts at 3.579545 MHz; ACPI 6.3, 4.8.2.1. */
void wait_us(u32 us)
{
    if (!pci.pm)
        return;
    u32 last = inl(PM_TIMER) & 0xffffff;
    for (u32 left = us / 64 * 229 + 229, gone; left; left = left > gone ? left - gone : 0) {
        __asm__ volatile("pause");
        u32 now = inl(PM_TIMER) & 0xffffff;
        gone = (now - last) & 0xffffff;
        last = now;
    }
}
