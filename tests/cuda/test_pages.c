/* Pages of the CUDA backend with K and V in each of their types, bit by bit. The values read from a
 * page are those that a trace shows. Values that are written to another page are read back
 * unchanged, and attention computes the same with them. This holds for whole pages, for parts and
 * for copies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "format/kv_type.h"
#include "format/quant.h"
#include "forward.h"
#include "support/level.h"
#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

enum { N = KV_PAGE + 6, N_PAGES = 4 };

static void check(weft_status status, const weft_error *err)
{
    if (status != WEFT_OK) {
        fail_msg("%s", err->message);
    }
}

struct bench {
    const struct model *model;
    struct backend *b;
    weft_kv_type types[2];
    uint32_t pages[2]; /* the pages of the sequence */
};

static struct bench open_bench(const struct model *m, const weft_kv_type *types, uint32_t page0,
                               uint32_t page1)
{
    weft_error err;
    static const struct log log = { 0 };
    struct bench x = { .model = m, .types = { types[0], types[1] }, .pages = { page0, page1 } };
    const struct backend_params bp = { .n_ctx = 2 * KV_PAGE,
                                       .n_pages = N_PAGES,
                                       .n_batch = N,
                                       .n_out = 1,
                                       .n_threads = 1,
                                       .kv_type = { types[0], types[1] },
                                       .deterministic = true,
                                       .no_arena = true,
                                       .no_pdl = rig_no_pdl(),
                                       .values = true,
                                       .log = &log };
    check(cuda_backend_open(m, &bp, &x.b, &err), &err);
    return x;
}

/* Returns the bytes of n positions of K or V in one layer. */
static size_t bytes_of(const struct bench *x, size_t which, size_t n)
{
    const struct config *g = &x->model->config;
    return n * g->n_kv_heads * kv_type_bytes(x->types[which], g->head_dim);
}

static void *zeroed(size_t n)
{
    void *p = calloc(n, 1);
    assert_non_null(p);
    return p;
}

static uint8_t *read_page(const struct bench *x, uint32_t page, size_t n)
{
    weft_error err;
    uint8_t *kv = zeroed(x->model->config.n_layers * (bytes_of(x, 0, n) + bytes_of(x, 1, n)));
    check(x->b->ops->read_kv(x->b, page, n, kv, &err), &err);
    return kv;
}

static void same_page(const struct bench *x, uint32_t page, size_t n, const uint8_t *want)
{
    uint8_t *got = read_page(x, page, n);
    assert_memory_equal(got, want,
                        x->model->config.n_layers * (bytes_of(x, 0, n) + bytes_of(x, 1, n)));
    free(got);
}

/* Computes all N positions, stage by stage. Returns K and V of every layer as a trace shows them,
 * [n_layers, 2, N, n_kv_heads * head_dim]. */
static float *run_values(const struct bench *x)
{
    weft_error err;
    const struct config *g = &x->model->config;
    const struct backend_ops *o = x->b->ops;
    size_t size = N * g->n_kv_heads * g->head_dim;
    float *values = zeroed(g->n_layers * 2 * size * sizeof *values);
    int32_t tokens[N];
    for (int32_t i = 0; i < N; i++) {
        tokens[i] = 7 * i % (int32_t)g->n_vocab;
    }
    const struct step_seq seq = { .pages = { x->pages }, .n_rows = N };
    const struct step s = { .n_rows = N, .tokens = tokens, .n_seqs = 1, .seqs = &seq };
    check(o->stage(x->b, STAGE_EMBED, &s, 0, &err), &err);
    for (size_t l = 0; l < g->n_layers; l++) {
        float *kv = values + l * 2 * size;
        for (enum stage stage = STAGE_ATTN_IN; stage <= STAGE_FFN_OUT; stage++) {
            check(o->stage(x->b, stage, &s, l, &err), &err);
            if (stage == STAGE_ATTN_IN) {
                check(o->read_values(x->b, &s, VALUE_K, l, kv, &err), &err);
                check(o->read_values(x->b, &s, VALUE_V, l, kv + size, &err), &err);
            }
        }
    }
    return values;
}

/* Compares positions [first, first + n), as they were read, with the values. */
static void check_values(const struct bench *x, const uint8_t *kv, size_t first, size_t n,
                         const float *values)
{
    const struct config *g = &x->model->config;
    float got[256];
    for (size_t i = 0; i < g->n_layers * 2; i++) {
        const weft_kv_type type = x->types[i % 2];
        const struct quant_type *t = quant_find(type == WEFT_KV_F16 ? QUANT_F16 : QUANT_Q8_0);
        for (size_t j = 0; j < g->n_kv_heads * n; j++) {
            size_t head = j / n, row = i * N + first + j % n;
            t->decode(kv, got, g->head_dim);
            if (i % 2 == 0 && kv_type_rotates(type)) {
                kv_rotate(got, g->head_dim);
            }
            assert_memory_equal(got, values + (row * g->n_kv_heads + head) * g->head_dim,
                                g->head_dim * sizeof *got);
            kv += kv_type_bytes(type, g->head_dim);
        }
    }
}

/* Returns the logits behind one more token. */
static float *next_logits(const struct bench *x)
{
    weft_error err;
    const int32_t token = 3;
    const uint32_t row = 0;
    const struct step_seq seq = { .pages = { x->pages }, .pos = N, .n_rows = 1 };
    const struct step s = {
        .n_rows = 1, .tokens = &token, .n_seqs = 1, .seqs = &seq, .n_out = 1, .out_rows = &row
    };
    float *logits = zeroed(x->model->config.n_vocab * sizeof *logits);
    check(forward(x->b, &s, &err), &err);
    check(x->b->ops->read_logits(x->b, 0, logits, &err), &err);
    return logits;
}

static void check_types(const struct model *m, const weft_kv_type *types)
{
    weft_error err;
    struct bench x = open_bench(m, types, 2, 0), y = open_bench(m, types, 1, 3);
    struct backend_info info;
    x.b->ops->info(x.b, &info);
    assert_int_equal(info.kv_bytes, m->config.n_layers * N_PAGES *
                                        (bytes_of(&x, 0, KV_PAGE) + bytes_of(&x, 1, KV_PAGE)));
    float *values = run_values(&x);
    uint8_t *full = read_page(&x, 2, KV_PAGE), *part = read_page(&x, 0, N - KV_PAGE);
    check_values(&x, full, 0, KV_PAGE, values);
    check_values(&x, part, KV_PAGE, N - KV_PAGE, values);
    check(x.b->ops->copy_page(x.b, 3, 2, &err), &err);
    same_page(&x, 3, KV_PAGE, full);
    check(y.b->ops->write_kv(y.b, 1, KV_PAGE, full, &err), &err);
    check(y.b->ops->write_kv(y.b, 3, N - KV_PAGE, part, &err), &err);
    same_page(&y, 1, KV_PAGE, full);
    same_page(&y, 3, N - KV_PAGE, part);
    float *want = next_logits(&x), *got = next_logits(&y);
    assert_memory_equal(got, want, m->config.n_vocab * sizeof *got);
    free(values);
    free(full);
    free(part);
    free(want);
    free(got);
    x.b->ops->close(x.b);
    y.b->ops->close(y.b);
}

static void test_types(void **state)
{
    (void)state;
    weft_error err;
    struct model *m;
    struct synth_spec s;
    const weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    assert_true(synth_preset("tiny-qwen2", &s));
    s.n_vocab = 512;
    s.n_heads = 4, s.n_kv_heads = 2, s.head_dim = 96;
    check(model_open(model_file_of(&s), &params, &m, &err), &err);
    const bool all = level_all("K and V of the same type");
    for (int i = 0; i < 4; i++) {
        if (!all && (i == 0 || i == 3)) {
            continue;
        }
        const weft_kv_type types[] = { i & 1 ? WEFT_KV_Q8_0 : WEFT_KV_F16,
                                       i & 2 ? WEFT_KV_Q8_0 : WEFT_KV_F16 };
        check_types(m, types);
    }
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_types) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
