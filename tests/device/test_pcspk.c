/* The speaker: samples that timer counter 2 and port 61h make, on a stepped clock. */
#include "devices/i8254.h"
#include "devices/pcspk.h"
#include "devices/port61.h"
#include "tests/device/io_fixture.h"

#define HEARD (4 * AUDIO_RATE)

struct speaker_test {
    struct audio audio; /* first */
    struct bus *bus;
    struct clock clock;
    struct i8254 pit;
    struct port61 port61;
    struct pcspk speaker;
    s16 heard[HEARD];
    unsigned count;
};

static void play(struct audio *a, const s16 *samples, unsigned count)
{
    struct speaker_test *t = (struct speaker_test *)a;
    for (unsigned i = 0; i < count && t->count < HEARD; i++)
        t->heard[t->count++] = samples[i];
}

static bool out2(void *opaque)
{
    return i8254_out(opaque, 2);
}

static bool out2_at(void *opaque, u64 ns)
{
    return i8254_out_at(opaque, 2, ns);
}

static struct speaker_test *setup(void)
{
    struct speaker_test *t = calloc(1, sizeof *t);
    t->audio.play = play;
    t->bus = bus_create();
    clock_init(&t->clock, CLOCK_STEPPED);
    clock_step(&t->clock, 12345678);
    pcspk_init(&t->speaker, &t->clock, &(struct pcspk_config){out2_at, &t->pit, &t->audio});
    i8254_init(&t->pit, t->bus, &t->clock,
               &(struct i8254_config){
                   .port = 0x40, .before2 = pcspk_catch_up, .before2_opaque = &t->speaker});
    port61_init(&t->port61, t->bus, &t->clock,
                &(struct port61_config){.gate2 = {i8254_set_gate, &t->pit, 2},
                                        .speaker = {pcspk_enable, &t->speaker, 0},
                                        .out2 = out2,
                                        .out2_opaque = &t->pit});
    return t;
}

static void teardown(struct speaker_test *t)
{
    bus_destroy(t->bus);
    free(t);
}

static void tone(struct speaker_test *t, u8 mode, u16 count)
{
    out8(t->bus, 0x43, 0xb0 | mode << 1);
    out8(t->bus, 0x42, count & 0xff);
    out8(t->bus, 0x42, count >> 8);
}

static unsigned rises(const struct speaker_test *t, unsigned from, unsigned to)
{
    unsigned n = 0;
    for (unsigned i = from + 1; i < to; i++)
        n += t->heard[i] > 4000 && t->heard[i - 1] <= 4000;
    return n;
}

static s32 mean(const struct speaker_test *t, unsigned from, unsigned to)
{
    s64 sum = 0;
    for (unsigned i = from; i < to; i++)
        sum += t->heard[i];
    return (s32)(sum / (to - from));
}

static void expect_between(s64 value, s64 least, s64 most)
{
    ck_assert_int_ge(value, least);
    ck_assert_int_le(value, most);
}

START_TEST(tones)
{
    static const struct {
        u16 count;
        unsigned hz;
    } rows[] = {{1193, 1000}, {2711, 440}, {11932, 100}, {298, 4004}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct speaker_test *t = setup();
        tone(t, 3, rows[i].count);
        out8(t->bus, 0x61, 3);
        clock_step(&t->clock, NS_PER_SEC);
        ck_assert_uint_ge(t->count, AUDIO_RATE * 99 / 100);
        s64 hz = rises(t, 0, t->count) * AUDIO_RATE / t->count;
        expect_between(hz, rows[i].hz - 2, rows[i].hz + 2);
        expect_between(mean(t, 0, t->count), 3900, 4100); /* up for half of the time */
        teardown(t);
    }
}
END_TEST

/* Nobody hears this one: a level. */
START_TEST(ultrasound)
{
    struct speaker_test *t = setup();
    tone(t, 3, 12);
    out8(t->bus, 0x61, 3);
    clock_step(&t->clock, NS_PER_SEC / 10);
    ck_assert_uint_ge(t->count, AUDIO_RATE / 10 * 9 / 10);
    for (unsigned i = 10; i < t->count; i++)
        expect_between(t->heard[i], 2000, 6000);
    teardown(t);
}
END_TEST

/* A tone from software's hand: the data bit, 500 times a second, with the counter's OUT high. */
START_TEST(by_hand)
{
    struct speaker_test *t = setup();
    tone(t, 0, 1);
    out8(t->bus, 0x61, 1);
    clock_step(&t->clock, NS_PER_SEC / 100);
    for (unsigned i = 0; i < 500; i++) {
        out8(t->bus, 0x61, 3);
        clock_step(&t->clock, 1500000);
        out8(t->bus, 0x61, 1);
        clock_step(&t->clock, 500000);
    }
    clock_step(&t->clock, NS_PER_SEC / 100);
    expect_between(rises(t, 0, t->count), 499, 501);
    expect_between(mean(t, 0, AUDIO_RATE), 5900, 6100); /* three quarters */
    teardown(t);
}
END_TEST

/* A count written meanwhile is heard from where the 8254 takes it. */
START_TEST(change)
{
    struct speaker_test *t = setup();
    tone(t, 3, 1193);
    out8(t->bus, 0x61, 3);
    clock_step(&t->clock, NS_PER_SEC / 2);
    tone(t, 3, 2386);
    clock_step(&t->clock, NS_PER_SEC / 2);
    expect_between(rises(t, 0, AUDIO_RATE / 2), 499, 501);
    expect_between(rises(t, AUDIO_RATE / 2, t->count), 246, 251);
    teardown(t);
}
END_TEST

/* Silence costs nothing: no samples, no timer; and sound comes back at once. */
START_TEST(silence)
{
    struct speaker_test *t = setup();
    clock_step(&t->clock, NS_PER_SEC);
    ck_assert_uint_eq(t->count, 0);
    ck_assert_uint_eq(clock_deadline(&t->clock), CLOCK_NEVER);
    tone(t, 3, 1193);
    out8(t->bus, 0x61, 3);
    clock_step(&t->clock, NS_PER_SEC / 10);
    out8(t->bus, 0x61, 0);
    unsigned at = t->count;
    ck_assert_uint_eq(at, AUDIO_RATE / 10); /* up to this instant */
    clock_step(&t->clock, 2 * NS_PER_SEC);
    ck_assert_uint_le(t->count, at + AUDIO_RATE * 6 / 10);
    for (unsigned i = at; i < t->count; i++)
        ck_assert_int_eq(t->heard[i], 0);
    ck_assert_uint_eq(clock_deadline(&t->clock), CLOCK_NEVER);
    at = t->count;
    out8(t->bus, 0x61, 2); /* the gate is shut: OUT stays high, the cone out */
    clock_step(&t->clock, 2 * NS_PER_SEC);
    ck_assert_uint_eq(clock_deadline(&t->clock), CLOCK_NEVER);
    ck_assert_int_eq(t->heard[t->count - 1], 8000);
    at = t->count;
    out8(t->bus, 0x61, 3);
    clock_step(&t->clock, NS_PER_SEC / 10);
    ck_assert_uint_ge(rises(t, at, t->count), 98);
    teardown(t);
}
END_TEST

/* Without an output nothing is computed at all. */
START_TEST(nobody)
{
    struct speaker_test *t = setup();
    t->speaker.config.audio = NULL;
    tone(t, 3, 1193);
    out8(t->bus, 0x61, 3);
    clock_step(&t->clock, NS_PER_SEC);
    ck_assert_uint_eq(t->count, 0);
    ck_assert_uint_eq(clock_deadline(&t->clock), CLOCK_NEVER);
    teardown(t);
}
END_TEST

RUN_TESTS("pcspk", tones, ultrasound, by_hand, change, silence, nobody)
