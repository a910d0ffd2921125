/* The bytes of a saved sequence. All numbers are little-endian, and there are no gaps:
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

/* The values that K and V depend on. */
enum saved_field {
    SAVED_LAYERS,
    SAVED_KV_HEADS,
    SAVED_HEAD_DIM,
    SAVED_VOCAB,
    SAVED_ROT,
    SAVED_ROPE_BASE,        /* f32 */
    SAVED_ROPE_SCALE,       /* f32 */
    SAVED_ROPE_ATTN_FACTOR, /* f32 */
    SAVED_ROPE_FACTORS,     /* factors of K: 0 = always the same or none, 1 = short, 2 = long */
    SAVED_N_FIELDS
};

struct saved {
    uint64_t fingerprint;
    uint32_t fields[SAVED_N_FIELDS];
    weft_kv_type kv_type[2]; /* of K and of V */
    size_t n_tokens, n_computed;
};

/* Where the parts of a saved state stand, in bytes. */
struct saved_layout {
    size_t tokens, kv, checksum, n; /* offsets, and the size of the whole state */
    size_t position_bytes;          /* bytes of K and V of one position */
};

/* Describes a state of n tokens of this model, none of them computed, with these types of K and
 * V. */
struct saved saved_of(const struct model *m, uint64_t fingerprint, size_t n_tokens,
                      const weft_kv_type kv_type[2]);
/* Returns true if the K of a state of this model was computed with the RoPE factors that its length
 * asks for. Version 0.1.0 chose the factors by the n_ctx of the engine. */
bool saved_rope_fits(const struct saved *s, const struct model *m);
/* Returns false if a size does not fit into size_t. */
bool saved_layout(const struct saved *s, struct saved_layout *out);
/* Write everything before the tokens, and the checksum behind all the rest. */
void saved_begin(const struct saved *s, uint8_t *dst);
void saved_seal(const struct saved_layout *l, uint8_t *dst);

/* Reads the part before the tokens. head[] holds the first SAVED_HEAD bytes of n, or all n if there
 * are fewer. On success *s and *l are consistent with n, whoever wrote the state. Errors:
 * WEFT_E_FORMAT (not a saved sequence, cut, or contradictory), WEFT_E_UNSUPPORTED (another
 * version). */
weft_status saved_head(const uint8_t *head, size_t n, struct saved *s, struct saved_layout *l,
                       weft_error *err);
/* Returns WEFT_E_FORMAT unless the checksum of data[l->n] is right. Its head was read before. */
weft_status saved_intact(const uint8_t *data, const struct saved_layout *l, weft_error *err);
/* Returns WEFT_E_ARG unless `found` is of the same model as `expected`, and WEFT_E_ENGINE unless
 * their K and V have the same types. saved_rope_fits() judges which of two sets of RoPE factors was
 * used. */
weft_status saved_check(const struct saved *found, const struct saved *expected, weft_error *err);

#endif
