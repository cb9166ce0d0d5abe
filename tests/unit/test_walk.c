/* The page walker in every mode: rights, fault codes, accessed and dirty bits, reserved bits.
 *
 * The rights are compared with an oracle that states the rules of SDM vol. 3A 4.6.1 as lists, for
 * every combination of rights in two levels.
 */
#include <check.h>
#include <pthread.h>

#include "tests/suite.h"
#include "tests/unit/paging_fixture.h"

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

/* A page fault takes with it what is cached of its address (SDM vol. 3A 4.10.4.1), so that software
 * that has given rights, or a page, without INVLPG meets one fault at most. */
START_TEST(a_fault_forgets_what_was_cached)
{
    u64 v;
    use_mode(&modes[L4_4K]);
    pg.wp = true;
    struct path path = map(12, 0x5000, DATA, U | W, W);
    map4k(0x6000, DATA, W);
    /* A write permission at the level above. */
    put(&path, 2, get(&path, 2) & ~2ull);
    set_paging();
    load8(0x5000);
    expect_fault(probe(MMU_SUPERVISOR, 0x5000, MMU_WRITE), 0x5000, PF_P | PF_W);
    put(&path, 2, get(&path, 2) | W);
    if (probe(MMU_SUPERVISOR, 0x5000, MMU_WRITE) != MMU_OK)
        ck_assert_int_eq(probe(MMU_SUPERVISOR, 0x5000, MMU_WRITE), MMU_OK);
    /* Another page table: of the old one, nothing after a fault in the region. */
    set_paging();
    load8(0x5000);
    u64 table = new_table();
    put(&path, 2, table | P | W | U);
    store_le(ram + table + 8 * 7, (DATA + 0x1000) | P | W, 8);
    if (probe(MMU_SUPERVISOR, 0x7000, MMU_READ) != MMU_OK)
        ck_assert_int_eq(probe(MMU_SUPERVISOR, 0x7000, MMU_READ), MMU_OK);
    expect_fault(mmu_load(&m, MMU_SUPERVISOR, 0x6000, 8, &v), 0x6000, 0);
    /* The page itself, which loads had in the TLB. */
    map4k(0x8000, DATA, W);
    set_paging();
    load8(0x8000);
    store_le(ram + table + 8 * 8, 0, 8);
    expect_fault(probe(MMU_SUPERVISOR, 0x8000, MMU_WRITE), 0x8000, PF_W);
    expect_fault(mmu_load(&m, MMU_SUPERVISOR, 0x8000, 8, &v), 0x8000, 0);
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
    struct tlb_entry *e = &m.context->entries[la >> 12 & (m.context->mask / 32)];
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
    e = &m.context->entries[la >> 12 & (m.context->mask / 32)];
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
    /* Without 1 GiB pages PS is reserved in a PDPTE (4.1.4, Page1GB). */
    pg.gbpages = false;
    next_table = TABLES;
    use_mode(&modes[L4_4K]);
    struct path path = map(12, la, 0, U | W, U | W);
    check_reserved(&path, la, 1, 7, true);
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
    mmu_set_paging(&m, &pg);
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

static void *set_other_bits(void *opaque)
{
    u32 *e = opaque;
    for (unsigned i = 0; i < 4000000; i++)
        __atomic_fetch_xor(e, 1u << 9, __ATOMIC_RELAXED); /* a bit that software owns */
    return NULL;
}

START_TEST(accessed_bits_lose_no_update)
{
    pthread_t thread;
    use_mode(&modes[M32_4K]);
    struct path p = map4k(0x5000, DATA, U | W);
    set_paging();
    pthread_create(&thread, NULL, set_other_bits, p.e[1]);
    for (unsigned i = 0; i < 50000; i++) {
        __atomic_fetch_and((u32 *)p.e[1], ~(u32)(A | D), __ATOMIC_RELAXED);
        mmu_flush_page(&m, 0x5000);
        ck_assert_int_eq(mmu_store(&m, MMU_USER, 0x5000, 1, 0), MMU_OK);
        u32 now = __atomic_load_n((u32 *)p.e[1], __ATOMIC_RELAXED);
        ck_assert_uint_eq(now & (A | D), A | D);
    }
    pthread_join(thread, NULL);
    ck_assert_uint_eq(get(&p, 1), DATA | P | U | W | A | D); /* an even number of flips */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("walk");
    TCase *t = tcase_create("walk");
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
    tcase_add_test(t, a_fault_forgets_what_was_cached);
    tcase_add_test(t, canonical_addresses);
    tcase_add_test(t, accessed_bits_lose_no_update);
    suite_add_tcase(s, t);
    return run_suite(s);
}
