#include "support/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Thread_local weft_error rig_err;

void rig_expect(weft_status got, weft_status want, const char *call, const char *file, int line)
{
    if (got != want) {
        print_error("%s:%d: %s\n", file, line, call);
        fail_msg("%s, expected %s; %s", weft_status_name(got), weft_status_name(want),
                 got == WEFT_OK ? "it worked" : rig_err.message);
    }
    if (want != WEFT_OK) {
        assert_int_equal(rig_err.code, want);
        assert_true(rig_err.message[0] != '\0');
    }
}

void rig_message(const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strstr(rig_err.message, *words) == NULL) {
            fail_msg("the message is '%s', expected '%s' in it", rig_err.message, *words);
        }
    }
}

bool rig_no_pdl(void)
{
    const char *v = getenv("WEFT_TEST_NO_PDL");
    return v != NULL && *v != '\0';
}

struct rig rig_open_as(const char *path, const weft_engine_params *params)
{
    struct rig r = { 0 };
    weft_model_info info = { .size = sizeof info };
    weft_engine_params p = *params;
    p.no_arena = true; /* an index beyond a buffer of a GPU must be noticed */
    p.no_pdl = p.no_pdl || rig_no_pdl();
    OK(weft_model_open(path, NULL, &r.model, E));
    OK(weft_engine_open(r.model, &p, &r.engine, E));
    OK(weft_model_get_info(r.model, &info, E));
    r.n_vocab = info.n_vocab;
    return r;
}

struct rig rig_open(const char *path, const weft_engine_params *params)
{
    weft_engine_params p = { .size = sizeof p, .n_threads = 1 };
    p = params != NULL ? *params : p;
    /* Tests expect the bits of the CPU, also on a machine with a GPU. */
    p.device = p.device != NULL ? p.device : "cpu";
    /* Expected values have to be computed, not found. */
    p.no_prefix_cache = true;
    return rig_open_as(path, &p);
}

weft_engine_info rig_info(const struct rig *r)
{
    weft_engine_info info = { .size = sizeof info };
    OK(weft_engine_get_info(r->engine, &info, E));
    return info;
}

size_t rig_free(const struct rig *r) { return rig_info(r).n_kv_free; }

void rig_close(struct rig *r)
{
    weft_engine_info info = rig_info(r);
    assert_int_equal(info.n_seqs, 0);
    assert_int_equal(info.n_kv_free, info.n_kv);
    weft_engine_release(&r->engine);
    weft_model_release(&r->model);
    assert_null(r->engine);
    assert_null(r->model);
}

uint32_t rig_random(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % n);
}

void rig_tokens(const struct rig *r, uint64_t seed, int32_t *dst, size_t n)
{
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i < n; i++) {
        dst[i] = (int32_t)rig_random(&state, (uint32_t)r->n_vocab);
    }
}

weft_seq *rig_seq(const struct rig *r, const weft_sampling *sampling)
{
    weft_seq *seq = NULL;
    OK(weft_seq_open(r->engine, sampling, &seq, E));
    return seq;
}

void rig_compute(const struct rig *r, weft_seq *seq)
{
    for (size_t before = SIZE_MAX; weft_seq_pending(seq) > 0;) {
        assert_true(weft_seq_pending(seq) < before);
        before = weft_seq_pending(seq);
        OK(weft_engine_step(r->engine, NULL, E));
    }
}

weft_seq *rig_fed(const struct rig *r, const int32_t *tokens, size_t n)
{
    weft_seq *seq = rig_seq(r, NULL);
    OK(weft_seq_append(seq, tokens, n, E));
    rig_compute(r, seq);
    return seq;
}

float *rig_logits(const struct rig *r, weft_seq *seq)
{
    float *logits = calloc(r->n_vocab, sizeof *logits);
    assert_non_null(logits);
    OK(weft_seq_logits(seq, logits, r->n_vocab, NULL, E));
    return logits;
}

float *rig_expected(const struct rig *r, const int32_t *tokens, size_t n)
{
    weft_seq *seq = rig_fed(r, tokens, n);
    float *logits = rig_logits(r, seq);
    weft_seq_release(&seq);
    return logits;
}

void rig_same(const struct rig *r, const float *got, const float *want, const char *what)
{
    for (size_t i = 0; i < r->n_vocab; i++) {
        if (memcmp(&got[i], &want[i], sizeof *got) != 0) {
            fail_msg("%s: logit %zu is %.9g, expected %.9g", what, i, (double)got[i],
                     (double)want[i]);
        }
    }
}

void rig_check(const struct rig *r, weft_seq *seq, const int32_t *tokens, size_t n,
               const char *what)
{
    float *got = rig_logits(r, seq);
    float *want = rig_expected(r, tokens, n);
    rig_same(r, got, want, what);
    free(got);
    free(want);
}

void rig_generate(const struct rig *r, weft_seq *seq, size_t n_max, char *dst, size_t cap)
{
    size_t n = 0;
    while (weft_seq_finish(seq) == WEFT_RUNNING && weft_seq_len(seq) < n_max) {
        int32_t token;
        size_t got;
        rig_compute(r, seq);
        OK(weft_seq_next(seq, &token, E));
        OK(weft_seq_text(seq, dst + n, cap - n - 1, &got, E));
        n += got;
    }
    dst[n] = '\0';
}
