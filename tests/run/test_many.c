/* Hundreds of sequences run on one engine. As many as can have logits in a step get them together,
 * and the others get them in the next step. Each sequence draws what it draws alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/models.h"
#include "support/rig.h"

enum { N_SEQS = 300, N_OUT = 256, N_NEW = 4 };

static weft_seq *open_one(const struct rig *r, size_t i)
{
    int32_t tokens[3];
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.ignore_end = true;
    s.seed = i;
    s.top_k = i % 3 == 0 ? 0 : 40; /* some draw from all logits */
    rig_tokens(r, i, tokens, 3);
    weft_seq *seq = rig_seq(r, &s);
    OK(weft_seq_append(seq, tokens, 3, E));
    return seq;
}

static void test_together(void **state)
{
    (void)state;
    const weft_engine_params p = {
        .size = sizeof p, .device = "cpu", .n_threads = 2, .n_kv = N_SEQS * 64, .n_batch = 1024
    };
    static weft_seq *seqs[N_SEQS];
    static int32_t ids[N_SEQS][N_NEW];
    struct rig r = rig_open_as(model_file("tiny-qwen2"), &p);
    for (size_t i = 0; i < N_SEQS; i++) {
        seqs[i] = open_one(&r, i);
    }
    for (size_t t = 0; t < N_NEW; t++) {
        size_t ready = 0;
        OK(weft_engine_step(r.engine, &ready, E));
        assert_int_equal(ready, N_OUT);
        OK(weft_engine_step(r.engine, &ready, E));
        assert_int_equal(ready, N_SEQS);
        for (size_t i = 0; i < N_SEQS; i++) {
            OK(weft_seq_next(seqs[i], &ids[i][t], E));
        }
    }
    for (size_t i = 0; i < N_SEQS; i++) {
        weft_seq_release(&seqs[i]);
    }
    for (size_t i = 0; i < N_SEQS; i++) {
        weft_seq *alone = open_one(&r, i);
        for (size_t t = 0; t < N_NEW; t++) {
            int32_t id;
            rig_compute(&r, alone);
            OK(weft_seq_next(alone, &id, E));
            assert_int_equal(id, ids[i][t]);
        }
        weft_seq_release(&alone);
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_together) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
