/* The processors that threads may run on. */
#ifndef WEFT_CPU_PLACES_H
#define WEFT_CPU_PLACES_H

#include <sched.h>
#include <stddef.h>

enum { PLACES_MAX = 8192 }; /* as many as Linux can be built for */

typedef cpu_set_t places_mask[PLACES_MAX / CPU_SETSIZE];

/* Those that this process may use, at least one: first one of each core, then the others. */
struct places {
    size_t n_cores, n; /* physical cores; hardware threads */
    unsigned cpu[PLACES_MAX];
};

void places_find(struct places *p);

#endif
