/* A pool of threads that run one function together, with barriers inside it. */
#ifndef WEFT_CPU_THREADS_H
#define WEFT_CPU_THREADS_H

#include "base/error.h"

struct threads;

/* n threads in all, the calling one included. n == 0: one per physical core that this process may
 * use. pin: each but the calling one stays on a processor, one of each core first; the first is
 * left to the calling one, and with more threads than processors they begin with it again. When the
 * system refuses a thread: WEFT_E_NOMEM; its processor: WEFT_E_UNSUPPORTED. */
weft_status threads_open(size_t n, bool pin, struct threads **out, weft_error *err);
void threads_close(struct threads *t); /* NULL is fine */
size_t threads_count(const struct threads *t);

/* Calls fn(arg, i) for i in [0, count), each on its own thread, i == 0 on the caller's; returns
 * when all are done. */
void threads_run(struct threads *t, void (*fn)(void *arg, size_t i), void *arg);

/* Inside fn only: waits until all threads are here. */
void threads_barrier(struct threads *t);

#endif
