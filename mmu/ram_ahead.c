/* Guest RAM touched ahead: the thread.  Touches only the host's memory interfaces. */
#include "mmu/ram_ahead.h"

#include <sys/mman.h>

void ram_ahead_init(struct ram_ahead *a, const struct ram_arena *arena)
{
    a->arena = arena;
    worker_init(&a->worker);
}

void ram_ahead_free(struct ram_ahead *a)
{
    worker_free(&a->worker);
}

static void *toucher(void *opaque)
{
    struct ram_ahead *a = opaque;
    pthread_mutex_lock(&a->worker.lock);
    while (!a->worker.quit) {
        if (!a->queued) {
            pthread_cond_wait(&a->worker.work, &a->worker.lock);
            continue;
        }
        u64 at = (u64)a->queue[0] << RAM_PIECE_SHIFT;
        memmove(a->queue, a->queue + 1, --a->queued * sizeof a->queue[0]);
        pthread_mutex_unlock(&a->worker.lock);
        madvise(a->arena->base + at, BIT64(RAM_PIECE_SHIFT), MADV_POPULATE_WRITE);
        atomic_fetch_add(&a->pieces, 1);
        pthread_mutex_lock(&a->worker.lock);
    }
    pthread_mutex_unlock(&a->worker.lock);
    return NULL;
}

/* Under the lock. */
static void want(struct ram_ahead *a, u32 piece)
{
    u64 end = (u64)(piece + 1) << RAM_PIECE_SHIFT;
    if (piece >= RAM_PIECES || end > a->arena->used || a->queued == ARRAY_SIZE(a->queue) ||
        atomic_load(&a->state[piece]) != PIECE_FRESH)
        return;
    atomic_store(&a->state[piece], PIECE_AHEAD);
    a->queue[a->queued++] = piece;
}

static bool used(const struct ram_ahead *a, u32 piece)
{
    return piece < RAM_PIECES && atomic_load(&a->state[piece]) == PIECE_USED;
}

void ram_ahead_begin(struct ram_ahead *a, u32 piece)
{
    if (atomic_load(&a->off))
        return;
    pthread_mutex_lock(&a->worker.lock);
    bool down = used(a, piece + 1) && !used(a, piece - 1);
    atomic_store(&a->state[piece], PIECE_USED);
    for (u32 i = 1; i <= RAM_AHEAD; i++)
        want(a, down ? piece - i : piece + i);
    if (a->queued)
        worker_wake(&a->worker, "ram ahead", toucher, a);
    pthread_mutex_unlock(&a->worker.lock);
}
