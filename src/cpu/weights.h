/* All weights of a model as the kernels read them: matrices in tiles, vectors as floats. */
#ifndef WEFT_CPU_WEIGHTS_H
#define WEFT_CPU_WEIGHTS_H

#include "backend.h"
#include "cpu/pack.h"
#include "cpu/threads.h"

/* Of each tensor one of the two, or neither if the layer lacks it. */
struct cpu_layer {
    struct packed matrix[N_LAYER_TENSORS];
    const float *vector[N_LAYER_TENSORS];
};

struct cpu_weights {
    struct cpu_layer *layers; /* [n_layers] */
    size_t n_layers;
    struct packed output;
    bool tied; /* output is the embedding table as well, and packed */
    const float *output_norm, *output_bias;
    void *memory; /* of tiles and vectors; NULL: nothing is packed beforehand */
    size_t n_bytes;
};

/* Packs the weights of m, or takes those that another engine has packed, and forgets what of the
 * file is not needed any more; with p->no_repack only describes them. WEFT_E_NOMEM,
 * WEFT_E_CANCELLED by p->progress. */
weft_status cpu_weights_open(const struct model *m, const struct backend_params *p,
                             struct threads *t, struct cpu_weights **out, weft_error *err);
void cpu_weights_close(const struct model *m, struct cpu_weights *w); /* NULL is fine */

/* Bytes of the largest tile. */
size_t cpu_weights_largest(const struct cpu_weights *w);

#endif
