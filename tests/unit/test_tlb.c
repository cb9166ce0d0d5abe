/* Large TLBs: their growth, what flushes and INVLPG find in them, how they shrink; large guest pages
 * put in piece by piece; and the linear addresses at which a page may be stored to (tagged.c). */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/suite.h"
#include "tests/unit/paging_fixture.h"

#define LARGE 0x100000000000ull /* pages of 2 MiB, all of the first RAM */

static u64 entries(void)
{
    return m.context->mask / 32 + 1;
}

/* RAM that nobody touches: with more of it TLBs may have more entries. */
static void more_ram(u64 size)
{
    ck_assert_ptr_nonnull(bus_alloc_ram(b, size, "more"));
}

static void map_large(u64 count, u64 leaf)
{
    for (u64 i = 0; i < count; i++)
        map(21, LARGE + i * 2 * MIB, 0, U | W, W | A | D | leaf);
}

static void load_pages(u64 la, u64 count)
{
    u64 v, wrong = 0;
    for (u64 i = 0; i < count; i++)
        wrong += mmu_load(&m, MMU_SUPERVISOR, la + i * 0x1000, 8, &v) != MMU_OK;
    ck_assert_uint_eq(wrong, 0);
}

/* How many of `count` pages from la on are in, by every `step`th. */
static u64 present(u64 la, u64 count, u64 step)
{
    u64 n = 0;
    for (u64 i = 0; i < count; i += step)
        n += inline_probe(la + i * 0x1000) != NULL;
    return n;
}

/* A table with as many entries as there may be, all of them in use. */
static void fill_largest(void)
{
    use_mode(&modes[L4_2M]);
    more_ram(8 * GIB);
    map_large(TLB_MAX_ENTRIES / 512, 0);
    set_paging();
    for (unsigned i = 0; i < 2; i++)
        load_pages(LARGE, TLB_MAX_ENTRIES);
}

START_TEST(the_table_grows_to_its_maximum)
{
    fill_largest();
    ck_assert_uint_eq(entries(), TLB_MAX_ENTRIES);
    ck_assert_uint_eq(mmu_counters(&m)->most_entries, TLB_MAX_ENTRIES);
    ck_assert_uint_eq(present(LARGE, TLB_MAX_ENTRIES, 1), TLB_MAX_ENTRIES);
    u64 walks = mmu_counters(&m)->walks;
    load_pages(LARGE, TLB_MAX_ENTRIES);
    ck_assert_uint_eq(mmu_counters(&m)->walks, walks);
    /* INVLPG takes the pieces of one large page and of no other. */
    mmu_flush_page(&m, LARGE + 5 * 2 * MIB + 0x3000);
    ck_assert_uint_eq(present(LARGE, TLB_MAX_ENTRIES, 1), TLB_MAX_ENTRIES - 512);
    ck_assert_uint_eq(present(LARGE + 5 * 2 * MIB, 512, 1), 0);
    mmu_flush_page(&m, LARGE + (TLB_MAX_ENTRIES / 512 - 1) * 2 * MIB);
    ck_assert_uint_eq(present(LARGE, TLB_MAX_ENTRIES, 1), TLB_MAX_ENTRIES - 1024);
    mmu_flush_all(&m);
    ck_assert_uint_eq(present(LARGE, TLB_MAX_ENTRIES, 1), 0);
    ck_assert_uint_eq(load8(LARGE + 0x1000), load_le(ram + 0x1000, 8));
    /* Hardly used it shrinks again, step by step. */
    for (u64 i = 0; entries() > TLB_MIN_ENTRIES; i++) {
        ck_assert_uint_lt(i, 1000);
        load8(LARGE);
        mmu_flush_all(&m);
    }
    ck_assert_uint_eq(load8(LARGE), load_le(ram, 8));
}
END_TEST

/* What was given back to the host is made ready anew. */
START_TEST(a_table_may_grow_and_shrink_again_and_again)
{
    const u64 count = 200000;
    use_mode(&modes[L4_2M]);
    more_ram(GIB);
    map_large(count / 512 + 1, 0);
    set_paging();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 2; i++)
            load_pages(LARGE, count);
        ck_assert_uint_eq(entries(), 1u << 18);
        ck_assert_uint_eq(present(LARGE, count, 1), count);
        /* A tag of 0 would be that of an access from the last page into page 0. */
        u64 empty = 0;
        for (u64 i = 0; i < entries(); i++)
            empty += m.context->entries[i].read == TLB_INVALID;
        ck_assert_uint_eq(empty, entries() - count);
        while (entries() > 1u << 14)
            mmu_flush_all(&m);
    }
}
END_TEST

START_TEST(a_table_has_no_more_entries_than_ram_has_pages)
{
    use_mode(&modes[L4_2M]);
    more_ram(112 * MIB); /* 128 in all */
    map_large(256, 0);
    set_paging();
    for (unsigned i = 0; i < 4; i++)
        load_pages(LARGE, 256 * 512);
    ck_assert_uint_eq(entries(), 128 * MIB / 0x1000);
}
END_TEST

/* Where many address spaces have large tables, those of the others give way. */
START_TEST(large_tables_share_their_room)
{
    use_mode(&modes[L4_2M]);
    more_ram(GIB);
    map_large(1024, 0);
    pg.pcide = true;
    set_paging();
    u64 room = 4 * 2 * GIB / 0x1000, sum = 0; /* of what the arena has, rounded up */
    for (unsigned i = 0; i < MMU_ASIDS; i++) {
        mmu_load_cr3(&m, pg.cr3 | i, false);
        for (unsigned n = 0; n < 3; n++)
            load_pages(LARGE, 1024 * 512);
        ck_assert_uint_eq(entries(), 2 * GIB / 0x1000);
        ck_assert_uint_ge(present(LARGE, 1024 * 512, 64), 1024 * 8 - 8);
    }
    for (unsigned i = 0; i < MMU_ASIDS; i++) {
        mmu_load_cr3(&m, pg.cr3 | i, true);
        sum += entries();
        for (u64 p = 0; p < 1024 * 512; p += 999) {
            u64 la = LARGE + p * 0x1000;
            struct tlb_entry *e = inline_probe(la);
            ck_assert(!e || la + e->addend == (u64)(uintptr_t)ram + p % 512 * 0x1000);
        }
    }
    ck_assert_uint_le(sum, room);
}
END_TEST

/* Global entries keep a table large, whatever flushes find besides. */
START_TEST(a_table_full_of_global_entries_stays)
{
    const u64 count = 60000;
    use_mode(&modes[L4_2M]);
    more_ram(GIB);
    map_large(count / 512 + 1, G);
    pg.pge = true;
    set_paging();
    for (unsigned i = 0; i < 3; i++)
        load_pages(LARGE, count);
    u64 large = entries();
    ck_assert_uint_ge(large, count);
    for (unsigned i = 0; i < 200; i++)
        mmu_load_cr3(&m, pg.cr3, false);
    ck_assert_uint_eq(entries(), large);
    ck_assert_uint_eq(present(LARGE, count, 1), count);
}
END_TEST

/* 1 GiB pages: INVLPG finds pieces wherever in the page they are. */
START_TEST(invlpg_finds_all_pieces_of_a_huge_page)
{
    use_mode(&modes[L4_1G]);
    more_ram(GIB);
    for (u64 i = 0; i < 2; i++)
        map(30, LARGE + i * GIB, 0, U | W, W | A | D);
    set_paging();
    for (u64 i = 0; i < 2; i++)
        load_pages(LARGE + i * GIB, RAM_SIZE / 0x1000);
    ck_assert_uint_eq(present(LARGE + GIB, RAM_SIZE / 0x1000, 1), RAM_SIZE / 0x1000);
    u64 rest = present(LARGE, RAM_SIZE / 0x1000, 1);
    mmu_flush_page(&m, LARGE + GIB + 0x3ffff000);
    ck_assert_uint_eq(present(LARGE + GIB, RAM_SIZE / 0x1000, 1), 0);
    ck_assert_uint_eq(present(LARGE, RAM_SIZE / 0x1000, 1), rest);
}
END_TEST

/* A piece of a large page needs the page's own entry alone. */
START_TEST(pieces_of_large_pages_need_no_walk)
{
    use_mode(&modes[L4_2M]);
    struct path path = map(21, LARGE, DATA, U | W, W | A);
    set_paging();
    store_le(ram + DATA + 0x5008, 77, 8);
    load8(LARGE + 0x1000);
    u64 large = mmu_counters(&m)->large;
    ck_assert_uint_eq(load8(LARGE + 0x5008), 77);
    ck_assert_uint_eq(mmu_counters(&m)->large, large + 1);
    ck_assert_uint_eq(inline_probe(LARGE + 0x5000)->write, TLB_INVALID); /* not dirty */
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, LARGE + 0x7000, 8, 1), MMU_OK);
    ck_assert_uint_eq(get(&path, 2) & (A | D), A | D);
    load8(LARGE + 0x9000);
    ck_assert_uint_eq(inline_probe(LARGE + 0x9000)->write, LARGE + 0x9000);
    /* Two in a row: those behind them come along. */
    load8(LARGE + 0x10000);
    load8(LARGE + 0x11000);
    ck_assert_uint_eq(present(LARGE + 0x10000, 8, 1), 8);
    ck_assert_ptr_null(inline_probe(LARGE + 0x18000));
    /* Another entry there, or reserved bits, and an INVLPG. */
    put(&path, 2, 0x400000 | P | W | A | PS);
    mmu_flush_page(&m, LARGE);
    store_le(ram + 0x405008, 78, 8);
    ck_assert_uint_eq(load8(LARGE + 0x5008), 78);
    put(&path, 2, 0x402000 | P | W | A | PS);
    ck_assert_int_eq(mmu_probe(&m, MMU_SUPERVISOR, LARGE + 0x30000, 1, MMU_READ), MMU_PAGE_FAULT);
    ck_assert_uint_eq(m.fault_code, PF_P | PF_RSVD);
}
END_TEST

/* A page table that a walk finds through a cached directory is read from where the directory says. */
START_TEST(walks_begin_at_a_cached_directory)
{
    use_mode(&modes[L4_4K]);
    struct path first = map4k(LARGE, DATA, W);
    map4k(LARGE + 4 * MIB, DATA + 0x1000, W);
    set_paging();
    store_le(ram + DATA, 1, 8);
    store_le(ram + DATA + 0x1000, 2, 8);
    u64 n = mmu_counters(&m)->short_walks;
    ck_assert_uint_eq(load8(LARGE), 1);
    ck_assert_uint_eq(mmu_counters(&m)->short_walks, n);
    ck_assert_uint_eq(load8(LARGE + 4 * MIB), 2);
    ck_assert_uint_eq(mmu_counters(&m)->short_walks, n + 1);
    /* Rights of the levels above count; a change there needs an INVLPG, and then is seen. */
    put(&first, 1, get(&first, 1) & ~(u64)W);
    mmu_flush_page(&m, LARGE);
    pg.wp = true;
    set_paging();
    load8(LARGE);
    ck_assert_int_eq(mmu_probe(&m, MMU_SUPERVISOR, LARGE + 4 * MIB, 1, MMU_WRITE), MMU_PAGE_FAULT);
    put(&first, 1, get(&first, 1) | W);
    mmu_flush_page(&m, LARGE);
    ck_assert_int_eq(mmu_probe(&m, MMU_SUPERVISOR, LARGE + 4 * MIB, 1, MMU_WRITE), MMU_OK);
}
END_TEST

static u64 rights(unsigned bits)
{
    return P | A | (bits & 1 ? W : 0) | (bits & 2 ? U : 0) | (bits & 4 ? XD : 0);
}

/* Status and fault code of an access at LARGE; `near`: when that neighbour has brought tables. */
static u32 outcome(enum mmu_kind kind, enum mmu_access access, u64 near)
{
    mmu_flush_all(&m);
    if (near)
        ck_assert_int_eq(probe(MMU_SUPERVISOR_AC, near, MMU_READ), MMU_OK);
    u64 walks = mmu_counters(&m)->short_walks;
    enum mmu_status status = probe(kind, LARGE, access);
    if (status == MMU_OK && near)
        ck_assert_uint_eq(mmu_counters(&m)->short_walks, walks + 1);
    return status == MMU_OK ? 0 : m.fault_code | 0x100;
}

/* Which levels have their rights in common with a neighbour does not matter. */
START_TEST(cached_tables_give_the_same_rights)
{
    static const struct {
        unsigned mode, first; /* the entry that varies, from the top, with those below */
        u64 near;
    } cases[] = {{L4_4K, 1, 4 * MIB}, {L4_2M, 1, 4 * MIB}, {L4_1G, 0, 2 * GIB}, {L4_4K, 0, 2 * GIB}};
    unsigned first = cases[_i].first, shift = modes[cases[_i].mode].page_shift;
    use_mode(&modes[cases[_i].mode]);
    struct path path = map(shift, LARGE, shift == 30 ? 0 : DATA, U | W | A, W | A | D);
    map4k(LARGE + cases[_i].near, DATA, U | W | A);
    more_ram(GIB);
    pg.nxe = pg.wp = pg.smep = pg.smap = true;
    set_paging();
    u64 was[4];
    for (unsigned i = 0; i < path.count; i++)
        was[i] = get(&path, i) & ~(u64)(U | W);
    for (unsigned bits = 0; bits < 1u << 3 * (path.count - first); bits += first ? 1 : 5) {
        for (unsigned i = first; i < path.count; i++)
            put(&path, i, was[i] | rights(bits >> 3 * (i - first)));
        for (unsigned n = 0; n < 9; n++) {
            enum mmu_kind kind = (enum mmu_kind)(n / 3);
            enum mmu_access access = (enum mmu_access)(n % 3);
            ck_assert_uint_eq(outcome(kind, access, LARGE + cases[_i].near),
                              outcome(kind, access, 0));
        }
    }
}
END_TEST

/* ---- write tags ---- */

#define ALIASES 6u

/* One page at several linear addresses, all of which differ in the bits that count. */
static void map_aliases(void)
{
    use_mode(&modes[L4_4K]);
    for (u64 i = 0; i < ALIASES; i++)
        map4k(0x5000 + i * 0x10000, DATA, W);
    set_paging();
}

static unsigned write_tags(const struct mmu *cpu)
{
    unsigned n = 0;
    for (u64 i = 0; i < ALIASES; i++) {
        u64 la = 0x5000 + i * 0x10000;
        struct tlb_entry *e = &cpu->context->entries[la >> 12 & (cpu->context->mask / 32)];
        n += __atomic_load_n(&e->write, __ATOMIC_RELAXED) == la;
    }
    return n;
}

START_TEST(a_page_has_write_tags_at_few_places)
{
    map_aliases();
    for (u64 round = 0; round < 4; round++) {
        for (u64 i = 0; i < ALIASES; i++) {
            u64 la = 0x5000 + i * 0x10000;
            ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, la, 8, round * 100 + i), MMU_OK);
            ck_assert_uint_eq(inline_probe(la)->write, la);
            ck_assert_uint_eq(load_le(ram + DATA, 8), round * 100 + i);
            ck_assert_uint_eq(inline_probe(0x5000)->write, 0x5000); /* the first stays */
            ck_assert_uint_le(write_tags(&m), 4);
        }
    }
    ck_assert_uint_ge(mmu_counters(&m)->tags_moved, ALIASES - 4);
    code_mark(b, DATA, 1);
    ck_assert_uint_eq(write_tags(&m), 0);
    code_clear_page(b, DATA);
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x5000, 8, 1), MMU_OK);
    ck_assert_uint_eq(write_tags(&m), 1);
}
END_TEST

/* The entry of a place may be in the upper half of a table that has more entries than a place has
 * numbers. */
START_TEST(marks_reach_the_upper_half_of_the_largest_table)
{
    fill_largest();
    u64 top = LARGE + (TLB_MAX_ENTRIES - 3) * 0x1000ull;
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, top, 8, 1), MMU_OK);
    ck_assert_uint_eq(inline_probe(top)->write, top);
    code_mark(b, 2 * MIB - 0x3000, 1);
    ck_assert_uint_eq(inline_probe(top)->write, TLB_INVALID);
    unsigned left = 0;
    for (u64 la = LARGE + 2 * MIB - 0x3000; la <= top; la += 2 * MIB)
        left += inline_probe(la)->write != TLB_INVALID;
    ck_assert_uint_eq(left, 0);
}
END_TEST

/* The same page many times in a row: what is filled ahead takes tags from what goes before. */
START_TEST(filling_ahead_counts_places_too)
{
    use_mode(&modes[L4_4K]);
    for (u64 i = 0; i < 8; i++)
        map4k(0x10000 + i * 0x1000, DATA, W | A | D);
    set_paging();
    load_pages(0x10000, 2);
    ck_assert_uint_eq(present(0x10000, 8, 1), 8);
    unsigned tags = 0;
    for (u64 i = 0; i < 8; i++)
        tags += inline_probe(0x10000 + i * 0x1000)->write != TLB_INVALID;
    ck_assert_uint_le(tags, 4);
    code_mark(b, DATA, 1);
    for (u64 i = 0; i < 8; i++)
        ck_assert_uint_eq(inline_probe(0x10000 + i * 0x1000)->write, TLB_INVALID);
}
END_TEST

static _Atomic bool stop;

static void *store_everywhere(void *opaque)
{
    struct mmu *cpu = opaque;
    mmu_set_owner(cpu, NULL, NULL);
    for (u64 i = 0; !stop; i++)
        mmu_store(cpu, MMU_SUPERVISOR, 0x5000 + i * 7 % ALIASES * 0x10000, 8, i);
    return NULL;
}

/* While a page is marked no TLB has a write tag for it, whatever two owners claim meanwhile and take
 * from each other. */
START_TEST(no_tag_survives_a_mark)
{
    pthread_t threads[2];
    struct mmu other;
    u64 seen = 0;
    map_aliases();
    ck_assert(mmu_init(&other, b, 1));
    mmu_set_paging(&other, &pg);
    stop = false;
    pthread_create(&threads[0], NULL, store_everywhere, &m);
    pthread_create(&threads[1], NULL, store_everywhere, &other);
    for (unsigned i = 0; i < 3000; i++) {
        for (unsigned wait = 0; wait < 20000 && !(write_tags(&m) + write_tags(&other)); wait++)
            ;
        for (volatile unsigned wait = 0; wait < i % 64 * 8; wait++)
            ;
        seen += write_tags(&m) + write_tags(&other);
        code_mark(b, DATA + 0x800, 1);
        ck_assert_uint_eq(write_tags(&m) + write_tags(&other), 0);
        code_clear_page(b, DATA);
    }
    stop = true;
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_gt(seen, 0);
    mmu_free(&other);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tlb");
    TCase *t = tcase_create("tlb");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, the_table_grows_to_its_maximum);
    tcase_add_test(t, a_table_may_grow_and_shrink_again_and_again);
    tcase_add_test(t, a_table_has_no_more_entries_than_ram_has_pages);
    tcase_add_test(t, large_tables_share_their_room);
    tcase_add_test(t, a_table_full_of_global_entries_stays);
    tcase_add_test(t, invlpg_finds_all_pieces_of_a_huge_page);
    tcase_add_test(t, pieces_of_large_pages_need_no_walk);
    tcase_add_test(t, walks_begin_at_a_cached_directory);
    tcase_add_loop_test(t, cached_tables_give_the_same_rights, 0, 4);
    tcase_add_test(t, a_page_has_write_tags_at_few_places);
    tcase_add_test(t, marks_reach_the_upper_half_of_the_largest_table);
    tcase_add_test(t, filling_ahead_counts_places_too);
    tcase_add_test(t, no_tag_survives_a_mark);
    suite_add_tcase(s, t);
    return run_suite(s);
}
