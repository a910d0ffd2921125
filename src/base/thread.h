/* Starts the library's own threads. */
#ifndef WEFT_THREAD_H
#define WEFT_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Starts a thread that runs fn(arg), for pthread_join(). Signals go to the program's own threads;
 * only faults arrive in the thread that causes them. Returns false if the system refuses a
 * thread. */
bool thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);

#endif
