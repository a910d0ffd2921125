/* A bell: one or many threads sleep until somebody rings it, or until a deadline. */
#ifndef WEFT_BELL_H
#define WEFT_BELL_H

#include <stdatomic.h>
#include <stdint.h>

struct bell {
    atomic_uint n_rung;   /* counts rings; wraps */
    atomic_uint n_asleep; /* threads inside bell_wait() */
};

void bell_init(struct bell *b);
/* Returns how often the bell has rung. A thread reads this number, looks whether there is something
 * to do, and sleeps if there is nothing: so it does not miss a ring in between. */
unsigned bell_count(const struct bell *b);
/* Wakes all threads that sleep. Any thread may call it, and so may a signal handler. */
void bell_ring(struct bell *b);
/* Sleeps until the bell has rung since bell_count() returned `seen`, but not beyond bell_now()
 * `deadline`. Sometimes it returns for no reason. */
void bell_wait(struct bell *b, unsigned seen, int64_t deadline);

/* Returns the nanoseconds of a clock that nobody sets. */
int64_t bell_now(void);
#define BELL_NEVER INT64_MAX

#endif
