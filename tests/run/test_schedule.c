/* Random schedules: thousands of operations on several sequences of one engine are compared with a
 * simple model, which does one thing at a time. The model knows the tokens of every sequence, the
 * status that each call must have, and how many tokens wait. Each sequence has a twin in another
 * engine, which gives the expected ids: the twin never shares pages, and reads its whole text again
 * whenever the sequence did anything but draw. The expected logits come from sequences that are fed
 * in one go. A failure prints the seed and the number of the operation. Includes only weft.h of the
 * library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/schedule_rig.h"

static void test_large_pool(void **state)
{
    (void)state;
    static const size_t batches[] = { 1, 7, 64, 512 };
    for (size_t i = 0; i < 4; i++) {
        schedule("tiny-qwen2",
                 (weft_engine_params){ .n_kv = N_SLOTS * 256,
                                       .n_batch = batches[i],
                                       .device = "cpu",
                                       .n_threads = 1,
                                       .no_prefix_cache = true },
                 100 + i, 1500);
    }
}

static void test_small_pool(void **state)
{
    (void)state;
    static const size_t batches[] = { 5, 33, 300 };
    for (size_t i = 0; i < 3; i++) {
        schedule(i == 2 ? "tiny-phi3" : "tiny-qwen3",
                 (weft_engine_params){ .n_kv = 8 * PAGE,
                                       .n_batch = batches[i],
                                       .device = "cpu",
                                       .n_threads = 1,
                                       .no_prefix_cache = true },
                 200 + i, 2000);
    }
}

static void test_known(void **state)
{
    (void)state;
    static const size_t batches[] = { 7, 96, 512 };
    for (size_t i = 0; i < 3; i++) {
        schedule(i == 1 ? "tiny-llama" : "tiny-qwen2",
                 (weft_engine_params){ .n_kv = i == 0 ? N_SLOTS * 256 : 10 * PAGE,
                                       .n_batch = batches[i],
                                       .device = "cpu",
                                       .n_threads = 1 },
                 400 + i, 3000);
    }
}

/* Sequences cross the length at which the RoPE factors change, in every way there is. */
static void test_rope_border(void **state)
{
    (void)state;
    static const size_t borders[] = { 63, 64, 100 };
    for (size_t i = 0; i < 3; i++) {
        const weft_engine_params p = { .n_kv = i == 1 ? 10 * PAGE : N_SLOTS * 256,
                                       .n_batch = i == 0 ? 7 : 96,
                                       .device = "cpu",
                                       .n_threads = 1,
                                       .no_prefix_cache = i == 2 };
        schedule_file(model_file_long(borders[i]), "tiny-phi3 with LongRoPE", p, 500 + i, 3000);
    }
}

static void test_threads(void **state)
{
    (void)state;
    schedule("tiny-llama",
             (weft_engine_params){ .n_kv = 10 * PAGE,
                                   .n_batch = 48,
                                   .device = "cpu",
                                   .n_threads = 3,
                                   .no_prefix_cache = true },
             300, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_large_pool, say_where),
        cmocka_unit_test_teardown(test_small_pool, say_where),
        cmocka_unit_test_teardown(test_known, say_where),
        cmocka_unit_test_teardown(test_rope_border, say_where),
        cmocka_unit_test_teardown(test_threads, say_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
