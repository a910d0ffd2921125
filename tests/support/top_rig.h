/* Shared by the tests of a backend with `top` and `ahead`. For one translation unit: include it
 * after cmocka.h. */
#ifndef TESTS_TOP_RIG_H
#define TESTS_TOP_RIG_H

#include "run/ahead.h"
#include "support/models.h"
#include "support/rig.h"
#include "support/top_backend.h"

enum { PAGE = 64 };

static struct top_backend top;

static inline struct rig open_ahead(size_t n_ahead, size_t n_ctx, size_t n_kv)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = "cpu";
    p.n_threads = 1;
    p.n_ctx = n_ctx;
    p.n_kv = n_kv;
    p.n_ahead = n_ahead;
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    top_backend_wrap(&top, r.engine, TOP_BEST | TOP_AHEAD, 4);
    return r;
}

static inline weft_sampling greedy(void)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = 0;
    return s;
}

/* Opens a greedy sequence with n waiting tokens. */
static inline weft_seq *waiting(const struct rig *r, uint64_t seed, size_t n)
{
    const weft_sampling s = greedy();
    int32_t tokens[256];
    weft_seq *seq = rig_seq(r, &s);
    rig_tokens(r, seed, tokens, n);
    OK(weft_seq_append(seq, tokens, n, E));
    return seq;
}

static inline void step(const struct rig *r) { OK(weft_engine_step(r->engine, NULL, E)); }

static inline int32_t next(weft_seq *seq)
{
    int32_t token = -1;
    OK(weft_seq_next(seq, &token, E));
    return token;
}

static inline int32_t step_next(const struct rig *r, weft_seq *seq)
{
    step(r);
    return next(seq);
}

/* Calls weft_engine_step() and returns how many steps it took: more than 1 if it computed ahead. */
static inline size_t steps_of(const struct rig *r)
{
    uint64_t before = rig_info(r).n_steps;
    step(r);
    return (size_t)(rig_info(r).n_steps - before);
}

#endif
