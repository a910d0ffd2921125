/* One line of JSON for each thing that the device did, with what the parameters of a kernel tell.
 * The lines are described in README.md. */
#ifndef GPU_MODEL_DESCRIBE_H
#define GPU_MODEL_DESCRIBE_H

#include <stdio.h>

#include "kernels/kernels.h"
#include "tests/cudasim/testing.h"

/* Where a line belongs: in every line. */
struct place {
    const char *model, *type, *mode; /* mode: the case */
    size_t rows;                     /* sequences of a decode step, tokens of a prompt */
    size_t pos;                      /* positions that a row sees, itself included */
    size_t step;                     /* calls of weft_engine_step() so far in this case */
    size_t i;                        /* lines so far in this case */
    struct dqueue queue;             /* for the functions of kernels.h */
};

void describe(FILE *out, const struct place *at, const struct cudasim_entry *e);
/* The same of many alike: in place of grid and parameters how many, and their bytes together. */
void describe_many(FILE *out, const struct place *at, const struct cudasim_entry *e, size_t n,
                   size_t bytes);
/* Bytes of weights that a repack or dequantisation reads; 0 of other kernels. */
size_t described_bytes(const struct cudasim_entry *e);

#endif
