/* Runs the batches of tests/model/test_shapes.c on a GPU with `deterministic` set: every sequence
 * gets exactly the ids that it gets alone. The simulator takes some milliseconds for a token, so
 * there are fewer models and shorter texts here than there; at the level thin most of them are left
 * out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/level.h"
#include "support/shapes_rig.h"

static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };

static weft_engine_params batch(size_t n)
{
    return (weft_engine_params){ .device = "cuda", .deterministic = true, .n_batch = n };
}

static bool thin(void)
{
    return !level_all(
        "all models but one, 512 tokens over 16 sequences, and long texts of a crowd");
}

static size_t n_presets(void) { return thin() ? 1 : sizeof presets / sizeof presets[0]; }

static void test_one_token(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_presets(); i++) {
        check_shape(presets[i], batch(512), 1, 1, 3);
    }
}

static void test_ten_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_presets(); i++) {
        check_shape(presets[i], batch(512), 10, 1, 3);
        check_shape(presets[i], batch(4), 10, 1, 3);
    }
}

static void test_ten_over_three(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_presets(); i++) {
        check_shape(presets[i], batch(512), 10, 3, 3);
        check_shape(presets[i], batch(4), 10, 3, 3);
    }
}

static void test_512_over_sixteen(void **state)
{
    (void)state;
    if (thin()) {
        skip();
    }
    check_shape(presets[0], batch(512), 512, 16, 1);
}

static void test_crowd(void **state)
{
    const struct crowd crowd = {
        .n_texts = 90, .n_short = thin() ? 2 : 6, .n_long = thin() ? 8 : 24, .n_new = 8
    };
    (void)state;
    check_crowd(presets[0], batch(96), &crowd, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_token),      cmocka_unit_test(test_ten_tokens),
        cmocka_unit_test(test_ten_over_three), cmocka_unit_test(test_512_over_sixteen),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
