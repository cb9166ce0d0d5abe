/* INT 17h: the parallel ports in the BIOS data area.
 *
 * IBM PC AT Technical Reference, BIOS listing, PRINTER_IO.
 */
#include "bios/service.h"

enum {
    LPT_DATA = 0,
    LPT_STATUS = 1,
    LPT_CONTROL = 2,
    STATUS_NOT_BUSY = 0x80,
    STATUS_INVERTED = 0x48, /* acknowledge and error: active low at the port */
    STATUS_BITS = 0xf8,
    STATUS_TIMEOUT = 0x01,
    CONTROL_STROBE = 0x01,
    CONTROL_NOT_INIT = 0x04,
    CONTROL_SELECT = 0x08,
    POLL_US = 60,
};

static void print(frame_ptr f, u16 port)
{
    u8 timeout = bda8((u16)(BDA_LPT_TIMEOUT + f->dx));
    outb(port + LPT_DATA, f->al);
    for (u32 left = (timeout + 1u) * 4096; !(inb(port + LPT_STATUS) & STATUS_NOT_BUSY); left--) {
        if (!left) {
            f->ah = STATUS_TIMEOUT;
            return;
        }
        delay_us(POLL_US);
    }
    u8 control = (inb(port + LPT_CONTROL) & 0x1e) | CONTROL_NOT_INIT | CONTROL_SELECT;
    outb(port + LPT_CONTROL, control | CONTROL_STROBE);
    delay_us(1);
    outb(port + LPT_CONTROL, control);
}

void service_17(frame_ptr f)
{
    u16 port = f->dx < 3 ? bda16((u16)(BDA_LPT + 2 * f->dx)) : 0;
    if (!port || f->ah > 2) {
        f->ah = STATUS_TIMEOUT; /* nobody there */
        return;
    }
    u8 what = f->ah;
    f->ah = 0;
    if (what == 0) {
        print(f, port);
    } else if (what == 1) {
        outb(port + LPT_CONTROL, CONTROL_SELECT);
        delay_us(500);
        outb(port + LPT_CONTROL, CONTROL_SELECT | CONTROL_NOT_INIT);
    }
    f->ah |= (inb(port + LPT_STATUS) ^ STATUS_INVERTED) & STATUS_BITS;
}
