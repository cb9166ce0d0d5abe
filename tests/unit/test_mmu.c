/* The software MMU: the page walker in every mode, TLB behaviour, loads and stores.
 *
 * Page tables are built in a small RAM.  The rights are compared with an oracle that states the
 * rules of SDM vol. 3A 4.6.1 as lists, for every combination of rights in two levels.
 */
#include <check.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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

static void setup(void)
{
    b = bus_create();
    ck_assert_ptr_nonnull(b);
    ram = bus_alloc_ram(b, RAM_SIZE, "ram");
    ck_assert_ptr_nonnull(ram);
    bus_map_ram(b, "ram", 0, RAM_SIZE, ram, true, true, 0);
    ck_assert(mmu_init(&m, b, 0));
    pg = (struct paging){.phys_bits = 40};
    next_table = TABLES;
}

static void teardown(void)
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

static const struct mode modes[] = {
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

static u64 new_table(void)
{
    u64 t = next_table;
    next_table += 0x1000;
    memset(ram + t, 0, 0x1000);
    return t;
}

static void use_mode(const struct mode *mode)
{
    pg.enabled = true;
    pg.pae = mode->pae;
    pg.long_mode = mode->long_mode;
    pg.la57 = mode->la57;
    pg.pse = mode->pse;
    pg.cr3 = new_table();
}

static void set_paging(void)
{
    mmu_set_paging(&m, &pg);
}

/* Entries on the way to a page, top first. */
struct path {
    u8 *e[5];
    unsigned count, size;
};

static u64 get(const struct path *p, unsigned i)
{
    return load_le(p->e[i], p->size);
}

static void put(const struct path *p, unsigned i, u64 v)
{
    store_le(p->e[i], v, p->size);
}

/* Maps the page of la; `leaf` and `upper` are flag bits beside P. */
static struct path map(unsigned shift, u64 la, u64 pa, u64 upper, u64 leaf)
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

static struct path map4k(u64 la, u64 pa, u64 leaf)
{
    return map(12, la, pa, U | W, leaf);
}

static u64 load8(u64 la)
{
    u64 v = 0;
    ck_assert_int_eq(mmu_load(&m, MMU_SUPERVISOR, la, 8, &v), MMU_OK);
    return v;
}

static void expect_fault(enum mmu_status status, u64 la, u32 code)
{
    ck_assert_int_eq(status, MMU_PAGE_FAULT);
    ck_assert_uint_eq(m.fault_addr, la);
    ck_assert_uint_eq(m.fault_code, code);
}

static enum mmu_status probe(enum mmu_kind kind, u64 la, enum mmu_access access)
{
    return mmu_probe(&m, kind, la, 1, access);
}

/* ---- rights ---- */

/* SDM vol. 3A 4.6.1, in its order. */
static bool oracle(bool user_page, bool writable, bool xd, enum mmu_kind kind,
                   enum mmu_access access)
{
    bool ac = kind == MMU_SUPERVISOR_AC;
    if (kind != MMU_USER && !user_page) {
        switch (access) {
        case MMU_READ: return true;
        case MMU_WRITE: return pg.wp ? writable : true;
        case MMU_EXEC: return !xd;
        }
    }
    if (kind != MMU_USER && user_page) {
        switch (access) {
        case MMU_READ: return pg.smap ? ac : true;
        case MMU_WRITE:
            if (pg.smap && !ac)
                return false;
            return pg.wp ? writable : true;
        case MMU_EXEC: return pg.smep ? false : !xd;
        }
    }
    switch (access) {
    case MMU_READ: return user_page;
    case MMU_WRITE: return user_page && writable;
    default: return user_page && !xd;
    }
}

static u32 oracle_code(enum mmu_kind kind, enum mmu_access access, u32 p)
{
    u32 code = p;
    if (access == MMU_WRITE)
        code |= PF_W;
    if (kind == MMU_USER)
        code |= PF_U;
    if (access == MMU_EXEC && (pg.smep || (pg.nxe && pg.pae)))
        code |= PF_I;
    return code;
}

static void check_rights(const struct mode *mode, const struct path *path, u64 la)
{
    bool single = mode == &modes[M32_4M] || mode == &modes[PAE_2M]; /* one level has rights */
    unsigned leaf = path->count - 1, upper = single ? leaf : leaf - 1;
    bool wide = path->size == 8;
    u64 leaf_base = get(path, leaf), upper_base = get(path, upper);
    for (unsigned bits = 0; bits < 64; bits++) {
        bool user[2] = {bits & 1, bits & 8}, writable[2] = {bits & 2, bits & 16};
        bool xd[2] = {bits & 4, bits & 32};
        if ((!wide || !pg.nxe) && (xd[0] || xd[1]))
            continue;
        if (single && (bits & 56) != 24)
            continue;
        u64 keep = ~(u64)(U | W | A | D | XD);
        put(path, leaf, (leaf_base & keep) | user[0] * U | writable[0] * W | xd[0] * XD);
        if (!single)
            put(path, upper, (upper_base & keep) | user[1] * U | writable[1] * W | xd[1] * XD);
        for (unsigned i = 0; i < 9; i++) {
            enum mmu_kind kind = i / 3;
            enum mmu_access access = i % 3;
            bool ok = oracle(user[0] && user[1], writable[0] && writable[1], xd[0] || xd[1],
                             kind, access);
            if (access == MMU_READ)
                mmu_flush_all(&m);
            u64 before = get(path, leaf);
            enum mmu_status status = probe(kind, la, access);
            if (ok) {
                ck_assert_msg(status == MMU_OK, "%s bits %u kind %d access %d", mode->name, bits,
                              kind, access);
            } else {
                ck_assert_msg(status == MMU_PAGE_FAULT, "%s bits %u kind %d access %d: allowed",
                              mode->name, bits, kind, access);
                ck_assert_uint_eq(m.fault_code, oracle_code(kind, access, PF_P));
                ck_assert_uint_eq(m.fault_addr, la);
                ck_assert_uint_eq(get(path, leaf), before); /* A and D only when allowed */
            }
        }
    }
}

START_TEST(rights_in_every_mode)
{
    const struct mode *mode = &modes[_i];
    u64 la = mode->long_mode ? 0x00007f1240605123ull : 0x40605123;
    use_mode(mode);
    u64 pa = mode->page_shift == 30 ? 0 : DATA;
    struct path path = map(mode->page_shift, la, pa, U | W, 0);
    for (unsigned f = 0; f < 16; f++) {
        pg.wp = f & 1;
        pg.smep = f & 2;
        pg.smap = f & 4;
        pg.nxe = (f & 8) && mode->pae;
        set_paging();
        check_rights(mode, &path, la);
    }
}
END_TEST

START_TEST(not_present_at_each_level)
{
    const struct mode *mode = &modes[_i];
    u64 la = mode->long_mode ? 0xffff8880c0605ff8ull : 0xc0605ff8;
    use_mode(mode);
    pg.nxe = mode->pae;
    u64 pa = mode->page_shift == 30 ? 0 : DATA;
    struct path path = map(mode->page_shift, la, pa, U | W, U | W);
    for (unsigned i = 0; i < path.count; i++) {
        u64 v = get(&path, i);
        put(&path, i, v & ~1ull);
        set_paging();
        for (unsigned k = 0; k < 9; k++) {
            enum mmu_status status = probe(k / 3, la, k % 3);
            expect_fault(status, la, oracle_code(k / 3, k % 3, 0));
        }
        put(&path, i, v);
    }
    set_paging();
    ck_assert_int_eq(probe(MMU_USER, la, MMU_WRITE), MMU_OK);
}
END_TEST

START_TEST(translation_reaches_the_right_byte)
{
    const struct mode *mode = &modes[_i];
    u64 within = BIT64(mode->page_shift) - 1;
    u64 la = (mode->long_mode ? 0xffffc90000000000ull : 0x80000000u) + (0x755558 & within);
    u64 pa = mode->page_shift == 30 ? 0 : DATA;
    u64 gpa = pa + (0x755558 & within), found;
    use_mode(mode);
    map(mode->page_shift, la, pa, U | W, W);
    set_paging();
    store_le(ram + gpa, 0x1122334455667788ull, 8);
    ck_assert_uint_eq(load8(la), 0x1122334455667788ull);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, la, 2, 0xaabb), MMU_OK);
    ck_assert_uint_eq(load_le(ram + gpa, 4), 0x5566aabb);
    ck_assert(mmu_debug_translate(&m, la, &found));
    ck_assert_uint_eq(found, gpa);
    ck_assert(!mmu_debug_translate(&m, la + 2 * GIB + (1ull << 31), &found) || !mode->long_mode);
    struct mmu_code_page page;
    ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, la, &page), MMU_OK);
    ck_assert_uint_eq(page.phys, gpa & PAGE_MASK);
    ck_assert_ptr_eq(page.host, ram + (gpa & PAGE_MASK));
}
END_TEST

START_TEST(accessed_and_dirty_bits)
{
    const struct mode *mode = &modes[_i];
    u64 la = mode->long_mode ? 0x7fff00605000ull : 0x605000, gpa;
    use_mode(mode);
    struct path path = map(mode->page_shift, la, 0, U | W, U | W);
    unsigned leaf = path.count - 1;
    unsigned first = mode->pae && !mode->long_mode ? 1 : 0;
    set_paging();
    ck_assert(mmu_debug_translate(&m, la, &gpa));
    for (unsigned i = first; i <= leaf; i++)
        ck_assert_uint_eq(get(&path, i) & (A | D), 0);
    load8(la);
    for (unsigned i = first; i <= leaf; i++)
        ck_assert_uint_eq(get(&path, i) & (A | D), A);
    if (first)
        ck_assert_uint_eq(get(&path, 0) & (A | D), 0);
    /* The clean page has no write tag: the store walks once, sets D and gets one. */
    u64 walks = mmu_counters(&m)->walks;
    struct tlb_entry *e = &m.context->entries[la >> 12 & (m.tlb_mask / 32)];
    ck_assert_uint_eq(e->read, la);
    ck_assert_uint_eq(e->write, TLB_INVALID);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, la, 1, 0), MMU_OK);
    ck_assert_uint_eq(mmu_counters(&m)->walks, walks + 1);
    ck_assert_uint_eq(get(&path, leaf) & (A | D), A | D);
    ck_assert_uint_eq(e->write, la);
    for (unsigned i = first; i < leaf; i++)
        ck_assert_uint_eq(get(&path, i) & (A | D), A);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, la + 8, 8, 0), MMU_OK);
    ck_assert_uint_eq(mmu_counters(&m)->walks, walks + 1);
    /* A dirty page gets its write tag from a load. */
    mmu_flush_all(&m);
    load8(la);
    e = &m.context->entries[la >> 12 & (m.tlb_mask / 32)];
    ck_assert_uint_eq(e->write, la);
}
END_TEST

/* ---- reserved bits ---- */

static void check_reserved(const struct path *path, u64 la, unsigned level, unsigned bit,
                           bool reserved)
{
    u64 v = get(path, level);
    put(path, level, v | BIT64(bit));
    set_paging();
    enum mmu_status status = probe(MMU_USER, la, MMU_WRITE);
    if (reserved) {
        ck_assert_msg(status == MMU_PAGE_FAULT, "level %u bit %u is not reserved", level, bit);
        ck_assert_uint_eq(m.fault_code, PF_P | PF_RSVD | PF_W | PF_U);
    } else if (status != MMU_OK) {
        ck_assert_msg(!(m.fault_code & PF_RSVD), "level %u bit %u is reserved", level, bit);
    }
    put(path, level, v);
}

/* The bits are listed as the SDM's tables 4-15 to 4-20 do, for MAXPHYADDR 40. */
START_TEST(reserved_bits_long_mode)
{
    u64 la = 0x12345000;
    static const unsigned shifts[] = {12, 21, 30};
    for (unsigned s = 0; s < 3; s++) {
        next_table = TABLES;
        use_mode(&modes[L4_4K]);
        struct path path = map(shifts[s], la, 0, U | W, U | W);
        for (unsigned nxe = 0; nxe < 2; nxe++) {
            pg.nxe = nxe;
            for (unsigned i = 0; i < path.count; i++) {
                bool leaf = i == path.count - 1;
                for (unsigned bit = 40; bit < 52; bit++)
                    check_reserved(&path, la, i, bit, true);
                for (unsigned bit = 52; bit < 63; bit++)
                    check_reserved(&path, la, i, bit, false);
                check_reserved(&path, la, i, 63, !nxe);
                for (unsigned bit = 13; leaf && bit < 30; bit++)
                    check_reserved(&path, la, i, bit, bit < shifts[s]);
                check_reserved(&path, la, i, 12, false); /* PAT, or an address bit */
                check_reserved(&path, la, i, 8, false);
            }
            check_reserved(&path, la, 0, 7, true); /* PS in a PML4E */
        }
    }
}
END_TEST

START_TEST(reserved_bits_pae)
{
    u64 la = 0x12345000;
    static const unsigned shifts[] = {12, 21};
    for (unsigned s = 0; s < 2; s++) {
        next_table = TABLES;
        use_mode(&modes[PAE_4K]);
        struct path path = map(shifts[s], la, 0, U | W, U | W);
        for (unsigned nxe = 0; nxe < 2; nxe++) {
            pg.nxe = nxe;
            for (unsigned i = 1; i < path.count; i++) {
                for (unsigned bit = 40; bit < 63; bit++)
                    check_reserved(&path, la, i, bit, true);
                check_reserved(&path, la, i, 63, !nxe);
                for (unsigned bit = 13; i == path.count - 1 && bit < 21; bit++)
                    check_reserved(&path, la, i, bit, bit < shifts[s]);
            }
        }
    }
}
END_TEST

START_TEST(reserved_bits_pse36)
{
    u64 la = 0x12345000;
    use_mode(&modes[M32_4M]);
    struct path path = map(22, la, 0, 0, U | W);
    for (unsigned bit = 13; bit < 22; bit++)
        check_reserved(&path, la, 0, bit, bit == 21); /* 40 bits: 20:13 are all address */
    pg.phys_bits = 36;
    for (unsigned bit = 13; bit < 22; bit++)
        check_reserved(&path, la, 0, bit, bit >= 17);
    pg.phys_bits = 40;
    /* The high bits reach RAM above 4 GiB. */
    u8 *high = bus_alloc_ram(b, 4 * MIB, "high");
    bus_map_ram(b, "high", 0x2300000000ull, 4 * MIB, high, true, true, 0);
    map(22, la, 0x2300000000ull, 0, U | W);
    set_paging();
    high[la & (4 * MIB - 1)] = 0x42;
    ck_assert_uint_eq(load8(la), 0x42);
    /* Without CR4.PSE, bit 7 means nothing: the entry points to a table. */
    pg.pse = false;
    put(&path, 0, new_table() | PS | P | W | U);
    set_paging();
    expect_fault(probe(MMU_USER, la, MMU_READ), la, PF_U);
}
END_TEST

START_TEST(pdptes_are_checked_and_kept)
{
    use_mode(&modes[PAE_4K]);
    struct path path = map4k(0x40001000, DATA, U | W);
    pg.cr3 |= 0x18; /* PCD and PWT are not part of the address */
    ck_assert(mmu_check_pdptes(&m, &pg));
    static const unsigned bad[] = {1, 2, 5, 6, 7, 8, 40, 51, 52, 63};
    u64 v = get(&path, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        put(&path, 0, v | BIT64(bad[i]));
        ck_assert_msg(!mmu_check_pdptes(&m, &pg), "bit %u", bad[i]);
        put(&path, 0, BIT64(bad[i]) & ~1ull); /* not present: anything goes */
        ck_assert(mmu_check_pdptes(&m, &pg));
    }
    put(&path, 0, v | 0xe18);
    ck_assert(mmu_check_pdptes(&m, &pg));
    put(&path, 0, v);
    set_paging();
    put(&path, 0, 0); /* they were loaded with CR3, SDM vol. 3A 4.4.1 */
    mmu_flush_all(&m);
    ck_assert_int_eq(probe(MMU_USER, 0x40001000, MMU_READ), MMU_OK);
    mmu_load_cr3(&m, pg.cr3, false);
    expect_fault(probe(MMU_USER, 0x40001000, MMU_READ), 0x40001000, PF_U);
    pg.long_mode = true;
    ck_assert(mmu_check_pdptes(&m, &pg));
}
END_TEST

START_TEST(canonical_addresses)
{
    u64 v, gpa;
    struct mmu_code_page page;
    use_mode(&modes[L4_4K]);
    set_paging();
    ck_assert_int_eq(mmu_load(&m, MMU_USER, 0x800000000000ull, 1, &v), MMU_NONCANONICAL);
    ck_assert_uint_eq(m.fault_addr, 0x800000000000ull);
    ck_assert_int_eq(mmu_store(&m, MMU_USER, 0xffff7fffffffffffull, 1, 0), MMU_NONCANONICAL);
    ck_assert_int_eq(mmu_fetch_page(&m, MMU_USER, 1ull << 63, &page), MMU_NONCANONICAL);
    ck_assert(!mmu_debug_translate(&m, 1ull << 63, &gpa));
    /* The last bytes below the hole: paging is not asked when the end is not canonical. */
    ck_assert_int_eq(mmu_load(&m, MMU_USER, 0x7ffffffffffcull, 8, &v), MMU_NONCANONICAL);
    expect_fault(mmu_load(&m, MMU_USER, 0x7ffffffffff8ull, 8, &v), 0x7ffffffffff8ull, PF_U);
    expect_fault(mmu_load(&m, MMU_USER, 0xffff800000000000ull, 8, &v), 0xffff800000000000ull,
                 PF_U);
    next_table = TABLES;
    use_mode(&modes[L5_4K]);
    set_paging();
    expect_fault(mmu_load(&m, MMU_USER, 0x800000000000ull, 8, &v), 0x800000000000ull, PF_U);
    ck_assert_int_eq(mmu_load(&m, MMU_USER, 1ull << 56, 8, &v), MMU_NONCANONICAL);
}
END_TEST

START_TEST(no_paging_and_wrapping)
{
    set_paging();
    store_le(ram + DATA, 0x55, 1);
    ck_assert_uint_eq(load8(DATA), 0x55);
    ck_assert_int_eq(mmu_store(&m, MMU_USER, DATA + 0xfff, 2, 0x1234), MMU_OK);
    ck_assert_uint_eq(load_le(ram + DATA + 0xfff, 2), 0x1234);
    /* Outside long mode linear addresses end at 4 GiB. */
    ram[0] = 0x77;
    u64 v;
    ck_assert_int_eq(mmu_load(&m, MMU_SUPERVISOR, 0xffffffff, 2, &v), MMU_OK);
    ck_assert_uint_eq(v, 0x77ff);
    bus_set_a20(b, false);
    ram[0x100123] = 1;
    ram[0x123] = 2;
    ck_assert_uint_eq(load8(0x100123) & 0xff, 2);
    bus_set_a20(b, true);
    ck_assert_uint_eq(load8(0x100123) & 0xff, 1);
}
END_TEST

/* ---- TLB ---- */

static struct tlb_entry *inline_probe(u64 la)
{
    struct tlb_entry *e = &m.context->entries[la >> 12 & (m.tlb_mask / 32)];
    return e->read == (la & PAGE_MASK) ? e : NULL;
}

START_TEST(hits_walk_once)
{
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, U | W);
    set_paging();
    load8(0x5000);
    u64 walks = mmu_counters(&m)->walks;
    for (unsigned i = 0; i < 100; i++)
        load8(0x5000 + 8 * i);
    ck_assert_uint_eq(mmu_counters(&m)->walks, walks);
    /* As emitted code does it. */
    struct tlb_entry *e = inline_probe(0x5008);
    ck_assert_ptr_nonnull(e);
    ck_assert_uint_eq(0x5008 + e->addend, (u64)(uintptr_t)(ram + DATA + 8));
    /* Another kind has its own context. */
    mmu_set_kind(&m, MMU_USER);
    ck_assert_ptr_null(inline_probe(0x5008));
    mmu_set_kind(&m, MMU_SUPERVISOR);
    ck_assert_ptr_nonnull(inline_probe(0x5008));
}
END_TEST

START_TEST(smap_is_a_matter_of_the_kind)
{
    u64 v;
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, U | W);
    pg.smap = true;
    set_paging();
    ck_assert_int_eq(mmu_load(&m, MMU_SUPERVISOR_AC, 0x5000, 8, &v), MMU_OK);
    expect_fault(mmu_load(&m, MMU_SUPERVISOR, 0x5000, 8, &v), 0x5000, PF_P);
    /* Fetching is SMEP's affair; and a fetch must not make it readable. */
    ck_assert_int_eq(probe(MMU_SUPERVISOR, 0x5000, MMU_EXEC), MMU_OK);
    expect_fault(mmu_load(&m, MMU_SUPERVISOR, 0x5000, 8, &v), 0x5000, PF_P);
    pg.smap = false;
    set_paging();
    ck_assert_int_eq(mmu_load(&m, MMU_SUPERVISOR, 0x5000, 8, &v), MMU_OK);
}
END_TEST

START_TEST(stale_until_invlpg)
{
    use_mode(&modes[L4_4K]);
    struct path p = map4k(0x5000, DATA, U | W | D);
    map4k(0x6000, DATA + 0x1000, U | W);
    set_paging();
    ram[DATA] = 1;
    ram[DATA + 0x2000] = 2;
    ck_assert_uint_eq(load8(0x5000), 1);
    load8(0x6000);
    put(&p, p.count - 1, (DATA + 0x2000) | P | U | W);
    ck_assert_uint_eq(load8(0x5000), 1);
    mmu_flush_page(&m, 0x5fff);
    ck_assert_ptr_nonnull(inline_probe(0x6000));
    ck_assert_uint_eq(load8(0x5000), 2);
    /* A rise in rights needs no flush: the fault path walks again. */
    put(&p, p.count - 1, (DATA + 0x2000) | P | U);
    pg.wp = true;
    set_paging();
    load8(0x5000);
    expect_fault(mmu_store(&m, MMU_SUPERVISOR, 0x5000, 1, 0), 0x5000, PF_P | PF_W);
    put(&p, p.count - 1, (DATA + 0x2000) | P | U | W);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x5000, 1, 0), MMU_OK);
}
END_TEST

static void check_large_invlpg(unsigned shift, u64 base)
{
    u64 size = BIT64(shift);
    u64 first = base, last = base + (size - 0x1000 < 15 * MIB ? size - 0x1000 : 15 * MIB);
    u64 middle = base + 0x7000;
    load8(first);
    load8(middle);
    load8(last);
    mmu_flush_page(&m, base + 0x123456);
    ck_assert_ptr_null(inline_probe(first));
    ck_assert_ptr_null(inline_probe(middle));
    ck_assert_ptr_null(inline_probe(last));
}

START_TEST(invlpg_takes_the_whole_large_page)
{
    use_mode(&modes[L4_4K]);
    map(21, 0x40200000, 0x200000, U | W, W);
    map(30, 0xffff888000000000ull, 0, U | W, W | G);
    map4k(0x40405000, DATA, W);
    pg.pge = true;
    set_paging();
    load8(0x40405000);
    check_large_invlpg(21, 0x40200000);
    check_large_invlpg(30, 0xffff888000000000ull);
    ck_assert_ptr_nonnull(inline_probe(0x40405000)); /* the neighbour stays */
    /* INVLPG next to a large page leaves that alone. */
    load8(0x40200000);
    mmu_flush_page(&m, 0x40405000);
    ck_assert_ptr_null(inline_probe(0x40405000));
    ck_assert_ptr_nonnull(inline_probe(0x40200000));
    next_table = TABLES;
    use_mode(&modes[M32_4M]);
    map(22, 0x80000000, 0x400000, 0, W);
    set_paging();
    check_large_invlpg(22, 0x80000000);
}
END_TEST

START_TEST(cr3_load_spares_global_pages)
{
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, W);
    map4k(0x6000, DATA, W | G);
    pg.pge = true;
    set_paging();
    load8(0x5000);
    load8(0x6000);
    mmu_load_cr3(&m, pg.cr3, false);
    ck_assert_ptr_null(inline_probe(0x5000));
    ck_assert_ptr_nonnull(inline_probe(0x6000));
    mmu_flush_page(&m, 0x6000);
    ck_assert_ptr_null(inline_probe(0x6000));
    load8(0x6000);
    mmu_flush_all(&m);
    ck_assert_ptr_null(inline_probe(0x6000));
    pg.pge = false; /* G means nothing then */
    set_paging();
    load8(0x6000);
    mmu_load_cr3(&m, pg.cr3, true);
    ck_assert_ptr_null(inline_probe(0x6000));
}
END_TEST

START_TEST(pcids_keep_their_entries)
{
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, W);
    map4k(0x6000, DATA, W | G);
    u64 first = pg.cr3;
    pg.cr3 = new_table();
    map4k(0x5000, DATA + 0x1000, W);
    u64 second = pg.cr3;
    ram[DATA] = 1;
    ram[DATA + 0x1000] = 2;
    pg.cr3 = first;
    pg.pcide = pg.pge = true;
    set_paging();
    ck_assert_uint_eq(load8(0x5000), 1);
    load8(0x6000);
    mmu_load_cr3(&m, second | 7, false);
    ck_assert_uint_eq(load8(0x5000), 2);
    u64 walks = mmu_counters(&m)->walks, hits = mmu_counters(&m)->asid_hits;
    for (unsigned i = 0; i < 10; i++) {
        mmu_load_cr3(&m, first | BIT64(63), true);
        ck_assert_uint_eq(load8(0x5000), 1);
        mmu_load_cr3(&m, second | 7, true);
        ck_assert_uint_eq(load8(0x5000), 2);
    }
    ck_assert_uint_eq(mmu_counters(&m)->walks, walks);
    ck_assert_uint_eq(mmu_counters(&m)->asid_hits, hits + 20);
    /* Without bit 63 the PCID's own entries go, the other PCID's stay. */
    mmu_load_cr3(&m, first, false);
    ck_assert_ptr_null(inline_probe(0x5000));
    ck_assert_ptr_nonnull(inline_probe(0x6000));
    mmu_load_cr3(&m, second | 7, true);
    ck_assert_ptr_nonnull(inline_probe(0x5000));
    /* INVPCID of another one; INVLPG reaches global entries of all. */
    mmu_load_cr3(&m, first, true);
    mmu_flush_page(&m, 0x6000);
    mmu_flush_pcid(&m, 7);
    ck_assert_ptr_null(inline_probe(0x6000));
    mmu_load_cr3(&m, second | 7, true);
    ck_assert_ptr_null(inline_probe(0x5000));
    mmu_flush_page(&m, 0x6000);
    load8(0x5000);
    /* More PCIDs than slots: the least recently used is given away, and comes back empty. */
    for (unsigned i = 0; i < MMU_ASIDS; i++)
        mmu_load_cr3(&m, first | (0x100 + i), true);
    mmu_load_cr3(&m, second | 7, true);
    ck_assert_ptr_null(inline_probe(0x5000));
    ck_assert_uint_eq(load8(0x5000), 2);
}
END_TEST

START_TEST(invlpg_reaches_global_entries_of_other_slots)
{
    use_mode(&modes[L4_4K]);
    map4k(0x6000, DATA, W | G);
    pg.pcide = pg.pge = true;
    set_paging();
    load8(0x6000);
    mmu_load_cr3(&m, pg.cr3 | 1, false);
    mmu_flush_page(&m, 0x6000);
    mmu_load_cr3(&m, pg.cr3, true);
    ck_assert_ptr_null(inline_probe(0x6000));
}
END_TEST

START_TEST(the_table_grows_with_use_and_shrinks)
{
    use_mode(&modes[L4_2M]);
    for (unsigned i = 0; i < 8; i++)
        map(21, 0x40000000 + i * 2 * MIB, i * 2 * MIB, U | W, W);
    set_paging();
    ck_assert_uint_eq(m.tlb_mask, (TLB_MIN_ENTRIES - 1) * 32);
    for (unsigned round = 0; round < 4; round++)
        for (u64 i = 0; i < 4096; i++)
            load8(0x40000000 + i * 0x1000);
    ck_assert_uint_ge(m.tlb_mask, 4095 * 32);
    u64 walks = mmu_counters(&m)->walks;
    for (u64 i = 0; i < 4096; i++) {
        ck_assert_uint_eq(load8(0x40000000 + i * 0x1000), load_le(ram + i * 0x1000, 8));
        ck_assert_ptr_nonnull(inline_probe(0x40000000 + i * 0x1000));
    }
    ck_assert_uint_eq(mmu_counters(&m)->walks, walks);
    mmu_flush_all(&m);
    for (u64 i = 0; i < 4096; i++)
        ck_assert_ptr_null(inline_probe(0x40000000 + i * 0x1000));
    for (unsigned i = 0; i < 40; i++) {
        load8(0x40000000);
        mmu_flush_all(&m);
    }
    ck_assert_uint_eq(m.tlb_mask, (TLB_MIN_ENTRIES - 1) * 32);
    ck_assert_uint_gt(mmu_counters(&m)->resizes, 4);
}
END_TEST

START_TEST(jump_caches_empty_with_their_mappings)
{
    struct mmu_code_page page;
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, W);
    map4k(0x6000, DATA, W);
    set_paging();
    struct jump_entry *j = &m.context->jumps[5];
    for (unsigned i = 0; i < JUMP_ENTRIES; i++)
        ck_assert_uint_ge(m.context->jumps[i].tag, ~1ull);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x5000, &page), MMU_OK);
        load8(0x6000);
        *j = (struct jump_entry){.tag = 0x5005, .code = 1};
        switch (i) {
        case 0: mmu_flush_jumps(&m); break;
        case 1: mmu_flush_all(&m); break;
        case 2: mmu_load_cr3(&m, pg.cr3, false); break;
        case 3:
            mmu_flush_page(&m, 0x6000); /* no code from there */
            ck_assert_uint_eq(j->tag, 0x5005);
            mmu_flush_page(&m, 0x5000);
            break;
        }
        ck_assert_uint_eq(j->tag, ~0ull);
        if (i == 0) { /* put in after the flush, by a translator that fetched before it */
            *j = (struct jump_entry){.tag = 0x5005, .code = 1};
            mmu_flush_jumps(&m);
            ck_assert_uint_eq(j->tag, ~0ull);
        }
    }
    /* Evicted from the TLB, the page still has jumps: they must go all the same. */
    ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x5000, &page), MMU_OK);
    *j = (struct jump_entry){.tag = 0x5005, .code = 1};
    map4k(0x5000 + TLB_MIN_ENTRIES * 0x1000, DATA, W);
    load8(0x5000 + TLB_MIN_ENTRIES * 0x1000);
    ck_assert_ptr_null(inline_probe(0x5000));
    mmu_flush_page(&m, 0x5000);
    ck_assert_uint_eq(j->tag, ~0ull);
}
END_TEST

START_TEST(fetch_rights_are_checked_on_a_hit)
{
    struct mmu_code_page page;
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, U | W | XD);
    pg.nxe = true;
    set_paging();
    load8(0x5000);
    expect_fault(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x5123, &page), 0x5123, PF_P | PF_I);
    mmu_set_kind(&m, MMU_USER);
    expect_fault(mmu_fetch_page(&m, MMU_USER, 0x5123, &page), 0x5123, PF_P | PF_I | PF_U);
}
END_TEST

/* ---- loads and stores ---- */

static u64 io_last, io_answer;
static unsigned io_reads, io_writes;

static u64 io_read(void *opaque, u64 offset, unsigned size)
{
    io_reads++;
    io_last = offset;
    return io_answer >> (8 * (offset & 7));
}

static void io_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    io_writes++;
    io_last = value;
}

static const struct bus_ops io_ops = {.read = io_read, .write = io_write};

#define IO 0xe0000000ull

START_TEST(io_goes_to_the_region)
{
    u64 v;
    io_reads = io_writes = 0;
    io_answer = 0x8877665544332211ull;
    bus_map_mmio(b, "io", IO, 0x2000, &io_ops, NULL, 0);
    use_mode(&modes[L4_4K]);
    map4k(0x5000, IO, U | W);
    map4k(0x6000, DATA, U | W);
    set_paging();
    ck_assert_int_eq(mmu_load(&m, MMU_USER, 0x5004, 4, &v), MMU_OK);
    ck_assert_uint_eq(v, 0x88776655);
    ck_assert_uint_eq(io_last, 4);
    u64 walks = mmu_counters(&m)->walks;
    ck_assert_int_eq(mmu_store(&m, MMU_USER, 0x5010, 4, 0xffffffff12345678ull), MMU_OK);
    ck_assert_uint_eq(io_last, 0x12345678);
    ck_assert_int_eq(mmu_store(&m, MMU_USER, 0x5010, 2, 0x9999), MMU_OK);
    ck_assert_int_eq(mmu_load(&m, MMU_USER, 0x5000, 1, &v), MMU_OK);
    ck_assert_uint_eq(mmu_counters(&m)->walks, walks + 1); /* one more, to set D */
    ck_assert_uint_eq(mmu_counters(&m)->io_accesses, 4);
    ck_assert_ptr_null(inline_probe(0x5000));
    /* From MMIO into RAM. */
    store_le(ram + DATA, 0xddccbbaa, 4);
    ck_assert_int_eq(mmu_load(&m, MMU_USER, 0x5ffe, 4, &v), MMU_OK);
    ck_assert_uint_eq(v, 0xbbaa8877);
    io_writes = 0;
    ck_assert_int_eq(mmu_store(&m, MMU_USER, 0x5ffe, 4, 0x44332211), MMU_OK);
    ck_assert_uint_eq(io_writes, 1);
    ck_assert_uint_eq(io_last, 0x2211);
    ck_assert_uint_eq(load_le(ram + DATA, 4), 0xddcc4433);
    u8 *host = ram;
    ck_assert_int_eq(mmu_host(&m, MMU_USER, 0x5000, 4, MMU_READ, &host), MMU_OK);
    ck_assert_ptr_null(host);
    struct mmu_code_page page;
    ck_assert_int_eq(mmu_fetch_page(&m, MMU_USER, 0x5000, &page), MMU_OK);
    ck_assert_ptr_null(page.host);
    ck_assert_uint_eq(page.phys, IO);
    u8 buf[24];
    ck_assert_int_eq(mmu_load_bytes(&m, MMU_USER, 0x5ff0, buf, 24), MMU_OK);
    ck_assert_uint_eq(load_le(buf + 8, 8), io_answer);
    ck_assert_uint_eq(load_le(buf + 16, 4), 0xddcc4433);
}
END_TEST

START_TEST(rom_stores_vanish)
{
    u8 *rom = bus_alloc_ram(b, 0x1000, "rom"), *host = NULL;
    u64 v;
    bus_map_ram(b, "rom", 0xfffff000, 0x1000, rom, true, false, 0);
    rom[0x10] = 0x5a;
    set_paging();
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0xfffff010, 1, 0), MMU_OK);
    ck_assert_int_eq(mmu_load(&m, MMU_SUPERVISOR, 0xfffff010, 1, &v), MMU_OK);
    ck_assert_uint_eq(v, 0x5a);
    ck_assert_ptr_nonnull(inline_probe(0xfffff000));
    ck_assert_uint_eq(inline_probe(0xfffff000)->write, TLB_INVALID);
    ck_assert_int_eq(mmu_host(&m, MMU_SUPERVISOR, 0xfffff010, 1, MMU_WRITE, &host), MMU_OK);
    ck_assert_ptr_null(host);
    ck_assert_int_eq(mmu_host(&m, MMU_SUPERVISOR, 0xfffff010, 1, MMU_READ, &host), MMU_OK);
    ck_assert_ptr_eq(host, rom + 0x10);
}
END_TEST

START_TEST(a_fault_in_the_second_page_writes_nothing)
{
    u8 data[32];
    u64 v;
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, U | W);
    struct path second = map4k(0x6000, DATA + 0x5000, U);
    pg.wp = true;
    set_paging();
    memset(ram + DATA, 0x11, 0x1000);
    memset(ram + DATA + 0x5000, 0x22, 0x1000);
    expect_fault(mmu_store(&m, MMU_USER, 0x5ffd, 8, 0), 0x6000, PF_P | PF_W | PF_U);
    memset(data, 0, sizeof data);
    expect_fault(mmu_store_bytes(&m, MMU_USER, 0x5ff0, data, 32), 0x6000, PF_P | PF_W | PF_U);
    for (unsigned i = 0xff0; i < 0x1000; i++)
        ck_assert_uint_eq(ram[DATA + i], 0x11);
    ck_assert_int_eq(mmu_load(&m, MMU_USER, 0x5ffd, 8, &v), MMU_OK);
    ck_assert_uint_eq(v, 0x2222222222111111ull);
    put(&second, second.count - 1, 0);
    mmu_flush_all(&m);
    expect_fault(mmu_load(&m, MMU_USER, 0x5ffd, 8, &v), 0x6000, PF_U);
    put(&second, second.count - 1, (DATA + 0x5000) | P | U | W);
    ck_assert_int_eq(mmu_store(&m, MMU_USER, 0x5ffd, 8, 0x8877665544332211ull), MMU_OK);
    ck_assert_uint_eq(load_le(ram + DATA + 0xffd, 3), 0x332211);
    ck_assert_uint_eq(load_le(ram + DATA + 0x5000, 5), 0x8877665544ull);
    /* The first page is looked at first. */
    expect_fault(mmu_load(&m, MMU_USER, 0x4ffd, 8, &v), 0x4ffd, PF_U);
    ck_assert_int_eq(mmu_probe(&m, MMU_USER, 0x5fff, 0x1001, MMU_WRITE), MMU_OK);
    expect_fault(mmu_probe(&m, MMU_USER, 0x5fff, 0x1002, MMU_WRITE), 0x7000, PF_W | PF_U);
}
END_TEST

START_TEST(every_size_and_offset)
{
    static u8 model[0x2000];
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA + 0x1000, W);
    map4k(0x6000, DATA, W);
    set_paging();
    for (unsigned i = 0; i < 0x2000; i++)
        ram[DATA + (i ^ 0x1000)] = model[i] = (u8)(i * 7 + (i >> 8));
    for (unsigned at = 0xff0; at < 0x1010; at++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            u64 v, value = 0x0123456789abcdefull * (at + size);
            ck_assert_int_eq(mmu_load(&m, MMU_SUPERVISOR, 0x5000 + at, size, &v), MMU_OK);
            ck_assert_uint_eq(v, load_le(model + at, size));
            ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x5000 + at, size, value), MMU_OK);
            store_le(model + at, value, size);
        }
    }
    for (unsigned i = 0; i < 0x2000; i++)
        ck_assert_uint_eq(ram[DATA + (i ^ 0x1000)], model[i]);
}
END_TEST

/* ---- pages with code ---- */

static struct {
    unsigned calls;
    u64 gpa;
    unsigned len;
    struct mmu *writer;
    u8 before;
    bool escape;
    jmp_buf out;
} hook;

static void on_code(void *opaque, struct mmu *writer, u64 gpa, unsigned len)
{
    hook.calls++;
    hook.gpa = gpa;
    hook.len = len;
    hook.writer = writer;
    hook.before = ram[gpa];
    if (hook.escape) {
        code_clear_page(b, gpa);
        longjmp(hook.out, 1);
    }
}

START_TEST(stores_to_code_call_the_hook_first)
{
    u8 *host;
    memset(&hook, 0, sizeof hook);
    bus_set_code_hook(b, (struct code_hook){on_code, NULL});
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, U | W);
    map4k(0x9000, DATA, U | W); /* an alias */
    map4k(0x6000, DATA + 0x1000, U | W);
    set_paging();
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x5000, 1, 0), MMU_OK);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x9000, 1, 0), MMU_OK);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x6000, 1, 0), MMU_OK);
    ck_assert_uint_eq(inline_probe(0x5000)->write, 0x5000);
    ck_assert_uint_eq(inline_probe(0x9000)->write, 0x9000);
    code_mark(b, DATA + 0x100, 16);
    /* The first mark took the write tags of this page, and of no other. */
    ck_assert_uint_eq(inline_probe(0x5000)->write, TLB_INVALID);
    ck_assert_uint_eq(inline_probe(0x9000)->write, TLB_INVALID);
    ck_assert_uint_eq(inline_probe(0x6000)->write, 0x6000);
    u64 walks = mmu_counters(&m)->walks;
    ram[DATA + 0x104] = 0x33;
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x5140, 4, 1), MMU_OK);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x50fc, 4, 1), MMU_OK);
    ck_assert_uint_eq(hook.calls, 0);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x9104, 2, 0x4444), MMU_OK);
    ck_assert_uint_eq(hook.calls, 1);
    ck_assert_uint_eq(hook.gpa, DATA + 0x104);
    ck_assert_uint_eq(hook.len, 2);
    ck_assert_ptr_eq(hook.writer, &m);
    ck_assert_uint_eq(hook.before, 0x33);
    ck_assert_uint_eq(ram[DATA + 0x104], 0x44);
    ck_assert_uint_eq(mmu_counters(&m)->walks, walks); /* slow, but no walk */
    ck_assert_uint_eq(mmu_counters(&m)->code_stores, 3);
    ck_assert_int_eq(mmu_host(&m, MMU_SUPERVISOR, 0x5000, 8, MMU_WRITE, &host), MMU_OK);
    ck_assert_ptr_null(host);
    ck_assert_int_eq(mmu_host(&m, MMU_SUPERVISOR, 0x5000, 8, MMU_READ, &host), MMU_OK);
    ck_assert_ptr_eq(host, ram + DATA);
    /* A fill while there are marks gives no write tag; when they go, it comes back. */
    mmu_flush_all(&m);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x5000, 1, 0), MMU_OK);
    ck_assert_uint_eq(inline_probe(0x5000)->write, TLB_INVALID);
    code_clear_page(b, DATA);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x5000, 1, 0), MMU_OK);
    ck_assert_uint_eq(inline_probe(0x5000)->write, 0x5000);
    ck_assert_uint_eq(hook.calls, 1);
    /* And goes again. */
    code_mark(b, DATA, 1);
    ck_assert_uint_eq(inline_probe(0x5000)->write, TLB_INVALID);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x5000, 1, 0), MMU_OK);
    ck_assert_uint_eq(hook.calls, 2);
}
END_TEST

START_TEST(the_hook_may_leave)
{
    memset(&hook, 0, sizeof hook);
    hook.escape = true;
    bus_set_code_hook(b, (struct code_hook){on_code, NULL});
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, U | W);
    map4k(0x6000, DATA + 0x1000, U | W);
    set_paging();
    memset(ram + DATA, 0x11, 0x2000);
    code_mark(b, DATA + 0x1000, 1);
    if (!setjmp(hook.out)) {
        mmu_store(&m, MMU_USER, 0x5ffc, 8, 0);
        ck_abort_msg("the hook did not run");
    }
    /* Nothing of the first page was written; no lock is left held. */
    ck_assert_uint_eq(load_le(ram + DATA + 0xffc, 8), 0x1111111111111111ull);
    ck_assert_int_eq(mmu_store(&m, MMU_USER, 0x5ffc, 8, 0x55), MMU_OK);
    ck_assert_uint_eq(load_le(ram + DATA + 0xffc, 8), 0x55);
    ck_assert_uint_eq(hook.calls, 1);
}
END_TEST

START_TEST(marks_take_tags_from_every_cpu)
{
    struct mmu other;
    ck_assert(mmu_init(&other, b, 1));
    set_paging();
    ck_assert_int_eq(mmu_store(&other, MMU_SUPERVISOR, DATA, 1, 0), MMU_OK);
    struct tlb_entry *e = &other.context->entries[DATA >> 12 & (other.tlb_mask / 32)];
    ck_assert_uint_eq(e->write, DATA);
    code_mark(b, DATA, 1);
    ck_assert_uint_eq(e->write, TLB_INVALID);
    ck_assert_uint_eq(e->read, DATA);
    mmu_free(&other);
    code_clear_page(b, DATA);
    code_mark(b, DATA, 1); /* the bus has forgotten it */
}
END_TEST

START_TEST(moving_a_region_flushes)
{
    u8 *other = bus_alloc_ram(b, 0x1000, "other");
    set_paging();
    ram[DATA] = 1;
    other[0] = 2;
    ck_assert_uint_eq(load8(DATA) & 0xff, 1);
    struct region *r = bus_map_ram(b, "other", DATA, 0x1000, other, true, true, 1);
    ck_assert_uint_eq(load8(DATA) & 0xff, 2);
    region_set_address(r, DATA + 0x1000);
    ck_assert_uint_eq(load8(DATA) & 0xff, 1);
    ck_assert_uint_eq(load8(DATA + 0x1000) & 0xff, 2);
    region_set_enabled(r, false);
    ck_assert_uint_eq(load8(DATA + 0x1000) & 0xff, 0);
}
END_TEST

/* ---- threads ---- */

static _Atomic bool stop, kicked;

static void on_kick(void *opaque)
{
    kicked = true;
}

static void *run_cpu(void *opaque)
{
    struct mmu *cpu = opaque;
    u64 v, sum = 0;
    mmu_set_owner(cpu, on_kick, NULL);
    while (!stop) {
        for (u64 i = 0; i < 512; i++) {
            if (mmu_load(cpu, MMU_SUPERVISOR, 0x40000000 + i * 0x1000, 8, &v) != MMU_OK ||
                v != i)
                sum++;
            if (mmu_store(cpu, MMU_SUPERVISOR, 0x40000008 + i * 0x1000, 8, v) != MMU_OK)
                sum++;
        }
        mmu_run_pending(cpu);
    }
    return (void *)(uintptr_t)sum;
}

START_TEST(others_may_flush_and_mark_while_a_cpu_runs)
{
    pthread_t thread;
    void *wrong;
    use_mode(&modes[L4_4K]);
    map(21, 0x40000000, DATA, U | W, W);
    set_paging();
    for (u64 i = 0; i < 512; i++)
        store_le(ram + DATA + i * 0x1000, i, 8);
    stop = kicked = false;
    pthread_create(&thread, NULL, run_cpu, &m);
    while (!kicked)
        bus_flush_tlbs(b);
    for (unsigned i = 0; i < 3000; i++) {
        bus_flush_tlbs(b);
        code_mark(b, DATA + i % 512 * 0x1000, 1);
        code_clear_page(b, DATA + (i + 100) % 512 * 0x1000);
    }
    stop = true;
    pthread_join(thread, &wrong);
    ck_assert_ptr_null(wrong);
}
END_TEST

static u64 shared_pte_la;

static void *set_other_bits(void *opaque)
{
    u32 *e = opaque;
    for (unsigned i = 0; i < 200000; i++)
        __atomic_fetch_xor(e, 1u << 9, __ATOMIC_RELAXED); /* a bit that software owns */
    return NULL;
}

START_TEST(accessed_bits_lose_no_update)
{
    pthread_t thread;
    use_mode(&modes[M32_4K]);
    struct path p = map4k(0x5000, DATA, U | W);
    set_paging();
    shared_pte_la = 0x5000;
    pthread_create(&thread, NULL, set_other_bits, p.e[1]);
    for (unsigned i = 0; i < 50000; i++) {
        __atomic_fetch_and((u32 *)p.e[1], ~(u32)(A | D), __ATOMIC_RELAXED);
        mmu_flush_page(&m, 0x5000);
        ck_assert_int_eq(mmu_store(&m, MMU_USER, 0x5000, 1, 0), MMU_OK);
    }
    pthread_join(thread, NULL);
    ck_assert_uint_eq(get(&p, 1), DATA | P | U | W | A | D); /* an even number of flips */
}
END_TEST

/* ---- costs and printing ---- */

static double elapsed_ns(struct timespec from)
{
    struct timespec to;
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
}

START_TEST(slow_path_costs)
{
    struct timespec t;
    u64 v;
    const unsigned n = 1000000;
    use_mode(&modes[L4_4K]);
    for (u64 i = 0; i < 64; i++)
        map4k(0x5000 + i * 0x1000, DATA + i * 0x1000, U | W);
    set_paging();
    code_mark(b, DATA + 0x800, 1);
    mmu_store(&m, MMU_SUPERVISOR, 0x5000, 8, 0);
    clock_gettime(CLOCK_MONOTONIC, &t);
    for (unsigned i = 0; i < n; i++)
        mmu_load(&m, MMU_SUPERVISOR, 0x5000 + i % 512 * 8, 8, &v);
    double load = elapsed_ns(t) / n;
    clock_gettime(CLOCK_MONOTONIC, &t);
    for (unsigned i = 0; i < n; i++)
        mmu_store(&m, MMU_SUPERVISOR, 0x5000 + i % 256 * 8, 8, i);
    double code_store = elapsed_ns(t) / n;
    clock_gettime(CLOCK_MONOTONIC, &t);
    for (unsigned i = 0; i < n / 64; i++) {
        mmu_load_cr3(&m, pg.cr3, false);
        for (u64 p = 0; p < 64; p++)
            mmu_load(&m, MMU_SUPERVISOR, 0x5000 + p * 0x1000, 8, &v);
    }
    double fill = elapsed_ns(t) / n;
    printf("hit %.1f ns, store beside code %.1f ns, walk and fill %.1f ns\n", load, code_store,
           fill);
    ck_assert_double_lt(load, 2000); /* only a gross mistake fails on a loaded machine */
    ck_assert_double_lt(fill, 20000);
}
END_TEST

static char printed[4096];

static void print(void *opaque, const char *fmt, ...)
{
    va_list ap;
    size_t n = strlen(printed);
    va_start(ap, fmt);
    vsnprintf(printed + n, sizeof printed - n, fmt, ap);
    va_end(ap);
}

START_TEST(the_tlb_prints)
{
    use_mode(&modes[L4_4K]);
    map(21, 0x40200000, 0x200000, U | W, W | G | D | XD);
    pg.pge = pg.nxe = true;
    set_paging();
    load8(0x40201000);
    printed[0] = 0;
    mmu_print_tlb(&m, print, NULL);
    ck_assert_str_eq(printed, "0000000040201000: 0000000000201000 2M gw-\n");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("mmu");
    TCase *t = tcase_create("mmu");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    int n = ARRAY_SIZE(modes);
    tcase_add_loop_test(t, rights_in_every_mode, 0, n);
    tcase_add_loop_test(t, not_present_at_each_level, 0, n);
    tcase_add_loop_test(t, translation_reaches_the_right_byte, 0, n);
    tcase_add_loop_test(t, accessed_and_dirty_bits, 0, n);
    tcase_add_test(t, reserved_bits_long_mode);
    tcase_add_test(t, reserved_bits_pae);
    tcase_add_test(t, reserved_bits_pse36);
    tcase_add_test(t, pdptes_are_checked_and_kept);
    tcase_add_test(t, canonical_addresses);
    tcase_add_test(t, no_paging_and_wrapping);
    tcase_add_test(t, hits_walk_once);
    tcase_add_test(t, smap_is_a_matter_of_the_kind);
    tcase_add_test(t, stale_until_invlpg);
    tcase_add_test(t, invlpg_takes_the_whole_large_page);
    tcase_add_test(t, cr3_load_spares_global_pages);
    tcase_add_test(t, pcids_keep_their_entries);
    tcase_add_test(t, invlpg_reaches_global_entries_of_other_slots);
    tcase_add_test(t, the_table_grows_with_use_and_shrinks);
    tcase_add_test(t, jump_caches_empty_with_their_mappings);
    tcase_add_test(t, fetch_rights_are_checked_on_a_hit);
    tcase_add_test(t, io_goes_to_the_region);
    tcase_add_test(t, rom_stores_vanish);
    tcase_add_test(t, a_fault_in_the_second_page_writes_nothing);
    tcase_add_test(t, every_size_and_offset);
    tcase_add_test(t, stores_to_code_call_the_hook_first);
    tcase_add_test(t, the_hook_may_leave);
    tcase_add_test(t, marks_take_tags_from_every_cpu);
    tcase_add_test(t, moving_a_region_flushes);
    tcase_add_test(t, others_may_flush_and_mark_while_a_cpu_runs);
    tcase_add_test(t, accessed_bits_lose_no_update);
    tcase_add_test(t, slow_path_costs);
    tcase_add_test(t, the_tlb_prints);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
