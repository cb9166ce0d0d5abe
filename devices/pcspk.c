/* The PC's speaker: counter 2 of the timer through an AND gate (IBM PC AT Technical Reference,
 * logic diagrams; port 61h bits 0 and 1).
 *
 * A sample is the share of its time for which the cone was pushed out, so that tones above what the
 * host plays, and tones that software makes by switching the gate, come out as they should.
 * Samples are made for what has gone by: each time the gate or the counter changes its course, and
 * every few milliseconds while the cone moves.
 * Left out: the speaker's own sound (it has no resonance here).
 */
#include "devices/pcspk.h"

enum {
    PARTS = 8, /* looks at the counter for one sample */
    AMPLITUDE = 8000,
    CHUNK = AUDIO_RATE / 100,    /* samples at a time */
    CHUNK_NS = NS_PER_SEC / 100, /* they last so long */
    STILL = AUDIO_RATE / 2,      /* samples without movement, and the output is left alone */
    LATE = AUDIO_RATE,           /* more than that is not made up for */
};

static u64 sample_to_ns(u64 sample)
{
    return muldiv(sample, NS_PER_SEC, AUDIO_RATE);
}

static u64 samples_now(const struct pcspk *s)
{
    return muldiv(clock_now(s->clock), AUDIO_RATE, NS_PER_SEC);
}

static bool awake(const struct pcspk *s)
{
    return s->more.deadline != CLOCK_NEVER;
}

static void wake(struct pcspk *s)
{
    s->played = samples_now(s);
    s->still = 0;
    timer_arm(&s->more, clock_now(s->clock) + CHUNK_NS);
}

static s16 sample_at(const struct pcspk *s, u64 sample)
{
    u64 start = sample_to_ns(sample), length = NS_PER_SEC / AUDIO_RATE;
    s32 out = 0;
    if (!s->enabled)
        return 0;
    for (unsigned i = 0; i < PARTS; i++)
        out += s->config.out2(s->config.opaque, start + length * (2 * i + 1) / (2 * PARTS));
    return (s16)(AMPLITUDE * out / PARTS);
}

static void play(struct pcspk *s)
{
    s16 samples[CHUNK];
    u64 now = samples_now(s);
    if (s->played > now || now - s->played > LATE)
        s->played = now;
    while (s->played < now) {
        unsigned n = now - s->played < CHUNK ? (unsigned)(now - s->played) : CHUNK;
        for (unsigned i = 0; i < n; i++) {
            samples[i] = sample_at(s, s->played++);
            s->still = samples[i] == s->last ? s->still + 1 : 0;
            s->last = samples[i];
        }
        s->config.audio->play(s->config.audio, samples, n);
    }
}

static void due(void *opaque)
{
    struct pcspk *s = opaque;
    play(s);
    if (s->still < STILL)
        timer_arm(&s->more, clock_now(s->clock) + CHUNK_NS);
}

void pcspk_catch_up(void *opaque)
{
    struct pcspk *s = opaque;
    if (awake(s))
        play(s);
    else if (s->enabled && s->config.audio)
        wake(s);
}

void pcspk_enable(void *opaque, unsigned n, bool level)
{
    struct pcspk *s = opaque;
    if (s->enabled == level)
        return;
    if (awake(s))
        play(s);
    s->enabled = level;
    if (!awake(s) && s->config.audio)
        wake(s);
}

static void pcspk_reset(void *state)
{
    struct pcspk *s = state;
    timer_cancel(&s->more);
    s->enabled = 0;
    s->last = 0;
    s->played = s->still = 0;
}

void pcspk_init(struct pcspk *s, struct clock *clock, const struct pcspk_config *config)
{
    memset(s, 0, sizeof *s);
    s->config = *config;
    s->clock = clock;
    timer_init(&s->more, clock, due, s);
    pcspk_reset(s);
}

/* ---- state ---- */

static void pcspk_loaded(void *state)
{
    struct pcspk *s = state;
    if (!s->config.audio)
        timer_cancel(&s->more);
}

static const struct field pcspk_fields[] = {
    FIELD(struct pcspk, enabled), FIELD(struct pcspk, played),     FIELD(struct pcspk, still),
    FIELD(struct pcspk, last),    FIELD_TIMER(struct pcspk, more), FIELD_END};

const struct device_class pcspk_class = {
    .name = "pcspk",
    .description = "speaker",
    .reset = pcspk_reset,
    .fields = pcspk_fields,
    .loaded = pcspk_loaded,
};
