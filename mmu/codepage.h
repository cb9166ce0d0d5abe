/* Code marks by host address, for the files of mmu/; the public part is in bus.h. */
#ifndef DRAGOMAN_MMU_CODEPAGE_H
#define DRAGOMAN_MMU_CODEPAGE_H

#include "mmu/bus_private.h"

/* Marks of the RAM page that host is in, bit i for bytes 64i to 64i+63.  host must be RAM of b. */
static inline u64 code_marks(struct bus *b, const u8 *host)
{
    return atomic_load(&b->marks[ram_arena_page(&b->ram, host)]);
}

/* Whether any of [host, host + len), within a page, is marked. */
bool code_marked(struct bus *b, const u8 *host, unsigned len);

/* Calls the hook for each page of [host, host + len) whose marks the range touches.  To be called
 * before the store, which it also notes (written.h).  With a writer the hook may not return. */
void code_touch(struct bus *b, struct mmu *writer, const u8 *host, u64 gpa, u64 len);

#endif
