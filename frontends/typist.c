/* Keys that a program presses, at the pace of a person.
 *
 * A keyboard holds the codes of a few keys only.  A key waits until the guest has fetched those
 * before it, but not for ever: a guest that does not listen misses what is typed, as on a PC.
 */
#include "frontends/typist.h"

#include "devices/board/pc.h"

#define PATIENCE_MS 2000u
#define NS_PER_MS 1000000ull

static void arm(struct typist *t, u32 ms)
{
    timer_arm(&t->timer, clock_now(&t->pc->machine.clock) + ms * NS_PER_MS);
}

/* One event, or more: those that come together have no time in between. */
static void type(void *opaque)
{
    struct typist *t = opaque;
    if (t->pc->i8042.keyboard.port.events.count && t->waited < PATIENCE_MS) {
        t->waited++;
        arm(t, 1);
        return;
    }
    t->waited = 0;
    while (t->count) {
        u32 at = t->head;
        t->head = (at + 1) % TYPIST_EVENTS;
        t->count--;
        i8042_key(&t->pc->i8042, t->event[at].code, t->event[at].down);
        if (t->event[at].hold) {
            arm(t, t->event[at].hold);
            return;
        }
    }
}

static void add(struct typist *t, u8 code, bool down, u16 hold)
{
    u32 at = (t->head + t->count++) % TYPIST_EVENTS;
    t->event[at].code = code;
    t->event[at].down = down;
    t->event[at].hold = hold;
}

bool typist_press(struct typist *t, const u8 *codes, unsigned count, u16 hold)
{
    if (t->count + 2 * count > TYPIST_EVENTS)
        return false;
    for (unsigned i = 0; i < count; i++)
        add(t, codes[i], true, i + 1 == count ? hold : 0);
    for (unsigned i = count; i-- > 0;)
        add(t, codes[i], false, i == 0 ? hold : 0);
    if (t->timer.deadline == CLOCK_NEVER)
        type(t);
    return true;
}

void typist_init(struct typist *t, struct pc *pc)
{
    *t = (struct typist){.pc = pc};
    timer_init(&t->timer, &pc->machine.clock, type, t);
}

void typist_stop(struct typist *t)
{
    timer_cancel(&t->timer);
    t->count = 0;
}
