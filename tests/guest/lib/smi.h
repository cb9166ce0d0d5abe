/* Raising SMIs and talking with the handler in smi.S; for 32-bit and 64-bit tests. */
#ifndef GUEST_SMI_H
#define GUEST_SMI_H

#include "tests/guest/lib/guest.h"

/* At 7000H; smi.S knows the offsets. */
struct smi_mailbox {
    u32 count;                     /* SMIs handled */
    u32 eflags, cr0, cr4, cs, dr7; /* what the handler found */
    u32 load, loaded;              /* address to read in SMM, at its end, and what was there */
    struct {
        u32 address, value, bytes; /* to write before; 0 bytes: nothing */
    } store[4];
    u8 pad[0x200 - 80];
    u8 map[512]; /* SMBASE + FE00H upwards */
};
#define SMI_MAILBOX ((volatile struct smi_mailbox *)0x7000)

extern const u8 smi_handler[], smi_handler_end[];

static inline void outl(u16 port, u32 v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline u32 inl(u16 port)
{
    u32 v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline u8 pci_read8(u32 devfn, u32 reg)
{
    outl(0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc));
    return inb(0xcfc + (reg & 3));
}

static inline void pci_write8(u32 devfn, u32 reg, u8 v)
{
    outl(0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc));
    outb(0xcfc + (reg & 3), v);
}

enum { SMRAM = 0x72, D_OPEN = 0x40, D_CLS = 0x20, D_LCK = 0x10, G_SMRAME = 8, C_BASE = 2 };

/* Lets a write to the APM control port raise SMI# (82371AB, DEVACTB and GLBCTL), and puts the handler
 * to the SMBASE that the processor starts with and to that which firmware gives it. */
static inline void smi_setup(void)
{
    enum { PIIX4_PM = 1 << 3 | 3 };
    size_t bytes = (size_t)(smi_handler_end - smi_handler);
    memset((void *)SMI_MAILBOX, 0, sizeof *SMI_MAILBOX);
    SMI_MAILBOX->load = 0x7000;
    pci_write8(0, SMRAM, C_BASE | G_SMRAME | D_OPEN);
    memcpy((void *)0x38000, smi_handler, bytes);
    memcpy((void *)0xa8000, smi_handler, bytes);
    u16 base = (u16)(pci_read8(PIIX4_PM, 0x41) << 8 | (pci_read8(PIIX4_PM, 0x40) & 0xc0));
    outl(base + 0x28, inl(base + 0x28) | 1);
    pci_write8(PIIX4_PM, 0x5b, pci_read8(PIIX4_PM, 0x5b) | 2);
}

/* The SMI comes at once; where it does not (QEMU), give it time. */
static inline void smi(void)
{
    u32 count = SMI_MAILBOX->count;
    outb(0xb2, 0x99);
    for (unsigned i = 0; i < 100000 && SMI_MAILBOX->count == count; i++)
        ;
}

static inline void smi_clear_stores(void)
{
    for (unsigned i = 0; i < 4; i++)
        SMI_MAILBOX->store[i].bytes = 0;
}

static inline void smi_store(unsigned i, u32 address, u32 value, u32 bytes)
{
    SMI_MAILBOX->store[i].address = address;
    SMI_MAILBOX->store[i].value = value;
    SMI_MAILBOX->store[i].bytes = bytes;
}

/* A field of the save map that the last SMI copied; `at` as the manuals write it, FE00H to FFFFH. */
static inline u64 smi_map(unsigned at, unsigned bytes)
{
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (u64)SMI_MAILBOX->map[at - 0xfe00 + i] << (8 * i);
    return v;
}

#endif
