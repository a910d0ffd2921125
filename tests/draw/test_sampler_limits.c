/* The sampler at and beyond its limits: banned tokens, infinite logits, logits that cannot be
 * sampled, every field in and out of its range, NaN, values that contradict each other, lists of
 * biased tokens, sizes of the vocabulary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "support/sampler_rig.h"

static void test_bans(void **state)
{
    (void)state;
    static const weft_logit_bias bias[] = { { 1, -INFINITY }, { 2, 4 } };
    static const int32_t end[] = { 0, 3 };
    static const struct draw_context ends = { .end = end, .n_end = 2 };
    static const float logits[] = { 9, INFINITY, 0, 8, 3 };
    weft_sampling p = plain;
    p.bias = bias;
    p.n_bias = 2;
    p.ignore_end = true;
    for (int greedy = 0; greedy < 2; greedy++) {
        p.temperature = greedy ? 0 : 1;
        struct sampler *s = open_sampler(&p, 5);
        size_t count[5] = { 0 };
        for (int i = 0; i < 500; i++) {
            int32_t token = -1;
            weft_error err;
            assert_int_equal(pick_in(s, logits, &ends, &token, &err), WEFT_OK);
            count[token]++;
        }
        assert_int_equal(count[0] + count[1] + count[3], 0);
        assert_true(count[2] > 0);
        assert_int_equal(count[4] > 0, !greedy);
        sampler_close(s);
    }
    /* Without ignore_end the end tokens may come. */
    p.ignore_end = false;
    p.temperature = 0;
    struct sampler *s = open_sampler(&p, 5);
    int32_t token = -1;
    weft_error err;
    assert_int_equal(pick_in(s, logits, &ends, &token, &err), WEFT_OK);
    assert_int_equal(token, 0);
    sampler_close(s);
}

static void test_infinite_logits_share_everything(void **state)
{
    (void)state;
    static const float logits[] = { 3, INFINITY, -INFINITY, INFINITY, 80 };
    weft_sampling p = WEFT_SAMPLING_INIT;
    for (int with = 0; with < 2; with++) {
        p.typical_p = with ? 0.99f : 1;
        p.top_k = with ? 0 : 40;
        struct sampler *s = open_sampler(&p, 5);
        size_t count[5] = { 0 };
        for (int i = 0; i < 1000; i++) {
            count[pick(s, logits)]++;
        }
        assert_int_equal(count[1] + count[3], 1000);
        /* The count is binomial(1000, 1/2), and seven deviations of 15.8 are allowed. */
        assert_true(count[1] > 390 && count[1] < 610);
        sampler_close(s);
    }
}

static void expect_state_error(struct sampler *s, const float *logits, const char *part)
{
    int32_t token = -7;
    weft_error err;
    assert_int_equal(pick_in(s, logits, &(struct draw_context){ 0 }, &token, &err), WEFT_E_STATE);
    assert_non_null(strstr(err.message, part));
    assert_int_equal(token, -7);
}

/* A refused pick must not use up a random number. */
static void test_logits_that_cannot_be_sampled(void **state)
{
    (void)state;
    static const float good[] = { 0, 0, 0, 0, 0, 0, 0, 0 };
    static const float nan[] = { 0, 0, 0, 0, 0, NAN, 0, NAN };
    static const float banned[] = { -INFINITY, -INFINITY, -INFINITY, -INFINITY,
                                    -INFINITY, -INFINITY, -INFINITY, -INFINITY };
    for (int greedy = 0; greedy < 2; greedy++) {
        weft_sampling p = plain;
        p.temperature = greedy ? 0 : 1;
        struct sampler *a = open_sampler(&p, 8);
        struct sampler *b = open_sampler(&p, 8);
        for (int i = 0; i < 50; i++) {
            expect_state_error(a, nan, "token 5 is NaN");
            expect_state_error(a, banned, "banned");
            assert_int_equal(pick(a, good), pick(b, good));
        }
        sampler_close(a);
        sampler_close(b);
    }
}

static void expect_refused(const weft_sampling *p, const char *part)
{
    struct sampler *s = NULL;
    weft_error err;
    assert_int_equal(sampler_open(p, 100, &s, &err), WEFT_E_ARG);
    assert_null(s);
    assert_non_null(strstr(err.message, part));
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t offset;
        float refused[4], allowed[3];
    } rows[] = {
#define ROW(field) #field, offsetof(weft_sampling, field)
        { ROW(temperature), { NAN, -0.01f, 100.5f, INFINITY }, { 0, 1e-30f, 100 } },
        { ROW(top_p), { NAN, 0, -1, 1.001f }, { 1e-6f, 0.5f, 1 } },
        { ROW(min_p), { NAN, -0.1f, 1.1f, INFINITY }, { 0, 0.5f, 1 } },
        { ROW(typical_p), { NAN, 0, -1, 1.001f }, { 1e-6f, 0.5f, 1 } },
        { ROW(repeat_penalty), { NAN, 0, -1, INFINITY }, { 1e-6f, 1, 1000 } },
        { ROW(frequency_penalty), { NAN, -2.1f, 2.1f, INFINITY }, { -2, 0, 2 } },
        { ROW(presence_penalty), { NAN, -2.1f, 2.1f, -INFINITY }, { -2, 0, 2 } },
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weft_sampling p = WEFT_SAMPLING_INIT;
        for (size_t k = 0; k < 4; k++) {
            memcpy((char *)&p + rows[i].offset, &rows[i].refused[k], sizeof(float));
            expect_refused(&p, rows[i].name);
        }
        float logits[100];
        for (size_t k = 0; k < 100; k++) {
            logits[k] = (float)(k * 37 % 100) / 10 - 5;
        }
        for (size_t k = 0; k < 3; k++) {
            memcpy((char *)&p + rows[i].offset, &rows[i].allowed[k], sizeof(float));
            struct sampler *s = open_sampler(&p, 100);
            assert_in_range(pick(s, logits), 0, 99);
            sampler_close(s);
        }
    }
}

static void test_contradictions(void **state)
{
    (void)state;
    weft_logit_bias bias[1025];
    for (int32_t i = 0; i < 1025; i++) {
        bias[i] = (weft_logit_bias){ .token = i, .bias = 1 };
    }
    const weft_sampling init = WEFT_SAMPLING_INIT;
    weft_sampling p = init;
    p.size = 4;
    expect_refused(&p, "size");
    p = init;
    p.top_k = -1;
    expect_refused(&p, "top_k is -1");
    p = init;
    p.repeat_last_n = -2;
    expect_refused(&p, "repeat_last_n is -2");
    for (int i = 0; i < 3; i++) {
        p = init;
        p.repeat_last_n = 0;
        p.repeat_penalty = i == 0 ? 1.1f : 1;
        p.frequency_penalty = i == 1 ? 0.1f : 0;
        p.presence_penalty = i == 2 ? -0.1f : 0;
        expect_refused(&p, "repeat_last_n is 0");
    }
    p = init;
    p.repeat_last_n = 0;
    sampler_close(open_sampler(&p, 100));
    p = init;
    p.n_bias = 1;
    expect_refused(&p, "bias is NULL");
    p.bias = bias;
    p.n_bias = 1025;
    expect_refused(&p, "1025");
    p.n_bias = 101;
    expect_refused(&p, "token 100");
    p.n_bias = 3;
    bias[2].token = -1;
    expect_refused(&p, "token -1");
    bias[2].token = 0;
    expect_refused(&p, "token 0 is biased twice");
    bias[2] = (weft_logit_bias){ .token = 2, .bias = NAN };
    expect_refused(&p, "bias of token 2");
    bias[2].bias = INFINITY;
    expect_refused(&p, "bias of token 2");
    bias[2].bias = -INFINITY;
    sampler_close(open_sampler(&p, 100));
}

static void test_vocabulary_sizes(void **state)
{
    (void)state;
    struct sampler *s = NULL;
    weft_error err;
    assert_int_equal(sampler_open(NULL, 0, &s, &err), WEFT_E_ARG);
    assert_int_equal(sampler_open(NULL, (size_t)INT32_MAX + 1, &s, &err), WEFT_E_ARG);
    assert_null(s);
    static const float one[] = { -5 };
    s = open_sampler(NULL, 1);
    assert_int_equal(pick(s, one), 0);
    sampler_close(s);
    /* The list of biases is as long as it may be. */
    static weft_logit_bias bias[1024];
    for (int32_t i = 0; i < 1024; i++) {
        bias[i] = (weft_logit_bias){ .token = 1023 - i, .bias = i == 7 ? 1 : 0 };
    }
    static const float zeros[1024];
    weft_sampling p = plain;
    p.temperature = 0;
    p.bias = bias;
    p.n_bias = 1024;
    s = open_sampler(&p, 1024);
    assert_int_equal(pick(s, zeros), 1016);
    sampler_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bans),
        cmocka_unit_test(test_infinite_logits_share_everything),
        cmocka_unit_test(test_logits_that_cannot_be_sampled),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_vocabulary_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
