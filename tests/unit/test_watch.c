/* Watched ranges of the MMU, which data breakpoints are made of: what is reported, what it costs. */
#include <check.h>
#include <setjmp.h>

#include "tests/suite.h"
#include "tests/unit/paging_fixture.h"

static unsigned reported, reports;
static jmp_buf away;
static bool leave;

static void on_hit(struct mmu *mmu, unsigned hits)
{
    ck_assert_ptr_eq(mmu, &m);
    reported = hits;
    reports++;
    if (leave)
        longjmp(away, 1);
}

static void watch(u64 la, u32 len, bool read)
{
    struct mmu_watch w[4] = {[2] = {la, len, read}};
    reports = 0;
    mmu_set_watches(&m, w, on_hit);
}

static void two_pages(void)
{
    use_mode(&modes[L4_4K]);
    map4k(0x5000, DATA, U | W);
    map4k(0x6000, DATA + 0x1000, U | W);
    set_paging();
    leave = false;
}

static bool in_tlb(u64 la)
{
    struct tlb_entry *e = &m.context->entries[la >> 12 & (m.context->mask / 32)];
    return e->read == (la & PAGE_MASK) || e->write == (la & PAGE_MASK);
}

/* Every size and distance, across the pages' border too. */
START_TEST(bytes_that_touch_are_reported)
{
    two_pages();
    for (u64 at = 0x5ff0; at < 0x6010; at++) {
        for (u32 len = 1; len <= 8; len *= 2) {
            for (unsigned size = 1; size <= 8; size *= 2) {
                u64 v = 0, start = 0x6000 & ~(u64)(len - 1);
                bool touches = at < start + len && start < at + size;
                watch(start, len, false);
                ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, at, size, 0x55), MMU_OK);
                ck_assert_uint_eq(reports, touches);
                ck_assert(!reports || reported == 4);
                ck_assert_int_eq(mmu_load(&m, MMU_SUPERVISOR, at, size, &v), MMU_OK);
                ck_assert_uint_eq(reports, touches);
                watch(start, len, true);
                ck_assert_int_eq(mmu_load(&m, MMU_USER, at, size, &v), MMU_OK);
                ck_assert_uint_eq(reports, touches);
            }
        }
    }
}
END_TEST

START_TEST(only_their_page_leaves_the_tlb)
{
    u8 *host;
    two_pages();
    load8(0x5000);
    load8(0x6000);
    ck_assert(in_tlb(0x5000) && in_tlb(0x6000));
    watch(0x6100, 4, true);
    ck_assert(in_tlb(0x5000) && !in_tlb(0x6000));
    load8(0x6000);
    ck_assert(!in_tlb(0x6000));
    ck_assert_uint_eq(reports, 0);
    ck_assert_int_eq(mmu_host(&m, MMU_SUPERVISOR, 0x6000, 4, MMU_READ, &host), MMU_OK);
    ck_assert_ptr_null(host);
    /* The other kinds' contexts, too. */
    mmu_set_kind(&m, MMU_USER);
    ck_assert_int_eq(probe(MMU_USER, 0x6000, MMU_READ), MMU_OK);
    ck_assert(!in_tlb(0x6000));
    mmu_set_kind(&m, MMU_SUPERVISOR);
    watch(0, 0, false);
    load8(0x6100);
    ck_assert_uint_eq(reports, 0);
    ck_assert(in_tlb(0x6000));
}
END_TEST

START_TEST(the_hook_comes_before_the_store_and_may_leave)
{
    two_pages();
    store_le(ram + DATA, 0x1111, 8);
    watch(0x5000, 8, false);
    leave = true;
    if (!setjmp(away)) {
        mmu_store(&m, MMU_SUPERVISOR, 0x5000, 8, 0x2222);
        ck_abort_msg("not reported");
    }
    ck_assert_uint_eq(load_le(ram + DATA, 8), 0x1111);
    leave = false;
    ck_assert_int_eq(mmu_store(&m, MMU_SUPERVISOR, 0x5000, 8, 0x2222), MMU_OK);
    ck_assert_uint_eq(load_le(ram + DATA, 8), 0x2222);
    ck_assert_uint_eq(reports, 2);
}
END_TEST

START_TEST(faults_and_implicit_accesses_are_not_reported)
{
    u64 v;
    two_pages();
    watch(0x6ffc, 4, true);
    /* The second page of the access is not mapped: the fault comes first. */
    expect_fault(mmu_load(&m, MMU_SUPERVISOR, 0x6ffc, 8, &v), 0x7000, 0);
    ck_assert_uint_eq(reports, 0);
    m.implicit = true;
    ck_assert_int_eq(mmu_load(&m, MMU_SUPERVISOR, 0x6ff8, 8, &v), MMU_OK);
    ck_assert_uint_eq(reports, 0);
    m.implicit = false;
    ck_assert_int_eq(mmu_probe(&m, MMU_SUPERVISOR, 0x6ff8, 8, MMU_WRITE), MMU_OK);
    ck_assert_uint_eq(reports, 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("watch");
    TCase *t = tcase_create("watch");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, bytes_that_touch_are_reported);
    tcase_add_test(t, only_their_page_leaves_the_tlb);
    tcase_add_test(t, the_hook_comes_before_the_store_and_may_leave);
    tcase_add_test(t, faults_and_implicit_accesses_are_not_reported);
    suite_add_tcase(s, t);
    return run_suite(s);
}
