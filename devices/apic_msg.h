/* What travels on the bus between I/O APICs, MSI sources and local APICs (SDM vol. 3A, section
 * "The APIC bus / system bus" and "Message signalled interrupts", ch. 10).
 */
#ifndef DRAGOMAN_DEVICES_APIC_MSG_H
#define DRAGOMAN_DEVICES_APIC_MSG_H

#include "base/types.h"

/* Delivery modes, as in ICR, LVT entries, redirection entries and MSI data. */
enum apic_mode {
    APIC_FIXED = 0,
    APIC_LOWEST = 1,
    APIC_SMI = 2,
    APIC_NMI = 4,
    APIC_INIT = 5,
    APIC_SIPI = 6,
    APIC_EXTINT = 7,
};

#define APIC_BROADCAST 0xffffffffu

struct apic_msg {
    u32 dest;     /* physical APIC ID or logical mask; APIC_BROADCAST for everybody */
    bool logical; /* how dest is meant */
    bool level;   /* level-triggered: its EOI is broadcast */
    u8 mode;      /* enum apic_mode */
    u8 vector;
};

/* An 8-bit destination field of an I/O APIC, MSI or xAPIC ICR as apic_msg.dest. */
static inline u32 apic_dest8(u8 dest, bool logical)
{
    return dest == 0xff && !logical ? APIC_BROADCAST : dest;
}

#endif
