/* The jump caches of a vCPU's contexts: which flush empties them, entries that lie on two pages,
 * sets, and what stays for global pages. */

#include "tests/suite.h"
#include "tests/unit/paging_fixture.h"

START_TEST(jump_caches_empty_with_their_mappings)
{
    struct mmu_code_page page;
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, W);
    map4k(0x6000, DATA, W);
    set_paging();
    struct jump_entry *j = &m.context->jumps[5];
    for (unsigned i = 0; i < JUMP_ENTRIES; i++)
        ck_assert_uint_eq(m.context->jumps[i].tag, jump_empty(i));
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x5000, &page), MMU_OK);
        load8(0x6000);
        mmu_put_jump(&m, 5, 0x5005, 1, false);
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
            mmu_put_jump(&m, 5, 0x5005, 1, false);
            mmu_flush_jumps(&m);
            ck_assert_uint_eq(j->tag, ~0ull);
        }
    }
    /* Evicted from the TLB, the page still has jumps: they must go all the same. */
    ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x5000, &page), MMU_OK);
    mmu_put_jump(&m, 5, 0x5005, 1, false);
    map4k(0x5000 + TLB_MIN_ENTRIES * 0x1000, DATA, W);
    load8(0x5000 + TLB_MIN_ENTRIES * 0x1000);
    ck_assert_ptr_null(inline_probe(0x5000));
    mmu_flush_page(&m, 0x5000);
    ck_assert_uint_eq(j->tag, ~0ull);
}
END_TEST

/* Links live as long as what the jump cache would keep. */
START_TEST(links_end_with_their_mappings)
{
    struct mmu_code_page page;
    use_mode(&modes[L4_4K]);
    pg.pge = true;
    map4k(0x5000, DATA, W);
    map4k(0x6000, DATA, W);
    map4k(0x7000, DATA, W | G);
    set_paging();
    m.jumps_by_address = true;
    static const struct {
        u64 flushed;
        bool local, global; /* end */
    } rows[] = {
        {0x5000, true, false}, {0x6000, false, false}, {0x7000, true, true},
        {1, true, true},       {2, true, false},       {3, true, true},
    };
    u32 seen = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x5000, &page), MMU_OK);
        ck_assert(!page.global);
        ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x7000, &page), MMU_OK);
        ck_assert(page.global);
        load8(0x6000);
        u32 local = mmu_map_id(&m, 0x5005, false), global = mmu_map_id(&m, 0x7007, true);
        ck_assert_uint_ne(local, 0);
        ck_assert_uint_ne(local, global);
        ck_assert_uint_eq(mmu_map_id(&m, 0x5009, false), local);
        ck_assert_uint_eq(m.context->map_id[false], local);
        ck_assert_uint_eq(m.context->map_id[true], global);
        switch (rows[i].flushed) {
        case 1: mmu_flush_all(&m); break;
        case 2: mmu_load_cr3(&m, pg.cr3, false); break;
        case 3: mmu_flush_jumps(&m); break;
        default: mmu_flush_page(&m, rows[i].flushed);
        }
        ck_assert_uint_eq(m.context->map_id[false], rows[i].local ? 0 : local);
        ck_assert_uint_eq(m.context->map_id[true], rows[i].global ? 0 : global);
        ck_assert_uint_ge(mmu_map_id(&m, 0x5005, false), seen); /* never again an old one */
        seen = local;
    }
    /* Another privilege kind has its own of local pages, and shares that of global ones. */
    u32 local = mmu_map_id(&m, 0x5005, false), global = mmu_map_id(&m, 0x7007, true);
    mmu_set_kind(&m, MMU_USER);
    ck_assert_uint_ne(m.context->map_id[false], local);
    ck_assert_uint_eq(m.context->map_id[true], global);
}
END_TEST

/* An instruction that begins in one page and ends in the next goes with either. */
START_TEST(jumps_across_a_page_border_go_with_both_pages)
{
    struct mmu_code_page page;
    use_mode(&modes[L4_4K]);
    for (u64 la = 0x5000; la < 0x8000; la += 0x1000)
        map4k(la, DATA, W);
    set_paging();
    m.jumps_by_address = true;
    static const struct {
        u64 rip, flushed;
        bool goes;
    } cases[] = {
        {0x5ffe, 0x5000, true},  {0x5ffe, 0x6000, true},  {0x5ff2, 0x6000, true},
        {0x5ff1, 0x6000, false}, {0x5ffe, 0x7000, false}, {0x6000, 0x5000, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        mmu_flush_all(&m);
        for (u64 la = 0x5000; la < 0x8000; la += 0x1000)
            ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, la, &page), MMU_OK);
        mmu_put_jump(&m, 0x123, cases[i].rip, 1, false);
        mmu_flush_page(&m, cases[i].flushed);
        ck_assert_uint_eq(m.context->jumps[0x123].tag, cases[i].goes ? ~0ull : cases[i].rip);
    }
}
END_TEST

/* A set keeps JUMP_WAYS entries, the newest where its hash says, none twice; a flush finds all, and
 * one that keeps global pages takes a set with any other code. */
START_TEST(jump_sets)
{
    struct mmu_code_page page;
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, W);
    pg.pge = true;
    set_paging();
    ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x5000, &page), MMU_OK);
    struct jump_entry *set = &m.context->jumps[0x40];
    for (u64 i = 0; i < 3 * JUMP_WAYS; i++) {
        mmu_put_jump(&m, 0x41, 0x5000 + i, i, i != 5);
        mmu_put_jump(&m, 0x41, 0x5000 + i, 100 + i, i != 5);
        ck_assert_uint_eq(set[1].tag, 0x5000 + i);
        ck_assert_uint_eq(set[1].code, 100 + i);
        unsigned used = 0;
        for (unsigned way = 0; way < JUMP_WAYS; way++) {
            used += set[way].tag != jump_empty(0x40);
            for (unsigned k = 0; k < way; k++)
                ck_assert(set[way].tag != set[k].tag || set[way].tag == jump_empty(0x40));
        }
        ck_assert_uint_eq(used, i < JUMP_WAYS ? i + 1 : JUMP_WAYS);
        if (i == 4) {
            mmu_load_cr3(&m, pg.cr3, false);
            ck_assert_uint_eq(set[1].tag, 0x5000 + i);
        }
    }
    mmu_put_jump(&m, 0x51, 0x5051, 1, true);
    mmu_load_cr3(&m, pg.cr3, false);
    ck_assert_uint_eq(m.context->jumps[0x51].tag, 0x5051);
    mmu_flush_all(&m);
    for (unsigned i = 0; i < JUMP_ENTRIES; i++)
        ck_assert_uint_eq(m.context->jumps[i].tag, jump_empty(i));
    mmu_put_jump(&m, 0x41, 0x5001, 1, true);
    mmu_put_jump(&m, 0x41, 0x5002, 1, false);
    mmu_put_jump(&m, 0x41, 0x5003, 1, true);
    mmu_load_cr3(&m, pg.cr3, false);
    for (unsigned i = 0; i < JUMP_ENTRIES; i++)
        ck_assert_uint_eq(m.context->jumps[i].tag, jump_empty(i));
}
END_TEST

START_TEST(jumps_to_global_pages_stay)
{
    struct mmu_code_page page;
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, W | G);
    pg.pge = true;
    set_paging();
    struct jump_entry *j = &m.context->jumps[5];
    ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x5000, &page), MMU_OK);
    ck_assert(page.global);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, 0x5000, &page), MMU_OK);
        mmu_put_jump(&m, 5, 0x5005, 1, false);
        mmu_put_jump(&m, 5, 0x5005, 1, page.global); /* takes over from the one that was not */
        mmu_load_cr3(&m, pg.cr3, false);
        ck_assert_uint_eq(j->tag, 0x5005);
        switch (i) {
        case 0: mmu_flush_all(&m); break;
        case 1: mmu_flush_page(&m, 0x5000); break;
        case 2: mmu_flush_jumps(&m); break;
        }
        ck_assert_uint_eq(j->tag, ~0ull);
    }
}
END_TEST

/* What the TLB loses of its own accord, as it shrinks, is remembered: INVLPG reaches the jumps. */
START_TEST(jumps_go_though_the_table_has_shrunk)
{
    const u64 base = 0x40000000, code = (TLB_MIN_ENTRIES + 5) * 0x1000ull;
    struct mmu_code_page page;
    use_mode(&modes[L4_4K]);
    pg.pge = true;
    for (unsigned i = 0; i < 2; i++)
        map(21, base + i * 2 * MIB, i * 2 * MIB, U | W, W);
    map4k(code, DATA, W | G);
    set_paging();
    m.jumps_by_address = true;
    for (u64 i = 0; m.context->mask / 32 + 1 == TLB_MIN_ENTRIES; i++) {
        ck_assert_uint_lt(i, TLB_MIN_ENTRIES);
        load8(base + (0x20 + i % 2 * TLB_MIN_ENTRIES) * 0x1000);
    }
    ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, code, &page), MMU_OK);
    mmu_put_jump(&m, 5, code, 1, page.global);
    u32 id = mmu_map_id(&m, code, true);
    for (unsigned i = 0; m.context->mask / 32 + 1 > TLB_MIN_ENTRIES; i++) {
        ck_assert_uint_lt(i, 10);
        mmu_load_cr3(&m, pg.cr3, false);
    }
    ck_assert_ptr_null(inline_probe(code));
    ck_assert_uint_eq(m.context->jumps[5].tag, code);
    ck_assert_uint_eq(m.context->map_id[true], id);
    mmu_flush_page(&m, code);
    ck_assert_uint_eq(m.context->jumps[5].tag, ~0ull);
    ck_assert_uint_eq(m.context->map_id[true], 0);
}
END_TEST

/* INVLPG takes all of a large page's jumps, also where the piece that they are in was evicted. */
START_TEST(jumps_of_a_large_page_go_together)
{
    const u64 base = 0x40000000, code = base + 0x5000;
    struct mmu_code_page page;
    for (unsigned i = 0; i < 4; i++) {
        bool global = i & 1, reload = i & 2;
        use_mode(&modes[L4_4K]);
        pg.pge = true;
        map(21, base, 0, U | W, W | (global ? G : 0));
        map4k(code - base + TLB_MIN_ENTRIES * 0x1000, DATA, W);
        set_paging();
        m.jumps_by_address = true;
        ck_assert_int_eq(mmu_fetch_page(&m, MMU_SUPERVISOR, code, &page), MMU_OK);
        ck_assert_int_eq(page.global, global);
        mmu_put_jump(&m, 5, code, 1, global);
        mmu_map_id(&m, code, global);
        load8(code - base + TLB_MIN_ENTRIES * 0x1000);
        ck_assert_ptr_null(inline_probe(code));
        if (reload)
            mmu_load_cr3(&m, pg.cr3, false);
        ck_assert_int_eq(m.context->jumps[5].tag == code, global || !reload);
        mmu_flush_page(&m, base + 0x9000);
        ck_assert_uint_eq(m.context->jumps[5].tag, ~0ull);
        ck_assert_uint_eq(m.context->map_id[global], 0);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("jumps");
    TCase *t = tcase_create("jumps");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, jump_caches_empty_with_their_mappings);
    tcase_add_test(t, jumps_across_a_page_border_go_with_both_pages);
    tcase_add_test(t, jump_sets);
    tcase_add_test(t, links_end_with_their_mappings);
    tcase_add_test(t, jumps_to_global_pages_stay);
    tcase_add_test(t, jumps_go_though_the_table_has_shrunk);
    tcase_add_test(t, jumps_of_a_large_page_go_together);
    suite_add_tcase(s, t);
    return run_suite(s);
}
