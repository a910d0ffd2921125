#include "cpu/places.h"

#include <stdbool.h>
#include <stdio.h>

/* Returns the first CPU that shares a core with `cpu`, or `cpu` itself if the system does not
 * say. */
static unsigned first_sibling(unsigned cpu)
{
    char path[96];
    unsigned first = cpu;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "r");
    if (f != NULL) {
        if (fscanf(f, "%u", &first) != 1) {
            first = cpu;
        }
        fclose(f);
    }
    return first;
}

void places_find(struct places *p)
{
    places_mask allowed = { 0 }, cores = { 0 };
    bool first_of_core[PLACES_MAX] = { false };
    if (sched_getaffinity(0, sizeof allowed, allowed) != 0) {
        CPU_SET_S(0, sizeof allowed, allowed);
    }
    p->n = p->n_cores = 0;
    for (unsigned cpu = 0; cpu < PLACES_MAX; cpu++) {
        if (CPU_ISSET_S(cpu, sizeof allowed, allowed)) {
            unsigned first = first_sibling(cpu);
            first = first < PLACES_MAX ? first : cpu;
            first_of_core[cpu] = !CPU_ISSET_S(first, sizeof cores, cores);
            CPU_SET_S(first, sizeof cores, cores);
        }
    }
    for (int others = 0; others < 2; others++) {
        for (unsigned cpu = 0; cpu < PLACES_MAX; cpu++) {
            if (CPU_ISSET_S(cpu, sizeof allowed, allowed) && first_of_core[cpu] == !others) {
                p->cpu[p->n++] = cpu;
            }
        }
        p->n_cores = others ? p->n_cores : p->n;
    }
}
