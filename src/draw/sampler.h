/* Logits to the next token. The order of the steps is fixed (weft.h, weft_sampling). */
#ifndef WEFT_SAMPLER_H
#define WEFT_SAMPLER_H

#include "base/error.h"

/* Up to so many candidates are drawn from in the order of their logits. */
enum { SAMPLER_TOP = WEFT_TOP_MAX };

struct sampler;

/* Checks every field (NaN, ranges, contradictions: penalties without a window, a token biased
 * twice, bias of a token outside the vocabulary) and copies `p`. NULL = WEFT_SAMPLING_INIT. */
weft_status sampler_open(const weft_sampling *p, size_t n_vocab, struct sampler **out,
                         weft_error *err);
/* The copy has the same random state. */
weft_status sampler_copy(const struct sampler *s, struct sampler **out, weft_error *err);
void sampler_close(struct sampler *s);
/* Bytes of host memory. */
size_t sampler_bytes(const struct sampler *s);
/* The random state restarts at the seed. */
void sampler_restart(struct sampler *s);

/* Memory that a draw from all logits needs while it lasts, a few bytes for each token of the
 * vocabulary: any sampler of that vocabulary may use it, one at a time. */
struct sampler_scratch;
weft_status sampler_scratch_open(size_t n_vocab, struct sampler_scratch **out, weft_error *err);
void sampler_scratch_close(struct sampler_scratch *m);
size_t sampler_scratch_bytes(const struct sampler_scratch *m);
/* [n_vocab] floats in it that sampler_pick() only reads: where a caller without logits of its own
 * can put them. */
float *sampler_scratch_logits(struct sampler_scratch *m);

/* What a draw looks at besides the logits. Zero is: nothing. */
struct draw_context {
    const int32_t *past; /* [n_past] tokens of the sequence, for the penalties */
    size_t n_past;
    const int32_t *end; /* [n_end] tokens that end a text, banned when p.ignore_end */
    size_t n_end;
    const uint64_t *allowed; /* the bits of the tokens that a grammar allows; NULL = all */
};

/* Draws from logits[n_vocab]. *token = -1 if the grammar leaves no token. WEFT_E_STATE when the
 * logits hold a NaN or every token is banned, WEFT_E_NOMEM: the random state is then unchanged. */
weft_status sampler_pick(struct sampler *s, struct sampler_scratch *m, const float *logits,
                         const struct draw_context *in, int32_t *token, weft_error *err);

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
