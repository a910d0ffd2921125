/* The same work, divided in other ways, gives the same bits: prompts in chunks of any size, any
 * number of threads, every set of CPU kernels, many sequences in one step, sequences that come and
 * go. The engine's own accounts are checked too: sizes, pages, the order of releases, two engines
 * on one model, two models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

enum { N = 200 };

static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
enum { N_PRESETS = 4 };

static weft_engine_params params_of(size_t n_batch, size_t n_threads, weft_cpu_isa isa)
{
    return (weft_engine_params){ .size = sizeof(weft_engine_params),
                                 .n_batch = n_batch,
                                 .n_threads = n_threads,
                                 .cpu_isa = isa };
}

/* Returns the logits behind tokens[n] in an engine that was opened with these parameters. */
static float *logits_with(const char *path, weft_engine_params p, const int32_t *tokens, size_t n)
{
    struct rig r = rig_open(path, &p);
    float *logits = rig_expected(&r, tokens, n);
    rig_close(&r);
    return logits;
}

/* ---------------------------------------------------------------- one sequence */

static void test_chunks(void **state)
{
    (void)state;
    static const size_t batches[] = { 1, 7, 64, 512 };
    for (size_t i = 0; i < N_PRESETS; i++) {
        const char *path = model_file(presets[i]);
        struct rig r = rig_open(path, NULL);
        int32_t tokens[N];
        rig_tokens(&r, i, tokens, N);
        float *want = rig_expected(&r, tokens, N);
        for (size_t j = 0; j < 4; j++) {
            char what[64];
            float *got = logits_with(path, params_of(batches[j], 1, WEFT_ISA_AUTO), tokens, N);
            snprintf(what, sizeof what, "%s, n_batch %zu", presets[i], batches[j]);
            rig_same(&r, got, want, what);
            free(got);
        }
        free(want);
        rig_close(&r);
    }
}

/* A text is appended and computed token by token. The logits at every position are those of the
 * text so far, computed in one go. */
static void test_one_by_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PRESETS; i++) {
        struct rig r = rig_open(model_file(presets[i]), NULL);
        int32_t tokens[70];
        rig_tokens(&r, i, tokens, 70);
        weft_seq *seq = rig_seq(&r, NULL);
        for (size_t n = 1; n <= 70; n++) {
            OK(weft_seq_append(seq, &tokens[n - 1], 1, E));
            rig_compute(&r, seq);
            if (n % 9 == 0 || n > 62) {
                rig_check(&r, seq, tokens, n, presets[i]);
            }
        }
        weft_seq_release(&seq);
        rig_close(&r);
    }
}

static void test_threads(void **state)
{
    (void)state;
    static const size_t counts[] = { 2, 3, 5 };
    for (size_t i = 0; i < N_PRESETS; i++) {
        const char *path = model_file(presets[i]);
        struct rig r = rig_open(path, NULL);
        int32_t tokens[N];
        rig_tokens(&r, i, tokens, N);
        float *want = rig_expected(&r, tokens, N);
        for (size_t j = 0; j < 3; j++) {
            float *got = logits_with(path, params_of(100, counts[j], WEFT_ISA_AUTO), tokens, N);
            rig_same(&r, got, want, "threads");
            free(got);
        }
        free(want);
        rig_close(&r);
    }
}

/* Returns true if this machine has the instructions; otherwise opening must say that it has not. */
static bool has_isa(const char *path, weft_cpu_isa isa)
{
    weft_engine_params p = params_of(0, 1, isa);
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    OK(weft_model_open(path, NULL, &model, E));
    weft_status status = weft_engine_open(model, &p, &engine, E);
    bool has = status == WEFT_OK;
    if (!has) {
        assert_int_equal(status, WEFT_E_UNSUPPORTED);
        assert_null(engine);
    }
    weft_engine_release(&engine);
    weft_model_release(&model);
    return has;
}

static void check_isa(weft_cpu_isa isa, const char *name)
{
    if (!has_isa(model_file(presets[0]), isa)) {
        print_message("this processor lacks %s\n", name);
        skip();
    }
    for (size_t i = 0; i < N_PRESETS; i++) {
        const char *path = model_file(presets[i]);
        weft_engine_params scalar = params_of(0, 1, WEFT_ISA_SCALAR);
        struct rig r = rig_open(path, &scalar);
        int32_t tokens[N];
        rig_tokens(&r, i, tokens, N);
        float *want = rig_expected(&r, tokens, N);
        float *got = logits_with(path, params_of(0, 1, isa), tokens, N);
        rig_same(&r, got, want, name);
        free(got);
        free(want);
        rig_close(&r);
    }
}

static void test_avx2(void **state)
{
    (void)state;
    check_isa(WEFT_ISA_AVX2, "AVX2");
}

static void test_avx512(void **state)
{
    (void)state;
    check_isa(WEFT_ISA_AVX512, "AVX-512 VNNI");
}

/* ---------------------------------------------------------------- many sequences */

static void test_sixteen(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PRESETS; i++) {
        struct rig r = rig_open(model_file(presets[i]), NULL);
        weft_seq *seqs[16];
        int32_t tokens[16][64];
        for (size_t j = 0; j < 16; j++) {
            rig_tokens(&r, j, tokens[j], 64);
            seqs[j] = rig_seq(&r, NULL);
            OK(weft_seq_append(seqs[j], tokens[j], 20 + 2 * j, E));
        }
        size_t ready = 0;
        uint64_t before = rig_info(&r).n_steps;
        while (ready < 16) {
            OK(weft_engine_step(r.engine, &ready, E));
        }
        /* There are 560 rows in steps of 512; then one token of each sequence in a single step. */
        assert_int_equal(rig_info(&r).n_steps - before, 2);
        for (size_t j = 0; j < 16; j++) {
            OK(weft_seq_append(seqs[j], tokens[j] + 20 + 2 * j, 1, E));
        }
        OK(weft_engine_step(r.engine, &ready, E));
        assert_int_equal(ready, 16);
        assert_int_equal(rig_info(&r).n_steps - before, 3);
        for (size_t j = 0; j < 16; j++) {
            rig_check(&r, seqs[j], tokens[j], 21 + 2 * j, presets[i]);
            weft_seq_release(&seqs[j]);
        }
        rig_close(&r);
    }
}

/* A sequence of the random test, and the tokens that it should hold. */
struct guest {
    weft_seq *seq;
    int32_t tokens[128];
    size_t n;
};

static void guest_enter(const struct rig *r, struct guest *g, uint64_t *random)
{
    g->seq = rig_seq(r, NULL);
    g->n = 1 + rig_random(random, 90);
    rig_tokens(r, *random, g->tokens, 128);
    OK(weft_seq_append(g->seq, g->tokens, g->n, E));
}

static void guest_extend(struct guest *g, uint64_t *random)
{
    size_t n = 1 + rig_random(random, 4);
    if (g->n + n <= 128) {
        OK(weft_seq_append(g->seq, g->tokens + g->n, n, E));
        g->n += n;
    }
}

static void guest_rewind(struct guest *g, uint64_t *random)
{
    g->n = 1 + rig_random(random, (uint32_t)g->n);
    OK(weft_seq_rewind(g->seq, g->n, E));
}

/* Sequences join, grow, shrink and leave between steps. Now and then one of them is compared with a
 * run of its own in another engine. */
static void test_random(void **state)
{
    (void)state;
    enum { N_GUESTS = 12, N_OPERATIONS = 400 };
    const char *path = model_file("tiny-qwen2");
    weft_engine_params p = params_of(33, 2, WEFT_ISA_AUTO);
    struct rig r = rig_open(path, &p), alone = rig_open(path, NULL);
    struct guest guests[N_GUESTS] = { 0 };
    uint64_t random = 42;
    size_t n_checked = 0;
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        struct guest *g = &guests[rig_random(&random, N_GUESTS)];
        uint32_t what = rig_random(&random, 8);
        if (g->seq == NULL) {
            guest_enter(&r, g, &random);
        } else if (what == 0) {
            weft_seq_release(&g->seq);
        } else if (what < 3) {
            guest_extend(g, &random);
        } else if (what < 4) {
            guest_rewind(g, &random);
        } else if (weft_seq_pending(g->seq) == 0 && weft_seq_len(g->seq) > 0) {
            float *got = rig_logits(&r, g->seq), *want = rig_expected(&alone, g->tokens, g->n);
            rig_same(&r, got, want, "random operations");
            free(got);
            free(want);
            n_checked++;
        }
        OK(weft_engine_step(r.engine, NULL, E));
    }
    assert_true(n_checked > 50);
    for (size_t i = 0; i < N_GUESTS; i++) {
        weft_seq_release(&guests[i].seq);
    }
    rig_close(&r);
    rig_close(&alone);
}

/* ---------------------------------------------------------------- the engine as such */

static void test_defaults(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_engine_info info = rig_info(&r);
    assert_string_equal(info.backend, "cpu");
    /* The model was trained for 256 positions, fewer than the default of 4096. */
    assert_int_equal(info.n_ctx, 256);
    assert_int_equal(info.n_kv, WEFT_CTX_DEFAULT);
    assert_int_equal(info.page, WEFT_KV_PAGE);
    assert_int_equal(info.n_kv_free, WEFT_CTX_DEFAULT);
    assert_int_equal(info.n_batch, 512);
    assert_int_equal(info.n_threads, 1);
    assert_int_equal(info.n_steps, 0);
    /* 2 layers, K and V, 2 heads of 16 halves. */
    assert_int_equal(info.kv_bytes, 4096 * 2 * 2 * 2 * 16 * 2);
    assert_true(info.scratch_bytes > 0);
    rig_close(&r);
}

/* Types of K and V, and heads that are not whole blocks of these types. */
static void test_kv_types(void **state)
{
    (void)state;
    weft_engine *engine = NULL;
    for (unsigned types = 0; types < 4; types++) {
        const weft_engine_params p = { .size = sizeof p,
                                       .n_threads = 1,
                                       .type_k = types & 1 ? WEFT_KV_Q8_0 : WEFT_KV_F16,
                                       .type_v = types & 2 ? WEFT_KV_Q8_0 : WEFT_KV_F16 };
        struct rig r = rig_open(model_file("tiny-qwen3"), &p);
        /* 2 layers, 2 heads of 32. */
        size_t position = 4 * (types & 1 ? 34u : 64u) + 4 * (types & 2 ? 34u : 64u);
        assert_int_equal(rig_info(&r).kv_position_bytes, position);
        assert_int_equal(rig_info(&r).kv_bytes, 4096 * position);
        rig_close(&r);
    }
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_engine_params p = { .size = sizeof p, .device = "cpu", .type_v = WEFT_KV_Q8_0 };
    FAILS(WEFT_E_UNSUPPORTED, weft_engine_open(r.model, &p, &engine, E));
    rig_message((const char *const[]){ "type_v q8_0", "32", "16", "f16", NULL });
    p.type_v = (weft_kv_type)2;
    FAILS(WEFT_E_ARG, weft_engine_open(r.model, &p, &engine, E));
    rig_message((const char *const[]){ "type_v is 2", NULL });
    p.type_v = WEFT_KV_F16;
    p.type_k = (weft_kv_type)-1;
    FAILS(WEFT_E_ARG, weft_engine_open(r.model, &p, &engine, E));
    rig_message((const char *const[]){ "type_k is -1", NULL });
    assert_null(engine);
    rig_close(&r);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    size_t ready = 99;
    OK(weft_engine_step(r.engine, &ready, E));
    assert_int_equal(ready, 0);
    weft_seq *seq = rig_seq(&r, NULL);
    OK(weft_engine_step(r.engine, &ready, E));
    assert_int_equal(ready, 0);
    assert_int_equal(rig_info(&r).n_steps, 0);
    assert_int_equal(rig_info(&r).n_seqs, 1);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* A model, an engine and two sequences are given up in this order; those that are left must still
 * work. */
static void release_in_order(const size_t order[4])
{
    struct rig r = rig_open(model_file("tiny-llama"), NULL);
    int32_t tokens[10];
    rig_tokens(&r, 1, tokens, 10);
    weft_seq *seqs[2] = { rig_fed(&r, tokens, 10), rig_fed(&r, tokens, 10) };
    for (size_t i = 0; i < 4; i++) {
        switch (order[i]) {
        case 0: weft_model_release(&r.model); break;
        case 1: weft_engine_release(&r.engine); break;
        default: weft_seq_release(&seqs[order[i] - 2]); break;
        }
        for (size_t j = 0; j < 2; j++) {
            int32_t token;
            if (seqs[j] != NULL) {
                OK(weft_seq_rewind(seqs[j], 9, E));
                if (r.engine != NULL) {
                    OK(weft_engine_step(r.engine, NULL, E));
                    OK(weft_seq_next(seqs[j], &token, E));
                    OK(weft_engine_step(r.engine, NULL, E));
                }
            }
        }
    }
    assert_null(r.model);
    assert_null(r.engine);
    assert_null(seqs[0]);
    assert_null(seqs[1]);
}

static void test_release_orders(void **state)
{
    (void)state;
    for (size_t a = 0; a < 4; a++) {
        for (size_t b = 0; b < 4; b++) {
            for (size_t c = 0; c < 4; c++) {
                size_t d = 6 - a - b - c;
                if (a != b && a != c && b != c) {
                    release_in_order((size_t[4]){ a, b, c, d });
                }
            }
        }
    }
}

static void test_two_models(void **state)
{
    (void)state;
    struct rig a = rig_open(model_file("tiny-qwen2"), NULL);
    struct rig b = rig_open(model_file("tiny-phi3"), NULL);
    int32_t ta[40], tb[40];
    rig_tokens(&a, 1, ta, 40);
    rig_tokens(&b, 2, tb, 40);
    weft_seq *sa = rig_seq(&a, NULL), *sb = rig_seq(&b, NULL);
    for (size_t i = 0; i < 40; i += 10) {
        OK(weft_seq_append(sa, ta + i, 10, E));
        OK(weft_seq_append(sb, tb + i, 10, E));
        rig_compute(&a, sa);
        rig_compute(&b, sb);
    }
    rig_check(&a, sa, ta, 40, "first model");
    rig_check(&b, sb, tb, 40, "second model");
    weft_seq_release(&sa);
    weft_seq_release(&sb);
    rig_close(&a);
    rig_close(&b);
}

/* Two engines on one model share only the weights. */
static void test_two_engines(void **state)
{
    (void)state;
    struct rig a = rig_open(model_file("tiny-qwen3"), NULL);
    struct rig b = { .model = NULL, .n_vocab = a.n_vocab };
    weft_engine_params p = params_of(16, 2, WEFT_ISA_AUTO);
    OK(weft_engine_open(a.model, &p, &b.engine, E));
    int32_t tokens[100];
    rig_tokens(&a, 3, tokens, 100);
    weft_seq *sa = rig_fed(&a, tokens, 100), *sb = rig_fed(&b, tokens, 100);
    float *la = rig_logits(&a, sa), *lb = rig_logits(&b, sb);
    rig_same(&a, la, lb, "two engines");
    free(la);
    free(lb);
    weft_seq_release(&sa);
    rig_close(&a);
    OK(weft_seq_rewind(sb, 50, E));
    rig_compute(&b, sb);
    weft_seq_release(&sb);
    rig_close(&b);
}

/* The model is read into memory, not mapped. */
static void test_no_mmap(void **state)
{
    (void)state;
    const char *path = model_file("tiny-llama");
    struct rig a = rig_open(path, NULL), b = { .n_vocab = a.n_vocab };
    weft_model_params p = { .size = sizeof p, .no_mmap = true };
    OK(weft_model_open(path, &p, &b.model, E));
    OK(weft_engine_open(b.model, NULL, &b.engine, E));
    int32_t tokens[30];
    rig_tokens(&a, 4, tokens, 30);
    float *la = rig_expected(&a, tokens, 30), *lb = rig_expected(&b, tokens, 30);
    rig_same(&a, la, lb, "no_mmap");
    free(la);
    free(lb);
    rig_close(&a);
    rig_close(&b);
}

/* The mapped file of an open model is cut off. This is noticed before its pages are touched. */
static void test_shrunk(void **state)
{
    (void)state;
    struct synth_spec spec;
    assert_true(synth_preset("tiny-llama", &spec));
    const char *path = model_file_of(&spec);
    struct rig r = rig_open(path, NULL);
    int32_t tokens[20];
    rig_tokens(&r, 5, tokens, 20);
    weft_seq *seq = rig_fed(&r, tokens, 20);
    OK(weft_seq_append(seq, tokens, 3, E));
    weft_engine_info before = rig_info(&r);
    weft_engine *engine = NULL;
    assert_int_equal(truncate(path, 4096), 0);
    FAILS(WEFT_E_IO, weft_engine_open(r.model, NULL, &engine, E));
    rig_message((const char *const[]){ path, "4096", NULL });
    assert_null(engine);
    FAILS(WEFT_E_IO, weft_engine_step(r.engine, NULL, E));
    rig_message((const char *const[]){ path, "4096", NULL });
    assert_int_equal(weft_seq_pending(seq), 3);
    assert_int_equal(rig_info(&r).n_steps, before.n_steps);
    weft_seq_release(&seq);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),         cmocka_unit_test(test_one_by_one),
        cmocka_unit_test(test_threads),        cmocka_unit_test(test_avx2),
        cmocka_unit_test(test_avx512),         cmocka_unit_test(test_sixteen),
        cmocka_unit_test(test_random),         cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_kv_types),       cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_release_orders), cmocka_unit_test(test_two_models),
        cmocka_unit_test(test_two_engines),    cmocka_unit_test(test_no_mmap),
        cmocka_unit_test(test_shrunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
