#include "support/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "support/models.h"

weft_engine_params state_params(size_t n_ctx, size_t n_kv)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.n_threads = 1;
    p.n_ctx = n_ctx;
    p.n_kv = n_kv;
    return p;
}

struct rig state_rig(size_t n_ctx, size_t n_kv)
{
    weft_engine_params p = state_params(n_ctx, n_kv);
    return rig_open(model_file("tiny-qwen2"), &p);
}

struct state state_save(weft_seq *seq)
{
    struct state s = { 0 };
    FAILS(WEFT_E_BUFFER, weft_seq_save(seq, NULL, 0, &s.n, E));
    s.data = malloc(s.n);
    assert_non_null(s.data);
    OK(weft_seq_save(seq, s.data, s.n, NULL, E));
    return s;
}

weft_seq *state_load(const struct rig *r, const struct state *s)
{
    weft_seq *seq = rig_seq(r, NULL);
    OK(weft_seq_load(seq, s->data, s->n, E));
    return seq;
}

void state_put(struct state *s, size_t at, uint64_t value, size_t bytes)
{
    memcpy(s->data + at, &value, bytes);
    uint64_t sum = hash64(HASH64_START, s->data, s->n - STATE_CHECKSUM);
    memcpy(s->data + s->n - STATE_CHECKSUM, &sum, sizeof sum);
}

void state_tokens(weft_seq *seq, const int32_t *tokens, size_t n)
{
    int32_t got[256];
    size_t n_got;
    OK(weft_seq_tokens(seq, got, sizeof got / sizeof *got, &n_got, E));
    assert_int_equal(n_got, n);
    assert_memory_equal(got, tokens, n * sizeof *tokens);
}
