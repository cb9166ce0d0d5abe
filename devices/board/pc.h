/* The PC: 440FX, PIIX3 and their surroundings, laid out as QEMU's machine type "pc".
 *
 *     0            RAM up to 3 GiB; A0000-BFFFF open, C0000-FFFFF as the host bridge's PAM says
 *     FEC00000     I/O APIC
 *     FED00000     HPET
 *     FEE00000     local APICs
 *     4 GiB - n    firmware image; its last 128 KiB also at E0000 (PAM)
 *     4 GiB        RAM above 3 GiB
 */
#ifndef DRAGOMAN_DEVICES_BOARD_PC_H
#define DRAGOMAN_DEVICES_BOARD_PC_H

#include "devices/acpi_pm.h"
#include "devices/board/boot_kernel.h"
#include "devices/board/machine.h"
#include "devices/board/pc_irq.h"
#include "devices/debugcon.h"
#include "devices/fw_cfg.h"
#include "devices/hpet.h"
#include "devices/i440fx.h"
#include "devices/i8042.h"
#include "devices/i8237.h"
#include "devices/i8254.h"
#include "devices/isa_debug_exit.h"
#include "devices/mc146818.h"
#include "devices/ns16550.h"
#include "devices/pc_testdev.h"
#include "devices/pci.h"
#include "devices/pci_testdev.h"
#include "devices/pcspk.h"
#include "devices/piix3.h"
#include "devices/piix4_pm.h"
#include "devices/piix4_smbus.h"
#include "devices/port61.h"
#include "devices/port92.h"
#include "devices/storage/i82077.h"
#include "devices/storage/piix3_ide.h"
#include "devices/video/vga.h"

#define PC_SERIALS 4u
#define PC_RAM_MIN (1ull << 20)
#define PC_RAM_MAX (64ull << 30)
#define PC_LOW_RAM_MAX 0xc0000000ull
#define PC_FIRMWARE_MAX (16u << 20)
#define PC_DEVICES 16u
#define PC_IDE_DRIVES 4u /* primary master and slave, secondary master and slave */
#define PC_FLOPPIES 2u
#define PC_OPTION_ROMS 4u
#define PC_OPTION_ROM_MAX (1u << 20)

struct pc_drive {
    enum ata_kind kind;
    struct block *block; /* NULL: a CD-ROM drive without a disc */
};

struct pc_floppy {
    bool used;           /* there is a drive; its kind follows from the disk in it */
    struct block *block; /* NULL: empty */
};

struct pc_config {
    struct machine_config machine;
    u64 ram;              /* bytes, a multiple of the page size, PC_RAM_MIN to PC_RAM_MAX */
    const char *firmware; /* path */
    s64 rtc_epoch;        /* seconds since 1970 that the clock shows at first */
    struct chardev *serial[PC_SERIALS]; /* NULL: no such port */
    struct chardev *debugcon;           /* NULL: none */
    u16 debugcon_port;
    struct audio *audio;                /* the speaker's; NULL: none; stays the caller's */
    bool serial_console;                /* the firmware's messages go to COM1 too */
    const char *kernel, *initrd, *cmdline; /* NULL: none */
    struct pc_drive drive[PC_IDE_DRIVES];
    struct pc_floppy floppy[PC_FLOPPIES];
    bool snapshot; /* what is written to floppies that are put in later is lost at the end */
    /* Of letters a, c, d, n, up to a 0 or a comma; NULL: disk, floppy, CD-ROM.  They stay. */
    const char *boot_order;
    const char *boot_once; /* the same up to the first reset; NULL: no other */
    bool boot_menu;
    bool vga;            /* there is a display adapter */
    const char *vga_rom; /* path of its option ROM; NULL: none */
    const char *kernel_rom; /* path of a ROM that starts the kernel (foreign firmware), or NULL */
    const char *option_rom[PC_OPTION_ROMS]; /* paths of what the firmware starts; NULL: none */
};

struct pc {
    struct machine machine;
    struct pc_irq irq;
    u64 low_ram, high_ram;
    u8 *ram;      /* host address of guest RAM */
    u8 *firmware; /* host address of the image */
    u32 firmware_size;

    struct pci_bus pci;
    struct i440fx i440fx;
    struct piix3 piix3;
    struct piix4_pm piix4_pm;
    struct acpi_pm acpi_pm;
    struct piix4_smbus smbus;
    struct i8254 pit;
    struct pcspk speaker;
    struct port61 port61;
    struct mc146818 rtc;
    struct pin rtc_line; /* IRQ 8 */
    struct hpet hpet;
    struct fw_cfg fw_cfg;
    struct i8042 i8042;
    struct port92 port92;
    struct ns16550 serial[PC_SERIALS];
    struct debugcon debugcon;
    struct boot_kernel kernel;
    struct vga vga;
    bool has_vga;
    struct piix3_ide ide;
    struct block_pool *pool;
    struct pc_drive drive[PC_IDE_DRIVES]; /* the images are owned */
    struct i8237 dma;
    struct i82077 fdc;
    struct pc_floppy floppy[PC_FLOPPIES]; /* the images are owned */
    bool snapshot;
    const char *boot_order;
    bool boot_once; /* CMOS has another order until the second reset */
    bool started;   /* there has been a reset */
    void *added[PC_DEVICES]; /* states of -device chips; owned */
    unsigned added_count;
};

/* Builds the machine.  The chardevs and images in config are the machine's from then on, also on
 * failure.  False with *error (malloced, one line); call pc_destroy in both cases. */
bool pc_init(struct pc *pc, const struct pc_config *config, char **error);
void pc_destroy(struct pc *pc);

/* -device NAME[,property=value...]; before machine_run.  False with *error. */
bool pc_add_device(struct pc *pc, const char *spec, char **error);
/* Whether pc_add_device would take it; for complaints before anything is built. */
bool pc_check_device(const char *spec, char **error);
void pc_device_help(print_fn print, void *opaque);

/* What firmware is to be started from `path`; the board decides by this whether an option ROM is
 * needed for -kernel. */
bool pc_firmware_is_seabios(const char *path);

/* Puts the image at `path` into the drive `name` (pc_drive_name; "floppy0"), NULL: takes the disc
 * out.  Against software's lock only by force.  Machine frozen; false with *error. */
bool pc_change_disc(struct pc *pc, const char *name, const char *path, bool force, char **error);
/* "ide1-cd0" */
const char *pc_drive_name(const struct pc *pc, unsigned drive);
/* `info block` */
void pc_print_drives(struct pc *pc, print_fn print, void *opaque);

/* ---- pc_storage.c, for pc.c ---- */
bool pc_make_storage(struct pc *pc, const struct pc_config *config, char **error);
void pc_free_storage(struct pc *pc);

/* `info pic` */
void pc_print_irq(struct pc *pc, print_fn print, void *opaque);

#endif
