/* Memory touched ahead of its use: the thread.  Touches only the host's memory interfaces. */
#include "translator/ahead.h"

#include <sys/mman.h>

void ahead_init(struct ahead *a, u64 *steps)
{
    *a = (struct ahead){.steps = steps};
    worker_init(&a->worker);
}

void ahead_free(struct ahead *a)
{
    worker_free(&a->worker);
}

static void touch_private(void *opaque, u64 from, u64 until)
{
    madvise((u8 *)opaque + from, until - from, MADV_POPULATE_WRITE);
}

unsigned ahead_add(struct ahead *a, u64 size, void (*touch)(void *, u64, u64), void *opaque)
{
    /* The first step comes too early for the thread. */
    a->areas[a->count] = (struct ahead_area){.size = size, .wanted = AHEAD_STEP, .done = AHEAD_STEP,
                                             .touch = touch ? touch : touch_private,
                                             .opaque = opaque};
    return a->count++;
}

static struct ahead_area *next_area(struct ahead *a)
{
    for (unsigned i = 0; i < a->count; i++)
        if (a->areas[i].done < min_u64(a->areas[i].wanted, a->areas[i].size))
            return &a->areas[i];
    return NULL;
}

static void *toucher(void *opaque)
{
    struct ahead *a = opaque;
    pthread_mutex_lock(&a->worker.lock);
    while (!a->worker.quit) {
        struct ahead_area *area = next_area(a);
        if (!area) {
            pthread_cond_wait(&a->worker.work, &a->worker.lock);
            continue;
        }
        u64 from = area->done, until = from + AHEAD_STEP;
        area->done = until;
        __atomic_fetch_add(a->steps, 1, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&a->worker.lock);
        area->touch(area->opaque, from, min_u64(until, area->size));
        pthread_mutex_lock(&a->worker.lock);
    }
    pthread_mutex_unlock(&a->worker.lock);
    return NULL;
}

void ahead_grow(struct ahead *a, unsigned area, u64 used)
{
    struct ahead_area *s = &a->areas[area];
    pthread_mutex_lock(&a->worker.lock);
    s->wanted = align_up(used + AHEAD_STEP / 2, AHEAD_STEP) + AHEAD_STEP;
    s->done = max_u64(s->done, used / AHEAD_STEP * AHEAD_STEP); /* it may be late */
    worker_wake(&a->worker, "ahead", toucher, a);
    pthread_mutex_unlock(&a->worker.lock);
}
