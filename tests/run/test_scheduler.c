/* Packing a step: the rows fit, no sequence waits longer than one round through all sequences, and
 * neither prompts nor decoding starve the other. The sequences are bare entries of the scheduler
 * here, and "computing" only counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "run/scheduler.h"

enum { MAX_SEQS = 320, MAX_TOKENS = 4096 };

struct bench {
    struct scheduler sched;
    struct sched_seq seqs[MAX_SEQS];
    size_t n_seqs;
    size_t unserved[MAX_SEQS]; /* steps without a row for the sequence, while it waits */
    size_t longest;            /* the largest value that any unserved[] had */
};

static struct bench *bench_open(size_t n_batch, size_t n_out)
{
    weft_error err;
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    assert_int_equal(sched_open(&b->sched, n_batch, n_out, &err), WEFT_OK);
    return b;
}

/* Adds a sequence with n waiting tokens, which are numbered so that a mix-up shows. */
static void bench_add(struct bench *b, size_t n)
{
    weft_error err;
    struct sched_seq *q = &b->seqs[b->n_seqs];
    q->tokens.data = calloc(MAX_TOKENS, sizeof *q->tokens.data);
    assert_non_null(q->tokens.data);
    for (size_t i = 0; i < MAX_TOKENS; i++) {
        q->tokens.data[i] = (int32_t)(b->n_seqs * MAX_TOKENS + i);
    }
    q->tokens.n = n;
    assert_int_equal(sched_add(&b->sched, q, &err), WEFT_OK);
    b->n_seqs++;
}

static void bench_close(struct bench *b)
{
    for (size_t i = 0; i < b->n_seqs; i++) {
        free(b->seqs[i].tokens.data);
    }
    sched_close(&b->sched);
    free(b);
}

static size_t waiting(const struct sched_seq *q)
{
    return sched_runs(q) ? q->tokens.n - q->n_done : 0;
}

/* Checks that the step is well-formed: its rows are in order, its tokens are the waiting ones, and
 * exactly the last tokens want logits. */
static void check_step(const struct bench *b)
{
    const struct step *s = &b->sched.step;
    size_t row = 0, out = 0;
    assert_in_range(s->n_rows, 0, b->sched.n_batch);
    assert_in_range(s->n_out, 0, b->sched.n_out);
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct step_seq *q = &s->seqs[i];
        const struct sched_seq *from = b->sched.packed[i];
        assert_int_equal(q->row, row);
        assert_int_equal(q->pos, from->n_done);
        assert_in_range(q->n_rows, 1, waiting(from));
        assert_ptr_equal(q->pages[0], from->kv.pages);
        assert_memory_equal(s->tokens + row, from->tokens.data + from->n_done,
                            q->n_rows * sizeof *s->tokens);
        row += q->n_rows;
        size_t n_out = from->observed ? q->n_rows : q->n_rows == waiting(from);
        for (size_t j = n_out; j > 0; j--) {
            assert_int_equal(s->out_rows[out], row - j);
            out++;
        }
    }
    assert_int_equal(row, s->n_rows);
    assert_int_equal(out, s->n_out);
}

/* Packs and "computes" a step; returns its rows. */
static size_t bench_step(struct bench *b)
{
    sched_pack(&b->sched);
    check_step(b);
    for (size_t i = 0; i < b->n_seqs; i++) {
        bool served = !waiting(&b->seqs[i]);
        for (size_t j = 0; j < b->sched.step.n_seqs; j++) {
            served = served || b->sched.packed[j] == &b->seqs[i];
        }
        b->unserved[i] = served ? 0 : b->unserved[i] + 1;
        b->longest = b->unserved[i] > b->longest ? b->unserved[i] : b->longest;
    }
    for (size_t i = 0; i < b->sched.step.n_seqs; i++) {
        b->sched.packed[i]->n_done += b->sched.step.seqs[i].n_rows;
    }
    return b->sched.step.n_rows;
}

static void test_nothing(void **state)
{
    (void)state;
    struct bench *b = bench_open(8, 8);
    assert_int_equal(bench_step(b), 0);
    bench_add(b, 0);
    bench_add(b, 5);
    atomic_store(&b->seqs[1].finish, WEFT_FINISH_END);
    assert_int_equal(bench_step(b), 0);
    atomic_store(&b->seqs[1].finish, WEFT_RUNNING);
    atomic_store(&b->seqs[1].cancelled, true);
    assert_int_equal(bench_step(b), 0);
    atomic_store(&b->seqs[1].cancelled, false);
    assert_int_equal(bench_step(b), 5);
    assert_int_equal(bench_step(b), 0);
    bench_close(b);
}

/* Prompts alone fill every step and share it evenly. */
static void test_prompts(void **state)
{
    (void)state;
    struct bench *b = bench_open(64, 64);
    for (size_t i = 0; i < 3; i++) {
        bench_add(b, 200);
    }
    assert_int_equal(bench_step(b), 64);
    for (size_t i = 0; i < 3; i++) {
        assert_in_range(b->seqs[i].n_done, 21, 22);
    }
    size_t n_steps = 1;
    while (bench_step(b) > 0) {
        n_steps++;
    }
    assert_int_equal(n_steps, 10); /* 600 rows of 64 */
    bench_close(b);
}

/* Sequences that decode get up to three quarters of the rows in every step, whatever prompts wait;
 * the prompt gets all the others. */
static void test_decode_beside_prompt(void **state)
{
    (void)state;
    struct bench *b = bench_open(64, 64);
    for (size_t i = 0; i < 10; i++) {
        bench_add(b, 1);
    }
    bench_add(b, 4000);
    for (size_t step = 0; b->seqs[10].n_done < 4000; step++) {
        bench_step(b);
        for (size_t i = 0; i < 10; i++) {
            assert_int_equal(b->seqs[i].n_done, step + 1);
            b->seqs[i].tokens.n++;
        }
        assert_int_equal(b->seqs[10].n_done, 54 * (step + 1) < 4000 ? 54 * (step + 1) : 4000);
    }
    bench_close(b);
}

/* More sequences decode than a step has rows. A quarter of the rows is left for the prompt, so it
 * takes at most 4 times as long. */
static void test_prompt_beside_decode(void **state)
{
    (void)state;
    struct bench *b = bench_open(16, 16);
    bench_add(b, 400);
    for (size_t i = 1; i < 40; i++) {
        bench_add(b, 1);
    }
    size_t n_steps = 0;
    for (; b->seqs[0].n_done < 400; n_steps++) {
        assert_int_equal(bench_step(b), 16);
        for (size_t i = 1; i < 40; i++) {
            b->seqs[i].tokens.n = b->seqs[i].n_done + 1;
        }
    }
    assert_in_range(n_steps, 100, 101);
    assert_in_range(b->longest, 0, b->n_seqs - 1);
    bench_close(b);
}

/* For any mixture and any size of step, a waiting sequence is left out of at most n_seqs - 1 steps
 * in a row. */
static void test_nobody_starves(void **state)
{
    (void)state;
    static const size_t batches[] = { 1, 2, 3, 4, 5, 7, 16 };
    static const size_t outs[] = { 1, 2, 16 };
    for (size_t i = 0; i < 7 * 3; i++) {
        for (size_t n_prompts = 0; n_prompts <= 12; n_prompts += 3) {
            size_t n_batch = batches[i / 3];
            struct bench *b = bench_open(n_batch, outs[i % 3] < n_batch ? outs[i % 3] : n_batch);
            for (size_t j = 0; j < 12; j++) {
                bench_add(b, j < n_prompts ? 6 + j : 1);
            }
            for (size_t step = 0; step < 150; step++) {
                bench_step(b);
                for (size_t j = 0; j < 12; j++) {
                    struct sched_seq *q = &b->seqs[j];
                    if (waiting(q) == 0) {
                        q->tokens.n += j < n_prompts ? 6 + j : 1;
                    }
                }
            }
            assert_in_range(b->longest, 0, b->n_seqs - 1);
            bench_close(b);
        }
    }
}

/* More sequences generate than a step can give logits to, while prompts of new sequences arrive.
 * Over several steps each sequence gets the same number of rows, and each prompt ends. */
static void test_hundreds(void **state)
{
    (void)state;
    enum { N = 300, N_OUT = 256, N_STEPS = 300 };
    struct bench *b = bench_open(512, N_OUT);
    for (size_t i = 0; i < N; i++) {
        bench_add(b, 1);
    }
    size_t n_prompts = 0;
    for (size_t step = 0; step < N_STEPS; step++) {
        if (step % 20 == 10) {
            bench_add(b, 700);
            n_prompts++;
        }
        bench_step(b);
        assert_int_equal(b->sched.step.n_out, N_OUT);
        for (size_t i = 0; i < N; i++) {
            b->seqs[i].tokens.n = b->seqs[i].n_done + 1;
        }
    }
    /* Each prompt takes one of the places for logits once. */
    size_t n_rows = (N_STEPS * (size_t)N_OUT - n_prompts) / N;
    for (size_t i = 0; i < N; i++) {
        assert_in_range(b->seqs[i].n_done, n_rows - 1, n_rows + 1);
    }
    for (size_t i = N; i < b->n_seqs; i++) {
        assert_int_equal(waiting(&b->seqs[i]), 0);
    }
    assert_in_range(b->longest, 1, 3);
    bench_close(b);
}

/* Every row of an observed prompt wants logits. However many sequences generate, it gets a quarter
 * of the places for them, and nobody else stops. */
static void test_observed_prompt(void **state)
{
    (void)state;
    static const size_t crowds[] = { 0, 10, 200, 256, 300 };
    static const size_t places[] = { 1, 2, 3, 8, 256 };
    for (size_t i = 0; i < 5 * 5; i++) {
        const size_t n_out = places[i % 5], n_crowd = crowds[i / 5];
        struct bench *b = bench_open(n_out == 256 ? 512 : n_out, n_out);
        for (size_t j = 0; j < n_crowd; j++) {
            bench_add(b, 1);
        }
        bench_add(b, 300);
        struct sched_seq *prompt = &b->seqs[n_crowd];
        prompt->observed = true;
        size_t n_steps = 0;
        const size_t share = n_out >= 4 ? n_out / 4 : 1;
        for (; waiting(prompt) > 0 && n_steps < 100000; n_steps++) {
            bench_step(b);
            for (size_t j = 0; j < n_crowd; j++) {
                b->seqs[j].tokens.n = b->seqs[j].n_done + 1;
            }
        }
        /* Steps that are too small to be divided serve the prompt once in each round. */
        assert_in_range(n_steps, 1, n_out >= 4 ? 300 / share + 2 : 300 * (n_crowd + 2));
        assert_in_range(b->longest, 0, b->n_seqs);
        bench_close(b);
    }
}

/* Removing sequences must not push back the sequence whose turn it is. */
static void test_remove(void **state)
{
    (void)state;
    struct bench *b = bench_open(1, 1);
    for (size_t i = 0; i < 6; i++) {
        bench_add(b, 1);
    }
    bench_step(b);
    bench_step(b);
    sched_remove(&b->sched, &b->seqs[0]);
    bench_step(b);
    assert_int_equal(b->seqs[2].n_done, 1);
    sched_remove(&b->sched, &b->seqs[3]);
    bench_step(b);
    assert_int_equal(b->seqs[4].n_done, 1);
    /* This sequence is no longer there, so nothing happens. */
    sched_remove(&b->sched, &b->seqs[3]);
    assert_int_equal(b->sched.n_seqs, 4);
    bench_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_decode_beside_prompt),
        cmocka_unit_test(test_prompt_beside_decode),
        cmocka_unit_test(test_nobody_starves),
        cmocka_unit_test(test_hundreds),
        cmocka_unit_test(test_observed_prompt),
        cmocka_unit_test(test_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
