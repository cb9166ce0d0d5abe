/* QEMU's firmware configuration device, at I/O ports 0x510-0x51B.
 *
 * Specification: docs/specs/fw_cfg in QEMU's documentation.  Modelled: selector, data, file
 * directory, DMA with read, skip and select.
 * Left out: writing to items (the DMA interface answers with its error bit, the data port ignores
 * it), the memory-mapped variant of other boards.
 */
#include "devices/fw_cfg.h"

#include <stdlib.h>

#include "base/log.h"

enum {
    PORT_SELECTOR = 0x510, /* 16 bits; the data register is the byte after it */
    PORT_DMA = 0x514,      /* 64 bits, big-endian, in two halves */
    ID_TRADITIONAL = BIT(0),
    ID_DMA = BIT(1),
    DMA_ERROR = BIT(0),
    DMA_READ = BIT(1),
    DMA_SKIP = BIT(2),
    DMA_SELECT = BIT(3),
    DMA_WRITE = BIT(4),
    KEY_LOCAL = 0x8000,
    KEY_WRITE = 0x4000, /* of old: ignored */
    DIR_ENTRY = 8 + FW_CFG_NAME,
    /* What a transfer may ask for beyond the item's end.  Clients read whole items; only a
     * hostile one would keep the machine busy clearing gigabytes. */
    DMA_TAIL = 16 << 20,
};

static void store_be(u8 *p, u64 v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (u8)(v >> (8 * (bytes - 1 - i)));
}

static u64 load_be(const u8 *p, unsigned bytes)
{
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static struct fw_cfg_item *find(struct fw_cfg *s, unsigned key)
{
    unsigned index = key & ~(unsigned)(KEY_LOCAL | KEY_WRITE);
    return index < FW_CFG_KEYS ? &s->item[!!(key & KEY_LOCAL)][index] : NULL;
}

/* Reads up to `count` bytes of the selected item and moves on; returns how many there were. */
static u32 read_item(struct fw_cfg *s, u8 *buf, u32 count)
{
    const struct fw_cfg_item *item = find(s, s->key);
    if (!item || s->offset >= item->size)
        return 0;
    if (count > item->size - s->offset)
        count = item->size - s->offset;
    if (item->data)
        memcpy(buf, item->data + s->offset, count);
    else if (item->read)
        item->read(item->opaque, s->offset, buf, count);
    s->offset += count;
    return count;
}

static void select_key(struct fw_cfg *s, u16 key)
{
    s->key = key;
    s->offset = 0;
}

/* ---- reset ---- */

static void fw_cfg_reset(void *state)
{
    struct fw_cfg *s = state;
    select_key(s, FW_CFG_SIGNATURE);
    s->dma_address_high = 0;
}

/* ---- DMA ---- */

static bool dma_read(struct fw_cfg *s, u64 address, u32 length)
{
    u8 buf[4096];
    const struct fw_cfg_item *item = find(s, s->key);
    u32 left = item && s->offset < item->size ? item->size - s->offset : 0;
    if (length > left && length - left > DMA_TAIL)
        return false;
    while (length) {
        u32 want = length < sizeof buf ? length : (u32)sizeof buf;
        u32 n = read_item(s, buf, want);
        memset(buf + n, 0, want - n); /* beyond the end: zeros */
        bus_write_bytes(s->bus, address, buf, want);
        address += want;
        length -= want;
    }
    return true;
}

static void dma_skip(struct fw_cfg *s, u32 length)
{
    const struct fw_cfg_item *item = find(s, s->key);
    u32 left = item && s->offset < item->size ? item->size - s->offset : 0;
    s->offset += length < left ? length : left;
}

static void dma_run(struct fw_cfg *s, u64 descriptor)
{
    u8 d[16], status[4];
    bus_read_bytes(s->bus, descriptor, d, sizeof d);
    u32 control = (u32)load_be(d, 4);
    u32 length = (u32)load_be(d + 4, 4);
    u64 address = load_be(d + 8, 8);
    bool good = true;
    if (control & DMA_SELECT)
        select_key(s, (u16)(control >> 16));
    if (control & DMA_READ)
        good = dma_read(s, address, length);
    else if (control & DMA_WRITE)
        good = false;
    else if (control & DMA_SKIP)
        dma_skip(s, length);
    store_be(status, good ? 0 : DMA_ERROR, 4);
    bus_write_bytes(s->bus, descriptor, status, sizeof status);
}

/* ---- read ---- */

static u64 port_read(void *opaque, u64 offset, unsigned size)
{
    struct fw_cfg *s = opaque;
    u8 byte = 0;
    if (offset == 0)
        return size_mask(size); /* the selector is write-only */
    read_item(s, &byte, 1);
    return byte;
}

static u64 dma_port_read(void *opaque, u64 offset, unsigned size)
{
    static const u8 signature[8] = "QEMU CFG";
    return load_le(signature + (offset & 7), size <= 8 - (offset & 7) ? size : 1);
}

/* ---- write ---- */

static void port_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    if (offset == 0 && size == 2)
        select_key(opaque, (u16)value);
}

static void dma_port_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct fw_cfg *s = opaque;
    u8 bytes[4];
    if (size != 4 || (offset & 3))
        return;
    store_le(bytes, value, 4);
    u32 half = (u32)load_be(bytes, 4);
    if (offset == 0) {
        s->dma_address_high = half;
        return;
    }
    u64 descriptor = (u64)s->dma_address_high << 32 | half;
    s->dma_address_high = 0;
    dma_run(s, descriptor);
}

static const struct bus_ops port_ops = {port_read, port_write, 1, 2};
static const struct bus_ops dma_ops = {dma_port_read, dma_port_write, 1, 4};

/* ---- items ---- */

static bool put(struct fw_cfg *s, unsigned key, struct fw_cfg_item item)
{
    struct fw_cfg_item *slot = find(s, key);
    if (!slot) {
        if (item.owned)
            free((void *)item.data);
        return false;
    }
    if (slot->owned)
        free((void *)slot->data);
    *slot = item;
    return true;
}

bool fw_cfg_add_bytes(struct fw_cfg *s, unsigned key, const void *bytes, u32 size)
{
    u8 *copy = malloc(size ? size : 1);
    if (!copy)
        return false;
    if (size)
        memcpy(copy, bytes, size);
    return put(s, key, (struct fw_cfg_item){.data = copy, .owned = true, .size = size});
}

bool fw_cfg_add_borrowed(struct fw_cfg *s, unsigned key, const void *bytes, u32 size)
{
    return put(s, key, (struct fw_cfg_item){.data = bytes, .size = size});
}

bool fw_cfg_add_u16(struct fw_cfg *s, unsigned key, u16 value)
{
    u8 bytes[2];
    store_le(bytes, value, 2);
    return fw_cfg_add_bytes(s, key, bytes, 2);
}

bool fw_cfg_add_u32(struct fw_cfg *s, unsigned key, u32 value)
{
    u8 bytes[4];
    store_le(bytes, value, 4);
    return fw_cfg_add_bytes(s, key, bytes, 4);
}

bool fw_cfg_add_u64(struct fw_cfg *s, unsigned key, u64 value)
{
    u8 bytes[8];
    store_le(bytes, value, 8);
    return fw_cfg_add_bytes(s, key, bytes, 8);
}

bool fw_cfg_add_string(struct fw_cfg *s, unsigned key, const char *text)
{
    return fw_cfg_add_bytes(s, key, text, (u32)strlen(text) + 1);
}

/* The directory is big-endian: count, then size, key, reserved and name of each file. */
static void directory_read(void *opaque, u32 offset, u8 *buf, u32 count)
{
    struct fw_cfg *s = opaque;
    u8 all[4 + FW_CFG_FILES * DIR_ENTRY] = {0};
    store_be(all, s->files, 4);
    for (unsigned i = 0; i < s->files; i++) {
        u8 *entry = all + 4 + i * DIR_ENTRY;
        store_be(entry, s->item[0][FW_CFG_FILE_FIRST + i].size, 4);
        store_be(entry + 4, FW_CFG_FILE_FIRST + i, 2);
        memcpy(entry + 8, s->name[i], FW_CFG_NAME);
    }
    memcpy(buf, all + offset, count);
}

/* Takes the next file's key, or 0. */
static unsigned new_file(struct fw_cfg *s, const char *name)
{
    if (s->files == FW_CFG_FILES || strlen(name) >= FW_CFG_NAME)
        return 0;
    for (unsigned i = 0; i < s->files; i++)
        if (!strcmp(s->name[i], name))
            return 0;
    strcpy(s->name[s->files], name);
    unsigned key = FW_CFG_FILE_FIRST + s->files++;
    s->item[0][FW_CFG_FILE_DIR].size = 4 + s->files * DIR_ENTRY;
    return key;
}

bool fw_cfg_add_file(struct fw_cfg *s, const char *name, const void *bytes, u32 size)
{
    unsigned key = new_file(s, name);
    return key && fw_cfg_add_bytes(s, key, bytes, size);
}

bool fw_cfg_add_file_callback(struct fw_cfg *s, const char *name, u32 size, fw_cfg_read_fn *read,
                              void *opaque)
{
    unsigned key = new_file(s, name);
    return key &&
           put(s, key, (struct fw_cfg_item){.size = size, .read = read, .opaque = opaque});
}

void fw_cfg_init(struct fw_cfg *s, struct bus *b)
{
    static const u8 signature[4] = "QEMU";
    static const u8 id[4] = {ID_TRADITIONAL | ID_DMA};
    memset(s, 0, sizeof *s);
    s->bus = b;
    fw_cfg_add_borrowed(s, FW_CFG_SIGNATURE, signature, sizeof signature);
    fw_cfg_add_borrowed(s, FW_CFG_ID, id, sizeof id);
    put(s, FW_CFG_FILE_DIR, (struct fw_cfg_item){.size = 4, .read = directory_read, .opaque = s});
    bus_map_ports(b, "fw-cfg", PORT_SELECTOR, 2, &port_ops, s);
    bus_map_ports(b, "fw-cfg-dma", PORT_DMA, 8, &dma_ops, s);
}

void fw_cfg_destroy(struct fw_cfg *s)
{
    for (unsigned local = 0; local < 2; local++)
        for (unsigned i = 0; i < FW_CFG_KEYS; i++)
            if (s->item[local][i].owned)
                free((void *)s->item[local][i].data);
    memset(s->item, 0, sizeof s->item);
}

/* ---- state ---- */

/* The items are the machine's configuration, made anew from the same options. */
static const struct field fw_cfg_fields[] = {
    FIELD(struct fw_cfg, key), FIELD(struct fw_cfg, offset),
    FIELD(struct fw_cfg, dma_address_high), FIELD_END};

const struct device_class fw_cfg_class = {
    .name = "fw_cfg",
    .description = "firmware configuration",
    .reset = fw_cfg_reset,
    .fields = fw_cfg_fields,
};
