/* The 32-bit half of the firmware: what its files offer each other.
 *
 * Runs flat, without paging and interrupts, on one processor.  Its variables are zero at reset and
 * again when INT 19h boots, and nothing of it is in use once an operating system runs.
 */
#ifndef BIOS_POST_H
#define BIOS_POST_H

#include "bios/layout.h"
#include "bios/shared.h"
#include "bios/types.h"

void *memcpy(void *to, const void *from, u32 n);
void *memmove(void *to, const void *from, u32 n);
void *memset(void *to, int c, u32 n);
int memcmp(const void *a, const void *b, u32 n);
u32 strlen(const char *s);

/* What has to be added to n bytes for them to add up to 0; and puts that into byte `at` of them. */
u8 checksum(const void *p, u32 n);
void checksum_set(void *p, u32 n, u32 at);

static inline void cpuid(u32 leaf, u32 r[4])
{
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

/* Any type at a linear address: BIOS data area, tables, chips. */
#define MEMORY(type, address) (*(volatile type *)(u32)(address))

/* What a symbol of the services is for 32-bit code: data, and code. */
#define SERVICE_DATA(symbol) ((__typeof__(&(symbol)))((u32)&(symbol) + DATA_BASE))
#define SERVICE_CODE(symbol) ((__typeof__(&(symbol)[0]))((u32)(symbol) + CODE_BASE))

/* ---- entry.S ---- */

struct int_regs {
    u32 eax, ebx, ecx, edx, esi, edi, ebp, flags;
    u16 es, ds;
};

struct real_entry {
    u16 ip, cs;
    u16 segment; /* DS, ES, FS, GS, SS */
    u16 sp;
    u16 dx;
    u16 flags; /* FLAGS_BOOT, or bit 1 alone for interrupts off */
};

#define FLAGS_OFF 0x0002
#define FLAGS_BOOT 0x0202 /* interrupts on */

/* A software interrupt in real mode; *r is on the stack and is both input and output. */
void bios_int(u8 vector, struct int_regs *r);
void bios_int_big(u8 vector, struct int_regs *r);
_Noreturn void enter_real(const struct real_entry *e);
_Noreturn void enter_multiboot(u32 entry, u32 info);

/* ---- text.c ---- */

/* Prints on the console through INT 10h: %s, %u, %x (with u32 arguments), %c; \n is a new line. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- fw_cfg.c ---- */

enum fw_key {
    FW_SIGNATURE = 0x00,
    FW_ID = 0x01,
    FW_UUID = 0x02,
    FW_RAM_SIZE = 0x03,
    FW_NO_GRAPHIC = 0x04,
    FW_NB_CPUS = 0x05,
    FW_KERNEL_ADDR = 0x07,
    FW_KERNEL_SIZE = 0x08,
    FW_INITRD_ADDR = 0x0a,
    FW_INITRD_SIZE = 0x0b,
    FW_KERNEL_ENTRY = 0x10,
    FW_KERNEL_DATA = 0x11,
    FW_INITRD_DATA = 0x12,
    FW_BOOT_MENU = 0x0e,
    FW_CMDLINE_ADDR = 0x13,
    FW_CMDLINE_SIZE = 0x14,
    FW_CMDLINE_DATA = 0x15,
    FW_SETUP_ADDR = 0x16,
    FW_SETUP_SIZE = 0x17,
    FW_SETUP_DATA = 0x18,
    FW_FILE_DIR = 0x19,
};

/* Looks for the device; false if there is none, and everything below then reads as zeros. */
bool fw_init(void);
void fw_select(u16 key);
/* The next bytes of the selected item. */
void fw_read(void *to, u32 n);
void fw_get(u16 key, void *to, u32 n);
u32 fw_get32(u16 key);
/* The key of a file and its size; 0 if there is none. */
u16 fw_find(const char *name, u32 *size);
/* The next file whose name begins so; *at is 0 for the first.  0: none is left. */
u16 fw_next(u32 *at, const char *folder, u32 *size);

/* ---- platform.c ---- */

/* Interrupt vectors, BIOS data area, EBDA. */
void platform_vectors(void);
/* 8259s, 8254, real-time clock, keyboard controller, UARTs. */
void platform_chips(void);
/* Which of the four usual UARTs exist: bit n is COM n + 1. */
u8 platform_uarts(void);
extern const u16 uart_ports[4];
extern const u8 uart_irqs[4];
/* The UART that shows the console, if the machine wants one, and the debug console's port. */
void platform_console(void);
/* E0000-EBFFF and F0000-FFFFF become read-only. */
void platform_lock_shadow(void);
/* Waits, by the PM timer. */
void wait_us(u32 us);

/* ---- memory.c ---- */

struct memory {
    u32 low_top;  /* end of RAM below 4 GiB */
    u64 high_top; /* end of RAM above 4 GiB, or 4 GiB */
    u64 bytes;    /* RAM in all */
};

extern struct memory memory;

/* Sizes RAM and makes the E820 map; the tables' memory is set aside. */
void memory_init(void);
/* Where the memory for tables begins: RAM from 1 MiB up to there is nobody's during POST. */
u32 memory_tables_start(void);
/* An option ROM has taken memory below 640K for good: RAM that is free ends there. */
void memory_low_end(u32 end);
/* Zeroed memory that the operating system gets told about as ACPI tables. */
void *table_alloc(u32 size, u32 align);
/* The last allocation ends here; what follows it has not been written. */
void table_trim(void *end);
/* Zeroed memory at F0000-FFFFF; NULL when that is full. */
void *f_segment_alloc(u32 size, u32 align);
/* ACPI's FACS: 64 bytes of non-volatile memory. */
void *facs_memory(void);

/* ---- pci.c ---- */

#define PCI_IO_BASE 0xc000u
#define PCI_MEM_BASE 0xe0000000u
#define PCI_MEM_END 0xfec00000u
#define PM_BASE 0x600
#define SMB_BASE 0x700

struct pci_windows {
    u32 mem_base;            /* to PCI_MEM_END */
    u64 high_base, high_end; /* equal: none */
    bool present;            /* there is a host bridge */
    bool pm;                 /* and a PIIX4 PM function */
};

extern struct pci_windows pci;

/* IRQ of PIRQA to PIRQD as POST sets them. */
extern const u8 pirq_irqs[4];

/* Finds and configures the PCI devices. */
void pci_init(void);
/* Configuration space, aligned dwords; bdf is bus << 8 | device << 3 | function. */
u32 pci_read(u16 bdf, u8 reg);
void pci_write(u16 bdf, u8 reg, u32 v);
/* Keeps a register of configuration space as it is now for resuming from S3. */
void pci_keep(u16 bdf, u8 reg);
/* Calls f for every function, in the order of buses and slots. */
void pci_each(void (*f)(u16 bdf));

/* ---- roms.c ---- */

/* Starts the display adapter's option ROM, then those of other PCI devices. */
void roms_video(void);
void roms_others(void);

/* ---- cpus.c ---- */

#define CPUS_MAX 255

struct cpus {
    u32 count;
    u8 apic_id[CPUS_MAX];
    bool apic;
};

extern struct cpus cpus;

/* MTRRs and local APIC of this processor, then of the others, which are counted. */
void cpus_init(void);

/* ---- tables ---- */

void acpi_init(void);
/* Appends the DSDT's definition block; acpi.c made the header. */
struct aml;
void dsdt_build(struct aml *a);
bool hpet_present(void);
void smbios_init(void);
void legacy_tables_init(void);

/* ---- drives.c ---- */

/* Finds disks and CD-ROMs for INT 13h, and says what there is. */
void drives_init(void);

/* ---- post.c, boot.c, boot_cd.c ---- */

/* The time for a key, if the machine has a boot menu. */
#define BOOT_MENU_TICKS 45
/* Starts what is on the CD; comes back if it cannot. */
void boot_cd(u8 unit);
/* An emulated drive goes, and the real ones have their numbers again. */
void boot_emulation_end(void);
/* INT 13h AH = 42h: sectors to linear memory below 1 MiB. */
bool disk_read(u8 unit, u64 lba, u16 count, u32 memory);
/* Is the kernel to be started that the machine was given? */
bool boot_has_kernel(void);

_Noreturn void post_main(void);
_Noreturn void boot_main(void);

#endif
