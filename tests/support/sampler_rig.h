/* Shared by the tests of the sampler. For one translation unit: include it after cmocka.h. */
#ifndef TESTS_SAMPLER_RIG_H
#define TESTS_SAMPLER_RIG_H

#include "draw/sampler.h"

/* A sampling with all steps switched off. */
static const weft_sampling plain = { .size = sizeof(weft_sampling),
                                     .temperature = 1,
                                     .top_p = 1,
                                     .typical_p = 1,
                                     .repeat_penalty = 1,
                                     .repeat_last_n = 64 };

static inline struct sampler *open_sampler(const weft_sampling *p, size_t n_vocab)
{
    struct sampler *s = NULL;
    weft_error err;
    assert_int_equal(sampler_open(p, n_vocab, &s, &err), WEFT_OK);
    return s;
}

/* Calls sampler_pick() in memory that all calls share, so that a call would notice what an earlier
 * one has left there. */
static inline weft_status pick_in(struct sampler *s, const float *logits,
                                  const struct draw_context *in, int32_t *token, weft_error *err)
{
    static struct sampler_scratch *scratch;
    if (scratch == NULL) {
        assert_int_equal(sampler_scratch_open(1 << 16, &scratch, err), WEFT_OK);
    }
    return sampler_pick(s, scratch, logits, in, token, err);
}

static inline int32_t pick(struct sampler *s, const float *logits)
{
    int32_t token = -1;
    weft_error err;
    assert_int_equal(pick_in(s, logits, &(struct draw_context){ 0 }, &token, &err), WEFT_OK);
    return token;
}

#endif
