/* Threads that work for others. */
#ifndef DRAGOMAN_BASE_THREAD_H
#define DRAGOMAN_BASE_THREAD_H

#include <pthread.h>

#include "base/types.h"

/* Starts a thread that takes no signals, which are the main loop's; `name`, of at most 15
 * characters, is what the host shows.  False when the host refuses. */
bool thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *opaque);

#endif
