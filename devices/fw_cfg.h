/* QEMU's firmware configuration device: named items from the emulator to the firmware. */
#ifndef DRAGOMAN_DEVICES_FW_CFG_H
#define DRAGOMAN_DEVICES_FW_CFG_H

#include "devices/device.h"
#include "mmu/bus.h"

/* Keys (docs/specs/fw_cfg in QEMU, and the keys that its firmware clients use). */
enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03, /* u64, bytes */
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05, /* u16 */
    FW_CFG_MACHINE_ID = 0x06,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_KERNEL_CMDLINE = 0x09,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_DEVICE = 0x0c,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f, /* u16 */
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ACPI_TABLES = 0x8000,
    FW_CFG_SMBIOS_ENTRIES = 0x8001,
    FW_CFG_IRQ0_OVERRIDE = 0x8002,
    FW_CFG_E820_TABLE = 0x8003,
    FW_CFG_HPET = 0x8004,
};

#define FW_CFG_FILES 64     /* files that can be added */
#define FW_CFG_KEYS (FW_CFG_FILE_FIRST + FW_CFG_FILES)
#define FW_CFG_NAME 56      /* bytes of a file name, with its 0 */

/* Fills buf with `count` bytes of the item from `offset`; both are within the item's size. */
typedef void fw_cfg_read_fn(void *opaque, u32 offset, u8 *buf, u32 count);

struct fw_cfg_item {
    const u8 *data; /* NULL: read is asked */
    bool owned;     /* data is freed with the device */
    u32 size;
    fw_cfg_read_fn *read;
    void *opaque;
};

struct fw_cfg {
    struct bus *bus;
    struct fw_cfg_item item[2][FW_CFG_KEYS]; /* [1]: keys with bit 15, specific to the PC */
    char name[FW_CFG_FILES][FW_CFG_NAME];
    u32 files;
    u16 key;         /* selected */
    u32 offset;      /* next byte of the data register */
    u32 dma_address_high;
};

/* Claims ports 0x510, 0x511 and 0x514-0x51B, and adds the signature, ID and file directory. */
void fw_cfg_init(struct fw_cfg *s, struct bus *b);
/* Frees what items hold. */
void fw_cfg_destroy(struct fw_cfg *s);

/* Items by key; a later one replaces an earlier.  False: no memory, or no such key. */
bool fw_cfg_add_bytes(struct fw_cfg *s, unsigned key, const void *bytes, u32 size); /* copied */
/* Not copied: bytes must stay until fw_cfg_destroy (kernel and initrd images). */
bool fw_cfg_add_borrowed(struct fw_cfg *s, unsigned key, const void *bytes, u32 size);
bool fw_cfg_add_u16(struct fw_cfg *s, unsigned key, u16 value);
bool fw_cfg_add_u32(struct fw_cfg *s, unsigned key, u32 value);
bool fw_cfg_add_u64(struct fw_cfg *s, unsigned key, u64 value);
/* With its terminating 0. */
bool fw_cfg_add_string(struct fw_cfg *s, unsigned key, const char *text);

/* Files of the directory ("etc/e820"), copied, or made by `read` when asked.  False: no memory,
 * too many files, name too long or taken. */
bool fw_cfg_add_file(struct fw_cfg *s, const char *name, const void *bytes, u32 size);
bool fw_cfg_add_file_callback(struct fw_cfg *s, const char *name, u32 size, fw_cfg_read_fn *read,
                              void *opaque);

extern const struct device_class fw_cfg_class;

#endif
