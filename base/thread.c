/* Starting threads that take no signals, and such as wait for work. */
#include "base/thread.h"

#include <signal.h>

bool thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *opaque)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool started = pthread_create(thread, NULL, run, opaque) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        pthread_setname_np(*thread, name);
    return started;
}

void worker_init(struct worker *w)
{
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
}

void worker_free(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->quit = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    if (w->started)
        pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
}

void worker_wake(struct worker *w, const char *name, void *(*run)(void *), void *opaque)
{
    if (!w->started && !w->failed) {
        w->started = thread_start(&w->thread, name, run, opaque);
        w->failed = !w->started;
    }
    pthread_cond_signal(&w->work);
}
