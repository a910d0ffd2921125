/* The processors that threads may run on. */
#ifndef WEFT_CPU_PLACES_H
#define WEFT_CPU_PLACES_H

#include <sched.h>
#include <stddef.h>

enum { PLACES_MAX = 8192 }; /* the largest number that Linux can be built for */

typedef cpu_set_t places_mask[PLACES_MAX / CPU_SETSIZE];

/* The processors that this process may use, at least one. The first processor of each core comes
 * first, then the others. */
struct places {
    size_t n_cores, n; /* number of physical cores, number of hardware threads */
    unsigned cpu[PLACES_MAX];
};

void places_find(struct places *p);

#endif
