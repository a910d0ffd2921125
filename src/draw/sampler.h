/* Logits to the next token. The order of the steps is fixed (weft.h, weft_sampling). */
#ifndef WEFT_SAMPLER_H
#define WEFT_SAMPLER_H

#include "base/error.h"

enum {
    SAMPLER_TOP = 64
}; /* up to so many candidates are drawn from in the order of their logits */

struct sampler;

/* Checks every field (NaN, ranges, contradictions: penalties without a window, a token biased
 * twice, bias of a token outside the vocabulary) and copies `p`. NULL = WEFT_SAMPLING_INIT. All
 * memory is allocated here. */
weft_status sampler_open(const weft_sampling *p, size_t n_vocab, struct sampler **out,
                         weft_error *err);
weft_status sampler_copy(const struct sampler *s, struct sampler **out,
                         weft_error *err); /* random state included */
void sampler_close(struct sampler *s);
size_t sampler_bytes(const struct sampler *s); /* of memory */
void sampler_restart(struct sampler *s);       /* the random state restarts at the seed */

/* Draws from logits[n_vocab]. `past`[n_past] are the tokens of the sequence, for the penalties.
 * `end`[n_end] are the tokens that end a text, banned when p.ignore_end. WEFT_E_STATE when logits
 * hold a NaN or every token is banned; the random state is then unchanged. `allowed`: the bits of
 * the tokens that a grammar allows, NULL = all; if no token is left because of it, *token = -1. */
weft_status sampler_pick(struct sampler *s, const float *logits, const int32_t *past, size_t n_past,
                         const int32_t *end, size_t n_end, const uint64_t *allowed, int32_t *token,
                         weft_error *err);

/* True if the *k <= SAMPLER_TOP best logits are all that a draw looks at: no bias, no penalties,
 * and greedy or a top_k; n_end more of them if end tokens are banned. */
bool sampler_top(const struct sampler *s, size_t n_end, size_t *k);
/* True if the best logit is what a draw takes, unless sampler_bans() that token. */
bool sampler_greedy(const struct sampler *s);
bool sampler_bans(const struct sampler *s, const int32_t *end, size_t n_end, int32_t token);
/* Draws from the n best logits, best first, equal ones by ascending id, n at least the *k of
 * sampler_top(), or 1 if sampler_greedy() and not sampler_bans() that one: token, random state and
 * status are those of sampler_pick() with all logits.
 * ids[0] = -1 says that a logit is NaN. */
weft_status sampler_pick_top(struct sampler *s, const int32_t *ids, const float *values, size_t n,
                             const int32_t *end, size_t n_end, int32_t *token, weft_error *err);

#endif
