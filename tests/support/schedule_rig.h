/* Random schedules, on any device: thousands of operations on several sequences of one engine,
 * compared with a model of the truth (schedule_world.h) that does one thing at a time. A failure
 * prints the seed and the number of the operation. For one translation unit: include it after
 * cmocka.h. Includes only weft.h of the library. */
#ifndef TESTS_SCHEDULE_RIG_H
#define TESTS_SCHEDULE_RIG_H

#include "support/schedule_world.h"

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
        l->drawn = NONE;
        w->want.n_opened++;
        l->seq = rig_seq(&w->r, &s);
        l->twin = rig_seq(&w->alone, &s);
    }
}

/* Counts the positions that the engine found in other sequences' pages when n tokens were appended.
 * Only whole pages can be found. The last token is never found, because its logits are wanted. For
 * an observed sequence nothing is found. */
static void find_known(struct world *w, struct life *l, size_t n)
{
    size_t found = l->n + n - l->n_done - weft_seq_pending(l->seq);
    bool may = w->known && !l->observed && l->n_done == l->n && l->n % PAGE == 0;
    assert_in_range(found, 0, may ? n - 1 : 0);
    assert_int_equal(found % PAGE, 0);
    l->n_done += found;
    w->want.n_cached += found;
}

/* Returns how many pages n more tokens may need, at most. */
static size_t most_needed(const struct world *w, const struct life *l, size_t n)
{
    if (l->n + n <= l->room) {
        return 0;
    }
    return other_rope(w, l->n, l->n + n) ? pages(l->n + n) : pages(l->n + n) - held(l) + 1;
}

static void do_append(struct world *w)
{
    int32_t tokens[N_CTX + 1];
    struct life *l = some(w, false);
    static const size_t most[] = { 2, 10, 70, N_CTX + 2 };
    if (l == NULL) {
        return;
    }
    bool afresh = w->known && l->n == 0; /* a text longer than a page */
    size_t n = below(w, most[afresh ? 3 : below(w, 4)]);
    rig_tokens(&w->r, below(w, w->known ? 3 : 1000), tokens, n);
    if (l->cancelled) {
        FAILS(WEFT_E_CANCELLED, weft_seq_append(l->seq, tokens, n, E));
        l->cancelled = false;
        w->want.n_cancelled++;
    } else if (l->n + n > N_CTX) {
        FAILS(WEFT_E_CTX_FULL, weft_seq_append(l->seq, tokens, n, E));
    } else if (worked(w, weft_seq_append(l->seq, tokens, n, E), most_needed(w, l, n)) && n > 0) {
        const size_t before = l->n;
        if (!other_rope(w, before, before + n)) {
            find_known(w, l, n);
        }
        memcpy(l->tokens + l->n, tokens, n * sizeof *tokens);
        l->n += n;
        cross(w, l, before);
        l->finish = WEFT_RUNNING;
        l->twin_behind = true;
    }
}

/* Every step computes something if something waits, never more than n_batch rows, and only rows of
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
        w->want.n_decode_rows += l->drawn >= l->n_done && l->drawn < n_done;
        l->n_done = n_done;
        want_ready += has_logits(l) && l->finish == WEFT_RUNNING;
    }
    assert_int_equal(ready, want_ready);
    assert_int_equal(rig_info(&w->r).n_rows - before.n_rows, n_computed);
    assert_in_range(n_computed, n_waiting > 0, before.n_batch);
    w->want.n_rows += n_computed;
    w->want.n_steps += n_computed > 0;
}

static void check_logprobs(const struct world *w, struct life *l, int32_t token)
{
    weft_logprob got[4];
    size_t n;
    l->logprobs_of = token;
    if (l->logprobs) {
        OK(weft_seq_logprobs(l->seq, got, 4, &n, E));
        assert_int_equal(n, 4);
        assert_int_equal(got[0].token, token);
        assert_true(got[1].logprob >= got[2].logprob && got[2].logprob >= got[3].logprob);
        assert_true(got[0].logprob <= got[1].logprob && got[1].logprob <= 0);
        assert_in_range(got[3].token, 0, w->r.n_vocab - 1);
    }
}

/* The last token of a sequence may be computed once more when its logits are asked for. */
static void count_again(struct world *w, const struct life *l, size_t n_rows_before)
{
    size_t again = rig_info(&w->r).n_rows - n_rows_before;
    assert_in_range(again, 0, 1);
    w->want.n_rows += again;
    w->want.n_steps += again;
    w->want.n_decode_rows += again > 0 && l->drawn != NONE && l->drawn + 1 == l->n;
}

static void do_next(struct world *w)
{
    int32_t token = -1;
    struct life *l = some(w, below(w, 8) > 0);
    size_t before = rig_info(&w->r).n_rows;
    if (l == NULL) {
        return;
    }
    if (l->cancelled) {
        FAILS(WEFT_E_CANCELLED, weft_seq_next(l->seq, &token, E));
        l->cancelled = false;
        w->want.n_cancelled++;
    } else if (l->finish != WEFT_RUNNING || !has_logits(l)) {
        FAILS(WEFT_E_STATE, weft_seq_next(l->seq, &token, E));
    } else if (l->n == N_CTX) {
        FAILS(WEFT_E_CTX_FULL, weft_seq_next(l->seq, &token, E));
    } else if (worked(w, weft_seq_next(l->seq, &token, E),
                      other_rope(w, l->n, l->n + 1) ? most_needed(w, l, 1) : l->n >= l->room)) {
        count_again(w, l, before);
        assert_int_equal(token, draw_alone(w, l));
        l->finish = weft_seq_finish(l->twin);
        if (token < 0) {
            assert_int_equal(l->finish, WEFT_FINISH_GRAMMAR);
            return;
        }
        l->written[l->n] = l->grammar != NULL;
        l->drawn = l->n;
        l->tokens[l->n++] = token;
        cross(w, l, l->n - 1);
        l->n_draws++;
        w->n_drawn++;
        w->n_grammar += l->grammar != NULL;
        check_logprobs(w, l, token);
    }
}

static void do_fork(struct world *w)
{
    struct life *l = some(w, false), *copy = free_slot(w);
    if (l == NULL || copy == NULL) {
        return;
    }
    weft_seq *seq = NULL;
    bool own_page = l->n_done < l->n || (l->n < l->room && l->n % PAGE != 0);
    size_t need = room_crosses(w, l) ? pages(l->n) : own_page ? pages(l->n) - l->n_done / PAGE : 0;
    if (worked(w, weft_seq_fork(l->seq, &seq, E), need)) {
        *copy = *l;
        w->want.n_opened++;
        copy->seq = seq;
        copy->twin = twin_of(w, copy);
        copy->cancelled = copy->observed = false;
        copy->room = 0;
        copy->twin_behind = true;
        memset(copy->seen, 0, sizeof copy->seen);
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
        const size_t before = l->n;
        forget(l, n);
        l->n_done = n == 0 ? 0 : l->n_done < n - 1 ? l->n_done : n - 1;
        if (n > 0) {
            /* The position is computed again, and seen again. */
            l->seen[n - 1] = 0;
        }
        cross(w, l, before);
        l->finish = WEFT_RUNNING;
        l->twin_behind = true;
    }
}

/* Sets pages aside. They must be there when they are wanted: see do_append() and do_next(). */
static void do_reserve(struct world *w)
{
    struct life *l = some(w, false);
    if (l == NULL) {
        return;
    }
    size_t n = below(w, 4) == 0 ? 0 : below(w, N_CTX - l->n + 2);
    bool had = l->n < l->room;
    size_t need = pages(l->n + n) > held(l) ? pages(l->n + n) - held(l) : 0;
    need = other_rope(w, l->n, l->n + n) ? pages(l->n + n) : need;
    if (l->n + n > N_CTX) {
        FAILS(WEFT_E_CTX_FULL, weft_seq_reserve(l->seq, n, E));
    } else if (worked(w, weft_seq_reserve(l->seq, n, E), n == 0 ? 0 : need + !had)) {
        l->room = n > 0 ? l->n + n : 0;
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
        w->want.n_released++;
    }
}

static void set_sampling(struct life *l, const weft_sampling *s)
{
    OK(weft_seq_set_sampling(l->seq, s, E));
    OK(weft_seq_set_sampling(l->twin, s, E));
    l->sampling = *s;
    l->n_draws = 0;
}

static void do_sampling(struct world *w)
{
    struct life *l = some(w, false);
    weft_sampling s = some_sampling(w);
    if (l != NULL) {
        s.temperature = l->grammar != NULL ? 0 : s.temperature;
        set_sampling(l, &s);
    }
}

/* Under a grammar everything is greedy: a twin that writes its text again would not know the state
 * of the random numbers. */
static void do_grammar(struct world *w)
{
    static const char *const grammars[] = {
        "root ::= [a-z ]*",
        "root ::= (\"a\" | \"the\" | \" \" | \"o\")+",
        "root ::= \"{\" [^}]{0,4} \"}\"",
        "root ::= \"x\" [0-9]{2}",
        "root ::= line+\nline ::= [^\\n]{3} \"\\n\"",
    };
    static const char *const triggers[] = { "e", "th", "no such text" };
    struct life *l = some(w, false);
    size_t i = below(w, 7), from = below(w, 6);
    if (l == NULL) {
        return;
    }
    if (i == 6) {
        FAILS(WEFT_E_FORMAT, weft_seq_set_grammar(l->seq, "root ::= other", 14, E));
        return;
    }
    l->grammar = i < 5 ? grammars[i] : NULL;
    l->trigger = from < 3 && l->grammar != NULL ? triggers[from] : NULL;
    set_grammar(l->seq, l->trigger, l->grammar);
    memset(l->written, 0, sizeof l->written);
    weft_sampling greedy = l->sampling;
    greedy.temperature = 0;
    set_sampling(l, &greedy);
    l->twin_behind = true;
}

static void do_logprobs(struct world *w)
{
    struct life *l = some(w, false);
    weft_logprob got[4];
    if (l != NULL) {
        l->logprobs = below(w, 2) == 0;
        OK(weft_seq_set_logprobs(l->seq, l->logprobs ? 3 : -1, E));
        FAILS(WEFT_E_STATE, weft_seq_logprobs(l->seq, got, 4, NULL, E));
    }
}

/* Saves into memory, and now and then also into a file, which must get the same bytes. The test
 * notes what the state holds. */
static void do_save(struct world *w)
{
    struct life *l = some(w, false);
    struct saved *s = &w->saved[below(w, N_SAVED)];
    const char *path = state_path();
    if (l == NULL) {
        return;
    }
    FAILS(WEFT_E_BUFFER, weft_seq_save(l->seq, NULL, 0, &s->n_bytes, E));
    s->data = realloc(s->data, s->n_bytes);
    OK(weft_seq_save(l->seq, s->data, s->n_bytes, NULL, E));
    s->n = l->n;
    s->n_done = l->n_done;
    memcpy(s->tokens, l->tokens, sizeof s->tokens);
    if (below(w, 4) == 0) {
        uint8_t *again = malloc(s->n_bytes);
        OK(weft_seq_save_file(l->seq, path, E));
        FILE *f = fopen(path, "rb");
        assert_int_equal(fread(again, 1, s->n_bytes, f), s->n_bytes);
        assert_int_equal(fgetc(f), EOF);
        fclose(f);
        assert_memory_equal(again, s->data, s->n_bytes);
        free(again);
    }
}

static weft_status load_file(weft_seq *seq, const struct saved *s)
{
    const char *path = state_path();
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(s->data, 1, s->n_bytes, f), s->n_bytes);
    assert_int_equal(fclose(f), 0);
    return weft_seq_load_file(seq, path, E);
}

/* A damaged state changes nothing; a whole one replaces everything but the settings. */
static void do_load(struct world *w)
{
    struct life *l = some(w, false);
    struct saved *s = &w->saved[below(w, N_SAVED)];
    if (l == NULL || s->data == NULL) {
        return;
    }
    if (below(w, 4) == 0) {
        uint8_t *byte = &s->data[below(w, s->n_bytes)];
        *byte ^= 0x20;
        assert_true(weft_seq_load(l->seq, s->data, s->n_bytes, E) != WEFT_OK);
        *byte ^= 0x20;
    } else if (worked(w,
                      below(w, 4) == 0 ? load_file(l->seq, s)
                                       : weft_seq_load(l->seq, s->data, s->n_bytes, E),
                      pages(s->n))) {
        forget(l, 0);
        memcpy(l->tokens, s->tokens, sizeof l->tokens);
        l->n = s->n;
        l->n_done = s->n == 0 ? 0 : s->n_done < s->n - 1 ? s->n_done : s->n - 1;
        l->finish = WEFT_RUNNING;
        OK(weft_seq_set_sampling(l->twin, &l->sampling, E));
        l->n_draws = 0;
        l->twin_behind = true;
        w->n_loaded++;
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
        w->want.n_rows += n;
        w->want.n_steps += (n - 1) / rig_info(&w->r).n_batch + 1;
        OK(weft_embed(w->alone.engine, tokens, n, NULL, want, DIM, &n_want, E));
        assert_int_equal(n_got, n_want);
        assert_memory_equal(got, want, n_got * sizeof *got);
    }
}

/* Embeds some texts at once. They begin alike if their seeds are the same. How many rows and steps
 * that takes depends on the pool, so it is only bounded here; the vectors are exact. */
static void do_embed_texts(struct world *w)
{
    int32_t tokens[400], *at = tokens;
    float got[4 * DIM], want[DIM];
    size_t lengths[4], n = 1 + below(w, 4), total = 0, longest = 0, needed;
    const weft_embed_params p = { .size = sizeof p,
                                  .pooling = below(w, 2) == 0 ? WEFT_POOL_LAST : WEFT_POOL_MEAN };
    for (size_t i = 0; i < n; at += lengths[i++]) {
        lengths[i] = 1 + below(w, 100);
        longest = lengths[i] > longest ? lengths[i] : longest;
        total += lengths[i];
        rig_tokens(&w->r, below(w, 3), at, lengths[i]);
    }
    const weft_engine_info before = rig_info(&w->r);
    weft_status status =
        weft_embed_texts(w->r.engine, tokens, lengths, n, &p, got, 4 * DIM, &needed, E);
    const weft_engine_info after = rig_info(&w->r);
    const uint64_t n_rows = after.n_rows - before.n_rows;
    w->want.n_rows += n_rows;
    w->want.n_steps += after.n_steps - before.n_steps;
    assert_in_range(n_rows, 0, total + longest);
    if (!worked(w, status, pages(longest))) {
        return;
    }
    assert_true(n_rows >= longest);
    at = tokens;
    for (size_t i = 0; i < n; at += lengths[i++]) {
        OK(weft_embed(w->alone.engine, at, lengths[i], &p, want, DIM, NULL, E));
        assert_memory_equal(got + i * (needed / n), want, needed / n * sizeof *got);
    }
}

/* Checks text (taken, not compared), tokens, logits, and one position that was observed. */
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
        size_t before = rig_info(&w->r).n_rows;
        float *got = rig_logits(&w->r, l->seq), *want = rig_expected(&w->alone, l->tokens, l->n);
        count_again(w, l, before);
        rig_same(&w->r, got, want, "logits");
        free(got);
        free(want);
    } else {
        FAILS(WEFT_E_STATE, weft_seq_logits(l->seq, NULL, 0, NULL, E));
    }
    size_t pos = l->n > 0 ? below(w, l->n) : 0;
    if (l->seen[pos] != 0 && !other_rope(w, pos + 1, l->n)) {
        float *want = rig_expected(&w->alone, l->tokens, pos + 1);
        assert_true(l->seen[pos] == hash_of(want, w->r.n_vocab));
        free(want);
    }
}

/* How often each operation comes. A further operation is a function and a line here. */
static const struct {
    const char *name;
    void (*run)(struct world *);
    size_t weight;
} operations[] = {
    { "open", do_open, 5 },
    { "append", do_append, 14 },
    { "step", do_step, 30 },
    { "next", do_next, 40 },
    { "fork", do_fork, 4 },
    { "rewind", do_rewind, 4 },
    { "reserve", do_reserve, 4 },
    { "cancel", do_cancel, 2 },
    { "release", do_release, 3 },
    { "end", do_end, 1 },
    { "set_sampling", do_sampling, 2 },
    { "observe", do_observe, 2 },
    { "embed", do_embed, 2 },
    { "embed_texts", do_embed_texts, 1 },
    { "check", do_check, 6 },
    { "set_grammar or set_trigger", do_grammar, 4 },
    { "save", do_save, 4 },
    { "load", do_load, 4 },
    { "set_logprobs", do_logprobs, 1 },
};
enum { N_OPERATIONS = sizeof operations / sizeof operations[0] };

/* ---------------------------------------------------------------- schedules */

/* Checks what holds after every operation. */
static void check_world(const struct world *w)
{
    weft_engine_info info = rig_info(&w->r);
    size_t n_pages = 0, n_seqs = 0;
    for (size_t i = 0; i < N_SLOTS; i++) {
        const struct life *l = &w->lives[i];
        if (l->seq != NULL) {
            n_seqs++;
            n_pages += held(l);
            assert_int_equal(weft_seq_len(l->seq), l->n);
            assert_int_equal(weft_seq_pending(l->seq), l->n - l->n_done);
            assert_int_equal(weft_seq_finish(l->seq), l->finish);
        }
    }
    assert_int_equal(info.n_seqs, n_seqs);
    assert_in_range((info.n_kv - info.n_kv_free) / PAGE, 0, n_pages);
    check_stats(w);
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

/* `file` is the path of a model; `name` is for the message. */
static inline void schedule_file(const char *file, const char *name, weft_engine_params p,
                                 uint64_t seed, size_t n)
{
    weft_model_info info = { .size = sizeof info };
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
    w->known = !p.no_prefix_cache;
    w->r = rig_open_as(file, &p);
    w->alone = rig_open(file, &alone);
    OK(weft_model_get_info(w->r.model, &info, E));
    w->border = info.n_rope_short > 0 ? info.n_rope_short : SIZE_MAX;
    now.running = true;
    now.seed = seed;
    for (now.i = 0; now.i < n; now.i++) {
        operate(w);
    }
    now.name = "release of all";
    for (size_t i = 0; i < N_SLOTS; i++) {
        w->want.n_released += w->lives[i].seq != NULL;
        weft_seq_release(&w->lives[i].seq);
        weft_seq_release(&w->lives[i].twin);
    }
    check_stats(w);
    rig_close(&w->r);
    rig_close(&w->alone);
    now.running = false;
    assert_true(w->n_drawn > n / 100);
    /* n is large enough for everything to happen. */
    if (n >= 500) {
        assert_int_equal(w->want.n_kv_full > 0, p.n_kv < N_SLOTS * 256);
        assert_true(w->n_grammar > 0 && w->n_loaded > n / 200);
        assert_int_equal(w->want.n_cached > 0, w->known);
        assert_int_equal(w->n_crossed > n / 300, w->border < N_CTX);
    }
    print_message(
        "%s, seed %zu: %zu operations, %zu ids drawn (%zu by a grammar), %zu states "
        "loaded, %zu positions found, pool full %zu times, other RoPE factors %zu times\n",
        name, (size_t)seed, n, w->n_drawn, w->n_grammar, w->n_loaded, (size_t)w->want.n_cached,
        (size_t)w->want.n_kv_full, w->n_crossed);
    for (size_t i = 0; i < N_SAVED; i++) {
        free(w->saved[i].data);
    }
    free(w);
}

static inline void schedule(const char *preset, weft_engine_params p, uint64_t seed, size_t n)
{
    schedule_file(model_file(preset), preset, p, seed, n);
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
