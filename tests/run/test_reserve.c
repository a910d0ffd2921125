/* weft_seq_reserve(): what is set aside is there when it is wanted, whatever others take, and is
 * free again when it is given back. Random schedules call it too (support/schedule_rig.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/models.h"
#include "support/rig.h"

enum { PAGE = 64, N_PAGES = 6 };

static struct rig open_small(bool prefix_cache)
{
    const weft_engine_params p = { .size = sizeof p,
                                   .n_ctx = 256,
                                   .n_kv = N_PAGES * PAGE,
                                   .n_threads = 1,
                                   .device = "cpu",
                                   .no_prefix_cache = !prefix_cache };
    return rig_open_as(model_file("tiny-qwen2"), &p);
}

static size_t free_pages(const struct rig *r) { return rig_free(r) / PAGE; }

/* Opens a sequence that takes all free pages. */
static weft_seq *take_all(const struct rig *r)
{
    int32_t tokens[256];
    weft_seq *seq = rig_seq(r, NULL);
    rig_tokens(r, 99, tokens, 256);
    OK(weft_seq_append(seq, tokens, free_pages(r) * PAGE, E));
    assert_int_equal(free_pages(r), 0);
    return seq;
}

static void test_kept(void **state)
{
    (void)state;
    struct rig r = open_small(false);
    int32_t tokens[150], token;
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.ignore_end = true;
    rig_tokens(&r, 1, tokens, 150);
    weft_seq *seq = rig_seq(&r, &s);
    OK(weft_seq_append(seq, tokens, 10, E));
    OK(weft_seq_reserve(seq, 140, E));
    assert_int_equal(free_pages(&r), N_PAGES - 3);
    weft_seq *other = take_all(&r), *third = rig_seq(&r, NULL);
    FAILS(WEFT_E_KV_FULL, weft_seq_append(third, tokens, 1, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_reserve(third, 1, E));
    /* 140 tokens in all are appended and drawn. */
    OK(weft_seq_append(seq, tokens, 70, E));
    for (size_t i = 0; i < 70; i++) {
        rig_compute(&r, seq);
        OK(weft_seq_next(seq, &token, E));
        FAILS(WEFT_E_KV_FULL, weft_seq_append(third, tokens, 1, E));
    }
    /* This fills the page to its end. */
    OK(weft_seq_append(seq, tokens, 42, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_append(seq, tokens, 1, E));
    assert_int_equal(weft_seq_len(seq), 192);
    weft_seq_release(&other);
    weft_seq_release(&third);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_refused(void **state)
{
    (void)state;
    struct rig r = open_small(false);
    int32_t tokens[100];
    rig_tokens(&r, 1, tokens, 100);
    weft_seq *seq = rig_fed(&r, tokens, 100);
    OK(weft_seq_reserve(seq, 20, E));
    assert_int_equal(free_pages(&r), N_PAGES - 2);
    FAILS(WEFT_E_CTX_FULL, weft_seq_reserve(seq, 157, E));
    FAILS(WEFT_E_CTX_FULL, weft_seq_reserve(seq, SIZE_MAX, E));
    weft_seq *other = take_all(&r);
    FAILS(WEFT_E_KV_FULL, weft_seq_reserve(seq, 100, E));
    /* A call that fails takes nothing, and leaves the pages that were set aside before. */
    weft_seq_release(&other);
    assert_int_equal(free_pages(&r), N_PAGES - 2);
    OK(weft_seq_reserve(seq, 156, E));
    assert_int_equal(free_pages(&r), N_PAGES - 4);
    FAILS(WEFT_E_CTX_FULL, weft_seq_reserve(seq, 157, E));
    assert_int_equal(free_pages(&r), N_PAGES - 4);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_given_back(void **state)
{
    (void)state;
    struct rig r = open_small(false);
    int32_t tokens[70];
    static uint8_t saved[1 << 19];
    size_t n;
    rig_tokens(&r, 1, tokens, 70);
    weft_seq *seq = rig_fed(&r, tokens, 70);
    OK(weft_seq_save(seq, saved, sizeof saved, &n, E));
    for (int i = 0; i < 4; i++) {
        OK(weft_seq_reserve(seq, 180, E));
        assert_int_equal(free_pages(&r), N_PAGES - 4);
        switch (i) {
        case 0: OK(weft_seq_reserve(seq, 0, E)); break;
        case 1: OK(weft_seq_reserve(seq, 1, E)); break;
        case 2: OK(weft_seq_rewind(seq, 70, E)); break;
        default: OK(weft_seq_load(seq, saved, n, E)); break;
        }
        assert_int_equal(free_pages(&r), N_PAGES - 2);
        rig_compute(&r, seq);
    }
    OK(weft_seq_reserve(seq, 180, E));
    weft_seq_release(&seq);
    assert_int_equal(free_pages(&r), N_PAGES);
    rig_close(&r);
}

/* A fork shares the tokens, but not the pages that are set aside: the sequence writes to its page
 * as it was promised, even if the pool is full. */
static void test_fork(void **state)
{
    (void)state;
    struct rig r = open_small(false);
    int32_t tokens[128];
    weft_seq *copy = NULL;
    rig_tokens(&r, 1, tokens, 128);
    weft_seq *seq = rig_fed(&r, tokens, 100);
    OK(weft_seq_reserve(seq, 28, E));
    OK(weft_seq_fork(seq, &copy, E));
    assert_int_equal(free_pages(&r), N_PAGES - 3);
    weft_seq *other = take_all(&r);
    OK(weft_seq_append(seq, tokens + 100, 28, E));
    OK(weft_seq_append(copy, tokens + 99, 1, E));
    weft_seq_release(&other);
    rig_compute(&r, seq);
    rig_compute(&r, copy);
    weft_seq_release(&copy);
    rig_check(&r, seq, tokens, 128, "the sequence, in what was set aside");
    weft_seq_release(&seq);
    /* There is no page for this fork. */
    seq = rig_fed(&r, tokens, 100);
    OK(weft_seq_reserve(seq, 28, E));
    other = take_all(&r);
    FAILS(WEFT_E_KV_FULL, weft_seq_fork(seq, &copy, E));
    OK(weft_seq_append(seq, tokens + 100, 28, E));
    weft_seq_release(&other);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* Pages that are found take the place of those that were set aside. */
static void test_prefix(void **state)
{
    (void)state;
    struct rig r = open_small(true);
    int32_t tokens[200];
    rig_tokens(&r, 1, tokens, 200);
    weft_seq *seq = rig_fed(&r, tokens, 200);
    weft_seq_release(&seq);
    seq = rig_seq(&r, NULL);
    OK(weft_seq_reserve(seq, 200, E));
    assert_int_equal(free_pages(&r), N_PAGES - 4);
    OK(weft_seq_append(seq, tokens, 180, E));
    assert_int_equal(weft_seq_cached(seq), 128);
    assert_int_equal(free_pages(&r), N_PAGES - 4);
    weft_seq *other = take_all(&r);
    OK(weft_seq_append(seq, tokens + 180, 20, E));
    weft_seq_release(&other);
    rig_compute(&r, seq);
    rig_check(&r, seq, tokens, 200, "a text that was found");
    weft_seq_release(&seq);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_given_back), cmocka_unit_test(test_fork),
        cmocka_unit_test(test_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
