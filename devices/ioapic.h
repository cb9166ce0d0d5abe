/* I/O APIC 82093AA; see ioapic.c. */
#ifndef DRAGOMAN_DEVICES_IOAPIC_H
#define DRAGOMAN_DEVICES_IOAPIC_H

#include "devices/apic_msg.h"
#include "devices/device.h"
#include "mmu/bus.h"

#define IOAPIC_PINS 24

struct ioapic_config {
    u64 base;    /* physical address, FEC00000h on a PC */
    u8 version;  /* 0x11, or 0x20 for the later kind with an EOI register */
    /* Puts a message on the APIC bus; returns whether some local APIC took it. */
    bool (*send)(void *opaque, const struct apic_msg *msg);
    void *opaque;
};

struct ioapic {
    struct ioapic_config config;
    u64 redirection[IOAPIC_PINS];
    u32 lines; /* inputs as they are now */
    u8 id, select;
};

/* Maps the registers on `bus`; all pins are masked. */
void ioapic_init(struct ioapic *s, struct bus *bus, const struct ioapic_config *config);

/* Input n (0 to 23) becomes asserted or not; made to be the function of a pin (opaque: struct
 * ioapic).  Whatever the redirection entry's polarity bit says: a pin carries "asserted". */
void ioapic_set_irq(void *opaque, unsigned n, bool level);

/* The vector that input n interrupts with, or -1 when it is masked or interrupts with none. */
int ioapic_vector(const struct ioapic *s, unsigned n);

/* A local APIC broadcasts the EOI of a level-triggered vector. */
void ioapic_eoi(struct ioapic *s, u8 vector);

extern const struct device_class ioapic_class;

#endif
