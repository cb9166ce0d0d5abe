/* National Semiconductor PC16550D UART. */
#ifndef DRAGOMAN_DEVICES_NS16550_H
#define DRAGOMAN_DEVICES_NS16550_H

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"

#define NS16550_FIFO 16

struct chardev;

struct ns16550 {
    struct chardev *chardev; /* NULL: nothing connected */
    struct pin irq;
    struct timer timeout_timer; /* character timeout of the receive FIFO */
    u8 ier, iir_pending;        /* iir_pending: see PENDING_ in the .c */
    u8 fcr, lcr, mcr, lsr, msr, scr;
    u16 divisor;
    u8 rx[NS16550_FIFO];       /* received, oldest at rx_head */
    u8 rx_error[NS16550_FIFO]; /* LSR error bits of each */
    u8 rx_head, rx_count;
    u8 tx[NS16550_FIFO];
    u8 tx_head, tx_count;
};

/* Puts a UART at ports base..base+7.  `chardev` stays the caller's and must outlive it. */
void ns16550_init(struct ns16550 *s, struct bus *b, struct clock *clock, u16 base,
                  const struct pin *irq, struct chardev *chardev);

/* Serial input as the line delivers it, whether or not there is room. */
void ns16550_receive(struct ns16550 *s, u8 byte);
void ns16550_receive_break(struct ns16550 *s);

extern const struct device_class ns16550_class;

#endif
