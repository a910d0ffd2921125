/* What a trace and a profile report: every stage once and in order, values that are those of the
 * forward pass, and costs that are those of the model. They change no bit. */
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

enum { N = 20, MAX_EVENTS = 400 };

static const char *const points[] = {
    "q", "k", "v", "attention", "attn_out", "ffn_act", "ffn_out"
};
static const char *const stages[] = { "attn_in", "attend", "attn_out", "ffn_in", "ffn_out" };

struct told {
    size_t n;
    struct {
        const char *name;
        size_t layer, n_rows, n_cols;
        double sum;
    } points[MAX_EVENTS];
    float *logits, *residual; /* values of the last row */
    size_t n_stages;
    weft_stage stages[MAX_EVENTS];
};

static void on_checkpoint(void *user, const weft_checkpoint *c)
{
    struct told *t = user;
    size_t n = c->n_rows * c->n_cols;
    assert_in_range(t->n, 0, MAX_EVENTS - 1);
    t->points[t->n].name = c->name;
    t->points[t->n].layer = c->layer;
    t->points[t->n].n_rows = c->n_rows;
    t->points[t->n].n_cols = c->n_cols;
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(c->values[i]));
        t->points[t->n].sum += fabs((double)c->values[i]);
    }
    if (strcmp(c->name, "logits") == 0 && t->logits != NULL) {
        memcpy(t->logits, c->values + n - c->n_cols, c->n_cols * sizeof *c->values);
    }
    t->n++;
}

static void on_stage(void *user, const weft_stage *s)
{
    struct told *t = user;
    assert_in_range(t->n_stages, 0, MAX_EVENTS - 1);
    t->stages[t->n_stages++] = *s;
}

static struct rig open_told(const char *path, struct told *t)
{
    const weft_engine_params p = { .size = sizeof p,
                                   .n_threads = 1,
                                   .trace = on_checkpoint,
                                   .trace_user = t,
                                   .profile = on_stage,
                                   .profile_user = t };
    return rig_open(path, &p);
}

static void check_order(const struct told *t, size_t n_layers, size_t n_rows)
{
    size_t n_points = sizeof points / sizeof points[0], n_of_layer = sizeof stages / sizeof *stages;
    assert_int_equal(t->n, 3 + n_layers * n_points);
    assert_int_equal(t->n_stages, 3 + n_layers * n_of_layer);
    assert_string_equal(t->points[0].name, "embed");
    assert_string_equal(t->stages[0].name, "embed");
    for (size_t i = 0; i < n_layers * n_points; i++) {
        assert_string_equal(t->points[1 + i].name, points[i % n_points]);
        assert_int_equal(t->points[1 + i].layer, i / n_points);
        assert_int_equal(t->points[1 + i].n_rows, n_rows);
        assert_true(t->points[1 + i].sum > 0);
    }
    for (size_t i = 0; i < n_layers * n_of_layer; i++) {
        assert_string_equal(t->stages[1 + i].name, stages[i % n_of_layer]);
        assert_int_equal(t->stages[1 + i].layer, i / n_of_layer);
        assert_true(t->stages[1 + i].seconds >= 0 && t->stages[1 + i].seconds < 60);
    }
    assert_string_equal(t->points[t->n - 2].name, "head_norm");
    assert_string_equal(t->points[t->n - 1].name, "logits");
    assert_string_equal(t->stages[t->n_stages - 2].name, "head_norm");
    assert_string_equal(t->stages[t->n_stages - 1].name, "head");
    assert_int_equal(t->points[t->n - 2].n_rows, 1);
    assert_true(t->points[0].layer == SIZE_MAX && t->stages[0].layer == SIZE_MAX);
    assert_true(t->points[t->n - 2].layer == SIZE_MAX && t->points[t->n - 1].layer == SIZE_MAX);
}

static void test_every_architecture(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        struct told t = { 0 };
        struct rig plain = rig_open(model_file(presets[i]), NULL);
        struct rig r = open_told(model_file(presets[i]), &t);
        int32_t tokens[N];
        rig_tokens(&r, 2, tokens, N);
        weft_model_info info = { .size = sizeof info };
        OK(weft_model_get_info(r.model, &info, E));
        t.logits = calloc(info.n_vocab, sizeof *t.logits);
        weft_seq *seq = rig_fed(&r, tokens, N);
        check_order(&t, info.n_layers, N);
        assert_int_equal(t.points[1].n_cols, info.n_heads * info.head_dim);
        assert_int_equal(t.points[2].n_cols, info.n_kv_heads * info.head_dim);
        assert_int_equal(t.points[6].n_cols, info.n_ff);
        assert_int_equal(t.points[7].n_cols, info.dim);
        /* The bits are those without a trace, and those that the trace showed. */
        float *want = rig_expected(&plain, tokens, N), *got = rig_logits(&r, seq);
        rig_same(&r, got, want, "logits of a traced engine");
        rig_same(&r, t.logits, want, "traced logits");
        free(want);
        free(got);
        free(t.logits);
        weft_seq_release(&seq);
        rig_close(&r);
        rig_close(&plain);
    }
}

/* The costs of a step of one row add up to those in the engine's info; K and V are counted too. */
static void test_costs(void **state)
{
    (void)state;
    struct told t = { 0 };
    struct rig r = open_told(model_file("tiny-qwen2"), &t);
    weft_model_info m = { .size = sizeof m };
    OK(weft_model_get_info(r.model, &m, E));
    int32_t tokens[N];
    rig_tokens(&r, 2, tokens, N);
    weft_seq *seq = rig_fed(&r, tokens, N - 1);
    t.n = t.n_stages = 0;
    OK(weft_seq_append(seq, tokens + N - 1, 1, E));
    rig_compute(&r, seq);
    weft_engine_info e = rig_info(&r);
    uint64_t weights = 0, kv = 0, macs = 0, attention = 0;
    for (size_t i = 1; i < t.n_stages; i++) {
        bool attend = strcmp(t.stages[i].name, "attend") == 0;
        *(attend ? &kv : &weights) += t.stages[i].bytes;
        *(attend ? &attention : &macs) += t.stages[i].n_macs;
    }
    assert_int_equal(weights, e.step_weight_bytes);
    assert_int_equal(macs, e.row_macs);
    assert_int_equal(kv, N * e.kv_position_bytes);
    assert_int_equal(attention, 2 * N * m.n_layers * m.n_heads * m.head_dim);
    assert_int_equal(e.kv_position_bytes, 2 * 2 * m.n_layers * m.n_kv_heads * m.head_dim);
    uint64_t q_dim = m.n_heads * m.head_dim, kv_dim = m.n_kv_heads * m.head_dim;
    assert_int_equal(e.row_macs, m.n_layers * m.dim * (2 * q_dim + 2 * kv_dim + 3 * m.n_ff) +
                                     m.n_vocab * m.dim);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* The caller asks for a profile but not for a trace, with several sequences in one step. */
static void test_one_of_them(void **state)
{
    (void)state;
    struct told t = { 0 };
    const weft_engine_params p = {
        .size = sizeof p, .n_threads = 2, .profile = on_stage, .profile_user = &t
    };
    struct rig r = rig_open(model_file("tiny-llama"), &p);
    int32_t tokens[N];
    rig_tokens(&r, 2, tokens, N);
    weft_seq *a = rig_seq(&r, NULL), *b = rig_seq(&r, NULL);
    OK(weft_seq_append(a, tokens, N, E));
    OK(weft_seq_append(b, tokens, 1, E));
    OK(weft_engine_step(r.engine, NULL, E));
    assert_int_equal(t.n, 0);
    assert_int_equal(t.stages[0].n_rows, N + 1);
    assert_int_equal(t.stages[t.n_stages - 1].n_rows, 2);
    weft_seq_release(&a);
    weft_seq_release(&b);
    rig_close(&r);
}

/* Operations of the backend that are no stages work under a profile, too: copying, saving and
 * loading pages, limits, the best tokens. */
static void test_all_else(void **state)
{
    (void)state;
    struct told t = { 0 };
    const weft_engine_params p = {
        .size = sizeof p, .n_threads = 1, .profile = on_stage, .profile_user = &t
    };
    const char *path = model_file("tiny-qwen2");
    struct rig plain = rig_open(path, NULL), r = rig_open(path, &p);
    int32_t tokens[N + 1];
    static uint8_t saved[1 << 18];
    size_t n_saved;
    rig_tokens(&r, 2, tokens, N + 1);
    float *want = rig_expected(&plain, tokens, N + 1);
    weft_seq *a = rig_fed(&r, tokens, N), *b = NULL, *c = rig_seq(&r, NULL);
    OK(weft_seq_save(a, saved, sizeof saved, &n_saved, E));
    OK(weft_seq_fork(a, &b, E));
    OK(weft_seq_load(c, saved, n_saved, E));
    weft_seq *const all[] = { a, b, c };
    for (size_t i = 0; i < 3; i++) {
        t.n_stages = 0;
        OK(weft_seq_append(all[i], tokens + N, 1, E));
        rig_compute(&r, all[i]);
        float *got = rig_logits(&r, all[i]);
        rig_same(&r, got, want, i == 0 ? "a sequence" : i == 1 ? "its fork" : "a loaded one");
        free(got);
        assert_string_equal(t.stages[t.n_stages - 1].name, "head");
    }
    weft_engine_stats s = { .size = sizeof s };
    OK(weft_engine_get_stats(r.engine, &s, E));
    assert_int_equal(s.n_page_copies, 1);
    weft_limits limits = { .size = sizeof limits };
    OK(weft_engine_measure(r.engine, &limits, E));
    assert_true(limits.read_bytes_per_s > 0 && limits.macs_per_s > 0);
    weft_seq_release(&a);
    weft_seq_release(&b);
    weft_seq_release(&c);
    free(want);
    rig_close(&r);
    rig_close(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_architecture),
        cmocka_unit_test(test_costs),
        cmocka_unit_test(test_one_of_them),
        cmocka_unit_test(test_all_else),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
