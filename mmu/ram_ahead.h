/* Guest RAM that is touched before the guest does, by a thread of its own.
 *
 * The host's kernel clears memory when it is touched for the first time, a large page at once: a
 * quarter of a millisecond, or several where the host's own host has to find the memory.  Systems
 * take fresh RAM in order, so when a guest begins with one piece the thread commits the next ones,
 * upwards or downwards, which costs no more memory than those.
 */
#ifndef DRAGOMAN_MMU_RAM_AHEAD_H
#define DRAGOMAN_MMU_RAM_AHEAD_H

#include <stdatomic.h>

#include "base/thread.h"
#include "mmu/ram.h"

#define RAM_PIECE_SHIFT 21
#define RAM_PIECES (RAM_ARENA_SIZE >> RAM_PIECE_SHIFT)
#define RAM_AHEAD 2u /* pieces that are committed in front */

struct ram_ahead {
    const struct ram_arena *arena;
    struct worker worker;
    _Atomic bool off;
    u32 queue[8]; /* pieces that are to be committed; what does not fit is forgotten */
    unsigned queued;
    _Atomic u64 pieces;         /* that the thread has committed */
    _Atomic u8 state[RAM_PIECES]; /* PIECE_ */
};

enum { PIECE_FRESH, PIECE_AHEAD, PIECE_USED };

/* The arena stays the caller's, and stays until ram_ahead_free, which ends the thread. */
void ram_ahead_init(struct ram_ahead *a, const struct ram_arena *arena);
void ram_ahead_free(struct ram_ahead *a);
/* Slow path of ram_ahead_use. */
void ram_ahead_begin(struct ram_ahead *a, u32 piece);

/* Tells that the guest is about to write to the page of RAM at `host`.  Any thread. */
static inline void ram_ahead_use(struct ram_ahead *a, const u8 *host)
{
    u32 piece = (u32)((u64)(host - a->arena->base) >> RAM_PIECE_SHIFT);
    if (unlikely(atomic_load_explicit(&a->state[piece], memory_order_relaxed) != PIECE_USED))
        ram_ahead_begin(a, piece);
}

#endif
