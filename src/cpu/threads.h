/* A pool of threads that run one function together, with barriers inside it. */
#ifndef WEFT_CPU_THREADS_H
#define WEFT_CPU_THREADS_H

#include "base/error.h"

struct threads;

/* Opens a pool of n threads, the calling thread included. n == 0: as many threads as
 * cpu_default_threads() says. pin: every thread except the calling one stays on a processor; first
 * one processor of each core is used. The first processor is left to the calling thread. If there
 * are more threads than processors, all processors are used again, beginning with the first.
 * Errors: WEFT_E_NOMEM (the system refuses a thread), WEFT_E_UNSUPPORTED (it refuses the processor
 * of a thread). */
weft_status threads_open(size_t n, bool pin, struct threads **out, weft_error *err);
void threads_close(struct threads *t); /* accepts NULL */
size_t threads_count(const struct threads *t);

/* Calls fn(arg, i) for each i in [0, count), each on its own thread; i == 0 is on the caller's
 * thread. Returns when all calls have returned. */
void threads_run(struct threads *t, void (*fn)(void *arg, size_t i), void *arg);

/* May be called only inside fn. Waits until all threads have called it. */
void threads_barrier(struct threads *t);

#endif
