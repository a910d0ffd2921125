/* The log-probabilities of generated tokens are those of the logits, whatever the sampling does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/scratch.h"

enum { N = 20, TOP = 5 };

/* exp(logprob) must be exp(logit) over the sum of all exp(logit); the best tokens must be those of
 * the best logits. A float below 16 is exact to 1e-6, so 2e-5 is ample. */
static void check(const struct rig *r, const float *logits, const weft_logprob *l, size_t n_top,
                  int32_t token)
{
    double sum = 0, total = 0;
    for (size_t i = 0; i < r->n_vocab; i++) {
        sum += exp((double)logits[i]);
    }
    assert_int_equal(l[0].token, token);
    for (size_t i = 0; i <= n_top; i++) {
        double want = (double)logits[l[i].token] - log(sum);
        assert_true(fabs((double)l[i].logprob - want) < 2e-5);
        total += i > 0 ? exp((double)l[i].logprob) : 0;
    }
    assert_true(total <= 1 + 1e-5);
    for (size_t i = 1; i <= n_top; i++) {
        size_t better = 0;
        for (size_t k = 0; k < r->n_vocab; k++) {
            better += logits[k] > logits[l[i].token] ||
                      (!(logits[k] < logits[l[i].token]) && k < (size_t)l[i].token);
        }
        assert_int_equal(better, i - 1);
    }
}

static void run(const weft_sampling *sampling, size_t n_top)
{
    struct rig r = rig_open(model_file("tiny-qwen3"), NULL);
    int32_t tokens[N], token;
    weft_logprob l[1 + 64];
    size_t needed;
    rig_tokens(&r, 3, tokens, N);
    weft_seq *plain = rig_seq(&r, sampling), *seq = rig_seq(&r, sampling);
    OK(weft_seq_set_logprobs(seq, (int)n_top, E));
    OK(weft_seq_append(seq, tokens, N, E));
    OK(weft_seq_append(plain, tokens, N, E));
    FAILS(WEFT_E_STATE, weft_seq_logprobs(seq, l, 65, &needed, E));
    for (size_t i = 0; i < 12; i++) {
        int32_t same;
        rig_compute(&r, seq);
        rig_compute(&r, plain);
        float *logits = rig_logits(&r, seq);
        OK(weft_seq_next(seq, &token, E));
        OK(weft_seq_next(plain, &same, E));
        assert_int_equal(token, same);
        OK(weft_seq_logprobs(seq, l, 65, &needed, E));
        assert_int_equal(needed, 1 + n_top);
        check(&r, logits, l, n_top, token);
        free(logits);
    }
    weft_seq_release(&seq);
    weft_seq_release(&plain);
    rig_close(&r);
}

static void test_values(void **state)
{
    (void)state;
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.ignore_end = true;
    run(&s, 0);
    run(&s, TOP);
    run(&s, 64);
    s.temperature = 0;
    run(&s, TOP);
    s.temperature = 2;
    s.repeat_penalty = 1.5f;
    run(&s, TOP);
}

static void test_states(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen3"), NULL);
    int32_t tokens[N], token;
    weft_logprob l[3], copy[3];
    size_t needed;
    rig_tokens(&r, 3, tokens, N);
    weft_seq *seq = rig_fed(&r, tokens, N), *fork;
    FAILS(WEFT_E_ARG, weft_seq_set_logprobs(NULL, 1, E));
    FAILS(WEFT_E_ARG, weft_seq_set_logprobs(seq, 65, E));
    FAILS(WEFT_E_ARG, weft_seq_set_logprobs(seq, -2, E));
    FAILS(WEFT_E_STATE, weft_seq_logprobs(seq, l, 3, &needed, E));
    OK(weft_seq_set_logprobs(seq, 2, E));
    OK(weft_seq_next(seq, &token, E));
    FAILS(WEFT_E_BUFFER, weft_seq_logprobs(seq, l, 2, &needed, E));
    assert_int_equal(needed, 3);
    OK(weft_seq_logprobs(seq, l, 3, NULL, E));
    OK(weft_seq_fork(seq, &fork, E));
    OK(weft_seq_logprobs(fork, copy, 3, NULL, E));
    assert_memory_equal(l, copy, sizeof l);
    OK(weft_seq_set_logprobs(seq, -1, E));
    FAILS(WEFT_E_STATE, weft_seq_logprobs(seq, l, 3, NULL, E));
    rig_compute(&r, seq);
    OK(weft_seq_next(seq, &token, E));
    FAILS(WEFT_E_STATE, weft_seq_logprobs(seq, l, 3, NULL, E));
    weft_seq_release(&seq);
    weft_seq_release(&fork);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_states),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
