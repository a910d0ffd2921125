/* Random schedules, on any device: thousands of operations on several sequences of one engine,
 * against a model of the truth that does one thing at a time. The model knows the tokens of every
 * sequence, which status each call must have, and how many tokens wait; its ids come from a twin of
 * each sequence in an engine of its own, that never shares pages and reads its whole text anew
 * whenever the sequence did anything but draw; its logits from sequences that are fed in one go. A
 * failure prints the seed and the number of the operation. For one translation unit: include it
 * after cmocka.h. Includes only weft.h of the library. */
#ifndef TESTS_SCHEDULE_RIG_H
#define TESTS_SCHEDULE_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

enum { PAGE = 64, N_CTX = 200, N_SLOTS = 8, DIM = 512 };

/* A sequence, and what is true of it. */
struct life {
    weft_seq *seq;  /* NULL = free */
    weft_seq *twin; /* alone in the other engine; draws the same */
    bool twin_behind;
    int32_t tokens[N_CTX];
    size_t n, n_done;
    bool cancelled;
    weft_finish finish;
    weft_sampling sampling;
    size_t n_draws; /* since the sampling was set */
    bool observed;
    uint64_t seen[N_CTX]; /* hash of the logits that the observer got; 0 = none */
};

struct world {
    struct rig r, alone;
    struct life lives[N_SLOTS];
    uint64_t random;
    size_t n_drawn, n_full; /* ids compared; calls refused for want of pages */
};

/* Where the test is, for the message of a failure. */
static struct {
    bool running;
    uint64_t seed;
    size_t i;
    const char *name;
} now;

static uint32_t below(struct world *w, size_t n) { return rig_random(&w->random, (uint32_t)n); }
static size_t pages(size_t n) { return (n + PAGE - 1) / PAGE; }
static bool has_logits(const struct life *l) { return l->n > 0 && l->n_done == l->n; }

static uint64_t hash_of(const float *logits, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3u;
    }
    return hash | 1;
}

static struct life *free_slot(struct world *w)
{
    for (size_t i = 0; i < N_SLOTS; i++) {
        if (w->lives[i].seq == NULL) {
            return &w->lives[i];
        }
    }
    return NULL;
}

/* A sequence; one with logits if there is one and `ready`. NULL if there is none at all. */
static struct life *some(struct world *w, bool ready)
{
    size_t start = below(w, N_SLOTS);
    struct life *any = NULL;
    for (size_t i = 0; i < N_SLOTS; i++) {
        struct life *l = &w->lives[(start + i) % N_SLOTS];
        any = any == NULL && l->seq != NULL ? l : any;
        if (l->seq != NULL && (!ready || (has_logits(l) && l->finish == WEFT_RUNNING))) {
            return l;
        }
    }
    return any;
}

/* A call that may find the pool too small, but only if `need` more pages are not there. */
static bool worked(struct world *w, weft_status status, size_t need)
{
    if (status == WEFT_E_KV_FULL) {
        assert_true(rig_free(&w->r) / PAGE < need);
        w->n_full++;
        return false;
    }
    OK(status);
    return true;
}

static void forget(struct life *l, size_t n)
{
    memset(l->seen + n, 0, (N_CTX - n) * sizeof *l->seen);
    l->n = n;
}

/* ---------------------------------------------------------------- operations */

static weft_sampling some_sampling(struct world *w)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = below(w, 2) == 0 ? 0 : 0.9f;
    s.top_k = below(w, 2) == 0 ? 0 : 20;
    s.repeat_penalty = below(w, 3) == 0 ? 1.1f : 1;
    s.ignore_end = below(w, 4) > 0;
    s.seed = below(w, 1000);
    return s;
}

static void do_open(struct world *w)
{
    struct life *l = free_slot(w);
    if (l != NULL) {
        weft_sampling s = some_sampling(w);
        memset(l, 0, sizeof *l);
        l->sampling = s;
        l->seq = rig_seq(&w->r, &s);
        l->twin = rig_seq(&w->alone, &s);
    }
}

static void do_append(struct world *w)
{
    int32_t tokens[N_CTX + 1];
    struct life *l = some(w, false);
    static const size_t most[] = { 2, 10, 70, N_CTX + 2 };
    if (l == NULL) {
        return;
    }
    size_t n = below(w, most[below(w, 4)]);
    rig_tokens(&w->r, below(w, 1000), tokens, n);
    if (l->cancelled) {
        FAILS(WEFT_E_CANCELLED, weft_seq_append(l->seq, tokens, n, E));
        l->cancelled = false;
    } else if (l->n + n > N_CTX) {
        FAILS(WEFT_E_CTX_FULL, weft_seq_append(l->seq, tokens, n, E));
    } else if (worked(w, weft_seq_append(l->seq, tokens, n, E),
                      pages(l->n + n) - pages(l->n) + 1) &&
               n > 0) {
        memcpy(l->tokens + l->n, tokens, n * sizeof *tokens);
        l->n += n;
        l->finish = WEFT_RUNNING;
        l->twin_behind = true;
    }
}

/* Each step computes something if something waits, never more than n_batch rows, and only rows of
 * sequences that run. */
static void do_step(struct world *w)
{
    weft_engine_info before = rig_info(&w->r);
    size_t ready, want_ready = 0, n_waiting = 0, n_computed = 0;
    for (size_t i = 0; i < N_SLOTS; i++) {
        struct life *l = &w->lives[i];
        bool runs = l->seq != NULL && !l->cancelled && l->finish == WEFT_RUNNING;
        n_waiting += runs ? l->n - l->n_done : 0;
    }
    OK(weft_engine_step(w->r.engine, &ready, E));
    for (size_t i = 0; i < N_SLOTS; i++) {
        struct life *l = &w->lives[i];
        if (l->seq == NULL) {
            continue;
        }
        size_t n_done = l->n - weft_seq_pending(l->seq);
        assert_in_range(n_done, l->n_done, l->n);
        assert_true(n_done == l->n_done || (!l->cancelled && l->finish == WEFT_RUNNING));
        for (size_t pos = l->n_done; pos < n_done; pos++) {
            assert_int_equal(l->seen[pos] != 0, l->observed);
        }
        n_computed += n_done - l->n_done;
        l->n_done = n_done;
        want_ready += has_logits(l) && l->finish == WEFT_RUNNING;
    }
    assert_int_equal(ready, want_ready);
    assert_int_equal(rig_info(&w->r).n_rows - before.n_rows, n_computed);
    assert_in_range(n_computed, n_waiting > 0, before.n_batch);
}

/* The id that the twin draws, alone. */
static int32_t draw_alone(struct world *w, struct life *l)
{
    int32_t token;
    if (l->twin_behind) {
        OK(weft_seq_rewind(l->twin, 0, E));
        OK(weft_seq_append(l->twin, l->tokens, l->n, E));
        l->twin_behind = false;
    }
    rig_compute(&w->alone, l->twin);
    OK(weft_seq_next(l->twin, &token, E));
    return token;
}

static void do_next(struct world *w)
{
    int32_t token = -1;
    struct life *l = some(w, below(w, 8) > 0);
    if (l == NULL) {
        return;
    }
    if (l->cancelled) {
        FAILS(WEFT_E_CANCELLED, weft_seq_next(l->seq, &token, E));
        l->cancelled = false;
    } else if (l->finish != WEFT_RUNNING || !has_logits(l)) {
        FAILS(WEFT_E_STATE, weft_seq_next(l->seq, &token, E));
    } else if (l->n == N_CTX) {
        FAILS(WEFT_E_CTX_FULL, weft_seq_next(l->seq, &token, E));
    } else if (worked(w, weft_seq_next(l->seq, &token, E), 1)) {
        assert_int_equal(token, draw_alone(w, l));
        l->tokens[l->n++] = token;
        l->finish = weft_seq_finish(l->twin);
        l->n_draws++;
        w->n_drawn++;
    }
}

/* A twin made anew, that has drawn as often. What it drew is of no importance. */
static weft_seq *twin_of(struct world *w, const struct life *l)
{
    int32_t token = 300;
    weft_seq *twin = rig_seq(&w->alone, &l->sampling);
    OK(weft_seq_append(twin, &token, 1, E));
    for (size_t i = 0; i < l->n_draws && l->sampling.temperature > 0; i++) {
        rig_compute(&w->alone, twin);
        OK(weft_seq_next(twin, &token, E));
        OK(weft_seq_rewind(twin, 1, E));
    }
    return twin;
}

static void do_fork(struct world *w)
{
    struct life *l = some(w, false), *copy = free_slot(w);
    if (l == NULL || copy == NULL) {
        return;
    }
    weft_seq *seq = NULL;
    size_t need = l->n_done < l->n ? pages(l->n) - l->n_done / PAGE : 0;
    if (worked(w, weft_seq_fork(l->seq, &seq, E), need)) {
        *copy = *l;
        copy->seq = seq;
        copy->twin = twin_of(w, copy);
        copy->cancelled = copy->observed = false;
        copy->twin_behind = true;
        forget(copy, 0);
        copy->n = l->n;
    }
}

static void do_rewind(struct world *w)
{
    struct life *l = some(w, false);
    if (l == NULL) {
        return;
    }
    size_t n = below(w, l->n + 2);
    if (n > l->n) {
        FAILS(WEFT_E_ARG, weft_seq_rewind(l->seq, n, E));
    } else if (worked(w, weft_seq_rewind(l->seq, n, E), pages(n) + 1)) {
        forget(l, n);
        l->n_done = n == 0 ? 0 : l->n_done < n - 1 ? l->n_done : n - 1;
        if (n > 0) {
            l->seen[n - 1] = 0; /* is computed, and seen, again */
        }
        l->finish = WEFT_RUNNING;
        l->twin_behind = true;
    }
}

static void do_cancel(struct world *w)
{
    struct life *l = some(w, false);
    if (l != NULL) {
        weft_seq_cancel(l->seq);
        l->cancelled = true;
    }
}

static void do_release(struct world *w)
{
    struct life *l = some(w, false);
    if (l != NULL) {
        weft_seq_release(&l->seq);
        weft_seq_release(&l->twin);
    }
}

static void do_sampling(struct world *w)
{
    struct life *l = some(w, false);
    weft_sampling s = some_sampling(w);
    if (l != NULL) {
        OK(weft_seq_set_sampling(l->seq, &s, E));
        OK(weft_seq_set_sampling(l->twin, &s, E));
        l->sampling = s;
        l->n_draws = 0;
    }
}

static void do_end(struct world *w)
{
    struct life *l = some(w, false);
    if (l != NULL) {
        OK(weft_seq_end(l->seq, E));
        l->finish = l->finish == WEFT_RUNNING ? WEFT_FINISH_LENGTH : l->finish;
        l->twin_behind = true;
    }
}

static void see(void *user, size_t pos, const float *logits, size_t n_vocab)
{
    struct life *l = user;
    assert_in_range(pos, l->n_done, l->n - 1);
    assert_int_equal(l->seen[pos], 0);
    assert_true(pos == l->n_done || l->seen[pos - 1] != 0);
    l->seen[pos] = hash_of(logits, n_vocab);
}

static void do_observe(struct world *w)
{
    struct life *l = some(w, false);
    if (l != NULL) {
        l->observed = below(w, 2) == 0;
        OK(weft_seq_observe(l->seq, l->observed ? see : NULL, l, E));
    }
}

static void do_embed(struct world *w)
{
    int32_t tokens[100];
    float got[DIM], want[DIM];
    size_t n = 1 + below(w, 100), n_got, n_want;
    rig_tokens(&w->r, below(w, 1000), tokens, n);
    if (worked(w, weft_embed(w->r.engine, tokens, n, NULL, got, DIM, &n_got, E), pages(n))) {
        OK(weft_embed(w->alone.engine, tokens, n, NULL, want, DIM, &n_want, E));
        assert_int_equal(n_got, n_want);
        assert_memory_equal(got, want, n_got * sizeof *got);
    }
}

/* Text (taken, not compared), tokens, logits, and one position that was observed. */
static void do_check(struct world *w)
{
    int32_t tokens[N_CTX];
    char text[4096];
    struct life *l = some(w, true);
    size_t n;
    if (l == NULL) {
        return;
    }
    OK(weft_seq_text(l->seq, text, sizeof text, NULL, E));
    OK(weft_seq_tokens(l->seq, tokens, N_CTX, &n, E));
    assert_int_equal(n, l->n);
    assert_memory_equal(tokens, l->tokens, n * sizeof *tokens);
    if (has_logits(l)) {
        float *got = rig_logits(&w->r, l->seq), *want = rig_expected(&w->alone, l->tokens, l->n);
        rig_same(&w->r, got, want, "logits");
        free(got);
        free(want);
    } else {
        FAILS(WEFT_E_STATE, weft_seq_logits(l->seq, NULL, 0, NULL, E));
    }
    size_t pos = l->n > 0 ? below(w, l->n) : 0;
    if (l->seen[pos] != 0) {
        float *want = rig_expected(&w->alone, l->tokens, pos + 1);
        assert_true(l->seen[pos] == hash_of(want, w->r.n_vocab));
        free(want);
    }
}

/* How often each operation comes, of all. A further one is a function and a line here. */
static const struct {
    const char *name;
    void (*run)(struct world *);
    size_t weight;
} operations[] = {
    { "open", do_open, 5 },       { "append", do_append, 14 },
    { "step", do_step, 30 },      { "next", do_next, 40 },
    { "fork", do_fork, 4 },       { "rewind", do_rewind, 4 },
    { "cancel", do_cancel, 2 },   { "release", do_release, 3 },
    { "end", do_end, 1 },         { "set_sampling", do_sampling, 2 },
    { "observe", do_observe, 2 }, { "embed", do_embed, 2 },
    { "check", do_check, 6 },
};
enum { N_OPERATIONS = sizeof operations / sizeof operations[0] };

/* ---------------------------------------------------------------- schedules */

/* What holds after every operation. */
static void check_world(const struct world *w)
{
    weft_engine_info info = rig_info(&w->r);
    size_t n_pages = 0, n_seqs = 0;
    for (size_t i = 0; i < N_SLOTS; i++) {
        const struct life *l = &w->lives[i];
        if (l->seq != NULL) {
            n_seqs++;
            n_pages += pages(l->n);
            assert_int_equal(weft_seq_len(l->seq), l->n);
            assert_int_equal(weft_seq_pending(l->seq), l->n - l->n_done);
            assert_int_equal(weft_seq_finish(l->seq), l->finish);
        }
    }
    assert_int_equal(info.n_seqs, n_seqs);
    assert_in_range((info.n_kv - info.n_kv_free) / PAGE, 0, n_pages);
}

static void operate(struct world *w)
{
    size_t sum = 0, i = 0;
    for (size_t j = 0; j < N_OPERATIONS; j++) {
        sum += operations[j].weight;
    }
    size_t at = below(w, sum);
    while (at >= operations[i].weight) {
        at -= operations[i++].weight;
    }
    now.name = operations[i].name;
    operations[i].run(w);
    check_world(w);
}

static inline void schedule(const char *preset, weft_engine_params p, uint64_t seed, size_t n)
{
    struct world *w = calloc(1, sizeof *w);
    const weft_engine_params alone = { .size = sizeof alone,
                                       .device = p.device,
                                       .deterministic = p.deterministic,
                                       .n_ctx = N_CTX,
                                       .n_kv = 2 * N_SLOTS * 256,
                                       .n_threads = 1 };
    p.size = sizeof p;
    p.n_ctx = N_CTX;
    w->random = seed;
    w->r = rig_open(model_file(preset), &p);
    w->alone = rig_open(model_file(preset), &alone);
    now.running = true;
    now.seed = seed;
    for (now.i = 0; now.i < n; now.i++) {
        operate(w);
    }
    now.name = "release of all";
    for (size_t i = 0; i < N_SLOTS; i++) {
        weft_seq_release(&w->lives[i].seq);
        weft_seq_release(&w->lives[i].twin);
    }
    rig_close(&w->r);
    rig_close(&w->alone);
    now.running = false;
    assert_true(w->n_drawn > n / 100);
    assert_int_equal(w->n_full > 0, p.n_kv < N_SLOTS * 256);
    print_message("%s, seed %zu: %zu operations, %zu ids drawn, pool full %zu times\n", preset,
                  (size_t)seed, n, w->n_drawn, w->n_full);
    free(w);
}

static inline int say_where(void **state)
{
    (void)state;
    if (now.running) {
        print_error("seed %zu, operation %zu (%s)\n", (size_t)now.seed, now.i, now.name);
        now.running = false;
    }
    return 0;
}

#endif
