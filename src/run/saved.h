/* The bytes of a saved sequence. All little-endian, without gaps:
 *
 *     "WEFTSEQ", NUL    8 bytes
 *     version           u32: 1
 *     type of K and V   u32: 1 = f16 both, 2 = q8_0 and f16, 3 = f16 and q8_0, 4 = q8_0 both
 *     fingerprint       u64, of the model
 *     fields            u32 or f32 [9], enum saved_field
 *     KV_PAGE           u32
 *     n_tokens          u64
 *     n_computed        u64, at most n_tokens
 *     tokens            i32 [n_tokens]
 *     K and V           of positions [0, n_computed), page by page as read_kv of backend.h gives
 *                       them
 *     checksum          u64: hash64() of all before
 */
#ifndef WEFT_SAVED_H
#define WEFT_SAVED_H

#include "model.h"

enum { SAVED_HEAD = 80 }; /* bytes before the tokens */

/* What K and V have to agree with. */
enum saved_field {
    SAVED_LAYERS,
    SAVED_KV_HEADS,
    SAVED_HEAD_DIM,
    SAVED_VOCAB,
    SAVED_ROT,
    SAVED_ROPE_BASE,        /* f32 */
    SAVED_ROPE_SCALE,       /* f32 */
    SAVED_ROPE_ATTN_FACTOR, /* f32 */
    SAVED_ROPE_FACTORS,     /* 0 = none or always the same, 1 = short, 2 = long */
    SAVED_N_FIELDS
};

struct saved {
    uint64_t fingerprint;
    uint32_t fields[SAVED_N_FIELDS];
    weft_kv_type kv_type[2]; /* of K and of V */
    size_t n_tokens, n_computed;
};

/* Where the parts stand. */
struct saved_layout {
    size_t tokens, kv, checksum, n; /* offsets, and the size of it all */
    size_t position_bytes;          /* K and V of one position */
};

/* An empty state of this model in an engine with this n_ctx and these types of K and V. */
struct saved saved_of(const struct model *m, uint64_t fingerprint, size_t n_ctx,
                      const weft_kv_type kv_type[2]);
/* False when a size does not fit into memory. */
bool saved_layout(const struct saved *s, struct saved_layout *out);
/* Writes all before the tokens; and, behind all the rest, the checksum. */
void saved_begin(const struct saved *s, uint8_t *dst);
void saved_seal(const struct saved_layout *l, uint8_t *dst);

/* Reads what stands before the tokens: head[] is the first SAVED_HEAD of n bytes, or all n if there
 * are fewer. *s and *l are then consistent with n, whatever wrote it. WEFT_E_FORMAT: not a saved
 * sequence, cut, contradicting itself; WEFT_E_UNSUPPORTED: of another version. */
weft_status saved_head(const uint8_t *head, size_t n, struct saved *s, struct saved_layout *l,
                       weft_error *err);
/* WEFT_E_FORMAT unless the checksum of data[l->n], whose head was read, fits. */
weft_status saved_intact(const uint8_t *data, const struct saved_layout *l, weft_error *err);
/* WEFT_E_ARG unless `found` is of the same model; WEFT_E_ENGINE unless K and V are of the same
 * types and from the same RoPE as `expected`. */
weft_status saved_check(const struct saved *found, const struct saved *expected, weft_error *err);

#endif
