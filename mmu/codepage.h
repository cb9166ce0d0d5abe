/* Code marks by host address, for the files of mmu/; the public part is in bus.h. */
#ifndef DRAGOMAN_MMU_CODEPAGE_H
#define DRAGOMAN_MMU_CODEPAGE_H

#include "mmu/bus_private.h"

/* Marks of the RAM page that host is in, bit i for bytes 64i to 64i+63.  host must be RAM of b. */
static inline u64 code_marks(struct bus *b, const u8 *host)
{
    return atomic_load(&bus_ram_page(b, host)->marks);
}

/* Whether the page had code lately, and several vCPUs might still be changing and running it: then
 * its stores stay on the slow path, which looks for marks again behind each. */
static inline bool code_cooling(struct bus *b, const u8 *host)
{
    return bus_shared(b) &&
           atomic_load_explicit(&b->cooling[ram_arena_page(&b->ram, host)], memory_order_relaxed);
}

/* One such store less to come. */
void code_cool(struct bus *b, const u8 *host);

/* Whether any of [host, host + len), within a page, is marked. */
bool code_marked(struct bus *b, const u8 *host, unsigned len);

/* Calls the hook for each page of [host, host + len) whose marks the range touches.  To be called
 * before the store, which it also notes (written.h).  With a writer the hook may not return. */
void code_touch(struct bus *b, struct mmu *writer, const u8 *host, u64 gpa, u64 len);

/* To be called behind a store: another vCPU may have translated the old bytes since code_touch. */
static inline void code_stored(struct bus *b, const u8 *host, u64 gpa, u64 len)
{
    if (!bus_shared(b))
        return;
    atomic_thread_fence(memory_order_seq_cst);
    code_touch(b, NULL, host, gpa, len);
}

#endif
