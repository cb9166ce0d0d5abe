/* Which RAM pages have been stored to, for the files of mmu/; the public part is in bus.h. */
#ifndef DRAGOMAN_MMU_WRITTEN_H
#define DRAGOMAN_MMU_WRITTEN_H

#include "mmu/bus_private.h"

/* The page that host is in is about to be stored to, or to be stored to without our seeing it (it
 * gets a write tag).  Lies before the store, or under the lock that the tag is given under. */
static inline void written_note(struct bus *b, const u8 *host)
{
    _Atomic u8 *w = &b->written[ram_arena_page(&b->ram, host)];
    if (!atomic_load(w)) {
        atomic_store(w, 1);
        ram_ahead_use(&b->ahead, host);
    }
}

#endif
