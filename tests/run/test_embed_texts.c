/* Many texts in one call: the vectors are those of weft_embed(), bit by bit, whatever the steps and
 * the pool, and whether the texts begin alike; a call that fails changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/scratch.h"
#include "synth/synth.h"

enum { DIM = 64, MAX_TOKENS = 4096, MAX_TEXTS = 48 };

static const weft_embed_params last = { .size = sizeof last, .pooling = WEFT_POOL_LAST },
                               mean = { .size = sizeof mean, .pooling = WEFT_POOL_MEAN };

struct load {
    int32_t tokens[MAX_TOKENS];
    size_t lengths[MAX_TEXTS], n, n_tokens;
};

/* Makes n texts of 1 to `longest` tokens, behind n_alike tokens that are the same in all. */
static struct load load_of(const struct rig *r, size_t n, size_t longest, size_t n_alike)
{
    struct load l = { .n = n };
    int32_t alike[256];
    uint64_t seed = 17 * n + longest;
    rig_tokens(r, 3, alike, n_alike);
    for (size_t i = 0; i < n; i++) {
        const size_t own = 1 + rig_random(&seed, (uint32_t)longest);
        int32_t *at = l.tokens + l.n_tokens;
        assert_in_range(l.n_tokens + n_alike + own, 0, MAX_TOKENS);
        memcpy(at, alike, n_alike * sizeof *at);
        rig_tokens(r, 100 + i, at + n_alike, own);
        l.lengths[i] = n_alike + own;
        l.n_tokens += n_alike + own;
    }
    return l;
}

static size_t dim_of(const struct rig *r)
{
    weft_model_info info = { .size = sizeof info };
    OK(weft_model_get_info(r->model, &info, E));
    return info.dim;
}

/* Compares one call with a call for each text, in an engine of its own. */
static void compare(const struct rig *r, const struct rig *alone, const struct load *l,
                    const weft_embed_params *p, const char *what)
{
    const size_t dim = dim_of(r), n_free = rig_free(r);
    float *got = calloc(l->n * dim + 1, sizeof *got), want[256];
    const int32_t *at = l->tokens;
    size_t needed = 0;
    got[l->n * dim] = 42;
    OK(weft_embed_texts(r->engine, l->tokens, l->lengths, l->n, p, got, l->n * dim, &needed, E));
    assert_int_equal(needed, l->n * dim);
    for (size_t i = 0; i < l->n; i++) {
        OK(weft_embed(alone->engine, at, l->lengths[i], p, want, 256, NULL, E));
        if (memcmp(got + i * dim, want, dim * sizeof *want) != 0) {
            fail_msg("%s: text %zu of %zu tokens differs", what, i, l->lengths[i]);
        }
        at += l->lengths[i];
    }
    assert_true(got[l->n * dim] == 42);
    assert_int_equal(rig_free(r), n_free);
    free(got);
}

static void test_bits(void **state)
{
    (void)state;
    static const size_t batches[] = { 1, 7, 64, 512 }, pools[] = { 256, 320, 4096 },
                        alike[] = { 0, 15, 16, 64, 70, 130 };
    static const char *const presets[] = { "tiny-qwen3", "tiny-llama" };
    for (size_t i = 0; i < 2; i++) {
        struct rig alone = rig_open(model_file(presets[i]), NULL);
        for (size_t b = 0; b < 4 * 3; b++) {
            const weft_engine_params p = {
                .size = sizeof p, .n_threads = 2, .n_batch = batches[b % 4], .n_kv = pools[b / 4]
            };
            struct rig r = rig_open(model_file(presets[i]), &p);
            for (size_t a = 0; a < sizeof alike / sizeof alike[0]; a++) {
                const struct load few = load_of(&r, 5, 90, alike[a]),
                                  many = load_of(&r, batches[b % 4] > 7 ? 24 : 3, 20, alike[a]);
                compare(&r, &alone, &few, &last, "last, few");
                compare(&r, &alone, &many, &last, "last, many");
                compare(&r, &alone, &few, &mean, "mean");
            }
            rig_close(&r);
        }
        rig_close(&alone);
    }
}

static uint64_t rows_of(const struct rig *r, const struct load *l, const weft_embed_params *p,
                        uint64_t *n_steps)
{
    const size_t n = l->n * dim_of(r);
    float *got = calloc(n, sizeof *got);
    const weft_engine_info before = rig_info(r);
    OK(weft_embed_texts(r->engine, l->tokens, l->lengths, l->n, p, got, n, NULL, E));
    const weft_engine_info after = rig_info(r);
    free(got);
    *n_steps = after.n_steps - before.n_steps;
    return after.n_rows - before.n_rows;
}

/* Texts are packed into as few steps as there is room for, and what all of them begin with is
 * computed once, if that is worth it. */
static void test_steps(void **state)
{
    (void)state;
    const weft_engine_params p = { .size = sizeof p, .n_threads = 2, .n_batch = 100, .n_kv = 4096 };
    const weft_engine_params tight = {
        .size = sizeof tight, .n_threads = 2, .n_batch = 512, .n_kv = 256
    };
    struct rig r = rig_open(model_file("tiny-qwen3"), &p),
               small = rig_open(model_file("tiny-qwen3"), &tight);
    const struct load plain = load_of(&r, 30, 20, 0), alike = load_of(&r, 30, 20, 80),
                      short_alike = load_of(&r, 30, 20, 15), one = load_of(&r, 1, 20, 80);
    uint64_t n_steps;
    assert_int_equal(rows_of(&r, &plain, &last, &n_steps), plain.n_tokens);
    assert_int_equal(n_steps, (plain.n_tokens + 99) / 100);
    assert_int_equal(rows_of(&r, &alike, &last, &n_steps), alike.n_tokens - 29 * 80);
    assert_int_equal(n_steps, 1 + (alike.n_tokens - 30 * 80 + 99) / 100);
    assert_int_equal(rows_of(&r, &alike, &mean, &n_steps), alike.n_tokens - 29 * 80);
    assert_int_equal(rows_of(&r, &short_alike, &last, &n_steps), short_alike.n_tokens);
    assert_int_equal(rows_of(&r, &one, &last, &n_steps), one.n_tokens);
    assert_int_equal(n_steps, 1);
    /* four pages, a text in each */
    assert_int_equal(rows_of(&small, &plain, &last, &n_steps), plain.n_tokens);
    assert_int_equal(n_steps, (30 + 3) / 4);
    rig_close(&r);
    rig_close(&small);
}

/* The common beginning gives its pages up if a text needs them. */
static void test_beginning_gives_way(void **state)
{
    (void)state;
    const weft_engine_params p = {
        .size = sizeof p, .n_threads = 1, .n_batch = 512, .n_ctx = 256, .n_kv = 256
    };
    struct rig r = rig_open(model_file("tiny-qwen3"), &p),
               alone = rig_open(model_file("tiny-qwen3"), NULL);
    struct load l = { .n = 3, .lengths = { 100, 256, 90 }, .n_tokens = 446 };
    uint64_t n_steps;
    rig_tokens(&r, 3, l.tokens, 446);
    memcpy(l.tokens + 100, l.tokens, 70 * sizeof *l.tokens);
    memcpy(l.tokens + 356, l.tokens, 70 * sizeof *l.tokens);
    compare(&r, &alone, &l, &last, "a text that fills the pool");
    assert_int_equal(rows_of(&r, &l, &last, &n_steps), 70 + 30 + 256 + 90);
    rig_close(&r);
    rig_close(&alone);
}

/* Texts on both sides of the length at which the RoPE factors change begin alike. Those with the
 * factors of the first text share its beginning. */
static void test_rope_factors(void **state)
{
    (void)state;
    struct synth_spec spec;
    assert_true(synth_preset("tiny-phi3", &spec));
    spec.rope_long_short = true;
    spec.n_ctx_orig = 60;
    const char *path = model_file_of(&spec);
    const weft_engine_params p = {
        .size = sizeof p, .n_threads = 2, .n_batch = 50, .n_ctx = 256, .n_kv = 1024
    };
    static const size_t lengths[][4] = { { 50, 60, 61, 40 }, { 61, 60, 200, 40 } },
                        n_rows[] = { 40 - 1 + 11 + 21 + 61 + 1, 40 - 1 + 22 + 60 + 161 + 40 };
    struct rig r = rig_open(path, &p), alone = rig_open(path, NULL);
    for (size_t i = 0; i < 2; i++) {
        struct load l = { .n = 4 };
        uint64_t n_steps;
        for (size_t j = 0; j < 4; j++) {
            /* one is the beginning of the other */
            rig_tokens(&r, 3, l.tokens + l.n_tokens, lengths[i][j]);
            l.lengths[j] = lengths[i][j];
            l.n_tokens += lengths[i][j];
        }
        compare(&r, &alone, &l, &last, "last");
        compare(&r, &alone, &l, &mean, "mean");
        assert_int_equal(rows_of(&r, &l, &last, &n_steps), n_rows[i]);
    }
    rig_close(&r);
    rig_close(&alone);
}

/* Sequences that wait are not disturbed, and keep their pages. */
static void test_other_work(void **state)
{
    (void)state;
    const weft_engine_params p = { .size = sizeof p, .n_threads = 2, .n_batch = 64, .n_kv = 512 };
    struct rig r = rig_open(model_file("tiny-llama"), &p),
               alone = rig_open(model_file("tiny-llama"), NULL);
    int32_t tokens[150];
    rig_tokens(&r, 9, tokens, 150);
    weft_seq *ready = rig_fed(&r, tokens, 30), *waiting = rig_seq(&r, NULL);
    OK(weft_seq_append(waiting, tokens, 150, E));
    OK(weft_engine_step(r.engine, NULL, E));
    const size_t pending = weft_seq_pending(waiting);
    const struct load l = load_of(&r, 20, 40, 20);
    compare(&r, &alone, &l, &last, "beside sequences");
    assert_int_equal(weft_seq_pending(waiting), pending);
    rig_check(&r, ready, tokens, 30, "beside embeddings");
    rig_compute(&r, waiting);
    rig_check(&r, waiting, tokens, 150, "computed around embeddings");
    weft_seq_release(&ready);
    weft_seq_release(&waiting);
    rig_close(&r);
    rig_close(&alone);
}

static void test_refusals(void **state)
{
    (void)state;
    const weft_engine_params small = {
        .size = sizeof small, .n_threads = 1, .n_ctx = 128, .n_kv = 128
    };
    struct rig r = rig_open(model_file("tiny-qwen3"), &small);
    float v[4 * DIM];
    int32_t tokens[300];
    size_t lengths[] = { 5, 6, 7 }, needed = 7;
    rig_tokens(&r, 8, tokens, 300);
    memset(v, 0x5a, sizeof v);
    OK(weft_embed_texts(r.engine, NULL, NULL, 0, NULL, NULL, 0, &needed, E));
    assert_int_equal(needed, 0);
    FAILS(WEFT_E_ARG, weft_embed_texts(r.engine, NULL, lengths, 3, NULL, v, 4 * DIM, NULL, E));
    FAILS(WEFT_E_ARG, weft_embed_texts(r.engine, tokens, NULL, 3, NULL, v, 4 * DIM, NULL, E));
    FAILS(WEFT_E_ARG,
          weft_embed_texts(r.engine, tokens, lengths, SIZE_MAX, NULL, v, 4 * DIM, NULL, E));
    FAILS(WEFT_E_BUFFER,
          weft_embed_texts(r.engine, tokens, lengths, 3, NULL, v, 3 * DIM - 1, &needed, E));
    assert_int_equal(needed, 3 * DIM);
    FAILS(WEFT_E_ARG, weft_embed_texts(r.engine, tokens, lengths, 3, NULL, NULL, 4 * DIM, NULL, E));
    lengths[1] = 0;
    FAILS(WEFT_E_ARG, weft_embed_texts(r.engine, tokens, lengths, 3, NULL, v, 4 * DIM, NULL, E));
    rig_message((const char *const[]){ "text 1", "without tokens", NULL });
    lengths[1] = 129;
    FAILS(WEFT_E_CTX_FULL,
          weft_embed_texts(r.engine, tokens, lengths, 3, NULL, v, 4 * DIM, NULL, E));
    rig_message((const char *const[]){ "text 1", "129", NULL });
    lengths[1] = 6;
    tokens[11] = -1;
    FAILS(WEFT_E_ARG, weft_embed_texts(r.engine, tokens, lengths, 3, NULL, v, 4 * DIM, NULL, E));
    rig_message((const char *const[]){ "text 2", NULL });
    tokens[11] = 5;
    lengths[2] = 100;
    weft_seq *seq = rig_fed(&r, tokens, 60);
    FAILS(WEFT_E_KV_FULL,
          weft_embed_texts(r.engine, tokens, lengths, 3, NULL, v, 4 * DIM, NULL, E));
    rig_message((const char *const[]){ "text 2", "KV pool", NULL });
    for (size_t i = 0; i < sizeof v; i++) {
        assert_int_equal(((const unsigned char *)v)[i], 0x5a);
    }
    weft_seq_release(&seq);
    OK(weft_embed_texts(r.engine, tokens, lengths, 3, NULL, v, 4 * DIM, NULL, E));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_beginning_gives_way),
        cmocka_unit_test(test_other_work),
        cmocka_unit_test(test_rope_factors),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
