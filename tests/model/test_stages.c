/* What forward() asks of a backend: the stages in their order, which the watcher is told of; a
 * backend that lacks a stage refuses the model and names the stage. The list of a layer's tensors
 * is tested here too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "arch/describe.h"
#include "forward.h"
#include "support/models.h"
#include "support/scratch.h"

enum { N_LAYERS = 2, MAX_SEEN = 40 };

/* A backend that computes nothing, and its watcher. */
struct bench {
    struct backend base;
    struct watcher watcher;
    size_t n_begun, n_ended, n_stages, n_whole;
    bool fails;       /* the last stage of a layer fails */
    bool told_enough; /* the watcher fails at the first stage of a layer */
    struct {
        enum stage stage;
        size_t layer;
    } seen[MAX_SEEN];
};

static struct layer layers[N_LAYERS];
static const struct model model = { .config.n_layers = N_LAYERS, .layers = layers };

static weft_status stage(struct backend *b, enum stage what, const struct step *s, size_t layer,
                         weft_error *err)
{
    struct bench *x = (struct bench *)b;
    (void)s;
    assert_in_range(x->n_stages, 0, MAX_SEEN - 1);
    x->seen[x->n_stages].stage = what;
    x->seen[x->n_stages++].layer = layer;
    return x->fails && what == STAGE_FFN_OUT ? error_set(err, WEFT_E_INTERNAL, "it fails")
                                             : WEFT_OK;
}

static weft_status whole(struct backend *b, const struct step *s, bool *done, weft_error *err)
{
    (void)s, (void)err;
    ((struct bench *)b)->n_whole++;
    *done = true;
    return WEFT_OK;
}

static struct bench *bench_of(struct watcher *w)
{
    return (struct bench *)(void *)((char *)w - offsetof(struct bench, watcher));
}

static void begin(struct watcher *w) { bench_of(w)->n_begun++; }

static weft_status end(struct watcher *w, struct backend *b, enum stage what, const struct step *s,
                       size_t layer, weft_error *err)
{
    struct bench *x = bench_of(w);
    (void)b, (void)s;
    assert_int_equal(what, x->seen[x->n_ended].stage);
    assert_int_equal(layer, x->seen[x->n_ended].layer);
    if (x->told_enough && what == STAGE_ATTN_IN) {
        return error_set(err, WEFT_E_NOMEM, "it has heard enough");
    }
    x->n_ended++;
    return WEFT_OK;
}

static enum stage lacking = N_STAGES;

static bool has(enum stage s) { return s != lacking; }

static const struct backend_ops ops = {
    .name = "bench", .has = has, .acts = 1u << ACT_SILU, .stage = stage, .step = whole
};

static weft_status run(struct bench *x, bool watched, size_t n_out, weft_error *err)
{
    const struct step_seq seq = { .n_rows = 1 };
    const struct step s = { .n_rows = 1, .n_seqs = 1, .seqs = &seq, .n_out = n_out };
    x->base = (struct backend){ .ops = &ops, .model = &model };
    x->watcher = (struct watcher){ begin, end };
    x->base.watcher = watched ? &x->watcher : NULL;
    return forward(&x->base, &s, err);
}

static void test_order(void **state)
{
    (void)state;
    static const enum stage of_layer[] = { STAGE_ATTN_IN, STAGE_ATTEND, STAGE_ATTN_OUT,
                                           STAGE_FFN_IN, STAGE_FFN_OUT };
    const size_t n = sizeof of_layer / sizeof *of_layer;
    struct bench x = { .fails = false };
    assert_int_equal(run(&x, true, 1, NULL), WEFT_OK);
    assert_int_equal(x.n_stages, 1 + N_LAYERS * n + 2);
    assert_int_equal(x.n_begun, x.n_stages);
    assert_int_equal(x.n_ended, x.n_stages);
    assert_int_equal(x.seen[0].stage, STAGE_EMBED);
    assert_int_equal(x.seen[0].layer, 0);
    for (size_t i = 0; i < N_LAYERS * n; i++) {
        assert_int_equal(x.seen[1 + i].stage, of_layer[i % n]);
        assert_int_equal(x.seen[1 + i].layer, i / n);
    }
    assert_int_equal(x.seen[x.n_stages - 2].stage, STAGE_HEAD_NORM);
    assert_int_equal(x.seen[x.n_stages - 1].stage, STAGE_HEAD);
    assert_int_equal(x.seen[x.n_stages - 1].layer, N_LAYERS);
    /* Nobody wants logits. */
    struct bench y = { .fails = false };
    assert_int_equal(run(&y, true, 0, NULL), WEFT_OK);
    assert_int_equal(y.n_stages, 1 + N_LAYERS * n);
}

/* ops.step shows no stages, so it is not called while somebody watches. */
static void test_shorter_way(void **state)
{
    (void)state;
    struct bench x = { .fails = false }, y = { .fails = false };
    assert_int_equal(run(&x, false, 1, NULL), WEFT_OK);
    assert_int_equal(x.n_whole, 1);
    assert_int_equal(x.n_stages, 0);
    assert_int_equal(run(&y, true, 1, NULL), WEFT_OK);
    assert_int_equal(y.n_whole, 0);
}

/* A stage that has failed is not reported and is the last one. If the watcher fails, its stage is
 * the last one too. */
static void test_failure(void **state)
{
    (void)state;
    weft_error err;
    struct bench x = { .fails = true };
    assert_int_equal(run(&x, true, 1, &err), WEFT_E_INTERNAL);
    assert_int_equal(x.n_stages, 6);
    assert_int_equal(x.n_begun, 6);
    assert_int_equal(x.n_ended, 5);
    struct bench y = { .told_enough = true };
    assert_int_equal(run(&y, true, 1, &err), WEFT_E_NOMEM);
    assert_int_equal(y.n_stages, 2);
    assert_int_equal(y.n_ended, 1);
}

static void test_lacking(void **state)
{
    (void)state;
    assert_int_equal(backend_check(&ops, &model, NULL), WEFT_OK);
    for (enum stage s = STAGE_EMBED; s < N_STAGES; s++) {
        weft_error err;
        char want[64];
        lacking = s;
        assert_int_equal(backend_check(&ops, &model, &err), WEFT_E_UNSUPPORTED);
        lacking = N_STAGES;
        snprintf(want, sizeof want, "needs the stage %s for its ", stage_names[s]);
        assert_non_null(strstr(err.message, want));
        assert_non_null(strstr(err.message, "backend bench lacks it"));
    }
    weft_error err;
    struct backend_ops less = ops;
    less.acts = 0;
    assert_int_equal(backend_check(&less, &model, &err), WEFT_E_UNSUPPORTED);
    assert_string_equal(err.message,
                        "the model needs the activation silu, and backend bench lacks it");
    struct kv store = { .n_heads = 1, .k_dim = 8, .v_dim = 16 };
    struct model uneven = model;
    uneven.kv = &store;
    uneven.n_stores = 1;
    assert_int_equal(backend_check(&ops, &uneven, &err), WEFT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "8 values in K and 16 in V"));
}

/* Every name occurs once. The stage that reads a tensor of a layer is a stage of the layer. */
static void test_tensors(void **state)
{
    (void)state;
    for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
        const char *name = layer_tensors[t].name;
        for (enum layer_tensor u = 0; u < t; u++) {
            assert_string_not_equal(name, layer_tensors[u].name);
        }
        assert_in_range(tensor_stages[t], STAGE_ATTN_IN, STAGE_FFN_OUT);
        assert_true(layer_tensors[t].cols != SIZE_ONE);
    }
}

static void test_ropes(void **state)
{
    (void)state;
    weft_error err;
    struct model m = { .config.rope_base = 5 };
    struct rope *rope;
    for (size_t i = 0; i < MAX_ROPES; i++) {
        assert_int_equal(arch_add_rope(&m, true, 7, &rope, &err), WEFT_OK);
        assert_ptr_equal(rope, &m.ropes[i]);
        assert_int_equal(rope->at, i);
        assert_true(rope->base == 7);
    }
    assert_int_equal(arch_add_rope(&m, true, 7, &rope, &err), WEFT_E_UNSUPPORTED);
    assert_int_equal(m.n_ropes, MAX_ROPES);
}

/* Each architecture has a preset for tests. Its layers are complete: every rope is one of the
 * model's ropes, every store is one of its stores, and no size is above the largest of any
 * layer. */
static void test_every_architecture(void **state)
{
    (void)state;
    for (size_t i = 0; arch_at(i) != NULL; i++) {
        weft_error err;
        char preset[64];
        struct model *m;
        const weft_model_params params = WEFT_MODEL_PARAMS_INIT;
        snprintf(preset, sizeof preset, "tiny-%s", arch_at(i)->name);
        assert_int_equal(model_open(model_file(preset), &params, &m, &err), WEFT_OK);
        assert_string_equal(m->arch_name, arch_at(i)->name);
        assert_in_range(m->n_ropes, 1, MAX_ROPES);
        for (size_t l = 0; l < m->config.n_layers; l++) {
            const struct layer *layer = &m->layers[l];
            assert_in_range(layer->attn.kv, 0, m->n_stores - 1);
            assert_in_range(layer_kv(m, layer)->pool, 0, MAX_POOLS - 1);
            assert_in_range(layer->attn.rope->at, 0, m->n_ropes - 1);
            assert_ptr_equal(layer->attn.rope, &m->ropes[layer->attn.rope->at]);
            assert_int_equal(layer->attn.n_heads % layer_kv(m, layer)->n_heads, 0);
            assert_in_range(layer_size(m, layer, SIZE_Q), 1, m->max.q_dim);
            assert_in_range(layer_size(m, layer, SIZE_K), 1, m->max.k_dim);
            assert_in_range(layer_size(m, layer, SIZE_V), 1, m->max.v_dim);
            assert_in_range(layer_size(m, layer, SIZE_O), 1, m->max.o_dim);
            assert_in_range(layer->n_ff, 1, m->max.n_ff);
        }
        model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_shorter_way),
        cmocka_unit_test(test_failure), cmocka_unit_test(test_lacking),
        cmocka_unit_test(test_tensors), cmocka_unit_test(test_every_architecture),
        cmocka_unit_test(test_ropes),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
