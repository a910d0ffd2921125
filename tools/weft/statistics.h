/* Means with their standard errors, and quantiles. */
#ifndef STATISTICS_H
#define STATISTICS_H

#include <stddef.h>

/* The values seen so far. It starts as zeros. */
struct mean {
    size_t n;
    /* m2: the sum of squared distances from the mean (Welford). */
    double mean, m2;
};
void mean_add(struct mean *m, double x);
/* Returns the standard error of the mean; 0 below two values. */
double mean_error(const struct mean *m);

/* Returns the q-quantile of values[n], n > 0, and sorts the values. Between two values it
 * interpolates. */
double quantile(double *values, size_t n, double q);

#endif
