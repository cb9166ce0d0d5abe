/* -kernel with a Linux image: fills in the set-up header as a boot loader does.
 *
 * Source: the kernel's Documentation/arch/x86/boot.rst (boot protocol 2.00 to 2.15).  Left out:
 * the EFI handover, setup_data, the 32-bit and 64-bit entry points (the firmware runs the kernel's
 * real-mode code).
 */
#include <stdlib.h>

#include "base/log.h"
#include "devices/board/boot_kernel.h"
#include "mmu/bus.h"

/* Offsets in the first sectors. */
enum {
    HDR_CMDLINE_MAGIC = 0x20, /* before protocol 2.02 */
    HDR_CMDLINE_OFFSET = 0x22,
    HDR_SETUP_SECTS = 0x1f1,
    HDR_SYSSIZE = 0x1f4,
    HDR_VID_MODE = 0x1fa,
    HDR_BOOT_FLAG = 0x1fe,
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_LOADER = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_HEAP_END = 0x224,
    HDR_CMDLINE_PTR = 0x228,
    HDR_INITRD_MAX = 0x22c,
    HDR_XLOADFLAGS = 0x236,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_INIT_SIZE = 0x260,
    HDR_END = 0x264,
    LOADED_HIGH = BIT(0),
    CAN_USE_HEAP = BIT(7),
    XLF_ABOVE_4G = BIT(1),
    CMDLINE_MAGIC = 0xa33f,
    LOADER_QEMU = 0xb0, /* the kernel knows the protocol of -kernel by this number */
    SECTOR = 512,
};

struct header {
    u8 *p;
    unsigned version;
    u32 real, cmdline, prot; /* addresses */
};

bool linux_image(const u8 *image, u32 size)
{
    return size >= HDR_END && !memcmp(image + HDR_MAGIC, "HdrS", 4) &&
           load_le(image + HDR_BOOT_FLAG, 2) == 0xaa55;
}

/* Where everything goes: as high as old kernels allow, else where there is room for any. */
static void place(struct header *h, u32 cmdline_bytes)
{
    bool high = h->p[HDR_LOADFLAGS] & LOADED_HIGH;
    h->real = 0x90000;
    h->cmdline = (0x9a000 - cmdline_bytes) & ~15u;
    h->prot = high ? 0x100000 : 0x10000;
    if (high && h->version >= 0x202) {
        h->real = 0x10000;
        h->cmdline = 0x20000;
    }
}

/* The highest address that an initrd byte may have. */
static u64 initrd_limit(const struct header *h, u64 low_ram)
{
    u64 limit = 0x37ffffff;
    if (h->version >= 0x20c && (load_le(h->p + HDR_XLOADFLAGS, 2) & XLF_ABOVE_4G))
        limit = 0xffffffff;
    else if (h->version >= 0x203)
        limit = load_le(h->p + HDR_INITRD_MAX, 4);
    u64 usable = low_ram > BOOT_FIRMWARE_BYTES ? low_ram - BOOT_FIRMWARE_BYTES : 0;
    return limit >= usable ? usable - (usable != 0) : limit;
}

/* "vga=" is for the boot loader: the mode that the set-up code asks the BIOS for (boot.rst,
 * "Special Command Line Options").  The last one counts; what is none leaves the kernel's own. */
static void fill_video_mode(const struct header *h, const char *cmdline)
{
    static const struct {
        const char *name;
        u16 mode;
    } names[] = {{"normal", 0xffff}, {"ext", 0xfffe}, {"ask", 0xfffd}};
    for (const char *at = cmdline; (at = strstr(at, "vga=")); at++) {
        if (at != cmdline && at[-1] != ' ')
            continue;
        const char *value = at + 4;
        size_t len = strcspn(value, " ");
        char *end;
        unsigned long mode = strtoul(value, &end, 0);
        if (len && end == value + len && mode <= 0xffff)
            store_le(h->p + HDR_VID_MODE, mode, 2);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
            if (len == strlen(names[i].name) && !memcmp(value, names[i].name, len))
                store_le(h->p + HDR_VID_MODE, names[i].mode, 2);
    }
}

static void fill_header(const struct header *h, const struct boot_block *initrd)
{
    h->p[HDR_LOADER] = LOADER_QEMU;
    if (h->version >= 0x201) {
        h->p[HDR_LOADFLAGS] |= CAN_USE_HEAP;
        store_le(h->p + HDR_HEAP_END, h->cmdline - h->real - 0x200, 2);
    }
    if (h->version >= 0x202) {
        store_le(h->p + HDR_CMDLINE_PTR, h->cmdline, 4);
    } else {
        store_le(h->p + HDR_CMDLINE_MAGIC, CMDLINE_MAGIC, 2);
        store_le(h->p + HDR_CMDLINE_OFFSET, h->cmdline - h->real, 2);
    }
    store_le(h->p + HDR_RAMDISK_IMAGE, initrd->addr, 4);
    store_le(h->p + HDR_RAMDISK_SIZE, initrd->size, 4);
}

/* What the kernel needs from its start on before it looks at the memory map itself. */
static u64 kernel_end(const struct header *h, u64 size)
{
    u64 need = h->version >= 0x20a ? load_le(h->p + HDR_INIT_SIZE, 4) : size;
    return h->prot + (need > size ? need : size);
}

static bool load_initrd(struct boot_kernel *k, const struct boot_request *r,
                        const struct header *h, u64 end, char **error)
{
    u64 limit = initrd_limit(h, r->low_ram);
    k->initrd.data = boot_read_file("initrd", r->initrd, 0xffffffff, &k->initrd.size, error);
    if (!k->initrd.data)
        return false;
    u64 addr = limit + 1 >= k->initrd.size ? (limit + 1 - k->initrd.size) & PAGE_MASK : 0;
    if (addr < end) {
        *error = error_text("initrd '%s' (%u bytes) does not fit beside the kernel into %llu MiB "
                            "of RAM; give the guest more with -m",
                            r->initrd, k->initrd.size, (unsigned long long)(r->low_ram >> 20));
        return false;
    }
    k->initrd.addr = (u32)addr;
    return true;
}

static bool check_cmdline(const struct boot_request *r, const struct header *h, char **error)
{
    size_t max = h->version >= 0x206 ? load_le(h->p + HDR_CMDLINE_SIZE, 4) : 255;
    if (max > 0xffff)
        max = 0xffff; /* it lies below the extended BIOS data area */
    if (!r->cmdline || strlen(r->cmdline) <= max)
        return true;
    *error = error_text("-append: kernel '%s' takes at most %zu bytes of command line", r->kernel,
                        max);
    return false;
}

/* Splits the image; takes it over. */
static bool split(struct boot_kernel *k, const struct boot_request *r, u8 *image, u32 size,
                  char **error)
{
    u32 sects = image[HDR_SETUP_SECTS] ? image[HDR_SETUP_SECTS] : 4;
    u32 setup = (sects + 1) * SECTOR;
    u64 paragraphs = load_le(image + HDR_SYSSIZE,
                             load_le(image + HDR_VERSION, 2) >= 0x204 ? 4 : 2);
    k->setup.data = image;
    k->setup.size = setup;
    if (setup >= size || setup + paragraphs * 16 > size + 15ull) {
        *error = error_text("kernel '%s' is truncated: %u bytes, its header says %llu", r->kernel,
                            size, (unsigned long long)(setup + paragraphs * 16));
        return false;
    }
    k->kernel.size = size - setup;
    k->kernel.data = malloc(k->kernel.size);
    if (!k->kernel.data) {
        *error = error_text("kernel '%s': the host has no memory for it", r->kernel);
        return false;
    }
    memcpy(k->kernel.data, image + setup, k->kernel.size);
    return true;
}

bool linux_load(struct boot_kernel *k, const struct boot_request *r, u8 *image, u32 size,
                char **error)
{
    struct header h = {.p = image, .version = (unsigned)load_le(image + HDR_VERSION, 2)};
    if (!split(k, r, image, size, error) || !check_cmdline(r, &h, error))
        return false;
    k->cmdline = strdup(r->cmdline ? r->cmdline : "");
    if (!k->cmdline) {
        *error = error_text("the host has no memory for the command line");
        return false;
    }
    place(&h, (u32)strlen(k->cmdline) + 1);
    k->setup.addr = h.real;
    k->kernel.addr = h.prot;
    k->cmdline_addr = h.cmdline;
    u64 end = kernel_end(&h, k->kernel.size);
    if (end > r->low_ram) {
        *error = error_text("kernel '%s' does not fit into %llu MiB of RAM; give the guest more "
                            "with -m",
                            r->kernel, (unsigned long long)(r->low_ram >> 20));
        return false;
    }
    if (r->initrd && !load_initrd(k, r, &h, end, error))
        return false;
    fill_header(&h, &k->initrd);
    fill_video_mode(&h, k->cmdline);
    return true;
}
