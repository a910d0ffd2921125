/* Writes one line of JSON for each operation of the device, with what the parameters of a kernel
 * tell. README.md describes the lines. */
#ifndef GPU_MODEL_DESCRIBE_H
#define GPU_MODEL_DESCRIBE_H

#include <stdio.h>

#include "kernels/kernels.h"
#include "tests/cudasim/testing.h"

/* The case that a line belongs to; it is in every line. */
struct place {
    const char *model, *type, *mode; /* mode: the case's name */
    size_t rows;                     /* sequences of a decode step, tokens of a prompt */
    /* The positions that a row sees, its own included. */
    size_t pos;
    /* The calls of weft_engine_step() in this case so far. */
    size_t step;
    size_t i;            /* lines in this case so far */
    struct dqueue queue; /* for the functions of kernels.h */
};

void describe(FILE *out, const struct place *at, const struct cudasim_entry *e);
/* Describes n similar operations in one line: in place of grid and parameters it has n and the sum
 * of the operations' bytes. */
void describe_many(FILE *out, const struct place *at, const struct cudasim_entry *e, size_t n,
                   size_t bytes);
/* Returns the bytes of weights that a repack or dequantisation reads; 0 for other kernels. */
size_t described_bytes(const struct cudasim_entry *e);

#endif
