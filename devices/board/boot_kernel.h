/* -kernel: what the firmware finds in fw_cfg when a kernel is to be started without a boot loader.
 *
 * The contract with the firmware (bios/ follows it; SeaBIOS with QEMU's option ROM linuxboot_dma
 * does for Linux images too):
 *
 * Linux (Documentation/arch/x86/boot.rst in the kernel).  Four pairs ADDR/SIZE (u32) with DATA:
 *     SETUP    boot sector and set-up code, to go to SETUP_ADDR (0x10000, in old protocols 0x90000)
 *     KERNEL   the protected-mode part (0x100000, not bzImage: 0x10000)
 *     CMDLINE  with its terminating 0 (0x20000)
 *     INITRD   SIZE 0 if there is none
 * The header in SETUP_DATA is filled in already (loader type, heap, command line, initrd).  The
 * firmware copies the four, sets DS = ES = FS = GS = SS = SETUP_ADDR >> 4, SP = CMDLINE_ADDR -
 * SETUP_ADDR - 16, clears the other registers and interrupts, and jumps far to
 * (SETUP_ADDR >> 4) + 0x20 : 0.
 *
 * Multiboot 1 (specification 0.6.96), marked by the file "etc/dragoman-multiboot": a u32, the
 * physical address of the information structure.
 *     KERNEL   ADDR/SIZE/DATA: one block that holds all that is loaded, its bss zeroed
 *     KERNEL_ENTRY  the address to jump to
 *     INITRD   ADDR/SIZE/DATA: the information structure, its strings, tables and modules
 * SETUP_SIZE is 0.  The firmware copies the two and enters the kernel as section 3.2 of the
 * specification says: 32-bit protected mode without paging, flat CS, DS, ES, FS, GS and SS with
 * limit 4 GiB, A20 on, EFLAGS.IF and VM clear, EAX = 0x2BADB002, EBX = the u32 of the file.
 */
#ifndef DRAGOMAN_DEVICES_BOARD_BOOT_KERNEL_H
#define DRAGOMAN_DEVICES_BOARD_BOOT_KERNEL_H

#include "base/types.h"

struct fw_cfg;

#define BOOT_MULTIBOOT_FILE "etc/dragoman-multiboot"
/* Below the end of low RAM, left for the firmware's tables. */
#define BOOT_FIRMWARE_BYTES 0x20000u

/* What is asked for. */
struct boot_request {
    const char *kernel;  /* path */
    const char *initrd;  /* path or NULL; for multiboot: "file args,file args" */
    const char *cmdline; /* NULL: empty */
    u64 low_ram;         /* bytes of RAM below 4 GiB, from 0 */
    u64 high_ram;        /* above */
};

struct boot_block {
    u8 *data; /* owned */
    u32 size;
    u32 addr;
};

struct boot_kernel {
    bool multiboot;
    struct boot_block setup, kernel, initrd;
    char *cmdline; /* owned */
    u32 cmdline_addr;
    u32 entry;
    u32 info;      /* multiboot information structure */
};

/* Reads and checks the files.  False with *error (malloced, one line that names the file); *k is
 * empty then. */
bool boot_kernel_load(struct boot_kernel *k, const struct boot_request *request, char **error);
/* Puts it into fw_cfg, which borrows the blocks.  False: no memory. */
bool boot_kernel_publish(const struct boot_kernel *k, struct fw_cfg *fw_cfg);
/* After the fw_cfg device is gone. */
void boot_kernel_free(struct boot_kernel *k);

/* ---- between boot_kernel.c, boot_linux.c and boot_multiboot.c ---- */

/* Reads a whole regular file of at most `max` bytes; NULL with *error. */
u8 *boot_read_file(const char *what, const char *path, u64 max, u32 *size, char **error);
/* Offset of the multiboot header in the image, or -1. */
s64 multiboot_find(const u8 *image, u32 size);
bool linux_image(const u8 *image, u32 size);
/* Both take `image` over (freed on failure too). */
bool linux_load(struct boot_kernel *k, const struct boot_request *r, u8 *image, u32 size,
                char **error);
bool multiboot_load(struct boot_kernel *k, const struct boot_request *r, u8 *image, u32 size,
                    char **error);

#endif
