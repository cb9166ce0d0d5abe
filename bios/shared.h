/* What POST leaves for the services: one structure in the services' data segment. */
#ifndef BIOS_SHARED_H
#define BIOS_SHARED_H

#include "bios/types.h"

#define E820_RAM 1
#define E820_RESERVED 2
#define E820_ACPI 3
#define E820_NVS 4
#define E820_MAX 64

struct e820_entry {
    u64 base, size;
    u32 type;
} PACKED;

struct shared {
    u32 e820_count;
    struct e820_entry e820[E820_MAX];
    u16 debug_port;  /* where each character of INT 10h goes too; 0: nowhere */
    u16 serial_port; /* a UART that shows what the console shows; 0: none */
    u8 last_bus;     /* highest PCI bus */
    u8 pci;          /* configuration mechanism 1 works */
};

/* An offset in the services' data segment; POST adds its base. */
extern struct shared shared;

#endif
