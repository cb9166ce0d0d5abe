/* The TLB, loads and stores, pages with code, address-space slots, and what threads may do.  The jump
 * caches are in test_jumps.c. */
#include <check.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/suite.h"
#include "tests/unit/paging_fixture.h"

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

START_TEST(a_page_walks_once_after_a_flush)
{
    use_mode(&modes[L4_4K]);
    for (u64 i = 0; i < 64; i++)
        map4k(0x5000 + i * 0x1000, DATA + i * 0x1000, U | W);
    set_paging();
    u64 walks = mmu_counters(&m)->walks;
    for (unsigned round = 1; round <= 100; round++) {
        for (unsigned i = 0; i < 256; i++)
            load8(0x5000 + i % 64 * 0x1000);
        const struct mmu_counters *n = mmu_counters(&m);
        ck_assert_uint_eq(n->walks + n->filled_ahead, walks + round * 64);
        mmu_load_cr3(&m, pg.cr3, false);
    }
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
    for (unsigned i = 0; i < MMU_ASIDS; i++) {
        mmu_load_cr3(&m, first | (0x100 + i), true);
        ck_assert_uint_eq(load8(0x5000), 1);
    }
    mmu_load_cr3(&m, second | 7, true);
    ck_assert_ptr_null(inline_probe(0x5000));
    ck_assert_uint_eq(load8(0x5000), 2);
}
END_TEST

START_TEST(without_pge_nothing_is_global)
{
    use_mode(&modes[L4_4K]);
    map4k(0x6000, DATA, W | G);
    pg.pcide = true;
    set_paging();
    load8(0x6000);
    mmu_load_cr3(&m, pg.cr3, false);
    ck_assert_ptr_null(inline_probe(0x6000));
}
END_TEST

START_TEST(growing_keeps_what_was_there)
{
    const u64 base = 0x40000000, entries = TLB_MIN_ENTRIES;
    use_mode(&modes[L4_2M]);
    for (unsigned i = 0; i < 2; i++)
        map(21, base + i * 2 * MIB, i * 2 * MIB, U | W, W);
    set_paging();
    load8(base + 0x10 * 0x1000);
    load8(base + (entries + 0x11) * 0x1000); /* has to move up */
    for (unsigned i = 0; m.context->mask / 32 + 1 == entries; i++) {
        ck_assert_uint_lt(i, entries);
        load8(base + (0x20 + i % 2 * entries) * 0x1000);
    }
    ck_assert_ptr_nonnull(inline_probe(base + 0x10 * 0x1000));
    ck_assert_ptr_nonnull(inline_probe(base + (entries + 0x11) * 0x1000));
    mmu_flush_all(&m);
    ck_assert_ptr_null(inline_probe(base + (entries + 0x11) * 0x1000));
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
    ck_assert_uint_eq(m.context->mask, (TLB_MIN_ENTRIES - 1) * 32);
    for (unsigned round = 0; round < 4; round++)
        for (u64 i = 0; i < 4096; i++)
            load8(0x40000000 + i * 0x1000);
    ck_assert_uint_ge(m.context->mask, 4095 * 32);
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
    ck_assert_uint_eq(m.context->mask, (TLB_MIN_ENTRIES - 1) * 32);
    ck_assert_uint_gt(mmu_counters(&m)->resizes, 4);
}
END_TEST

/* A walk reads the last level alone where one has been through its table, until something is
 * invalidated. */
START_TEST(walks_are_short_until_an_invalidation)
{
    use_mode(&modes[L4_4K]);
    struct path path = map4k(0x5000, DATA, W);
    map4k(0x6000, DATA + 0x1000, W);
    set_paging();
    u64 pde = get(&path, 2), table = new_table();
    memcpy(ram + table, ram + (pde & 0xfffff000), 0x1000);
    store_le(ram + table + 6 * 8, (DATA + 0x2000) | P | W, 8); /* another table, another page */
    store_le(ram + DATA + 0x1000, 1, 8);
    store_le(ram + DATA + 0x2000, 2, 8);
    for (unsigned i = 0; i < 4; i++) {
        put(&path, 2, pde);
        mmu_flush_all(&m);
        u64 n = mmu_counters(&m)->short_walks;
        load8(0x5000);
        ck_assert_uint_eq(mmu_counters(&m)->short_walks, n);
        ck_assert_uint_eq(load8(0x6000), 1);
        ck_assert_uint_eq(mmu_counters(&m)->short_walks, n + 1);
        put(&path, 2, table | (pde & 0xfff));
        switch (i) {
        case 0: mmu_flush_page(&m, 0x6000); break;
        case 1: mmu_flush_all(&m); break;
        case 2: mmu_load_cr3(&m, pg.cr3, false); break;
        case 3: bus_flush_tlbs(b); break;
        }
        ck_assert_uint_eq(load8(0x6000), 2);
    }
}
END_TEST

/* Misses one page after another fill what the same line of the table has, as far as a walk there
 * would change nothing and be allowed. */
START_TEST(misses_in_a_row_fill_ahead)
{
    use_mode(&modes[L4_4K]);
    for (u64 i = 0; i < 16; i++)
        map4k(0x8000 + i * 0x1000, DATA + i * 0x1000, i == 12 ? U | W : U | W | A | D);
    map4k(0x20000, DATA, W | A);
    map4k(0x21000, DATA, W | A);
    map4k(0x22000, DATA, A);
    map4k(0x23000, 0xfee00000, W | A | D);
    pg.wp = true;
    set_paging();
    load8(0x8000);
    ck_assert_ptr_null(inline_probe(0x9000));
    load8(0x9000);
    ck_assert_uint_eq(mmu_counters(&m)->filled_ahead, 6);
    for (u64 la = 0xa000; la < 0x10000; la += 0x1000) {
        ck_assert_ptr_nonnull(inline_probe(la));
        ck_assert_uint_eq(inline_probe(la)->write, la);
        ck_assert_uint_eq(la + inline_probe(la)->addend,
                          (u64)(uintptr_t)(ram + DATA + la - 0x8000));
    }
    ck_assert_ptr_null(inline_probe(0x10000)); /* another line */
    load8(0x10000);
    ck_assert_ptr_nonnull(inline_probe(0x13000));
    ck_assert_ptr_null(inline_probe(0x14000)); /* not accessed yet, and still not marked so */
    u64 walks = mmu_counters(&m)->walks;
    load8(0xf000);
    ck_assert_uint_eq(mmu_counters(&m)->walks, walks);
    load8(0x20000);
    load8(0x21000);
    ck_assert_ptr_nonnull(inline_probe(0x22000));
    ck_assert_uint_ne(inline_probe(0x22000)->write, 0x22000);
    ck_assert_ptr_null(inline_probe(0x23000)); /* no RAM */
    /* A flush takes them too. */
    mmu_flush_page(&m, 0xb000);
    ck_assert_ptr_null(inline_probe(0xb000));
    mmu_load_cr3(&m, pg.cr3, false);
    ck_assert_ptr_null(inline_probe(0xc000));
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
    ck_assert_int_eq(mmu_host(&m, MMU_SUPERVISOR, 0x50fc, 8, MMU_WRITE, &host), MMU_OK);
    ck_assert_ptr_null(host);
    ck_assert_int_eq(mmu_host(&m, MMU_SUPERVISOR, 0x50f8, 8, MMU_WRITE, &host), MMU_OK);
    ck_assert_ptr_eq(host, ram + DATA + 0xf8); /* data beside it */
    ck_assert_uint_eq(inline_probe(0x5000)->write, TLB_INVALID);
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
    struct tlb_entry *e = &other.context->entries[DATA >> 12 & (other.context->mask / 32)];
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

static _Atomic bool stop, kicked, ready;

static void on_kick(void *opaque)
{
    kicked = true;
}

static void *run_cpu(void *opaque)
{
    struct mmu *cpu = opaque;
    u64 v, sum = 0;
    mmu_set_owner(cpu, on_kick, NULL);
    ready = true;
    while (!stop) {
        for (u64 i = 0; i < 512; i++) {
            if (mmu_load(cpu, MMU_SUPERVISOR, 0x40000000 + i * 0x1000, 8, &v) != MMU_OK || v != i)
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
    stop = kicked = ready = false;
    pthread_create(&thread, NULL, run_cpu, &m);
    while (!ready)
        ;
    for (unsigned i = 0; i < 3000; i++) {
        bus_flush_tlbs(b);
        code_mark(b, DATA + i % 512 * 0x1000, 1);
        code_clear_page(b, DATA + (i + 100) % 512 * 0x1000);
    }
    stop = true;
    pthread_join(thread, &wrong);
    ck_assert_ptr_null(wrong);
    ck_assert(kicked);
}
END_TEST

static void *flush_from_outside(void *opaque)
{
    bus_flush_tlbs(b);
    return NULL;
}

START_TEST(the_owner_repeats_what_another_flushed)
{
    pthread_t thread;
    struct mmu_code_page page;
    set_paging();
    kicked = false;
    mmu_set_owner(&m, on_kick, NULL);
    ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, DATA, &page), MMU_OK);
    pthread_create(&thread, NULL, flush_from_outside, NULL);
    pthread_join(thread, NULL);
    ck_assert(kicked);
    ck_assert_ptr_null(inline_probe(DATA));
    /* Fetched before that flush, put in after it. */
    mmu_put_jump(&m, 7, DATA + 3, 1, false);
    mmu_run_pending(&m);
    ck_assert_uint_eq(m.context->jumps[7].tag, ~0ull);
    u64 flushes = mmu_counters(&m)->flushes;
    mmu_run_pending(&m);
    ck_assert_uint_eq(mmu_counters(&m)->flushes, flushes);
}
END_TEST

/* ---- everything at once, against a model ---- */

#define SPACES 12u /* more than there are slots */
#define PAGES 48u
#define FRAMES 32u

static struct {
    u64 cr3[SPACES];
    struct path path[SPACES][PAGES];
    unsigned frame[SPACES][PAGES];
    u64 content[FRAMES];
    unsigned current;
} model;

static u32 random_state;

static u32 random_below(u32 n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}

/* Far apart and in conflict with each other in small tables. */
static u64 model_la(unsigned page)
{
    return 0x10000000ull + page / 2 * 0x40000000ull + page % 2 * 0x1000;
}

static void model_map(unsigned page, unsigned frame)
{
    struct path *p = &model.path[model.current][page];
    put(p, p->count - 1, (DATA + frame * 0x1000) | P | W | (page % 5 ? 0 : G));
    model.frame[model.current][page] = frame;
}

static void model_step(void)
{
    unsigned page = random_below(PAGES), frame = model.frame[model.current][page];
    u64 la = model_la(page), v;
    switch (random_below(10)) {
    case 0:
        model.current = random_below(SPACES);
        mmu_load_cr3(&m, model.cr3[model.current] | (model.current + 1), random_below(4) != 0);
        return;
    case 1:
        model_map(page, random_below(FRAMES));
        mmu_flush_page(&m, la);
        return;
    case 2: code_mark(b, DATA + frame * 0x1000 + random_below(2) * 64, 8); return;
    case 3:
        if (random_below(50) == 0)
            mmu_flush_all(&m);
        else
            code_clear_page(b, DATA + frame * 0x1000);
        return;
    case 4:
    case 5:
        v = random_below(1u << 24);
        if (inline_probe(la) && inline_probe(la)->write == la) {
            ck_assert(!code_page(b, DATA + frame * 0x1000));
            store_le((u8 *)(uintptr_t)(la + inline_probe(la)->addend), v, 8);
        } else {
            unsigned calls = hook.calls;
            bool marked = code_hit(b, DATA + frame * 0x1000, 8);
            ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, la, 8, v), MMU_OK);
            ck_assert_uint_eq(hook.calls, calls + marked);
        }
        model.content[frame] = v;
        return;
    default:
        if (inline_probe(la))
            v = load_le((u8 *)(uintptr_t)(la + inline_probe(la)->addend), 8);
        else
            v = load8(la);
        ck_assert_uint_eq(v, model.content[frame]);
    }
}

START_TEST(random_use_agrees_with_a_model)
{
    memset(&model, 0, sizeof model);
    memset(&hook, 0, sizeof hook);
    random_state = 12345u + (u32)_i;
    bus_set_code_hook(b, (struct code_hook){on_code, NULL});
    use_mode(&modes[L4_4K]);
    for (model.current = 0; model.current < SPACES; model.current++) {
        model.cr3[model.current] = pg.cr3 = new_table();
        for (unsigned page = 0; page < PAGES; page++) {
            model.path[model.current][page] = map4k(model_la(page), DATA, W);
            model_map(page, random_below(FRAMES));
        }
    }
    model.current = 0;
    pg.cr3 = model.cr3[0] | 1;
    pg.pcide = pg.pge = true;
    set_paging();
    for (unsigned i = 0; i < 200000; i++)
        model_step();
    ck_assert_uint_gt(mmu_counters(&m)->asid_hits, 100);
    ck_assert_uint_gt(mmu_counters(&m)->code_stores, 100);
}
END_TEST

/* ---- printing ---- */

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
    tcase_add_test(t, no_paging_and_wrapping);
    tcase_add_test(t, hits_walk_once);
    tcase_add_test(t, a_page_walks_once_after_a_flush);
    tcase_add_test(t, smap_is_a_matter_of_the_kind);
    tcase_add_test(t, stale_until_invlpg);
    tcase_add_test(t, invlpg_takes_the_whole_large_page);
    tcase_add_test(t, cr3_load_spares_global_pages);
    tcase_add_test(t, pcids_keep_their_entries);
    tcase_add_test(t, without_pge_nothing_is_global);
    tcase_add_test(t, growing_keeps_what_was_there);
    tcase_add_test(t, invlpg_reaches_global_entries_of_other_slots);
    tcase_add_test(t, the_table_grows_with_use_and_shrinks);
    tcase_add_test(t, walks_are_short_until_an_invalidation);
    tcase_add_test(t, misses_in_a_row_fill_ahead);
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
    tcase_add_test(t, the_owner_repeats_what_another_flushed);
    tcase_add_loop_test(t, random_use_agrees_with_a_model, 0, 4);
    tcase_add_test(t, the_tlb_prints);
    suite_add_tcase(s, t);
    return run_suite(s);
}
