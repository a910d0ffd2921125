/* A step ends between two layers when all of its sequences were cancelled, and only then. Runs
 * forward() on a backend that computes nothing, counts its stages, and cancels sequences in the
 * middle, as another thread would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend.h"
#include "forward.h"

enum { N_LAYERS = 5, AT_LAYER = 2 };

struct counter {
    struct backend base;
    atomic_bool cancelled[2];
    size_t n_to_cancel; /* sequences to cancel at AT_LAYER */
    size_t n_layers, n_heads;
};

static weft_status count(struct backend *b, enum stage stage, const struct step *s, size_t layer,
                         weft_error *err)
{
    struct counter *c = (struct counter *)b;
    (void)s, (void)err;
    bool cancel = stage == STAGE_ATTN_IN && layer == AT_LAYER;
    for (size_t i = 0; cancel && i < c->n_to_cancel; i++) {
        atomic_store(&c->cancelled[i], true);
    }
    c->n_layers += stage == STAGE_FFN_OUT;
    c->n_heads += stage == STAGE_HEAD;
    return WEFT_OK;
}

/* Runs a step of two sequences of which `n` are cancelled at AT_LAYER. */
static weft_status run(struct counter *c, size_t n)
{
    static const struct backend_ops ops = { .stage = count };
    static struct layer layers[N_LAYERS];
    static const struct model model = { .config.n_layers = N_LAYERS, .layers = layers };
    static const uint32_t out_rows[] = { 0, 1 };
    *c = (struct counter){ .base = { .ops = &ops, .model = &model }, .n_to_cancel = n };
    const struct step_seq seqs[] = {
        { .row = 0, .n_rows = 1, .cancelled = &c->cancelled[0] },
        { .row = 1, .n_rows = 1, .cancelled = &c->cancelled[1] },
    };
    const struct step step = {
        .n_rows = 2, .n_seqs = 2, .seqs = seqs, .n_out = 2, .out_rows = out_rows
    };
    return forward(&c->base, &step, NULL);
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
