/* Draws the next token from logits. The order of the steps is fixed (weft.h, weft_sampling). */
#ifndef WEFT_SAMPLER_H
#define WEFT_SAMPLER_H

#include "base/error.h"

/* The most candidates that are drawn from in the order of their logits. */
enum { SAMPLER_TOP = WEFT_TOP_MAX };

struct sampler;

/* Checks every field (NaN, ranges, contradictions: penalties without a window, a token biased
 * twice, a bias of a token outside the vocabulary) and copies `p`. p may be NULL:
 * WEFT_SAMPLING_INIT. */
weft_status sampler_open(const weft_sampling *p, size_t n_vocab, struct sampler **out,
                         weft_error *err);
/* The copy has the same random state. */
weft_status sampler_copy(const struct sampler *s, struct sampler **out, weft_error *err);
void sampler_close(struct sampler *s);
/* Returns the bytes of host memory. */
size_t sampler_bytes(const struct sampler *s);
/* Sets the random state back to the seed. */
void sampler_restart(struct sampler *s);

/* The memory that a draw from all logits needs while it lasts: a few bytes for each token of the
 * vocabulary. Any sampler of that vocabulary may use it, one at a time. */
struct sampler_scratch;
weft_status sampler_scratch_open(size_t n_vocab, struct sampler_scratch **out, weft_error *err);
void sampler_scratch_close(struct sampler_scratch *m);
size_t sampler_scratch_bytes(const struct sampler_scratch *m);
/* Returns [n_vocab] floats in this memory, for a caller that has no memory of its own for logits.
 * sampler_pick() only reads them. */
float *sampler_scratch_logits(struct sampler_scratch *m);

/* What a draw needs besides the logits. All zeros mean: nothing. */
struct draw_context {
    /* [n_past] The tokens of the sequence, for the penalties. */
    const int32_t *past;
    size_t n_past;
    /* [n_end] The tokens that end a text. They are banned if p.ignore_end is true. */
    const int32_t *end;
    size_t n_end;
    /* The bits of the tokens that a grammar allows; NULL = all. */
    const uint64_t *allowed;
};

/* Draws from logits[n_vocab]. *token is -1 if the grammar leaves no token. Returns WEFT_E_STATE if
 * the logits hold a NaN or every token is banned, or WEFT_E_NOMEM; the random state is then
 * unchanged. */
weft_status sampler_pick(struct sampler *s, struct sampler_scratch *m, const float *logits,
                         const struct draw_context *in, int32_t *token, weft_error *err);

/* Returns true if a draw needs only the *k <= SAMPLER_TOP best logits: there is no bias and no
 * penalty, and it is greedy or has a top_k. If end tokens are banned, *k includes n_end logits
 * more. */
bool sampler_top(const struct sampler *s, size_t n_end, size_t *k);
/* Returns true if a draw takes the token of the best logit, unless sampler_bans() that token. */
bool sampler_greedy(const struct sampler *s);
bool sampler_bans(const struct sampler *s, const int32_t *end, size_t n_end, int32_t token);
/* Draws from the n best logits, which stand in descending order, equal ones by ascending id. n is
 * at least the *k of sampler_top(), or 1 if sampler_greedy() and not sampler_bans() the best token.
 * Token, random state and status are those of sampler_pick() with all logits. ids[0] = -1 means
 * that a logit is NaN. */
weft_status sampler_pick_top(struct sampler *s, const int32_t *ids, const float *values, size_t n,
                             const int32_t *end, size_t n_end, int32_t *token, weft_error *err);

#endif
