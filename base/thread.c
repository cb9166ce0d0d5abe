/* Starting threads that take no signals. */
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
