/* State-field tables: layout, byte order, round trip, timers; and the -d category parser. */
#include <check.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fields.h"
#include "base/log.h"
#include "tests/suite.h"

struct chip {
    u8 byte;
    u32 skipped;
    u16 word;
    u32 dword;
    u64 qword;
    bool flag;
    s32 negative;
    u16 array[3];
    struct {
        u8 raw[20];
    } blob;
    struct timer timer;
};

static const struct field fields[] = {
    FIELD(struct chip, byte), FIELD(struct chip, word), FIELD(struct chip, dword),
    FIELD(struct chip, qword), FIELD(struct chip, flag), FIELD(struct chip, negative),
    FIELD_ARRAY(struct chip, array), FIELD(struct chip, blob), FIELD_TIMER(struct chip, timer),
    FIELD_END};

#define BYTES (1 + 2 + 4 + 8 + 1 + 4 + 6 + 20 + 8)

static void fired(void *opaque)
{
    ++*(unsigned *)opaque;
}

START_TEST(size_and_byte_order)
{
    struct clock c;
    struct chip chip = {.byte = 0x11, .word = 0x2233, .dword = 0x44556677,
                        .qword = 0x8899aabbccddeeffull, .flag = true, .negative = -2,
                        .array = {0x0102, 0x0304, 0x0506}};
    static const u8 head[] = {0x11, 0x33, 0x22, 0x77, 0x66, 0x55, 0x44, 0xff, 0xee, 0xdd,
                              0xcc, 0xbb, 0xaa, 0x99, 0x88, 1, 0xfe, 0xff, 0xff, 0xff,
                              2, 1, 4, 3, 6, 5};
    u8 buf[BYTES + 1];
    buf[BYTES] = 0x5a;
    clock_init(&c, CLOCK_STEPPED);
    timer_init(&chip.timer, &c, fired, NULL);
    ck_assert_uint_eq(fields_size(fields), BYTES);
    fields_save(fields, &chip, buf);
    ck_assert_mem_eq(buf, head, sizeof head);
    ck_assert_uint_eq(load_le(buf + BYTES - 8, 8), CLOCK_NEVER);
    ck_assert_uint_eq(buf[BYTES], 0x5a);
}
END_TEST

START_TEST(round_trip_restores_every_field)
{
    struct clock c;
    struct chip a, b;
    u8 first[BYTES], second[BYTES];
    unsigned calls = 0;
    clock_init(&c, CLOCK_STEPPED);
    memset(&a, 0xa5, sizeof a);
    memset(&b, 0x00, sizeof b);
    a.flag = true;
    timer_init(&a.timer, &c, fired, &calls);
    timer_init(&b.timer, &c, fired, &calls);
    timer_arm(&a.timer, 70);
    fields_save(fields, &a, first);
    fields_load(fields, &b, first);
    fields_save(fields, &b, second);
    ck_assert_mem_eq(first, second, BYTES);
    ck_assert_uint_eq(b.qword, a.qword);
    ck_assert_int_eq(b.negative, a.negative);
    ck_assert_uint_eq(b.skipped, 0); /* not listed: not touched */
    ck_assert_uint_eq(b.timer.deadline, 70);
    clock_step(&c, 70);
    ck_assert_uint_eq(calls, 2); /* loading armed it for real */
}
END_TEST

START_TEST(loading_an_idle_timer_disarms)
{
    struct clock c;
    struct chip a;
    u8 buf[BYTES];
    unsigned calls = 0;
    memset(&a, 0, sizeof a);
    clock_init(&c, CLOCK_STEPPED);
    timer_init(&a.timer, &c, fired, &calls);
    fields_save(fields, &a, buf);
    timer_arm(&a.timer, 10);
    fields_load(fields, &a, buf);
    clock_step(&c, 20);
    ck_assert_uint_eq(calls, 0);
}
END_TEST

START_TEST(log_categories_parse)
{
    u32 mask = 0;
    ck_assert_ptr_null(log_parse("int,mmu", &mask));
    ck_assert_uint_eq(mask, 1u << LOG_BIT_int | 1u << LOG_BIT_mmu);
    char *bad = log_parse("int,nonsense,mmu", &mask);
    ck_assert_str_eq(bad, "nonsense");
    free(bad);
    bad = log_parse("in", &mask); /* a prefix is not a name */
    ck_assert_str_eq(bad, "in");
    free(bad);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fields");
    TCase *t = tcase_create("fields");
    tcase_add_test(t, size_and_byte_order);
    tcase_add_test(t, round_trip_restores_every_field);
    tcase_add_test(t, loading_an_idle_timer_disarms);
    tcase_add_test(t, log_categories_parse);
    suite_add_tcase(s, t);
    return run_suite(s);
}
