/* Keys that a program presses, at the pace of a person: a guest loses none of them. */
#ifndef DRAGOMAN_FRONTENDS_TYPIST_H
#define DRAGOMAN_FRONTENDS_TYPIST_H

#include "base/clock.h"

#define TYPIST_EVENTS 512u

struct pc;

struct typist {
    struct pc *pc;
    struct timer timer;
    struct {
        u8 code; /* as ps2_keyboard_key's */
        bool down;
        u16 hold; /* milliseconds until the next */
    } event[TYPIST_EVENTS];
    u32 head, count;
    u32 waited; /* milliseconds that the next event has waited for the guest */
};

/* All calls under the machine lock; typist_stop before the machine goes. */
void typist_init(struct typist *t, struct pc *pc);
void typist_stop(struct typist *t);
/* Presses the keys together, after those that still wait, and lets go of them `hold` milliseconds
 * of virtual time later; false if too many wait. */
bool typist_press(struct typist *t, const u8 *codes, unsigned count, u16 hold);

#endif
