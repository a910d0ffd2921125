/* A step ends between two layers when all of its sequences were cancelled, and only then. Runs
 * forward() on a backend that computes nothing, counts its stages, and cancels sequences in the
 * middle, as another thread would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend.h"

enum { N_LAYERS = 5, AT_LAYER = 2 };

struct counter {
    struct backend base;
    atomic_bool cancelled[2];
    size_t n_to_cancel; /* at AT_LAYER */
    size_t n_layers, n_heads;
};

static weft_status count_nothing(struct backend *b, const struct step *s, weft_error *err)
{
    (void)b, (void)s, (void)err;
    return WEFT_OK;
}

static weft_status count_stage(struct backend *b, const struct step *s, size_t layer,
                               weft_error *err)
{
    (void)b, (void)s, (void)layer, (void)err;
    return WEFT_OK;
}

static weft_status count_first(struct backend *b, const struct step *s, size_t layer,
                               weft_error *err)
{
    struct counter *c = (struct counter *)b;
    (void)s, (void)err;
    for (size_t i = 0; layer == AT_LAYER && i < c->n_to_cancel; i++) {
        atomic_store(&c->cancelled[i], true);
    }
    return WEFT_OK;
}

static weft_status count_last(struct backend *b, const struct step *s, size_t layer,
                              weft_error *err)
{
    (void)s, (void)layer, (void)err;
    ((struct counter *)b)->n_layers++;
    return WEFT_OK;
}

static weft_status count_head(struct backend *b, const struct step *s, weft_error *err)
{
    (void)s, (void)err;
    ((struct counter *)b)->n_heads++;
    return WEFT_OK;
}

/* Runs a step of two sequences of which `n` are cancelled at AT_LAYER. */
static weft_status run(struct counter *c, size_t n)
{
    static const struct backend_ops ops = {
        .embed = count_nothing,
        .attn_in = count_first,
        .attend = count_stage,
        .attn_out = count_stage,
        .ffn_in = count_stage,
        .ffn_out = count_last,
        .head = count_head,
    };
    static const uint32_t out_rows[] = { 0, 1 };
    *c = (struct counter){ .base = { &ops }, .n_to_cancel = n };
    const struct step_seq seqs[] = {
        { .row = 0, .n_rows = 1, .cancelled = &c->cancelled[0] },
        { .row = 1, .n_rows = 1, .cancelled = &c->cancelled[1] },
    };
    const struct step step = {
        .n_rows = 2, .n_seqs = 2, .seqs = seqs, .n_out = 2, .out_rows = out_rows
    };
    return forward(&c->base, N_LAYERS, &step, NULL);
}

static void test_all(void **state)
{
    (void)state;
    struct counter c;
    assert_int_equal(run(&c, 2), WEFT_E_CANCELLED);
    assert_int_equal(c.n_layers, AT_LAYER + 1);
    assert_int_equal(c.n_heads, 0);
}

static void test_some(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        struct counter c;
        assert_int_equal(run(&c, n), WEFT_OK);
        assert_int_equal(c.n_layers, N_LAYERS);
        assert_int_equal(c.n_heads, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
