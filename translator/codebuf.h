/* The code buffer: one memfd mapped twice, writable here and executable there, never both. */
#ifndef DRAGOMAN_TRANSLATOR_CODEBUF_H
#define DRAGOMAN_TRANSLATOR_CODEBUF_H

#include <pthread.h>

#include "base/types.h"

struct codebuf {
    u8 *rw;               /* writable view */
    u8 *rx;               /* executable view of the same pages */
    u64 size;             /* bytes, committed on touch */
    pthread_mutex_t lock; /* of what follows */
    _Atomic u64 present;  /* the first so many bytes have been */
    _Atomic u32 large;    /* so many large pages of the host's among them */
    bool small;           /* no more of these */
};

/* False with errno when the host refuses (no memory, no executable mappings). */
bool codebuf_init(struct codebuf *c, u64 size, bool large);
void codebuf_free(struct codebuf *c);
/* Commits what lies before `until` (bytes from the start) and some more, large pages or many small
 * ones at once: a fault for each page costs several times as much.  Does nothing where the host
 * cannot.  Any thread may call it. */
void codebuf_reach(struct codebuf *c, u64 until);

/* Changes code that other threads may execute (writable view): 2 naturally aligned bytes, or 4 that
 * lie within 8 naturally aligned ones.  The caller sees to it that nobody else does so. */
static inline void codebuf_patch2(u8 *rw, u16 v)
{
    __atomic_store_n((u16 *)rw, v, __ATOMIC_RELEASE);
}
static inline void codebuf_patch4(u8 *rw, u32 v)
{
    u64 *whole = (u64 *)(void *)(rw - ((uintptr_t)rw & 7)), bytes = *whole;
    memcpy((u8 *)&bytes + ((uintptr_t)rw & 7), &v, sizeof v);
    __atomic_store_n(whole, bytes, __ATOMIC_RELEASE);
}

#endif
