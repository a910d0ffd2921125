#include "weft/statistics.h"

#include <math.h>
#include <stdlib.h>

void mean_add(struct mean *m, double x)
{
    double from = x - m->mean;
    m->n++;
    m->mean += from / (double)m->n;
    m->m2 += from * (x - m->mean);
}

double mean_error(const struct mean *m)
{
    return m->n < 2 ? 0 : sqrt(m->m2 / (double)(m->n - 1) / (double)m->n);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double quantile(double *values, size_t n, double q)
{
    qsort(values, n, sizeof *values, by_size);
    double at = q * (double)(n - 1);
    size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;
    return values[below] + (at - (double)below) * (values[above] - values[below]);
}
