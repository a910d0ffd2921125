/* The best logits of each row, as the CPU backend finds them, equal those of a search through the
 * whole row, for any number of threads and rows, with equal logits, infinities and NaN among
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/state.h"
#include "run/engine.h"
#include "support/models.h"
#include "support/rig.h"

enum { MAX_ROWS = 9 };

/* Sorts the logits: the best one comes first, equal ones by ascending id. */
static void best_of(const float *row, size_t n, size_t k, int32_t *ids, float *values)
{
    bool *taken = calloc(n, sizeof *taken);
    assert_non_null(taken);
    for (size_t rank = 0; rank < k; rank++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            best = !taken[i] && (best == n || row[i] > row[best]) ? i : best;
        }
        taken[best] = true;
        ids[rank] = (int32_t)best;
        values[rank] = row[best];
    }
    free(taken);
}

/* Fills a row of one of these kinds: smooth; rising, so that each logit is better than all before
 * it; few different values; infinities, most of them negative; all equal. */
static void fill(float *row, size_t n, uint64_t *random)
{
    uint32_t kind = rig_random(random, 5);
    for (size_t i = 0; i < n; i++) {
        float x = (float)rig_random(random, 1 << 20) * 0x1p-16f - 8;
        x = kind == 1 ? (float)i : kind == 2 ? (float)((int)rig_random(random, 5) - 2) : x;
        if (kind == 3) {
            x = rig_random(random, 50) ? -INFINITY : rig_random(random, 3) ? x : INFINITY;
        }
        row[i] = kind == 4 ? -1.5f : x;
    }
}

static void check(struct cpu *c, size_t n_rows, size_t k, uint64_t *random)
{
    const size_t n = c->model->config.n_vocab;
    int32_t ids[MAX_ROWS * BACKEND_TOP], want[BACKEND_TOP];
    float values[MAX_ROWS * BACKEND_TOP], want_values[BACKEND_TOP];
    bool nan[MAX_ROWS];
    c->n_logits = n_rows;
    for (size_t r = 0; r < n_rows; r++) {
        fill(c->logits + r * n, n, random);
        nan[r] = rig_random(random, 4) == 0;
        if (nan[r]) {
            c->logits[r * n + rig_random(random, (uint32_t)n)] = NAN;
        }
    }
    OK(c->base.ops->top(&c->base, k, ids, values, E));
    for (size_t r = 0; r < n_rows; r++) {
        if (nan[r]) {
            assert_int_equal(ids[r * k], -1);
            continue;
        }
        best_of(c->logits + r * n, n, k, want, want_values);
        assert_memory_equal(ids + r * k, want, k * sizeof *want);
        assert_memory_equal(values + r * k, want_values, k * sizeof *want_values);
    }
}

static void test_best(void **state)
{
    (void)state;
    static const size_t ks[] = { 1, 2, 5, 40, BACKEND_TOP };
    uint64_t random = 1;
    for (size_t n_threads = 1; n_threads <= 5; n_threads++) {
        weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
        p.device = "cpu";
        p.n_threads = n_threads;
        struct rig r = rig_open(model_file("tiny-qwen2"), &p);
        struct cpu *c = (struct cpu *)r.engine->backend;
        for (size_t round = 0; round < 60; round++) {
            check(c, 1 + round % MAX_ROWS, ks[round % 5], &random);
        }
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_best) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
