/* All weights of a model as the kernels read them: matrices in tiles, vectors as floats. */
#ifndef WEFT_CPU_WEIGHTS_H
#define WEFT_CPU_WEIGHTS_H

#include "backend.h"
#include "cpu/pack.h"
#include "cpu/threads.h"

/* Each tensor is either a matrix or a vector, or neither if the layer lacks it. */
struct cpu_layer {
    struct packed matrix[N_LAYER_TENSORS];
    const float *vector[N_LAYER_TENSORS];
};

struct cpu_weights {
    struct cpu_layer *layers; /* [n_layers] */
    size_t n_layers;
    struct packed output;
    /* The output matrix is the embedding table as well, and is packed. */
    bool tied;
    const float *output_norm, *output_bias;
    /* The memory of tiles and vectors. NULL = nothing is packed in advance. */
    void *memory;
    size_t n_bytes;
};

/* Packs the weights of m, or takes those that another engine has packed, and forgets the bytes of
 * the file that are not needed any more. With p->no_repack it only describes the weights. Errors:
 * WEFT_E_NOMEM, WEFT_E_CANCELLED (by p->progress). */
weft_status cpu_weights_open(const struct model *m, const struct backend_params *p,
                             struct threads *t, struct cpu_weights **out, weft_error *err);
void cpu_weights_close(const struct model *m, struct cpu_weights *w); /* accepts NULL */

/* Returns the bytes of the largest tile. */
size_t cpu_weights_largest(const struct cpu_weights *w);

#endif
