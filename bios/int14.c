/* INT 14h: the serial ports in the BIOS data area.
 *
 * IBM PC AT Technical Reference, BIOS listing, RS232_IO.  AH = 04h and 05h: PS/2 and PC BIOS
 * Interface Technical Reference.
 */
#include "bios/service.h"

enum {
    UART_DATA = 0,
    UART_IER = 1,
    UART_LCR = 3,
    UART_MCR = 4,
    UART_LSR = 5,
    UART_MSR = 6,
    LCR_DLAB = 0x80,
    LSR_READY = 0x01,
    LSR_EMPTY = 0x20,
    STATUS_TIMEOUT = 0x80,
    POLL_US = 60,
};

/* Divisors of 115200 for AL bits 7:5. */
static const u16 divisors[8] = {1047, 768, 384, 192, 96, 48, 24, 12};

static void initialise(u16 port, u8 how)
{
    u16 divisor = divisors[how >> 5];
    outb(port + UART_LCR, LCR_DLAB);
    outb(port + UART_DATA, (u8)divisor);
    outb(port + UART_IER, (u8)(divisor >> 8));
    outb(port + UART_LCR, how & 0x1f);
    outb(port + UART_IER, 0);
}

/* 04h: CL the rate, CH the length less 5, BL stop bits, BH parity (none, odd, even, 1, 0), AL
 * break. */
static void initialise_extended(u16 port, frame_ptr f)
{
    static const u8 parities[] = {0x00, 0x08, 0x18, 0x28, 0x38};
    u16 divisor = f->cl < 8 ? divisors[f->cl] : 6;
    u8 line = (u8)((f->ch & 3) | (f->bl & 1) << 2 | (f->al & 1) << 6);
    if (f->bh < sizeof parities)
        line |= parities[f->bh];
    outb(port + UART_LCR, LCR_DLAB);
    outb(port + UART_DATA, (u8)divisor);
    outb(port + UART_IER, (u8)(divisor >> 8));
    outb(port + UART_LCR, line);
    outb(port + UART_IER, 0);
}

static bool wait_line(u16 port, u8 bit, u8 timeout)
{
    for (u32 left = (timeout + 1u) * 4096; left; left--) {
        if (inb(port + UART_LSR) & bit)
            return true;
        delay_us(POLL_US);
    }
    return false;
}

void service_14(frame_ptr f)
{
    if (f->dx >= 4)
        return;
    u16 port = bda16((u16)(BDA_COM + 2 * f->dx));
    if (!port)
        return;
    u8 timeout = bda8((u16)(BDA_COM_TIMEOUT + f->dx));
    switch (f->ah) {
    case 0:
        initialise(port, f->al);
        break;
    case 1:
        outb(port + UART_MCR, 3);
        if (!wait_line(port, LSR_EMPTY, timeout)) {
            f->ah = STATUS_TIMEOUT | inb(port + UART_LSR);
            return;
        }
        outb(port + UART_DATA, f->al);
        f->ah = inb(port + UART_LSR);
        return;
    case 2:
        outb(port + UART_MCR, 1);
        if (!wait_line(port, LSR_READY, timeout)) {
            f->ah = STATUS_TIMEOUT;
            return;
        }
        f->ah = inb(port + UART_LSR) & 0x1e;
        f->al = inb(port + UART_DATA);
        return;
    case 3: break;
    case 4: initialise_extended(port, f); break;
    case 5: /* modem control */
        if (f->al == 0)
            f->bl = inb(port + UART_MCR);
        else if (f->al == 1)
            outb(port + UART_MCR, f->bl);
        break;
    default: return;
    }
    f->ah = inb(port + UART_LSR);
    f->al = inb(port + UART_MSR);
}
