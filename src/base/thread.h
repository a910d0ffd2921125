/* Threads of the library's own. */
#ifndef WEFT_THREAD_H
#define WEFT_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* A thread that runs fn(arg), for pthread_join(). Signals go to the program's own threads; only
 * faults come where they happen. False when the system refuses one. */
bool thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);

#endif
