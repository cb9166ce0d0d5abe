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

/* A drive that INT 13h knows: an ATA disk or an ATAPI CD-ROM. */
struct disk {
    u16 port, control; /* of its channel */
    u8 slave;
    u8 cdrom;
    u8 lba48;
    u8 pci_devfn;      /* of the controller, on bus 0 */
    u64 sectors;       /* of 512 bytes; disks only */
    u16 cylinders;     /* what IDENTIFY says */
    u16 heads, spt;
    u16 logical_cylinders; /* what INT 13h shows */
    u8 logical_heads, logical_spt;
    char model[41];
};

#define DISKS_MAX 4
#define FLOPPIES_MAX 2
#define CDROM_UNIT 0xe0 /* INT 13h's number of the first CD-ROM; disks are 80h and up */

/* El Torito: a boot image on a CD that is shown as a floppy or a disk. */
struct emulation {
    u8 active, media; /* media: 1-3 floppies of 1.2, 1.44, 2.88 MB; 4 disk */
    u8 unit;          /* INT 13h's number: 00h or 80h */
    u8 cd;            /* index in shared.disk */
    u32 start;        /* first CD sector */
    u16 load_segment, load_sectors;
    u16 cylinders;
    u8 heads, spt;
    u32 catalog; /* CD sector of the boot catalog */
    u16 equipment;
    u8 disks;    /* and equipment: what the data area said before */
};

/* A dword of configuration space, and a model-specific register, that are to be written again. */
struct kept_register {
    u16 bdf;
    u8 reg;
    u32 value;
};

struct kept_msr {
    u32 number;
    u64 value;
};

/* An option ROM's boot entry vector, and the offset of what it calls itself; 0: nothing. */
struct boot_entry {
    u16 segment, offset, name;
};

/* What option ROMs have of memory while POST runs: a low and a high pool, empty afterwards. */
struct pmm_block {
    u32 at, size, handle;
};

struct pmm_pool {
    u32 start, end;
};

#define PMM_BLOCKS_MAX 32

struct pmm {
    struct pmm_pool low, high;
    u8 count;
    struct pmm_block block[PMM_BLOCKS_MAX];
};

#define BOOT_ENTRIES_MAX 4
#define KEPT_MAX 16
#define MSRS_MAX 28

struct shared {
    u32 e820_count;
    struct e820_entry e820[E820_MAX];
    u16 pm_timer;    /* port of ACPI's timer; 0: none */
    u16 debug_port;  /* where each character of INT 10h goes too; 0: nowhere */
    u16 serial_port; /* a UART that shows what the console shows; 0: none */
    u8 video;        /* a display adapter's ROM has taken INT 10h; its handler is INT 6Dh */
    u8 vga, vga_devfn; /* INT 10h drives the VGA at this place on bus 0 itself */
    u8 last_bus;     /* highest PCI bus */
    u8 disks, cdroms, floppies; /* how many of each */
    u8 floppy[FLOPPIES_MAX];  /* kinds as in CMOS: 1 360K, 2 1.2M, 3 720K, 4 1.44M, 5 2.88M */
    u8 hard_disk[DISKS_MAX];  /* index in disk[] of 80h, 81h... */
    u8 cdrom[DISKS_MAX];      /* of E0h... */
    struct disk disk[DISKS_MAX];
    struct emulation emulation;
    u8 pci;          /* configuration mechanism 1 works */
    u32 routing;     /* linear address of the PCI interrupt routing table; 0: none */
    u16 routing_slots;
    u16 pnp;         /* the Plug and Play installation check structure's offset in CODE_SEG */
    u8 boot_entries;
    struct boot_entry boot_entry[BOOT_ENTRIES_MAX];
    struct pmm pmm;
    u8 rom_disks;    /* how many option ROMs have added to INT 13h */
    u8 booting;      /* a device has been given control, and others are left to try */
    u8 boot_at;      /* the next one in the order */
    u8 boot_continue; /* INT 18h wants that one */
    u32 facs;        /* linear address of ACPI's FACS */
    u8 apic;         /* there are local APICs */
    u16 elcr;
    u16 kept_count, msr_count;
    struct kept_register kept[KEPT_MAX];
    struct kept_msr msr[MSRS_MAX];
    u8 apm_connected; /* 1 to real mode, 2 to 16-bit and 3 to 32-bit protected mode */
    u8 apm_off;
    u16 apm_version;
};

/* An offset in the services' data segment; POST adds its base. */
extern struct shared shared;

#endif
