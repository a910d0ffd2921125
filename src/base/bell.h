/* Something to sleep on until somebody rings: one thread or many, with a limit in time. */
#ifndef WEFT_BELL_H
#define WEFT_BELL_H

#include <stdatomic.h>
#include <stdint.h>

struct bell {
    atomic_uint n_rung; /* wraps */
};

void bell_init(struct bell *b);
/* How often it has rung. A thread asks this, looks whether there is something to do, and sleeps if
 * not: a ring in between is then not missed. */
unsigned bell_count(const struct bell *b);
/* Wakes all that sleep. Any thread, also from a signal handler. */
void bell_ring(struct bell *b);
/* Returns once the bell has rung since it was bell_count() `seen`, at bell_now() `deadline` at the
 * latest, and sometimes for no reason. */
void bell_wait(struct bell *b, unsigned seen, int64_t deadline);

/* Nanoseconds of a clock that nobody sets. */
int64_t bell_now(void);
#define BELL_NEVER INT64_MAX

#endif
