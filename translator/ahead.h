/* Memory that is touched before it is needed, by a thread of its own.
 *
 * The host's kernel clears a page when it is touched for the first time, which for tables and code
 * that only grow is a good part of what a new block costs.  An area is address space whose start is
 * in use; the thread keeps what follows committed, a large page or two in front.  Where the host
 * has no time for the thread, whoever needs the memory touches it as ever.
 */
#ifndef DRAGOMAN_TRANSLATOR_AHEAD_H
#define DRAGOMAN_TRANSLATOR_AHEAD_H

#include "base/thread.h"

#define AHEAD_STEP ((u64)2 << 20)
#define AHEAD_AREAS 8u

struct ahead_area {
    u64 size;
    u64 wanted; /* bytes from the start that are to be committed, as far as there are so many */
    u64 done;   /* those that are, or that the thread is at */
    void (*touch)(void *opaque, u64 from, u64 until); /* bytes from the start; by the thread */
    void *opaque;
};

struct ahead {
    struct worker worker; /* its lock is of all but `wanted` for reading by who calls ahead_use */
    unsigned count;
    struct ahead_area areas[AHEAD_AREAS];
    u64 *steps; /* counts pieces of AHEAD_STEP bytes that the thread has touched */
};

/* *steps belongs to the caller, and is counted up by the thread. */
void ahead_init(struct ahead *a, u64 *steps);
/* Ends the thread; the areas' memory may go afterwards. */
void ahead_free(struct ahead *a);
/* Adds `size` bytes, of which the thread commits pieces by touch(opaque, ...); NULL: private memory
 * at opaque.  Returns the area's number.  Before the first ahead_grow. */
unsigned ahead_add(struct ahead *a, u64 size, void (*touch)(void *, u64, u64), void *opaque);
/* Slow path of ahead_use. */
void ahead_grow(struct ahead *a, unsigned area, u64 used);

/* Tells that the first `used` bytes of an area are in use.  One thread at a time. */
static inline void ahead_use(struct ahead *a, unsigned area, u64 used)
{
    if (unlikely(used + AHEAD_STEP / 2 > a->areas[area].wanted))
        ahead_grow(a, area, used);
}

#endif
