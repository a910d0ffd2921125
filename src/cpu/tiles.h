/* All weight matrices of a model as the kernels read them. */
#ifndef WEFT_CPU_TILES_H
#define WEFT_CPU_TILES_H

#include "backend.h"
#include "cpu/pack.h"
#include "cpu/threads.h"

struct layer_tiles {
    struct packed attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up, ffn_down;
};

struct tiles {
    struct layer_tiles *layers; /* [n_layers] */
    struct packed output;
    bool tied; /* output is the embedding table as well, and packed */
    struct layer
        *vectors; /* [n_layers] norms and biases, the only tensors of these that are used */
    struct tensor output_norm, output_bias;
    void *memory; /* of tiles and vectors; NULL: nothing is packed beforehand */
    size_t n_bytes;
};

/* Packs the weights of m, or takes those that another engine has packed, and forgets what of the
 * file is not needed any more; with p->no_repack only describes them. WEFT_E_NOMEM,
 * WEFT_E_CANCELLED by p->progress. */
weft_status tiles_open(const struct model *m, const struct backend_params *p, struct threads *t,
                       struct tiles **out, weft_error *err);
void tiles_close(const struct model *m, struct tiles *w); /* NULL is fine */

/* Bytes of the largest tile. */
size_t tiles_largest(const struct tiles *w, size_t n_layers);

#endif
