/* Embeddings. The models are causal, so an embedding can be computed in two other ways: the last
 * state times the output matrix gives the logits, and the mean over a text is the mean of the last
 * states of its beginnings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/quant.h"
#include "model.h"
#include "support/edit.h"
#include "support/models.h"
#include "support/reference.h"
#include "support/rig.h"
#include "support/scratch.h"
#include "synth/synth.h"

enum { N = 70 };

static size_t dim_of(const struct rig *r)
{
    weft_model_info info = { .size = sizeof info };
    OK(weft_model_get_info(r->model, &info, E));
    return info.dim;
}

static float *embed(const struct rig *r, const int32_t *tokens, size_t n, weft_pooling pooling,
                    bool raw)
{
    const weft_embed_params p = { .size = sizeof p, .pooling = pooling, .raw = raw };
    size_t dim = dim_of(r), needed;
    float *v = calloc(dim, sizeof *v);
    OK(weft_embed(r->engine, tokens, n, &p, v, dim, &needed, E));
    assert_int_equal(needed, dim);
    return v;
}

/* With float weights a product with the output matrix rounds nothing but its sums. */
static void test_last_state_gives_logits(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        struct synth_spec spec;
        assert_true(synth_preset(presets[i], &spec));
        spec.type_mix = "F32";
        const char *path = model_file_of(&spec);
        struct rig r = rig_open(path, NULL);
        struct model *m;
        const weft_model_params mp = WEFT_MODEL_PARAMS_INIT;
        OK(model_open(path, &mp, &m, E));
        int32_t tokens[N];
        rig_tokens(&r, 8, tokens, N);
        float *h = embed(&r, tokens, N, WEFT_POOL_LAST, true);
        float *want = rig_expected(&r, tokens, N);
        const struct tensor *w = &m->weights.output;
        float *row = calloc(w->n_cols, sizeof *row);
        for (size_t k = 0; k < w->n_rows; k++) {
            double logit = 0;
            w->type->decode(w->data + k * (w->n_bytes / w->n_rows), row, w->n_cols);
            for (size_t c = 0; c < w->n_cols; c++) {
                logit += (double)row[c] * (double)h[c];
            }
            /* The sums of n_cols floats are off by far less than 1e-4 of the logits' size, which is
             * near 1. */
            assert_true(fabs(logit - (double)want[k]) < 1e-4 * (1 + fabs((double)want[k])));
        }
        free(row);
        free(h);
        free(want);
        model_close(m);
        rig_close(&r);
    }
}

static void test_mean_is_the_mean_of_last_states(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    size_t dim = dim_of(&r);
    int32_t tokens[N];
    double *sum = calloc(dim, sizeof *sum), squares = 0, length = 0;
    rig_tokens(&r, 8, tokens, N);
    for (size_t n = 1; n <= N; n++) {
        float *last = embed(&r, tokens, n, WEFT_POOL_LAST, true);
        for (size_t i = 0; i < dim; i++) {
            sum[i] += (double)last[i];
        }
        free(last);
    }
    float *mean = embed(&r, tokens, N, WEFT_POOL_MEAN, true);
    float *unit = embed(&r, tokens, N, WEFT_POOL_MODEL, false); /* the file names no pooling */
    for (size_t i = 0; i < dim; i++) {
        assert_true(fabs((double)mean[i] - sum[i] / (double)N) <=
                    1e-6 * (1 + fabs(sum[i] / (double)N)));
        squares += (double)mean[i] * (double)mean[i];
        length += (double)unit[i] * (double)unit[i];
    }
    assert_true(fabs(length - 1) < 1e-5);
    for (size_t i = 0; i < dim; i++) {
        assert_true(fabs((double)unit[i] - (double)mean[i] / sqrt(squares)) < 1e-6);
    }
    free(sum);
    free(mean);
    free(unit);
    rig_close(&r);
}

/* The bits are the same in small steps and beside sequences that wait, and those are not
 * disturbed. */
static void test_other_work(void **state)
{
    (void)state;
    const weft_engine_params small = { .size = sizeof small, .n_threads = 2, .n_batch = 7 };
    struct rig a = rig_open(model_file("tiny-llama"), NULL),
               b = rig_open(model_file("tiny-llama"), &small);
    int32_t tokens[N];
    rig_tokens(&a, 8, tokens, N);
    weft_seq *ready = rig_fed(&b, tokens, 30), *waiting = rig_seq(&b, NULL);
    OK(weft_seq_append(waiting, tokens, N, E));
    OK(weft_engine_step(b.engine, NULL, E));
    size_t pending = weft_seq_pending(waiting), n_free = rig_free(&b);
    float *want = embed(&a, tokens, N, WEFT_POOL_MEAN, false),
          *got = embed(&b, tokens, N, WEFT_POOL_MEAN, false);
    assert_memory_equal(got, want, dim_of(&a) * sizeof *got);
    assert_int_equal(weft_seq_pending(waiting), pending);
    assert_int_equal(rig_free(&b), n_free);
    rig_check(&b, ready, tokens, 30, "beside an embedding");
    rig_compute(&b, waiting);
    rig_check(&b, waiting, tokens, N, "computed around an embedding");
    free(want);
    free(got);
    weft_seq_release(&ready);
    weft_seq_release(&waiting);
    rig_close(&a);
    rig_close(&b);
}

static void test_file_names_pooling(void **state)
{
    (void)state;
    int32_t tokens[N];
    const struct {
        uint32_t pooling;
        weft_status status;
    } cases[] = { { 0, WEFT_OK },
                  { 1, WEFT_OK },
                  { 2, WEFT_E_UNSUPPORTED },
                  { 3, WEFT_OK },
                  { 4, WEFT_E_UNSUPPORTED },
                  { 5, WEFT_E_UNSUPPORTED } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = model_path("pooling.gguf");
        const struct edit edit = { .what = EDIT_KEY_U32,
                                   .name = "qwen2.pooling_type",
                                   .u = cases[i].pooling };
        edit_model(model_file("tiny-qwen2"), path, &edit, 1);
        struct rig r = rig_open(path, NULL);
        size_t dim = dim_of(&r);
        float *v = calloc(dim, sizeof *v);
        rig_tokens(&r, 8, tokens, N);
        if (cases[i].status != WEFT_OK) {
            FAILS(cases[i].status, weft_embed(r.engine, tokens, N, NULL, v, dim, NULL, E));
        } else {
            OK(weft_embed(r.engine, tokens, N, NULL, v, dim, NULL, E));
            float *want = embed(&r, tokens, N,
                                cases[i].pooling == 3 ? WEFT_POOL_LAST : WEFT_POOL_MEAN, false);
            assert_memory_equal(v, want, dim * sizeof *v);
            free(want);
        }
        free(v);
        rig_close(&r);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    const weft_engine_params small = {
        .size = sizeof small, .n_threads = 1, .n_ctx = 128, .n_kv = 128
    };
    struct rig r = rig_open(model_file("tiny-qwen2"), &small);
    size_t dim = dim_of(&r), needed = 0;
    int32_t tokens[N * 2];
    float *v = calloc(dim, sizeof *v);
    rig_tokens(&r, 8, tokens, N * 2);
    weft_embed_params p = WEFT_EMBED_PARAMS_INIT;
    FAILS(WEFT_E_ARG, weft_embed(NULL, tokens, N, NULL, v, dim, NULL, E));
    FAILS(WEFT_E_HANDLE,
          weft_embed((weft_engine *)(void *)r.model, tokens, N, NULL, v, dim, NULL, E));
    FAILS(WEFT_E_ARG, weft_embed(r.engine, NULL, N, NULL, v, dim, NULL, E));
    FAILS(WEFT_E_ARG, weft_embed(r.engine, tokens, 0, NULL, v, dim, NULL, E));
    FAILS(WEFT_E_ARG, weft_embed(r.engine, tokens, N, NULL, NULL, dim, NULL, E));
    FAILS(WEFT_E_BUFFER, weft_embed(r.engine, tokens, N, NULL, v, dim - 1, &needed, E));
    assert_int_equal(needed, dim);
    FAILS(WEFT_E_CTX_FULL, weft_embed(r.engine, tokens, 129, NULL, v, dim, NULL, E));
    p.pooling = WEFT_POOL_CLS;
    FAILS(WEFT_E_UNSUPPORTED, weft_embed(r.engine, tokens, N, &p, v, dim, NULL, E));
    p.pooling = (weft_pooling)9;
    FAILS(WEFT_E_ARG, weft_embed(r.engine, tokens, N, &p, v, dim, NULL, E));
    tokens[3] = -1;
    FAILS(WEFT_E_ARG, weft_embed(r.engine, tokens, N, NULL, v, dim, NULL, E));
    tokens[3] = (int32_t)r.n_vocab;
    FAILS(WEFT_E_ARG, weft_embed(r.engine, tokens, N, NULL, v, dim, NULL, E));
    tokens[3] = 5;
    weft_seq *seq = rig_fed(&r, tokens, 100);
    FAILS(WEFT_E_KV_FULL, weft_embed(r.engine, tokens, N, NULL, v, dim, NULL, E));
    weft_seq_release(&seq);
    OK(weft_embed(r.engine, tokens, N, NULL, v, dim, NULL, E));
    free(v);
    rig_close(&r);
}

/* Compares the last state and the mean with the reference, which also rounds K and V to half
 * precision. With float weights only float rounding differs: see tests/model/test_forward.c. */
static void test_reference(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
    const struct reference_options options = { .kv_half = true };
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        struct rig r = rig_open(model_file(presets[i]), NULL);
        int32_t tokens[N];
        size_t dim;
        rig_tokens(&r, 8, tokens, N);
        double *want = reference_states(model_file(presets[i]), &options, tokens, N, &dim);
        assert_int_equal(dim, dim_of(&r));
        float *last = embed(&r, tokens, N, WEFT_POOL_LAST, true),
              *mean = embed(&r, tokens, N, WEFT_POOL_MEAN, true);
        assert_true(reference_nmse(last, want + (N - 1) * dim, dim) < 1e-7);
        for (size_t pos = 1; pos < N; pos++) {
            for (size_t j = 0; j < dim; j++) {
                want[j] += want[pos * dim + j];
            }
        }
        for (size_t j = 0; j < dim; j++) {
            want[j] /= (double)N;
        }
        assert_true(reference_nmse(mean, want, dim) < 1e-7);
        free(want);
        free(last);
        free(mean);
        rig_close(&r);
    }
}

/* The result is the first values of the whole vector, scaled to length 1. */
static void test_dimensions(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen3"), NULL);
    const size_t dim = dim_of(&r), counts[] = { 1, 2, dim / 2, dim - 1, dim };
    int32_t tokens[N];
    float v[512] = { 0 };
    size_t needed;
    rig_tokens(&r, 8, tokens, N);
    float *raw = embed(&r, tokens, N, WEFT_POOL_LAST, true),
          *unit = embed(&r, tokens, N, WEFT_POOL_LAST, false);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        weft_embed_params p = { .size = sizeof p,
                                .pooling = WEFT_POOL_LAST,
                                .dimensions = counts[i] };
        double squares = 0;
        FAILS(WEFT_E_BUFFER, weft_embed(r.engine, tokens, N, &p, v, counts[i] - 1, &needed, E));
        assert_int_equal(needed, counts[i]);
        v[counts[i]] = 42;
        OK(weft_embed(r.engine, tokens, N, &p, v, 512, &needed, E));
        assert_int_equal(needed, counts[i]);
        assert_true(v[counts[i]] == 42);
        for (size_t j = 0; j < counts[i]; j++) {
            squares += (double)raw[j] * (double)raw[j];
        }
        for (size_t j = 0; j < counts[i]; j++) {
            assert_true(fabs((double)v[j] - (double)raw[j] / sqrt(squares)) < 1e-6);
        }
        p.raw = true;
        OK(weft_embed(r.engine, tokens, N, &p, v, 512, NULL, E));
        assert_memory_equal(v, raw, counts[i] * sizeof *v);
    }
    const weft_embed_params all = { .size = sizeof all, .pooling = WEFT_POOL_LAST };
    OK(weft_embed(r.engine, tokens, N, &all, v, 512, NULL, E));
    assert_memory_equal(v, unit, dim * sizeof *v);
    const weft_embed_params more = { .size = sizeof more, .dimensions = dim + 1 };
    FAILS(WEFT_E_ARG, weft_embed(r.engine, tokens, N, &more, v, 512, NULL, E));
    rig_message((const char *const[]){ "dimensions", "64", NULL });
    free(raw);
    free(unit);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_state_gives_logits),
        cmocka_unit_test(test_mean_is_the_mean_of_last_states),
        cmocka_unit_test(test_other_work),
        cmocka_unit_test(test_file_names_pooling),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_dimensions),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
