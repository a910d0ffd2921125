#include "cpu/places.h"

#include <stdbool.h>
#include <stdio.h>

/* The first CPU that shares a core with `cpu`, or `cpu` itself when the system does not say. */
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
    cpu_set_t allowed, cores;
    bool first_of_core[CPU_SETSIZE] = { false };
    CPU_ZERO(&cores);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) { /* more processors than it can say */
        CPU_ZERO(&allowed);
        CPU_SET(0, &allowed);
    }
    p->n = p->n_cores = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed)) {
            unsigned first = first_sibling(cpu);
            first = first < CPU_SETSIZE ? first : cpu;
            first_of_core[cpu] = !CPU_ISSET(first, &cores);
            CPU_SET(first, &cores);
        }
    }
    for (int others = 0; others < 2; others++) {
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET(cpu, &allowed) && first_of_core[cpu] == !others) {
                p->cpu[p->n++] = cpu;
            }
        }
        p->n_cores = others ? p->n_cores : p->n;
    }
}
