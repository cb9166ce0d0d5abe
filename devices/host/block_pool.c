/* The threads that serve disk requests. */
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "devices/host/block_int.h"

#define THREADS_MAX 16u
/* Without threads: what a request takes in virtual time, in ns. */
#define STEPPED_LATENCY 100000u

struct block_pool {
    struct block_pool_owner owner;
    struct clock *clock;
    struct timer timer;
    pthread_t thread[THREADS_MAX];
    unsigned threads;
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct block_request *first, **last; /* waiting; without threads: done, not yet reported */
    unsigned busy;                       /* requests that threads are at */
    bool quit;
};

static void perform(struct block_request *r)
{
    switch (r->op) {
    case BLOCK_READ: r->error = block_read(r->block, r->offset, r->data, r->count); break;
    case BLOCK_WRITE: r->error = block_write(r->block, r->offset, r->data, r->count); break;
    case BLOCK_FLUSH: r->error = block_flush(r->block); break;
    }
}

static void append(struct block_pool *p, struct block_request *r)
{
    r->next = NULL;
    *p->last = r;
    p->last = &r->next;
}

static struct block_request *take(struct block_pool *p)
{
    struct block_request *r = p->first;
    if (r) {
        p->first = r->next;
        if (!p->first)
            p->last = &p->first;
    }
    return r;
}

/* ---- with threads ---- */

static void *worker(void *opaque)
{
    struct block_pool *p = opaque;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct block_request *r = take(p);
        if (!r) {
            if (!p->busy)
                pthread_cond_broadcast(&p->idle);
            if (p->quit)
                break;
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        p->busy++;
        pthread_mutex_unlock(&p->lock);
        perform(r);
        p->owner.lock(p->owner.opaque);
        r->done(r->opaque);
        p->owner.unlock(p->owner.opaque);
        pthread_mutex_lock(&p->lock);
        p->busy--;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static bool start_threads(struct block_pool *p, unsigned threads)
{
    while (p->threads < threads && thread_start(&p->thread[p->threads], "disk", worker, p))
        p->threads++;
    return p->threads || !threads;
}

/* ---- without ---- */

static void report(void *opaque)
{
    struct block_pool *p = opaque;
    struct block_request *r = take(p);
    if (p->first)
        timer_arm(&p->timer, clock_now(p->clock) + STEPPED_LATENCY);
    if (r)
        r->done(r->opaque);
}

/* ---- for both ---- */

void block_submit(struct block_pool *p, struct block_request *r)
{
    if (!p->threads) {
        perform(r);
        if (!p->first)
            timer_arm(&p->timer, clock_now(p->clock) + STEPPED_LATENCY);
        append(p, r);
        return;
    }
    pthread_mutex_lock(&p->lock);
    append(p, r);
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

void block_pool_drain(struct block_pool *p)
{
    if (!p->threads)
        return;
    pthread_mutex_lock(&p->lock);
    while (p->first || p->busy)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

struct block_pool *block_pool_create(unsigned threads, const struct block_pool_owner *owner,
                                     struct clock *clock)
{
    struct block_pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->owner = *owner;
    p->clock = clock;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->idle, NULL);
    timer_init(&p->timer, clock, report, p);
    if (start_threads(p, threads < THREADS_MAX ? threads : THREADS_MAX))
        return p;
    block_pool_free(p);
    return NULL;
}

void block_pool_free(struct block_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->threads; i++)
        pthread_join(p->thread[i], NULL);
    timer_cancel(&p->timer);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
