/* Chips that more than one part of the firmware deals with, and how POST and the services start
 * them. */
#ifndef BIOS_CHIPS_H
#define BIOS_CHIPS_H

#include "bios/types.h"

enum {
    PIC_MASTER = 0x20,
    PIC_SLAVE = 0xa0,
    PIC_EOI = 0x20,
    PIC_READ_ISR = 0x0b,
    PIT_COUNTER0 = 0x40,
    PIT_COUNTER2 = 0x42,
    PIT_CONTROL = 0x43,
    KBC_DATA = 0x60,
    KBC_COMMAND = 0x64,
    KBC_OUTPUT_FULL = 0x01,
    KBC_INPUT_FULL = 0x02,
    KBC_FROM_AUX = 0x20,
    KBC_SET_MODE = 0x60,
    KBC_AUX_TEST = 0xa9,
    KBC_SELF_TEST = 0xaa,
    KBC_KEYBOARD_ON = 0xae,
    KBC_TO_AUX = 0xd4,
    KBC_RESET = 0xfe,
    /* The controller's command byte. */
    KBC_MODE_IRQ1 = 0x01,
    KBC_MODE_IRQ12 = 0x02,
    KBC_MODE_SYSTEM = 0x04,
    KBC_MODE_NO_KEYBOARD = 0x10,
    KBC_MODE_NO_AUX = 0x20,
    KBC_MODE_TRANSLATE = 0x40,
    KBC_MODE = KBC_MODE_TRANSLATE | KBC_MODE_NO_AUX | KBC_MODE_SYSTEM | KBC_MODE_IRQ1,
    RESET_CONTROL = 0xcf9,
    RESET_CONTROL_HARD = 0x06,
    PCI_ADDRESS = 0xcf8,
    PCI_DATA = 0xcfc,
    ELCR = 0x4d0,
    /* The PIIX3's ISA bridge, its register of PIRQA, IRQs that a PIRQ may get: 5, 10, 11. */
    ISA_BRIDGE = 1 << 3,
    ROUTE_PIRQA = 0x60,
    ROUTE_IRQS = 0x0c20,
    /* Local APIC. */
    APIC_SPURIOUS = 0xf0,
    APIC_SPURIOUS_VECTOR = 0xff,
    APIC_ENABLE = 0x100,
    APIC_LINT0 = 0x350,
    APIC_LINT1 = 0x360,
    LINT_NMI = 0x400,
    LINT_EXTINT = 0x700,
};

#define APIC_BASE 0xfee00000u
#define IOAPIC_BASE 0xfec00000u

/* The PIIX3's register for interrupt pin 0 to 3 of a slot of bus 0: the board wires INTA of slot 1
 * to PIRQA, of slot 2 to PIRQB and so on. */
static inline u8 route_of(u32 slot, u32 pin)
{
    return (u8)(ROUTE_PIRQA + ((slot + pin + 3) & 3));
}

/* 8259A data sheet, initialisation: vectors 08h and 70h, slave on IRQ 2, 8086 mode.  Open: timer,
 * keyboard, cascade; pointing device, whose interrupts the 8042 holds back until it is used. */
static inline void pic_init(void)
{
    outb(PIC_MASTER, 0x11);
    outb(PIC_SLAVE, 0x11);
    outb(PIC_MASTER + 1, 0x08);
    outb(PIC_SLAVE + 1, 0x70);
    outb(PIC_MASTER + 1, 0x04);
    outb(PIC_SLAVE + 1, 0x02);
    outb(PIC_MASTER + 1, 0x01);
    outb(PIC_SLAVE + 1, 0x01);
    outb(PIC_MASTER + 1, 0xf8);
    outb(PIC_SLAVE + 1, 0xef);
}

/* Counter 0: mode 2, 65536: 18.2 interrupts a second. */
static inline void pit_init(void)
{
    outb(PIT_CONTROL, 0x34);
    outb(PIT_COUNTER0, 0);
    outb(PIT_COUNTER0, 0);
}

#endif
