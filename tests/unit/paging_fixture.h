/* A small RAM with page tables in it, for the tests of the page walker and of the TLB.
 *
 * Each test starts with an empty machine; `pg` is the paging mode that set_paging puts into force.
 */
#ifndef DRAGOMAN_TESTS_PAGING_FIXTURE_H
#define DRAGOMAN_TESTS_PAGING_FIXTURE_H

#include <check.h>

#include "mmu/bus.h"
#include "mmu/mmu.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define RAM_SIZE (16 * MIB)
#define TABLES 0x100000u /* page tables are made from here on */
#define DATA 0x800000u

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define XD BIT64(63)

static struct bus *b;
static u8 *ram;
static struct mmu m;
static struct paging pg;
static u64 next_table;

static inline void setup(void)
{
    b = bus_create();
    ck_assert_ptr_nonnull(b);
    ram = bus_alloc_ram(b, RAM_SIZE, "ram");
    ck_assert_ptr_nonnull(ram);
    bus_map_ram(b, "ram", 0, RAM_SIZE, ram, true, true, 0);
    ck_assert(mmu_init(&m, b, 0));
    pg = (struct paging){.phys_bits = 40, .gbpages = true};
    next_table = TABLES;
}

static inline void teardown(void)
{
    mmu_free(&m);
    bus_destroy(b);
}

/* ---- building page tables ---- */

struct mode {
    const char *name;
    unsigned levels, page_shift;
    bool pae, long_mode, la57, pse;
};

static const struct mode modes[] __attribute__((unused)) = {
    {"32-bit 4K", 2, 12, false, false, false, false},
    {"32-bit 4M", 2, 22, false, false, false, true},
    {"PAE 4K", 3, 12, true, false, false, false},
    {"PAE 2M", 3, 21, true, false, false, false},
    {"4-level 4K", 4, 12, true, true, false, false},
    {"4-level 2M", 4, 21, true, true, false, false},
    {"4-level 1G", 4, 30, true, true, false, false},
    {"5-level 4K", 5, 12, true, true, true, false},
};
enum { M32_4K, M32_4M, PAE_4K, PAE_2M, L4_4K, L4_2M, L4_1G, L5_4K };

static inline u64 new_table(void)
{
    u64 t = next_table;
    next_table += 0x1000;
    memset(ram + t, 0, 0x1000);
    return t;
}

static inline void use_mode(const struct mode *mode)
{
    pg.enabled = true;
    pg.pae = mode->pae;
    pg.long_mode = mode->long_mode;
    pg.la57 = mode->la57;
    pg.pse = mode->pse;
    pg.cr3 = new_table();
}

static inline void set_paging(void)
{
    mmu_set_paging(&m, &pg);
    mmu_load_pdptes(&m);
}

/* Entries on the way to a page, top first. */
struct path {
    u8 *e[5];
    unsigned count, size;
};

static inline u64 get(const struct path *p, unsigned i)
{
    return load_le(p->e[i], p->size);
}

static inline void put(const struct path *p, unsigned i, u64 v)
{
    store_le(p->e[i], v, p->size);
}

/* Maps the page of la; `leaf` and `upper` are flag bits beside P. */
static inline struct path map(unsigned shift, u64 la, u64 pa, u64 upper, u64 leaf)
{
    bool wide = pg.pae || pg.long_mode;
    unsigned bits = wide ? 9 : 10;
    unsigned level = pg.long_mode ? (pg.la57 ? 5 : 4) : wide ? 3 : 2;
    struct path path = {.size = wide ? 8 : 4};
    u64 table = pg.cr3 & 0xfffff000;
    for (;; level--) {
        unsigned at = 12 + bits * (level - 1);
        u64 index = la >> at & ((1u << bits) - 1);
        if (!pg.long_mode && wide && level == 3)
            index = la >> 30 & 3;
        u8 *e = ram + table + index * path.size;
        path.e[path.count++] = e;
        if (at == shift) {
            u64 v = pa | leaf | P | (level > 1 ? PS : 0);
            if (!wide && level > 1)
                v = (pa & 0xffc00000) | (pa >> 32 & 0xff) << 13 | leaf | P | PS;
            store_le(e, v, path.size);
            return path;
        }
        u64 v = load_le(e, path.size);
        if (!(v & P)) {
            /* A PDPTE has no rights and no accessed bit: those bits are reserved. */
            bool bare = !pg.long_mode && wide && level == 3;
            v = new_table() | P | (bare ? 0 : upper);
            store_le(e, v, path.size);
        }
        table = v & 0xfffffffff000ull;
    }
}

static inline struct path map4k(u64 la, u64 pa, u64 leaf)
{
    return map(12, la, pa, U | W, leaf);
}

static inline u64 load8(u64 la)
{
    u64 v = 0;
    ck_assert_int_eq(mmu_load(&m, MMU_SUPERVISOR, la, 8, &v), MMU_OK);
    return v;
}

/* The entry that emitted code finds for la, NULL where it would leave. */
static inline struct tlb_entry *inline_probe(u64 la)
{
    struct tlb_entry *e = &m.context->entries[la >> 12 & (m.context->mask / 32)];
    return e->read == (la & PAGE_MASK) ? e : NULL;
}

static inline void expect_fault(enum mmu_status status, u64 la, u32 code)
{
    ck_assert_int_eq(status, MMU_PAGE_FAULT);
    ck_assert_uint_eq(m.fault_addr, la);
    ck_assert_uint_eq(m.fault_code, code);
}

static inline enum mmu_status probe(enum mmu_kind kind, u64 la, enum mmu_access access)
{
    return mmu_probe(&m, kind, la, 1, access);
}

#endif
