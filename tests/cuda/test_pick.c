/* kernel_top against a sort, by bits: any number of rows, vocabularies around the borders of
 * slices, every kind of k; ties, zeros of both signs, infinities, NaN. kernel_advance step by step.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda/device.h"
#include "support/level.h"

struct best {
    float value;
    int32_t id;
};

static int by_value(const void *a, const void *b)
{
    const struct best *x = a, *y = b;
    return x->value != y->value ? (x->value < y->value ? 1 : -1) : x->id - y->id;
}

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

enum kind { SMOOTH, TIES, INFINITE, EQUAL, LOWEST, RISING, NANS, ALL_NAN, CLOSE, N_KINDS };

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void fill(float *row, size_t n, enum kind kind)
{
    for (size_t i = 0; i < n; i++) {
        float x = (float)below(1u << 24) * 0x1p-20f - 8;
        switch (kind) {
        case TIES:
            /* The largest values are the zeros of both signs, which are equal. */
            x = (float)((int)below(5) - 4);
            x = x == 0 && below(2) ? -0.0f : x;
            break;
        case INFINITE: x = below(3) ? x : below(2) ? INFINITY : -INFINITY; break;
        case EQUAL: x = -3.25f; break;
        case LOWEST: x = -INFINITY; break;
        case RISING: x = (float)i * 0.5f - 100; break;
        case ALL_NAN: x = NAN; break;
        /* The upper bits of these values are nearly the same, so the first passes decide little. */
        case CLOSE: x = from_bits(0x41200000u + below(300)); break;
        default: break;
        }
        row[i] = x;
    }
    if (kind == NANS) {
        row[below((uint32_t)n)] = from_bits(below(2) ? 0x7f800001u : 0xffffffffu);
        row[below((uint32_t)n)] = INFINITY;
    }
}

static void check_row(const float *row, size_t n_vocab, size_t k, const int32_t *ids,
                      const float *values)
{
    struct best *all = malloc(n_vocab * sizeof *all);
    assert_non_null(all);
    bool nan = false;
    for (size_t i = 0; i < n_vocab; i++) {
        all[i] = (struct best){ row[i], (int32_t)i };
        nan |= row[i] != row[i];
    }
    if (nan) {
        assert_int_equal(ids[0], -1);
        assert_true(isnan(values[0]));
        free(all);
        return;
    }
    qsort(all, n_vocab, sizeof *all, by_value);
    for (size_t i = 0; i < k; i++) {
        if (i >= n_vocab) {
            assert_int_equal(ids[i], -1);
            continue;
        }
        if (ids[i] != all[i].id) {
            fail_msg("%zu of %zu: best %zu is %d (%g), expected %d (%g)", k, n_vocab, i, ids[i],
                     (double)values[i], all[i].id, (double)all[i].value);
        }
        assert_memory_equal(&values[i], &row[ids[i]], sizeof *values);
    }
    free(all);
}

/* Checks rows of all kinds in turn, beginning with this kind. */
static void check(size_t n, size_t n_vocab, size_t k, size_t kind)
{
    float *logits = device_host(n * n_vocab * sizeof *logits);
    for (size_t i = 0; i < n; i++) {
        fill(logits + i * n_vocab, n_vocab, (enum kind)((kind + i) % N_KINDS));
    }
    struct dptr d = device_put(logits, n * n_vocab * sizeof *logits);
    struct dptr ids = device_alloc(n * k * sizeof(int32_t));
    struct dptr values = device_alloc(n * k * sizeof(float));
    struct dptr scratch = device_alloc(top_scratch_bytes(n, n_vocab, k));
    CU(kernel_top(d, n, n_vocab, k, ids, values, scratch, device_queue()));
    const int32_t *got = device_get(ids, n * k * sizeof *got);
    const float *got_values = device_get(values, n * k * sizeof *got_values);
    for (size_t i = 0; i < n; i++) {
        check_row(logits + i * n_vocab, n_vocab, k, got + i * k, got_values + i * k);
    }
}

static bool thin(void) { return !level_all("most sizes, and the largest vocabulary"); }

static void test_vocabularies(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 31, 32, 33, 64, 257, 2047, 2048, 2049, 4100 };
    static const size_t ks[] = { 1, 2, 40, 63, 64 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i += thin() ? 3 : 1) {
        for (size_t j = 0; j < sizeof ks / sizeof ks[0]; j++) {
            random_state = i * 100 + j;
            check(N_KINDS, sizes[i], ks[j], 0);
        }
    }
}

static void test_every_k(void **state)
{
    (void)state;
    for (size_t k = 1; k <= TOP_MAX; k += thin() ? 9 : 1) {
        random_state = k;
        check(1, 3000, k, k % 2 ? SMOOTH : CLOSE);
    }
}

static void test_rows(void **state)
{
    (void)state;
    size_t n = thin() ? 11 : 64;
    random_state = 5;
    check(n, 300, 1, 3);
    check(n, 300, 20, 4);
}

/* The vocabulary is as large as vocabularies get: 122 slices, and more keys to merge than
 * threads. */
static void test_large(void **state)
{
    (void)state;
    size_t n_vocab = thin() ? 20000 : 248320;
    random_state = 6;
    check(2, n_vocab, 1, SMOOTH);
    check(3, n_vocab, 64, SMOOTH);
    check(1, n_vocab, 64, CLOSE);
}

static void test_refuses(void **state)
{
    (void)state;
    struct dptr d = device_alloc(4096);
    const struct dqueue *on = device_queue();
    assert_int_equal(kernel_top(d, 1, 10, 65, d, d, d, on), cudaErrorInvalidValue);
    assert_int_equal(kernel_top(d, 1, 10, 0, d, d, d, on), cudaErrorInvalidValue);
    CU(kernel_top(d, 0, 10, 1, d, d, d, on));
}

static void check_advance(size_t n, size_t k, size_t n_steps)
{
    struct drow *rows = device_host(n * sizeof *rows);
    bool *stopped = device_host(n * sizeof *stopped);
    int32_t *ids = device_host(n * k * sizeof *ids);
    int32_t *history = device_host(n_steps * n * sizeof *history);
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        rows[i] = (struct drow){ .token = (int32_t)below(1000), .pos = below(4000), .seq = 9 - i };
    }
    struct dstep step = { .rows = device_put(rows, n * sizeof *rows) };
    struct dptr d_ids = device_alloc(n * k * sizeof *ids);
    struct dptr d_history = device_alloc(n_steps * n * sizeof *history);
    struct dptr d_count = device_put(&count, sizeof count);
    for (size_t s = 0; s < n_steps; s++) {
        for (size_t i = 0; i < n; i++) {
            ids[i * k] = (int32_t)below(1000);
            if (i % 3 == 1 && below(4) == 0) {
                ids[i * k] = -1;
            }
            stopped[i] = stopped[i] || ids[i * k] < 0;
            history[s * n + i] = stopped[i] ? -1 : ids[i * k];
            if (!stopped[i]) {
                rows[i].token = ids[i * k];
                rows[i].pos++;
            }
        }
        device_fill(d_ids, ids, n * k * sizeof *ids);
        CU(kernel_advance(&step, d_ids, k, n, d_history, d_count, device_queue()));
        const struct drow *got = device_get(step.rows, n * sizeof *got);
        assert_memory_equal(got, rows, n * sizeof *got);
        assert_int_equal(*(uint32_t *)device_get(d_count, sizeof count), s + 1);
    }
    assert_memory_equal(device_get(d_history, n_steps * n * sizeof *history), history,
                        n_steps * n * sizeof *history);
}

static void test_advance(void **state)
{
    (void)state;
    random_state = 7;
    check_advance(1, 1, 5);
    check_advance(8, 1, 12);
    check_advance(7, 3, 12);
    check_advance(100, 64, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_vocabularies, device_setup, device_teardown),
        cmocka_unit_test_setup_teardown(test_every_k, device_setup, device_teardown),
        cmocka_unit_test_setup_teardown(test_rows, device_setup, device_teardown),
        cmocka_unit_test_setup_teardown(test_large, device_setup, device_teardown),
        cmocka_unit_test_setup_teardown(test_refuses, device_setup, device_teardown),
        cmocka_unit_test_setup_teardown(test_advance, device_setup, device_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
