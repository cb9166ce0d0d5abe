/* -kernel with a multiboot 1 image: ELF32, ELF64 with a multiboot header, or the address fields
 * of the header ("a.out kludge").
 *
 * Source: Multiboot Specification version 0.6.96.  The information structure holds memory sizes,
 * command line, modules, memory map and loader name.  Left out: video modes, symbol tables, APM,
 * drives.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "devices/board/boot_kernel.h"
#include "mmu/bus.h"

enum {
    MB_MAGIC = 0x1badb002,
    MB_SEARCH = 8192,  /* the header lies in the first 8 KiB, 4-aligned */
    MB_VIDEO = BIT(2), /* image flags */
    MB_ADDRESSES = BIT(16),
    MB_UNKNOWN = 0xfff8, /* required features above the three known */
    MBI_MEM = BIT(0), MBI_CMDLINE = BIT(2), MBI_MODS = BIT(3), MBI_MMAP = BIT(6),
    MBI_LOADER = BIT(9),
    MBI_SIZE = 116,
    MMAP_ENTRY = 24, /* with its own size field */
    MODULE_ENTRY = 16,
    MODULES = 64,
    E820_RAM = 1, E820_RESERVED = 2,
    PT_LOAD = 1,
};

static const char loader_name[] = "dragoman";

s64 multiboot_find(const u8 *image, u32 size)
{
    for (u32 i = 0; i < MB_SEARCH && i + 12 <= size; i += 4) {
        u32 magic = (u32)load_le(image + i, 4), flags = (u32)load_le(image + i + 4, 4);
        if (magic == MB_MAGIC && (u32)(magic + flags + (u32)load_le(image + i + 8, 4)) == 0)
            return i;
    }
    return -1;
}

static bool no_memory(const struct boot_request *r, char **error)
{
    *error = error_text("kernel '%s': the host has no memory for it", r->kernel);
    return false;
}

static bool malformed(const struct boot_request *r, const char *what, char **error)
{
    *error = error_text("kernel '%s': %s", r->kernel, what);
    return false;
}

/* Takes [low, high) of guest memory as the kernel's block, zeroed. */
static bool take_block(struct boot_kernel *k, const struct boot_request *r, u64 low, u64 high,
                       char **error)
{
    if (low >= high || low < 0x1000 || high > 0xffffffff)
        return malformed(r, "its load addresses make no sense", error);
    if (high + BOOT_FIRMWARE_BYTES > r->low_ram) {
        *error = error_text("kernel '%s' needs RAM up to %#llx; give the guest more with -m",
                            r->kernel, (unsigned long long)high);
        return false;
    }
    k->kernel.addr = (u32)low;
    k->kernel.size = (u32)(high - low);
    k->kernel.data = calloc(1, k->kernel.size);
    return k->kernel.data || no_memory(r, error);
}

/* ---- the header's own addresses, section 3.1.3 ---- */

static bool load_flat(struct boot_kernel *k, const struct boot_request *r, const u8 *image,
                      u32 size, u32 at, char **error)
{
    if (at + 32 > size)
        return malformed(r, "its multiboot header is truncated", error);
    u64 header = load_le(image + at + 12, 4), start = load_le(image + at + 16, 4);
    u64 end = load_le(image + at + 20, 4), bss_end = load_le(image + at + 24, 4);
    if (header < start || header - start > at)
        return malformed(r, "its multiboot header has contradictory addresses", error);
    u32 offset = at - (u32)(header - start);
    u64 bytes = end ? end - start : size - offset;
    if (end && (end < start || bytes > size - offset))
        return malformed(r, "it is truncated: shorter than its multiboot header says", error);
    if (!take_block(k, r, start, bss_end > start + bytes ? bss_end : start + bytes, error))
        return false;
    memcpy(k->kernel.data, image + offset, bytes);
    k->entry = (u32)load_le(image + at + 28, 4);
    return true;
}

/* ---- ELF ---- */

struct elf {
    const u8 *image;
    u32 size;
    bool wide; /* ELF64 */
    u64 phoff;
    unsigned phnum, phsize;
};

struct elf_segment {
    u64 offset, vaddr, paddr, filesz, memsz;
    u32 type;
};

static bool elf_open(struct elf *e, const u8 *image, u32 size)
{
    if (size < 64 || memcmp(image, "\177ELF", 4) != 0 || image[5] != 1)
        return false;
    *e = (struct elf){.image = image, .size = size, .wide = image[4] == 2};
    e->phoff = e->wide ? load_le(image + 32, 8) : load_le(image + 28, 4);
    e->phsize = (unsigned)load_le(image + (e->wide ? 54 : 42), 2);
    e->phnum = (unsigned)load_le(image + (e->wide ? 56 : 44), 2);
    return e->phsize >= (e->wide ? 56u : 32u) && e->phoff <= size &&
           (u64)e->phnum * e->phsize <= size - e->phoff;
}

static struct elf_segment elf_segment(const struct elf *e, unsigned i)
{
    const u8 *p = e->image + e->phoff + (u64)i * e->phsize;
    struct elf_segment s = {.type = (u32)load_le(p, 4)};
    if (e->wide) {
        s.offset = load_le(p + 8, 8);
        s.vaddr = load_le(p + 16, 8);
        s.paddr = load_le(p + 24, 8);
        s.filesz = load_le(p + 32, 8);
        s.memsz = load_le(p + 40, 8);
    } else {
        s.offset = load_le(p + 4, 4);
        s.vaddr = load_le(p + 8, 4);
        s.paddr = load_le(p + 12, 4);
        s.filesz = load_le(p + 16, 4);
        s.memsz = load_le(p + 20, 4);
    }
    return s;
}

static bool segment_loads(const struct elf_segment *s)
{
    return s->type == PT_LOAD && s->memsz;
}

/* The range of physical addresses, and whether each segment lies in the file. */
static bool elf_range(const struct elf *e, u64 *low, u64 *high)
{
    *low = ~0ull;
    *high = 0;
    for (unsigned i = 0; i < e->phnum; i++) {
        struct elf_segment s = elf_segment(e, i);
        if (!segment_loads(&s))
            continue;
        if (s.filesz > s.memsz || s.offset > e->size || s.filesz > e->size - s.offset ||
            s.paddr > 0xffffffff || s.memsz > 0xffffffff)
            return false;
        if (s.paddr < *low)
            *low = s.paddr;
        if (s.paddr + s.memsz > *high)
            *high = s.paddr + s.memsz;
    }
    return true;
}

static bool load_elf(struct boot_kernel *k, const struct boot_request *r, const u8 *image,
                     u32 size, char **error)
{
    struct elf e;
    u64 low, high;
    if (!elf_open(&e, image, size))
        return malformed(r, "its multiboot header has no addresses and its ELF header is not sound",
                         error);
    if (!elf_range(&e, &low, &high))
        return malformed(r, "it is truncated: an ELF segment lies beyond the end of the file",
                         error);
    if (!take_block(k, r, low, high, error))
        return false;
    u64 entry = e.wide ? load_le(image + 24, 8) : load_le(image + 24, 4);
    k->entry = (u32)entry;
    for (unsigned i = 0; i < e.phnum; i++) {
        struct elf_segment s = elf_segment(&e, i);
        if (!segment_loads(&s))
            continue;
        memcpy(k->kernel.data + (s.paddr - low), image + s.offset, s.filesz);
        /* An entry given as a virtual address: the kernel starts without paging. */
        if (entry >= s.vaddr && entry - s.vaddr < s.memsz)
            k->entry = (u32)(entry - s.vaddr + s.paddr);
    }
    return true;
}

/* ---- the information structure, section 3.3 ---- */

struct module {
    char *line; /* as given: file and arguments */
    u8 *data;
    u32 size;
};

static void free_modules(struct module *m, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        free(m[i].line);
        free(m[i].data);
    }
}

/* "file args,file args" */
static bool read_modules(const struct boot_request *r, struct module *m, unsigned *count,
                         char **error)
{
    *count = 0;
    for (const char *p = r->initrd; p && *p;) {
        size_t n = strcspn(p, ",");
        if (*count == MODULES) {
            *error = error_text("-initrd: more than %u multiboot modules", MODULES);
            return false;
        }
        struct module *mod = &m[(*count)++];
        *mod = (struct module){.line = strndup(p, n)};
        char *path = mod->line ? strndup(mod->line, strcspn(mod->line, " ")) : NULL;
        if (!path)
            return no_memory(r, error);
        mod->data = boot_read_file("module", path, 1u << 30, &mod->size, error);
        free(path);
        if (!mod->data)
            return false;
        p += n + (p[n] == ',');
    }
    return true;
}

struct writer {
    u8 *data;
    u32 base, at;
};

static u32 put_string(struct writer *w, const char *a, const char *b)
{
    u32 addr = w->base + w->at;
    w->at += (u32)sprintf((char *)w->data + w->at, "%s%s%s", a, b && *b ? " " : "", b ? b : "") + 1;
    return addr;
}

static void put_map(struct writer *w, u64 addr, u64 size, u32 type)
{
    u8 *p = w->data + w->at;
    if (!size)
        return;
    store_le(p, MMAP_ENTRY - 4, 4);
    store_le(p + 4, addr, 8);
    store_le(p + 12, size, 8);
    store_le(p + 20, type, 4);
    w->at += MMAP_ENTRY;
}

static void put_maps(struct writer *w, const struct boot_request *r)
{
    u64 usable = r->low_ram - BOOT_FIRMWARE_BYTES;
    put_map(w, 0, 0x9fc00, E820_RAM);
    put_map(w, 0x9fc00, 0x400, E820_RESERVED);
    put_map(w, 0xf0000, 0x10000, E820_RESERVED);
    put_map(w, 0x100000, usable - 0x100000, E820_RAM);
    put_map(w, usable, BOOT_FIRMWARE_BYTES, E820_RESERVED);
    put_map(w, 0xfffc0000, 0x40000, E820_RESERVED);
    put_map(w, 1ull << 32, r->high_ram, E820_RAM);
}

static void put_info(struct writer *w, const struct boot_request *r, const struct module *m,
                     unsigned count, u32 modules_at)
{
    u8 *info = w->data;
    w->at = MBI_SIZE;
    store_le(info, MBI_MEM | MBI_CMDLINE | MBI_MODS | MBI_MMAP | MBI_LOADER, 4);
    store_le(info + 4, 639, 4); /* KiB below 9FC00, and from 1 MiB up */
    store_le(info + 8, (r->low_ram - 0x100000) >> 10, 4);
    u32 table = w->at;
    store_le(info + 20, count, 4);
    store_le(info + 24, w->base + table, 4);
    w->at += count * MODULE_ENTRY;
    store_le(info + 48, w->base + w->at, 4);
    u32 map = w->at;
    put_maps(w, r);
    store_le(info + 44, w->at - map, 4);
    store_le(info + 64, put_string(w, loader_name, NULL), 4);
    store_le(info + 16, put_string(w, r->kernel, r->cmdline), 4);
    for (unsigned i = 0; i < count; i++) {
        u8 *entry = info + table + i * MODULE_ENTRY;
        store_le(entry, w->base + modules_at, 4);
        store_le(entry + 4, w->base + modules_at + m[i].size, 4);
        store_le(entry + 8, put_string(w, m[i].line, NULL), 4);
        memcpy(w->data + modules_at, m[i].data, m[i].size);
        modules_at = (u32)align_up(modules_at + m[i].size, PAGE_SIZE);
    }
}

static bool make_info(struct boot_kernel *k, const struct boot_request *r, const struct module *m,
                      unsigned count, char **error)
{
    u64 size = MBI_SIZE + 8 * MMAP_ENTRY + sizeof loader_name + strlen(r->kernel) +
               (r->cmdline ? strlen(r->cmdline) : 0) + 2;
    for (unsigned i = 0; i < count; i++)
        size += MODULE_ENTRY + strlen(m[i].line) + 1;
    u64 modules_at = align_up(size, PAGE_SIZE);
    size = modules_at;
    for (unsigned i = 0; i < count; i++)
        size = align_up(size + m[i].size, PAGE_SIZE);
    /* Never below 1 MiB: the firmware lives there while it copies. */
    u64 base = align_up((u64)k->kernel.addr + k->kernel.size, PAGE_SIZE);
    if (base < 0x100000)
        base = 0x100000;
    if (base + size + BOOT_FIRMWARE_BYTES > r->low_ram) {
        *error = error_text("the modules of kernel '%s' (-initrd) do not fit into %llu MiB of RAM; "
                            "give the guest more with -m",
                            r->kernel, (unsigned long long)(r->low_ram >> 20));
        return false;
    }
    struct writer w = {.data = calloc(1, size), .base = (u32)base};
    if (!w.data)
        return no_memory(r, error);
    k->initrd = (struct boot_block){w.data, (u32)size, (u32)base};
    k->info = (u32)base;
    put_info(&w, r, m, count, (u32)modules_at);
    return true;
}

bool multiboot_load(struct boot_kernel *k, const struct boot_request *r, u8 *image, u32 size,
                    char **error)
{
    struct module modules[MODULES];
    unsigned count = 0;
    u32 at = (u32)multiboot_find(image, size);
    u32 flags = (u32)load_le(image + at + 4, 4);
    bool good;
    k->multiboot = true;
    if (r->low_ram < 0x100000 + 2 * BOOT_FIRMWARE_BYTES)
        good = malformed(r, "too little RAM to start it; give the guest more with -m", error);
    else if (flags & MB_UNKNOWN)
        good = malformed(r, "its multiboot header asks for features that do not exist", error);
    else if (flags & MB_ADDRESSES)
        good = load_flat(k, r, image, size, at, error);
    else
        good = load_elf(k, r, image, size, error);
    good = good && read_modules(r, modules, &count, error) &&
           make_info(k, r, modules, count, error);
    free_modules(modules, count);
    free(image);
    return good;
}
