/* The fw_cfg device: what the machine tells its firmware.
 *
 * QEMU's docs/specs/fw_cfg.rst: selector at port 510h, data at 511h, DMA address at 514h.
 */
#include "bios/post.h"

enum {
    PORT_SELECT = 0x510,
    PORT_DATA = 0x511,
    PORT_DMA_HIGH = 0x514,
    PORT_DMA_LOW = 0x518,
    ID_DMA = 0x02,
    DMA_ERROR = 0x01,
    DMA_READ = 0x02,
    NAME_SIZE = 56,
};

/* Big endian, all of it. */
struct dma_access {
    u32 control, length;
    u64 address;
} PACKED;

struct file_entry {
    u32 size;
    u16 select, reserved;
    char name[NAME_SIZE];
} PACKED;

static bool have_device, have_dma;

bool fw_init(void)
{
    char signature[4];
    have_device = true;
    fw_get(FW_SIGNATURE, signature, sizeof signature);
    have_device = memcmp(signature, "QEMU", 4) == 0;
    have_dma = (fw_get32(FW_ID) & ID_DMA) != 0;
    return have_device;
}

void fw_select(u16 key)
{
    if (have_device)
        outw(PORT_SELECT, key);
}

static void read_dma(void *to, u32 n)
{
    volatile struct dma_access access = {
        .control = __builtin_bswap32(DMA_READ),
        .length = __builtin_bswap32(n),
        .address = __builtin_bswap64((u32)to),
    };
    outl(PORT_DMA_HIGH, 0);
    __asm__ volatile("" : : : "memory");
    outl(PORT_DMA_LOW, __builtin_bswap32((u32)&access));
    while (access.control & ~__builtin_bswap32(DMA_ERROR))
        continue;
    __asm__ volatile("" : : : "memory");
}

void fw_read(void *to, u32 n)
{
    if (!have_device) {
        memset(to, 0, n);
    } else if (have_dma && n > 4) {
        read_dma(to, n);
    } else {
        for (u8 *p = to; n--; p++)
            *p = inb(PORT_DATA);
    }
}

void fw_get(u16 key, void *to, u32 n)
{
    fw_select(key);
    fw_read(to, n);
}

u32 fw_get32(u16 key)
{
    u32 v;
    fw_get(key, &v, sizeof v);
    return v;
}

/* The first file from number *at on whose name's first n bytes these are; *at is behind it then. */
static u16 next_file(u32 *at, const char *name, u32 n, u32 *size)
{
    u32 count = __builtin_bswap32(fw_get32(FW_FILE_DIR));
    for (u32 i = 0; i < count; i++) {
        struct file_entry e;
        fw_read(&e, sizeof e);
        if (i < *at || memcmp(e.name, name, n) != 0)
            continue;
        *at = i + 1;
        *size = __builtin_bswap32(e.size);
        return __builtin_bswap16(e.select);
    }
    return 0;
}

u16 fw_find(const char *name, u32 *size)
{
    u32 at = 0;
    return next_file(&at, name, strlen(name) + 1, size);
}

u16 fw_next(u32 *at, const char *folder, u32 *size)
{
    return next_file(at, folder, strlen(folder), size);
}
