/* RAM sizes and the E820 map; where tables go.
 *
 * Sources, best first: fw_cfg's etc/e820; its total and CMOS 34h/35h (64 KiB above 16 MiB) and
 * 5Bh-5Dh (64 KiB above 4 GiB); CMOS 30h/31h (KiB above 1 MiB).
 */
#include "bios/post.h"

struct memory memory;

#define KIB 1024u
#define MIB (1024u * KIB)
#define GIB4 0x100000000ull

enum {
    TABLES_SIZE = 124 * 1024, /* below the last page of low RAM, which holds the FACS */
    FACS_SIZE = 4 * 1024,
};

extern const u8 tables_start[], tables_end[];

static u32 table_at, table_end_at, f_at;

/* ---- the map ---- */

static struct shared *map(void)
{
    return SERVICE_DATA(shared);
}

static void insert(u32 at, u64 base, u64 size, u32 type)
{
    struct shared *s = map();
    if (s->e820_count >= E820_MAX || !size)
        return;
    for (u32 i = s->e820_count++; i > at; i--)
        s->e820[i] = s->e820[i - 1];
    s->e820[at] = (struct e820_entry){base, size, type};
}

static void delete(u32 at)
{
    struct shared *s = map();
    s->e820_count--;
    for (u32 i = at; i < s->e820_count; i++)
        s->e820[i] = s->e820[i + 1];
}

/* Takes [base, base + size) out of the sorted map and gives it `type`; 0 leaves a hole. */
static void e820_set(u64 base, u64 size, u32 type)
{
    struct shared *s = map();
    u64 end = base + size;
    if (end <= base)
        return;
    for (u32 i = 0; i < s->e820_count;) {
        struct e820_entry old = s->e820[i];
        u64 old_end = old.base + old.size;
        if (old_end <= base || old.base >= end) {
            i++;
            continue;
        }
        delete(i);
        if (old.base < base)
            insert(i++, old.base, base - old.base, old.type);
        if (old_end > end)
            insert(i++, end, old_end - end, old.type);
    }
    u32 at = 0;
    while (at < s->e820_count && s->e820[at].base < base)
        at++;
    if (type)
        insert(at, base, size, type);
}

/* ---- sizes ---- */

static bool from_file(void)
{
    u32 size;
    u16 key = fw_find("etc/e820", &size);
    struct e820_entry e[E820_MAX / 2];
    u32 n = size / sizeof e[0];
    if (!key || !n)
        return false;
    if (n > ARRAY_SIZE(e))
        n = ARRAY_SIZE(e);
    fw_get(key, e, n * sizeof e[0]);
    for (u32 i = 0; i < n; i++)
        e820_set(e[i].base, e[i].size, e[i].type);
    return true;
}

static u32 cmos16(u8 reg)
{
    return cmos_read(reg) | (u32)cmos_read((u8)(reg + 1)) << 8;
}

static void from_cmos(void)
{
    u64 total = 0;
    fw_get(FW_RAM_SIZE, &total, sizeof total);
    u32 blocks = cmos16(0x34);
    u64 low = blocks ? 16ull * MIB + (u64)blocks * 64 * KIB : MIB + (u64)cmos16(0x30) * KIB;
    u64 high = ((u64)cmos16(0x5b) | (u64)cmos_read(0x5d) << 16) * 64 * KIB;
    if (total > low + high)
        high = total - low;
    e820_set(0, low, E820_RAM);
    e820_set(GIB4, high, E820_RAM);
}

static void measure(void)
{
    memory.high_top = GIB4;
    for (u32 i = 0; i < map()->e820_count; i++) {
        struct e820_entry e = map()->e820[i];
        u64 end = e.base + e.size;
        if (e.type != E820_RAM)
            continue;
        memory.bytes += e.size;
        if (e.base < GIB4 && end <= GIB4 && end > memory.low_top)
            memory.low_top = (u32)end;
        else if (e.base >= GIB4 && end > memory.high_top)
            memory.high_top = end;
    }
}

void memory_init(void)
{
    map()->e820_count = 0;
    if (!from_file())
        from_cmos();
    measure();
    /* Whoever boots with less than that has no memory to boot into. */
    if (memory.low_top < 2 * MIB)
        memory.low_top = 2 * MIB;
    u32 facs = (memory.low_top & ~(FACS_SIZE - 1u)) - FACS_SIZE;
    table_at = facs - TABLES_SIZE;
    table_end_at = facs;
    f_at = (u32)tables_start + CODE_BASE;
    memset((void *)table_at, 0, TABLES_SIZE + FACS_SIZE);

    u32 ebda = (u32)EBDA_SEG << 4;
    e820_set(ebda, 0xa0000 - ebda, E820_RESERVED);
    e820_set(0xa0000, ROM_BASE - 0xa0000, 0);
    e820_set(ROM_BASE, ROM_SIZE, E820_RESERVED);
    e820_set(table_at, TABLES_SIZE, E820_ACPI);
    e820_set(facs, FACS_SIZE, E820_NVS);
    e820_set(0xfffc0000, 0x40000, E820_RESERVED);
}

/* ---- memory for tables ---- */

void *table_alloc(u32 size, u32 align)
{
    u32 at = (table_at + align - 1) & ~(align - 1);
    if (at + size > table_end_at)
        return NULL;
    table_at = at + size;
    return (void *)at;
}

void table_trim(void *end)
{
    table_at = (u32)end;
}

u32 memory_tables_start(void)
{
    return table_end_at - TABLES_SIZE;
}

void memory_low_end(u32 end)
{
    if (end < (u32)EBDA_SEG << 4)
        e820_set(end, ((u32)EBDA_SEG << 4) - end, E820_RESERVED);
}

void *f_segment_alloc(u32 size, u32 align)
{
    u32 at = (f_at + align - 1) & ~(align - 1);
    if (at + size > (u32)tables_end + CODE_BASE)
        return NULL;
    f_at = at + size;
    return memset((void *)at, 0, size);
}

void *facs_memory(void)
{
    return (void *)table_end_at;
}
