/* The least that stages and steps cost: the bytes that have to be read and the multiply-adds that
 * have to be done. Measured speeds are compared with it. */
#ifndef WEFT_COST_H
#define WEFT_COST_H

#include "backend.h"

struct cost {
    /* The bytes of weights, K and V; each is counted once. */
    uint64_t bytes;
    uint64_t macs;
};

/* Returns the cost of a stage of a step. kv: the types of K and of V. */
struct cost cost_of_stage(const struct model *m, const weft_kv_type kv[2], enum stage stage,
                          size_t layer, const struct step *s);

/* Returns the cost of a step of one row with logits, without its embedding and its attention. */
struct cost cost_of_row(const struct model *m);
/* Returns the bytes of K and V of one position, in all stores. */
uint64_t cost_kv_bytes(const struct model *m, const weft_kv_type kv[2]);
/* Returns the bytes of K and V that a row at this position reads, in all layers. */
uint64_t cost_kv_read(const struct model *m, const weft_kv_type kv[2], size_t pos);

#endif
