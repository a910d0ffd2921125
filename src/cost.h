/* What stages and steps cost at least: bytes that have to be read, multiply-adds that have to be
 * done. The measure of what was reached. */
#ifndef WEFT_COST_H
#define WEFT_COST_H

#include "backend.h"

struct cost {
    uint64_t bytes; /* of weights, and of K and V; each is counted once */
    uint64_t macs;
};

/* kv: the types of K and V */
struct cost cost_of_stage(const struct model *m, const weft_kv_type kv[2], enum stage stage,
                          size_t layer, const struct step *s);

/* A step of one row with logits, but for its embedding and its attention. */
struct cost cost_of_row(const struct model *m);
/* Bytes of K and V of one position, in all stores. */
uint64_t cost_kv_bytes(const struct model *m, const weft_kv_type kv[2]);
/* Bytes of K and V that a row at this position reads, in all layers. */
uint64_t cost_kv_read(const struct model *m, const weft_kv_type kv[2], size_t pos);

#endif
