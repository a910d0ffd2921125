/* The shapes of batches that bindings to other engines stumble over: 1 token in 1 sequence, 10 in
 * 1, 10 over 3 sequences, 512 over 16; and 64 sequences of random lengths that come and go. Each
 * sequence gets exactly the ids that it gets alone, greedy and sampled. Includes only weft.h of the
 * library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/shapes_rig.h"

static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };

static weft_engine_params batch(size_t n) { return (weft_engine_params){ .n_batch = n }; }

static void test_one_token(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_shape(presets[i], batch(512), 1, 1, 8);
    }
}

static void test_ten_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_shape(presets[i], batch(512), 10, 1, 8);
        check_shape(presets[i], batch(4), 10, 1, 8);
    }
}

static void test_ten_over_three(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_shape(presets[i], batch(512), 10, 3, 8);
        check_shape(presets[i], batch(4), 10, 3, 8);
    }
}

static void test_512_over_sixteen(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_shape(presets[i], batch(512), 512, 16, 8);
    }
    check_shape(presets[0], batch(100), 512, 16, 8);
    check_shape(presets[0], batch(1), 512, 16, 8);
}

static void test_q8_0(void **state)
{
    static const size_t batches[] = { 512, 100, 7 };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        weft_engine_params p = batch(batches[i]);
        p.n_threads = 3;
        p.type_k = p.type_v = WEFT_KV_Q8_0;
        check_shape("tiny-qwen3", p, 512, 16, 8);
        check_shape("tiny-phi3", p, 512, 16, 8);
    }
}

static void test_crowd(void **state)
{
    static const struct crowd crowd = {
        .n_texts = 110, .n_short = 20, .n_long = MAX_PROMPT, .n_new = MAX_NEW
    };
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_crowd(presets[i], batch(96), &crowd, i);
    }
    check_crowd(presets[0], batch(5), &crowd, 7);
    check_crowd(presets[0], batch(512), &crowd, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_token),      cmocka_unit_test(test_ten_tokens),
        cmocka_unit_test(test_ten_over_three), cmocka_unit_test(test_512_over_sixteen),
        cmocka_unit_test(test_q8_0),           cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
