/* Means with their standard errors, and quantiles. */
#ifndef STATISTICS_H
#define STATISTICS_H

#include <stddef.h>

/* Values seen so far; zero-initialise. */
struct mean {
    size_t n;
    double mean, m2; /* m2: sum of squared distances from the mean (Welford) */
};
void mean_add(struct mean *m, double x);
double mean_error(const struct mean *m); /* standard error of the mean; 0 below two values */

/* The q-quantile of values[n], n > 0, which it sorts; between two values it interpolates. */
double quantile(double *values, size_t n, double q);

#endif
