/* The world of test_schedule.c: several sequences of one engine, the truth about each of them, and
 * its twin in an engine of its own. For one translation unit: include it after cmocka.h. */
#ifndef TESTS_SCHEDULE_WORLD_H
#define TESTS_SCHEDULE_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

enum { PAGE = 64, N_CTX = 200, N_SLOTS = 8, N_SAVED = 4, DIM = 512 };
#define NONE SIZE_MAX

/* A sequence, and the truth about it. */
struct life {
    weft_seq *seq;  /* NULL = free */
    weft_seq *twin; /* alone in the other engine; it draws the same tokens */
    bool twin_behind;
    int32_t tokens[N_CTX];
    size_t n, n_done;
    size_t room; /* positions set aside by weft_seq_reserve() */
    bool cancelled;
    weft_finish finish;
    weft_sampling sampling;
    size_t n_draws; /* since the sampling was set */
    bool observed;
    uint64_t seen[N_CTX]; /* hash of the logits that the observer got; 0 = none */
    const char *grammar;  /* NULL = none */
    const char *trigger;  /* the grammar holds from this text on; NULL = from the beginning on */
    bool written[N_CTX];  /* tokens that were drawn under the grammar */
    /* The last token, if it was drawn and only draws came since. */
    size_t drawn;
    /* Log-probabilities are kept, of the token logprobs_of. */
    bool logprobs;
    int32_t logprobs_of;
};

/* A state that was saved. */
struct saved {
    uint8_t *data; /* NULL = free */
    size_t n_bytes;
    int32_t tokens[N_CTX];
    size_t n, n_done;
};

struct world {
    struct rig r, alone;
    struct life lives[N_SLOTS];
    bool known; /* texts that begin alike find each other's pages */
    /* Longer texts have other RoPE factors; SIZE_MAX = they never do. */
    size_t border;
    struct saved saved[N_SAVED];
    weft_engine_stats want; /* the counters that the engine must show */
    uint64_t random;
    size_t n_drawn;   /* ids compared */
    size_t n_grammar; /* those of n_drawn that were drawn under a grammar */
    size_t n_loaded;
    size_t n_crossed; /* how often a sequence came to other RoPE factors */
};

/* The place where the test is, for the message of a failure. */
static struct {
    bool running;
    uint64_t seed;
    size_t i;
    const char *name;
} now;

static uint32_t below(struct world *w, size_t n) { return rig_random(&w->random, (uint32_t)n); }
static size_t pages(size_t n) { return (n + PAGE - 1) / PAGE; }
static size_t held(const struct life *l) { return pages(l->n > l->room ? l->n : l->room); }
static bool other_rope(const struct world *w, size_t n, size_t other)
{
    return n > 0 && other > 0 && (n > w->border) != (other > w->border);
}
/* Returns true if the sequence has set memory aside for tokens that change its RoPE factors. */
static bool room_crosses(const struct world *w, const struct life *l)
{
    return l->n < l->room && other_rope(w, l->n, l->room);
}
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

static const char *state_path(void)
{
    static const char *path;
    path = path != NULL ? path : model_path("state");
    return path;
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

/* Chooses a sequence; with `ready` it is one that has logits, if there is such a one. Returns NULL
 * if no sequence is open. */
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

/* Checks a call that may find the pool too small, but only if `need` more pages are not there. */
static bool worked(struct world *w, weft_status status, size_t need)
{
    if (status == WEFT_E_KV_FULL) {
        assert_true(rig_free(&w->r) / PAGE < need);
        w->want.n_kv_full++;
        return false;
    }
    OK(status);
    return true;
}

/* The sequence keeps its first n tokens and begins a new life. */
static void forget(struct life *l, size_t n)
{
    memset(l->seen + n, 0, (N_CTX - n) * sizeof *l->seen);
    memset(l->written + n, 0, (N_CTX - n) * sizeof *l->written);
    l->n = n;
    l->room = 0;
    l->drawn = NONE;
}

/* The sequence had `before` tokens and now has l->n. If a text of this length has other RoPE
 * factors, all positions wait to be computed again, except those of known pages. */
static void cross(struct world *w, struct life *l, size_t before)
{
    if (other_rope(w, before, l->n)) {
        w->want.n_again += l->n_done;
        l->n_done = l->n - weft_seq_pending(l->seq);
        assert_in_range(l->n_done, 0, w->known && !l->observed ? l->n - 1 : 0);
        assert_int_equal(l->n_done % PAGE, 0);
        w->want.n_cached += l->n_done;
        memset(l->seen, 0, sizeof l->seen);
        w->n_crossed++;
    }
}

/* ---------------------------------------------------------------- twins */

/* Returns where the text begins that the next token continues: behind the last token that was
 * given, or that ended a text. */
static size_t text_start(const struct world *w, const struct life *l)
{
    size_t n = l->n;
    while (n > 0 && l->written[n - 1] && !weft_token_is_end(w->r.model, l->tokens[n - 1])) {
        n--;
    }
    return n;
}

static void set_grammar(weft_seq *seq, const char *trigger, const char *grammar)
{
    const weft_trigger t = { .size = sizeof t, .texts = &trigger, .n_texts = 1 };
    const size_t n = grammar != NULL ? strlen(grammar) : 0;
    OK(trigger != NULL ? weft_seq_set_trigger(seq, &t, grammar, n, E)
                       : weft_seq_set_grammar(seq, grammar, n, E));
}

/* Lets the twin draw this token, which its grammar allows. */
static void draw_again(struct world *w, struct life *l, int32_t token)
{
    const weft_logit_bias bias = { token, 1e6f };
    weft_sampling s = WEFT_SAMPLING_INIT;
    int32_t got;
    s.temperature = 0;
    s.bias = &bias;
    s.n_bias = 1;
    OK(weft_seq_set_sampling(l->twin, &s, E));
    rig_compute(&w->alone, l->twin);
    OK(weft_seq_next(l->twin, &got, E));
    assert_int_equal(got, token);
}

/* Lets the twin read the whole text again; what was written under a grammar it writes again. */
static void catch_up(struct world *w, struct life *l)
{
    size_t start = l->grammar != NULL ? text_start(w, l) : l->n;
    OK(weft_seq_set_grammar(l->twin, NULL, 0, E));
    OK(weft_seq_rewind(l->twin, 0, E));
    OK(weft_seq_append(l->twin, l->tokens, start, E));
    if (l->grammar != NULL) {
        set_grammar(l->twin, l->trigger, l->grammar);
        for (size_t i = start; i < l->n; i++) {
            draw_again(w, l, l->tokens[i]);
        }
        /* The twin is greedy, so no random state is lost. */
        OK(weft_seq_set_sampling(l->twin, &l->sampling, E));
    }
    l->twin_behind = false;
}

static int32_t draw_alone(struct world *w, struct life *l)
{
    int32_t token;
    if (l->twin_behind) {
        catch_up(w, l);
    }
    rig_compute(&w->alone, l->twin);
    OK(weft_seq_next(l->twin, &token, E));
    return token;
}

/* Makes a new twin that has drawn as often. The tokens that it drew do not matter. */
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

/* ---------------------------------------------------------------- numbers */

/* Checks the numbers of weft_engine_get_stats(). */
static void check_stats(const struct world *w)
{
    weft_engine_info info = rig_info(&w->r);
    weft_engine_stats s = { .size = sizeof s };
    size_t n_tokens = 0, n_computed = 0, n_pages = 0;
    OK(weft_engine_get_stats(w->r.engine, &s, E));
    for (size_t i = 0; i < N_SLOTS; i++) {
        const struct life *l = &w->lives[i];
        n_tokens += l->seq != NULL ? l->n : 0;
        n_computed += l->seq != NULL ? l->n_done : 0;
        n_pages += l->seq != NULL ? held(l) : 0;
    }
    assert_int_equal(s.n_pages, s.n_pages_used + s.n_pages_free);
    assert_int_equal(s.n_pages * PAGE, info.n_kv);
    assert_int_equal(s.n_pages_free * PAGE, info.n_kv_free);
    assert_in_range(s.n_pages_known, 0, w->known ? s.n_pages_free : 0);
    assert_int_equal(s.n_cached, w->want.n_cached);
    assert_int_equal(s.n_page_refs, n_pages);
    assert_in_range(s.n_page_refs - s.n_pages_used, s.n_pages_shared,
                    s.n_pages_shared * (N_SLOTS - 1));
    assert_int_equal(s.n_tokens, n_tokens);
    assert_int_equal(s.n_computed, n_computed);
    assert_in_range(s.n_stored, s.n_pages_shared > 0 ? 0 : n_computed, n_computed);
    assert_true(s.n_stored <= s.n_pages_used * PAGE);
    assert_int_equal(s.n_pages * s.page_bytes, s.kv_bytes);
    assert_int_equal(s.n_opened, w->want.n_opened);
    assert_int_equal(s.n_released, w->want.n_released);
    assert_int_equal(s.n_seqs, s.n_opened - s.n_released);
    assert_int_equal(s.seq_bytes > n_tokens * sizeof(int32_t), s.n_seqs > 0);
    assert_int_equal(s.n_rows, w->want.n_rows);
    assert_int_equal(s.n_steps, w->want.n_steps);
    assert_int_equal(s.n_decode_rows, w->want.n_decode_rows);
    assert_int_equal(s.n_prompt_rows, s.n_rows - s.n_decode_rows);
    assert_int_equal(s.n_cancelled, w->want.n_cancelled);
    assert_int_equal(s.n_kv_full, w->want.n_kv_full);
    assert_int_equal(s.n_again, w->want.n_again);
}

#endif
