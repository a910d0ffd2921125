/* A backend that returns candidates or computes ahead changes nothing that a program sees: random
 * schedules of all calls on several sequences, in an engine with such a backend and in one without,
 * give the same status, tokens, text and logits, bit by bit. Only logits of tokens that were
 * computed ahead are not kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/ahead.h"
#include "support/models.h"
#include "support/rig.h"
#include "support/top_backend.h"

enum { N_GUESTS = 5, PLAIN = 0, TOPPED = 1, N_ENGINES = 2, MAX_LEN = 256 };

struct guest {
    weft_seq *seq[N_ENGINES];
    bool cancelled;
};

struct schedule {
    struct rig rig[N_ENGINES];
    struct top_backend top[N_ENGINES];
    struct guest guests[N_GUESTS];
    uint64_t random;
    size_t n_tokens, n_logits, n_lost, n_nan, n_full; /* counts of what happened */
    char where[64];
};

static uint32_t below(struct schedule *s, uint32_t n) { return rig_random(&s->random, n); }

static void open_rigs(struct schedule *s, size_t n_kv, size_t n_ahead, unsigned what,
                      size_t ahead_rows)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.n_threads = 1;
    p.n_kv = n_kv;
    p.device = "cpu";
    s->rig[PLAIN] = rig_open(model_file("tiny-qwen2"), &p);
    p.n_ahead = n_ahead;
    s->rig[TOPPED] = rig_open(model_file("tiny-qwen2"), &p);
    top_backend_wrap(&s->top[PLAIN], s->rig[PLAIN].engine, what & TOP_NAN, 0);
    top_backend_wrap(&s->top[TOPPED], s->rig[TOPPED].engine, what, ahead_rows);
}

/* Returns the status, which both engines must have returned. */
static weft_status same(struct schedule *s, const char *what, weft_status plain, weft_status topped)
{
    if (plain != topped) {
        fail_msg("%s: %s gives %s, without top %s", s->where, what, weft_status_name(topped),
                 weft_status_name(plain));
    }
    return plain;
}

static const weft_logit_bias bias[] = { { 3, 2.0f }, { 40, -INFINITY } };

static weft_sampling random_sampling(struct schedule *s)
{
    weft_sampling p = WEFT_SAMPLING_INIT;
    p.seed = below(s, 1000);
    switch (below(s, 8)) {
    case 0: p.top_k = 0; break;
    case 1: break;
    case 2: p.top_k = 1; break;
    case 3:
        p.top_k = 64;
        p.top_p = 1;
        p.typical_p = 0.9f;
        break;
    default: p.temperature = 0; break;
    }
    if (below(s, 8) == 0) {
        p.repeat_penalty = 1.1f;
    }
    if (below(s, 8) == 0) {
        p.bias = bias;
        p.n_bias = 2;
    }
    p.ignore_end = below(s, 8) == 0;
    return p;
}

/* ---------------------------------------------------------------- the calls */

static void do_open(struct schedule *s, struct guest *g)
{
    weft_sampling p = random_sampling(s);
    int32_t tokens[100];
    size_t n = 1 + below(s, 100);
    rig_tokens(&s->rig[0], s->random, tokens, n);
    for (size_t i = 0; i < N_ENGINES; i++) {
        g->seq[i] = rig_seq(&s->rig[i], &p);
    }
    g->cancelled = false;
    same(s, "append", weft_seq_append(g->seq[0], tokens, n, NULL),
         weft_seq_append(g->seq[1], tokens, n, NULL));
}

static void do_append(struct schedule *s, struct guest *g)
{
    int32_t tokens[70];
    size_t n = 1 + below(s, below(s, 2) ? 3 : 70);
    rig_tokens(&s->rig[0], s->random, tokens, n);
    weft_status status = same(s, "append", weft_seq_append(g->seq[0], tokens, n, NULL),
                              weft_seq_append(g->seq[1], tokens, n, NULL));
    assert_true(g->cancelled == (status == WEFT_E_CANCELLED));
    g->cancelled = false;
    s->n_full += status == WEFT_E_KV_FULL;
}

static void do_step(struct schedule *s)
{
    size_t ready[N_ENGINES];
    for (size_t i = 0; i < N_ENGINES; i++) {
        OK(weft_engine_step(s->rig[i].engine, &ready[i], E));
    }
    assert_true(ready[TOPPED] >= ready[PLAIN]);
}

static bool is_fresh(const struct guest *g)
{
    return seq_fresh(g->seq[PLAIN]) && weft_seq_finish(g->seq[PLAIN]) == WEFT_RUNNING;
}

static void do_next(struct schedule *s, struct guest *g)
{
    int32_t tokens[N_ENGINES] = { -2, -2 };
    bool running = weft_seq_finish(g->seq[PLAIN]) == WEFT_RUNNING;
    if (running && !is_fresh(g) && !g->cancelled) {
        /* One engine may already know a token that the other still has to compute. */
        return;
    }
    weft_status status = same(s, "next", weft_seq_next(g->seq[0], &tokens[0], NULL),
                              weft_seq_next(g->seq[1], &tokens[1], NULL));
    assert_int_equal(tokens[0], tokens[1]);
    assert_true(g->cancelled == (status == WEFT_E_CANCELLED));
    s->n_nan += status == WEFT_E_STATE && running;
    s->n_full += status == WEFT_E_KV_FULL;
    s->n_tokens += status == WEFT_OK;
    g->cancelled = false;
}

static void do_generate(struct schedule *s, struct guest *g)
{
    for (size_t n = below(s, 20); n > 0; n--) {
        do_step(s);
        do_next(s, g);
    }
}

/* Serves all sequences at once, as a server does. */
static void do_serve(struct schedule *s)
{
    for (size_t n = below(s, 20); n > 0; n--) {
        do_step(s);
        for (size_t i = 0; i < N_GUESTS; i++) {
            if (s->guests[i].seq[0] != NULL && is_fresh(&s->guests[i])) {
                do_next(s, &s->guests[i]);
            }
        }
    }
}

static void do_fork(struct schedule *s, const struct guest *g)
{
    if (weft_seq_pending(g->seq[0]) != weft_seq_pending(g->seq[1])) {
        /* The waiting tokens need pages of their own in the fork. */
        return;
    }
    for (size_t i = 0; i < N_GUESTS; i++) {
        struct guest *copy = &s->guests[i];
        if (copy->seq[0] == NULL) {
            weft_status status = same(s, "fork", weft_seq_fork(g->seq[0], &copy->seq[0], NULL),
                                      weft_seq_fork(g->seq[1], &copy->seq[1], NULL));
            copy->cancelled = false;
            s->n_full += status == WEFT_E_KV_FULL;
            return;
        }
    }
}

static void do_rewind(struct schedule *s, struct guest *g)
{
    size_t len = weft_seq_len(g->seq[0]);
    size_t n = below(s, 3) == 0 || len == 0 ? below(s, (uint32_t)len + 1)
                                            : len - below(s, len < 6 ? (uint32_t)len : 6);
    same(s, "rewind", weft_seq_rewind(g->seq[0], n, NULL), weft_seq_rewind(g->seq[1], n, NULL));
}

static void do_logits(struct schedule *s, struct guest *g)
{
    static float logits[N_ENGINES][4096];
    size_t n = s->rig[0].n_vocab;
    weft_status plain = weft_seq_logits(g->seq[0], logits[0], 4096, NULL, NULL);
    bool lost = seq_fresh(g->seq[1]) && g->seq[1]->logits.place == LOGITS_AHEAD;
    weft_status topped = weft_seq_logits(g->seq[1], logits[1], 4096, NULL, NULL);
    assert_true(n <= 4096);
    if (lost) {
        assert_int_equal(topped, WEFT_E_STATE);
        s->n_lost++;
    } else if (same(s, "logits", plain, topped) == WEFT_OK) {
        rig_same(&s->rig[0], logits[1], logits[0], s->where);
        s->n_logits++;
    }
}

static void do_sampling(struct schedule *s, struct guest *g)
{
    weft_sampling p = random_sampling(s);
    same(s, "set_sampling", weft_seq_set_sampling(g->seq[0], &p, NULL),
         weft_seq_set_sampling(g->seq[1], &p, NULL));
    if (below(s, 2)) {
        do_next(s, g);
    }
}

static void do_stops(struct schedule *s, struct guest *g)
{
    const char *const stops[] = { "e", "th" };
    size_t n = below(s, 3);
    same(s, "set_stops", weft_seq_set_stops(g->seq[0], stops, n, NULL),
         weft_seq_set_stops(g->seq[1], stops, n, NULL));
}

static void do_cancel(struct guest *g)
{
    weft_seq_cancel(g->seq[0]);
    weft_seq_cancel(g->seq[1]);
    g->cancelled = true;
}

static void do_release(struct guest *g)
{
    weft_seq_release(&g->seq[0]);
    weft_seq_release(&g->seq[1]);
}

/* ---------------------------------------------------------------- what is seen */

static void compare_guest(const struct guest *g)
{
    char text[N_ENGINES][8192];
    int32_t tokens[N_ENGINES][MAX_LEN];
    size_t n_text[N_ENGINES], n_tokens[N_ENGINES];
    for (size_t i = 0; i < N_ENGINES; i++) {
        OK(weft_seq_text(g->seq[i], text[i], sizeof text[i], &n_text[i], E));
        OK(weft_seq_tokens(g->seq[i], tokens[i], MAX_LEN, &n_tokens[i], E));
    }
    assert_int_equal(n_tokens[0], n_tokens[1]);
    assert_memory_equal(tokens[0], tokens[1], n_tokens[0] * sizeof **tokens);
    assert_int_equal(n_text[0], n_text[1]);
    assert_memory_equal(text[0], text[1], n_text[0]);
    assert_int_equal(weft_seq_finish(g->seq[0]), weft_seq_finish(g->seq[1]));
    assert_true(weft_seq_pending(g->seq[1]) <= weft_seq_pending(g->seq[0]));
}

/* Checks that the pages that are not free are the same, but for those of tokens computed ahead. */
static void compare_pages(struct schedule *s)
{
    assert_true(rig_free(&s->rig[1]) <= rig_free(&s->rig[0]));
    if (below(s, 20) == 0) {
        ahead_yield(s->rig[1].engine);
        assert_int_equal(rig_free(&s->rig[1]), rig_free(&s->rig[0]));
    }
}

static void operate(struct schedule *s)
{
    struct guest *g = &s->guests[below(s, N_GUESTS)];
    uint32_t what = below(s, 40);
    if (g->seq[0] == NULL) {
        if (what < 20) {
            do_open(s, g);
        }
        return;
    }
    switch (what) {
    case 0: do_release(g); break;
    case 1: do_append(s, g); break;
    case 2:
    case 3: do_fork(s, g); break;
    case 4: do_rewind(s, g); break;
    case 5: do_sampling(s, g); break;
    case 6: do_stops(s, g); break;
    case 7: do_cancel(g); break;
    case 8: same(s, "end", weft_seq_end(g->seq[0], NULL), weft_seq_end(g->seq[1], NULL)); break;
    case 9:
    case 10:
    case 11:
    case 12:
    case 13: do_logits(s, g); break;
    case 14:
    case 15: do_generate(s, g); break;
    case 16:
    case 17: do_serve(s); break;
    case 18: compare_guest(g); break;
    default:
        if (what < 30) {
            do_step(s);
        } else {
            do_next(s, g);
        }
        break;
    }
    compare_pages(s);
}

static void run_schedule(size_t n_kv, size_t n_ahead, unsigned what, size_t ahead_rows,
                         size_t n_seeds)
{
    size_t n_tokens = 0, n_logits = 0, n_lost = 0, n_nan = 0, n_full = 0, n_top = 0, n_ran = 0;
    for (size_t seed = 0; seed < n_seeds; seed++) {
        struct schedule *s = calloc(1, sizeof *s);
        assert_non_null(s);
        s->random = seed * 1000003 + n_ahead * 101 + what;
        open_rigs(s, n_kv, n_ahead, what, ahead_rows);
        for (size_t i = 0; i < 400; i++) {
            snprintf(s->where, sizeof s->where, "seed %zu, operation %zu", seed, i);
            operate(s);
        }
        for (size_t i = 0; i < N_GUESTS; i++) {
            if (s->guests[i].seq[0] != NULL) {
                compare_guest(&s->guests[i]);
                do_release(&s->guests[i]);
            }
        }
        rig_close(&s->rig[0]);
        rig_close(&s->rig[1]);
        n_tokens += s->n_tokens;
        n_logits += s->n_logits;
        n_lost += s->n_lost;
        n_nan += s->n_nan;
        n_full += s->n_full;
        n_top += s->top[1].n_top;
        n_ran += s->top[1].n_ahead;
        free(s);
    }
    print_message("%zu tokens, %zu logits compared, %zu of tokens ahead, %zu NaN, %zu times a full "
                  "pool, %zu top, %zu ahead\n",
                  n_tokens, n_logits, n_lost, n_nan, n_full, n_top, n_ran);
    assert_true(n_tokens > 30 * n_seeds && n_logits > 5 * n_seeds);
    assert_true(n_top > 10 * n_seeds);
    assert_true((n_ran > n_seeds) == (n_ahead > 1));
    assert_true((n_lost > 0) == (n_ahead > 1));
    assert_true((n_nan > 0) == ((what & TOP_NAN) != 0));
    assert_true(n_kv == 0 || n_full > n_seeds);
}

static void test_top(void **state)
{
    (void)state;
    run_schedule(0, 0, TOP_BEST, 0, 12);
}

static void test_ahead(void **state)
{
    (void)state;
    run_schedule(0, 2, TOP_BEST | TOP_AHEAD, 8, 6);
    run_schedule(0, 7, TOP_BEST | TOP_AHEAD, 8, 15);
    run_schedule(0, 64, TOP_BEST | TOP_AHEAD, 2, 8);
}

/* A pool of 7 pages serves 5 sequences of up to 4 pages each. */
static void test_ahead_small_pool(void **state)
{
    (void)state;
    run_schedule(7 * 64, 8, TOP_BEST | TOP_AHEAD, 8, 15);
    run_schedule(7 * 64, 64, TOP_BEST | TOP_AHEAD, 8, 15);
}

static void test_nan(void **state)
{
    (void)state;
    run_schedule(0, 0, TOP_BEST | TOP_NAN, 0, 6);
    run_schedule(7 * 64, 8, TOP_BEST | TOP_AHEAD | TOP_NAN, 8, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_ahead_small_pool),
        cmocka_unit_test(test_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
