/* Threads that work for others. */
#ifndef DRAGOMAN_BASE_THREAD_H
#define DRAGOMAN_BASE_THREAD_H

#include <pthread.h>

#include "base/types.h"

/* Starts a thread that takes no signals, which are the main loop's; `name`, of at most 15
 * characters, is what the host shows.  False when the host refuses. */
bool thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *opaque);

/* A thread that waits for work, started when there is some for the first time. */
struct worker {
    pthread_mutex_t lock; /* of what the work is, too */
    pthread_cond_t work;
    pthread_t thread;
    bool started, failed, quit;
};

void worker_init(struct worker *w);
/* Asks the thread to end, and waits for it. */
void worker_free(struct worker *w);
/* Lock held: there is work.  run(opaque) waits for `work` until `quit`. */
void worker_wake(struct worker *w, const char *name, void *(*run)(void *), void *opaque);

#endif
