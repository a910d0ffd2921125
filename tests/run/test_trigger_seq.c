/* Triggers through the public API. Every draw gives the token that the sampler draws from the same
 * logits with the mask of a slow model (trigger_model.h), whatever was drawn, forked, rewound,
 * appended and loaded before, with the best logits, with all of them, and with tokens computed
 * ahead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "draw/sampler.h"
#include "support/level.h"
#include "support/models.h"
#include "support/rig.h"
#include "support/top_backend.h"
#include "support/trigger_model.h"

enum { MAX_TOKENS = 70, N_PROMPT = 5, MAX_STATE = 1 << 18 };

/* What holds of a sequence. */
struct truth {
    struct rig r, alone;
    struct top_backend top;
    bool ahead;
    struct trigger_model model;
    weft_trigger p;
    const char *texts[3];
    int32_t ids[2];
    weft_sampling sampling;
    weft_logit_bias bias[4]; /* of the sampling, for some draws */
    weft_seq *seq;
    int32_t tokens[MAX_TOKENS + 1];
    size_t n, start, n_state, n_saved;
    bool written[MAX_TOKENS + 1];
    uint8_t *state; /* [MAX_STATE] a saved state, of n_saved tokens */
    int32_t saved[MAX_TOKENS + 1];
    uint64_t seed;
    size_t n_free, n_held, n_on, n_grammar, n_forbidden, n_ends;
};

static uint32_t below(struct truth *w, uint32_t n) { return rig_random(&w->seed, n); }

static const struct tokenizer *tokenizer_of(const struct rig *r)
{
    return r->engine->model->tokenizer;
}

/* ---------------------------------------------------------------- random triggers */

static const char *const words[] = { "e", "th", "in", "s", "a", "re", "on ", "r", " t", "aab" };
static const char *const grammars[] = {
    "root ::= [a-z]{0,3} \"!\"",
    "root ::= \" \"? [a-m]{4} | \"\xc3\xa9\"",
    "root ::= (\"r\" | \"s\" | \" \")* [0-9]{2}",
    "root ::= [^a-z]{0,5}",
};

static weft_sampling some_sampling(struct truth *w)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    static const float temperatures[] = { 0, 0.7f, 1, 3 };
    static const int32_t top_k[] = { 0, 3, 40, 64 };
    s.temperature = temperatures[below(w, 4)];
    s.top_k = top_k[below(w, 4)];
    s.top_p = below(w, 2) == 0 ? 1 : 0.8f;
    s.min_p = below(w, 3) == 0 ? 0.1f : 0;
    s.repeat_penalty = below(w, 4) == 0 ? 1.2f : 1;
    s.ignore_end = below(w, 2) == 0;
    s.seed = below(w, 1000);
    return s;
}

static void choose_hold(struct truth *w)
{
    if (below(w, 2) == 0) {
        w->p.hold_close = words[below(w, sizeof words / sizeof *words)];
        w->p.hold_open = below(w, 4) > 0 ? words[below(w, sizeof words / sizeof *words)] : NULL;
        w->p.held = below(w, 2) == 0;
    }
}

static void set_trigger(struct truth *w)
{
    const char *gbnf = grammars[below(w, sizeof grammars / sizeof *grammars)];
    w->p = (weft_trigger)WEFT_TRIGGER_INIT;
    w->p.texts = w->texts;
    w->p.tokens = w->ids;
    w->p.n_texts = below(w, 4);
    w->p.n_tokens = w->p.n_texts == 0 ? 1 : below(w, 3);
    for (size_t i = 0; i < w->p.n_texts; i++) {
        w->texts[i] = words[below(w, sizeof words / sizeof *words)];
    }
    for (size_t i = 0; i < w->p.n_tokens; i++) {
        do {
            w->ids[i] = (int32_t)below(w, (uint32_t)w->r.n_vocab);
        } while (weft_token_is_end(w->r.model, w->ids[i]));
    }
    choose_hold(w);
    trigger_model_close(&w->model);
    w->model = trigger_model_open(tokenizer_of(&w->r), &w->p, gbnf);
    OK(weft_seq_set_trigger(w->seq, &w->p, gbnf, strlen(gbnf), E));
    memset(w->written, 0, sizeof w->written);
}

/* ---------------------------------------------------------------- draws */

static size_t text_start(const struct truth *w)
{
    size_t n = w->n;
    while (n > 0 && w->written[n - 1]) {
        n--;
    }
    return n;
}

/* Returns the token that a draw must give, -1 for none. */
static int32_t expected(struct truth *w)
{
    const struct model *m = w->r.engine->model;
    uint64_t *mask = calloc(w->r.n_vocab / 64 + 1, sizeof *mask);
    struct sampler *sampler;
    struct sampler_scratch *scratch;
    int32_t token = -7;
    trigger_model_read(&w->model, w->tokens, text_start(w), w->n);
    size_t n = trigger_model_mask(&w->model, mask);
    const struct draw_context in = {
        .past = w->tokens, .n_past = w->n, .end = m->ends, .n_end = m->n_ends, .allowed = mask
    };
    float *logits = rig_expected(&w->alone, w->tokens, w->n);
    OK(sampler_open(&w->sampling, w->r.n_vocab, &sampler, E));
    OK(sampler_scratch_open(w->r.n_vocab, &scratch, E));
    OK(sampler_pick(sampler, scratch, logits, &in, &token, E));
    sampler_close(sampler);
    sampler_scratch_close(scratch);
    free(logits);
    free(mask);
    w->n_forbidden += !w->model.pulled && n < w->r.n_vocab;
    return token;
}

/* Makes it likely that the next token, in free text, goes on behind a trigger, also if it is
 * forbidden. */
static void bias_some(struct truth *w)
{
    w->sampling.bias = w->bias;
    w->sampling.n_bias = 0;
    trigger_model_read(&w->model, w->tokens, text_start(w), w->n);
    for (size_t tries = 0; tries < 200 && w->sampling.n_bias < 4; tries++) {
        int32_t token = (int32_t)below(w, (uint32_t)w->r.n_vocab);
        bool twice = false;
        for (size_t i = 0; i < w->sampling.n_bias; i++) {
            twice |= w->bias[i].token == token;
        }
        if (!twice && trigger_model_goes_on(&w->model, token)) {
            w->bias[w->sampling.n_bias++] = (weft_logit_bias){ token, 10 };
        }
    }
}

/* The random state restarts, so that the next draw is known. */
static void restart_random(struct truth *w)
{
    bool had = w->sampling.n_bias > 0;
    w->sampling.n_bias = 0;
    if (below(w, 6) == 0) {
        bias_some(w);
    }
    if (w->sampling.temperature > 0 || had || w->sampling.n_bias > 0) {
        w->sampling.seed++;
        OK(weft_seq_set_sampling(w->seq, &w->sampling, E));
    }
}

static void do_draw(struct truth *w)
{
    int32_t token = -7;
    if (weft_seq_finish(w->seq) != WEFT_RUNNING || w->n == MAX_TOKENS) {
        return;
    }
    restart_random(w);
    rig_compute(&w->r, w->seq);
    int32_t want = expected(w);
    OK(weft_seq_next(w->seq, &token, E));
    if (token != want) {
        fail_msg("token %d, expected %d, behind %zu tokens; the text '%.*s' is %s", token, want,
                 w->n, (int)w->model.text.n, w->model.text.data,
                 w->model.pulled ? "behind the trigger" : "free");
    }
    if (token < 0) {
        assert_int_equal(weft_seq_finish(w->seq), WEFT_FINISH_GRAMMAR);
        return;
    }
    w->n_free += !w->model.pulled;
    w->n_held += !w->model.pulled && w->model.held;
    w->n_grammar += w->model.pulled;
    w->n_on += trigger_model_goes_on(&w->model, token);
    w->n_ends += w->model.pulled && weft_token_is_end(w->r.model, token);
    w->written[w->n] = true;
    w->tokens[w->n++] = token;
}

static void do_append(struct truth *w)
{
    int32_t tokens[3];
    size_t n = 1 + below(w, 3);
    if (w->n + n <= MAX_TOKENS) {
        rig_tokens(&w->r, below(w, 1000), tokens, n);
        OK(weft_seq_append(w->seq, tokens, n, E));
        memcpy(w->tokens + w->n, tokens, n * sizeof *tokens);
        memset(w->written + w->n, 0, n);
        w->n += n;
    }
}

static void do_rewind(struct truth *w)
{
    w->n = 1 + below(w, (uint32_t)w->n);
    OK(weft_seq_rewind(w->seq, w->n, E));
}

static void do_fork(struct truth *w)
{
    weft_seq *copy = NULL;
    OK(weft_seq_fork(w->seq, &copy, E));
    weft_seq_release(&w->seq);
    w->seq = copy;
}

static void do_save(struct truth *w)
{
    OK(weft_seq_save(w->seq, w->state, MAX_STATE, &w->n_state, E));
    memcpy(w->saved, w->tokens, sizeof w->saved);
    w->n_saved = w->n;
}

static void do_load(struct truth *w)
{
    if (w->n_state > 0) {
        OK(weft_seq_load(w->seq, w->state, w->n_state, E));
        memcpy(w->tokens, w->saved, sizeof w->tokens);
        memset(w->written, 0, sizeof w->written);
        w->n = w->n_saved;
    }
}

static void do_sampling(struct truth *w)
{
    w->sampling = some_sampling(w);
    OK(weft_seq_set_sampling(w->seq, &w->sampling, E));
}

static void do_logprobs(struct truth *w)
{
    OK(weft_seq_set_logprobs(w->seq, (int)below(w, 3) - 1, E));
}

static void operate(struct truth *w)
{
    static void (*const operations[])(struct truth *) = { do_append,   do_rewind,  do_fork,
                                                          do_save,     do_load,    set_trigger,
                                                          do_sampling, do_logprobs };
    uint32_t what = below(w, 60);
    (what < 8 ? operations[what] : do_draw)(w);
    if (weft_seq_finish(w->seq) != WEFT_RUNNING && below(w, 3) == 0) {
        do_rewind(w);
    }
}

static void open_truth(struct truth *w, const char *preset, bool ahead)
{
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    memset(w, 0, sizeof *w);
    params.n_threads = 1;
    params.device = "cpu";
    params.n_ahead = ahead ? 8 : 0;
    w->r = rig_open(model_file(preset), &params);
    w->alone = rig_open(model_file(preset), NULL);
    w->state = malloc(MAX_STATE);
    assert_non_null(w->state);
    if (ahead) {
        top_backend_wrap(&w->top, w->r.engine, TOP_BEST | TOP_AHEAD, 1);
    }
}

static void close_truth(struct truth *w)
{
    trigger_model_close(&w->model);
    rig_close(&w->r);
    rig_close(&w->alone);
    free(w->state);
}

static void check_draws(const char *preset, bool ahead, uint64_t seed, size_t n_rounds)
{
    static struct truth w;
    open_truth(&w, preset, ahead);
    w.seed = seed;
    for (size_t round = 0; round < n_rounds; round++) {
        w.sampling = some_sampling(&w);
        w.seq = rig_seq(&w.r, &w.sampling);
        w.n = N_PROMPT;
        rig_tokens(&w.r, below(&w, 1000), w.tokens, w.n);
        OK(weft_seq_append(w.seq, w.tokens, w.n, E));
        set_trigger(&w);
        for (size_t i = 0; i < 80; i++) {
            operate(&w);
        }
        weft_seq_release(&w.seq);
    }
    print_message("%s%s: %zu draws of free text, %zu of them held, %zu with forbidden tokens, %zu "
                  "went on behind a trigger; %zu under the grammar, %zu ends; %zu times ahead\n",
                  preset, ahead ? ", ahead" : "", w.n_free, w.n_held, w.n_forbidden, w.n_on,
                  w.n_grammar, w.n_ends, w.top.n_ahead);
    assert_true(w.n_free > 5 * n_rounds && w.n_grammar > n_rounds && w.n_forbidden > n_rounds);
    assert_true(w.n_held > n_rounds && w.n_on > n_rounds / 4 && w.n_ends > n_rounds / 10);
    assert_int_equal(w.top.n_ahead > 0, ahead);
    close_truth(&w);
}

static void test_draws(void **state)
{
    (void)state;
    size_t n = level_all("half of the random sequences with triggers") ? 60 : 30;
    check_draws("tiny-qwen2", false, 1, n);
    check_draws("tiny-qwen2", true, 2, n);
    check_draws("tiny-phi3", false, 3, n);
    check_draws("tiny-phi3", true, 4, n);
}

/* ---------------------------------------------------------------- whole texts */

static const char calls[] = "root ::= (\"(\" [0-9]{1,3} \")\"){1,2}";

static weft_sampling sampled(float temperature, uint64_t seed)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = temperature;
    s.top_k = seed % 2 == 0 ? 0 : 40;
    s.seed = seed;
    return s;
}

static void set_text(weft_seq *seq, const char *text, const char *gbnf)
{
    const weft_trigger p = { .size = sizeof p, .texts = &text, .n_texts = 1 };
    OK(weft_seq_set_trigger(seq, &p, gbnf, strlen(gbnf), E));
}

/* Opens a sequence whose prompt waits. */
static weft_seq *prompted(const struct rig *r, const weft_sampling *sampling, uint64_t seed)
{
    int32_t prompt[N_PROMPT];
    weft_seq *seq = rig_seq(r, sampling);
    rig_tokens(r, seed, prompt, N_PROMPT);
    OK(weft_seq_append(seq, prompt, N_PROMPT, E));
    return seq;
}

/* Expects calls as the grammar wants them. */
static void check_calls(const char *text)
{
    size_t n_calls = 0, n, n_digits;
    for (; text[0] == '('; text += n, n_calls++) {
        n_digits = strspn(text + 1, "0123456789");
        n = n_digits + 2;
        assert_in_range(n_digits, 1, 3);
        assert_int_equal(text[n - 1], ')');
    }
    assert_int_equal(text[0], '\0');
    assert_in_range(n_calls, 1, 2);
}

/* Returns the text behind the trigger that is complete first; NULL if there is none. */
static const char *behind_first(const char *text, const char *const *triggers, size_t n)
{
    const char *first = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *at = strstr(text, triggers[i]);
        const char *end = at != NULL ? at + strlen(triggers[i]) : NULL;
        first = end != NULL && (first == NULL || end < first) ? end : first;
    }
    return first;
}

static void test_texts(void **state)
{
    (void)state;
    static const char *const texts[] = { "an", "whi", "wh", "t " };
    const weft_trigger p = { .size = sizeof p, .texts = texts, .n_texts = 4 };
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    char text[4000];
    size_t n_pulled = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        weft_sampling s = sampled(4, seed);
        s.repeat_penalty = 1.5f;
        weft_seq *seq = prompted(&r, &s, seed);
        OK(weft_seq_set_trigger(seq, &p, calls, strlen(calls), E));
        rig_generate(&r, seq, 300, text, sizeof text);
        const char *rest = behind_first(text, texts, 4);
        if (rest != NULL) {
            n_pulled++;
            assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_END);
            check_calls(rest);
        }
        weft_seq_release(&seq);
    }
    print_message("%zu of 60 texts with a trigger\n", n_pulled);
    assert_true(n_pulled > 20);
    rig_close(&r);
}

/* Draws up to n tokens, or to the end of the text. */
static void draw(const struct rig *r, weft_seq *seq, size_t n)
{
    for (size_t i = 0; i < n && weft_seq_finish(seq) == WEFT_RUNNING; i++) {
        int32_t token;
        rig_compute(r, seq);
        OK(weft_seq_next(seq, &token, E));
    }
}

static void expect_tokens(weft_seq *seq, const int32_t *want, size_t n)
{
    int32_t got[400];
    size_t n_got;
    OK(weft_seq_tokens(seq, got, 400, &n_got, E));
    assert_int_equal(n_got, n);
    assert_memory_equal(got, want, n * sizeof *want);
}

/* After a rewind to any place, and in forks made there, the rest is drawn as before. */
static void test_every_position(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    static const char trigger[] = "deb";
    weft_sampling greedy = sampled(0, 0);
    int32_t want[400];
    char text[4000];
    size_t n;
    greedy.repeat_penalty = 1.5f;
    greedy.repeat_last_n = -1;
    weft_seq *seq = prompted(&r, &greedy, 7), *copy;
    set_text(seq, trigger, calls);
    rig_generate(&r, seq, 300, text, sizeof text);
    assert_true(strstr(text, trigger) > text + 4);
    check_calls(strstr(text, trigger) + strlen(trigger));
    OK(weft_seq_tokens(seq, want, 400, &n, E));
    for (size_t keep = N_PROMPT; keep < n; keep++) {
        OK(weft_seq_rewind(seq, keep, E));
        OK(weft_seq_fork(seq, &copy, E));
        draw(&r, seq, 400);
        expect_tokens(seq, want, n);
        draw(&r, copy, 400);
        expect_tokens(copy, want, n);
        weft_seq_release(&copy);
    }
    weft_seq_release(&seq);
    rig_close(&r);
}

/* Draws greedily n_free tokens, then a text which these tokens trigger, then behind an append some
 * more. Returns the number of tokens. In free text nothing but the best logits and tokens computed
 * ahead is used, and behind the trigger nothing is computed ahead. */
static size_t draw_triggered(const struct rig *r, const struct top_backend *top, size_t n_free,
                             int32_t *tokens)
{
    char text[4000];
    size_t n;
    const int32_t one = 300;
    weft_sampling greedy = sampled(0, 0);
    greedy.ignore_end = true;
    weft_seq *seq = prompted(r, &greedy, 7);
    set_text(seq, "no such text", "root ::= [a-z]*");
    rig_generate(r, seq, N_PROMPT + n_free, text, sizeof text);
    OK(weft_seq_rewind(seq, N_PROMPT, E));
    set_text(seq, text, "root ::= [a-z]{40}");
    draw(r, seq, n_free);
    const size_t n_ahead = top->n_ahead, n_read = top->n_read;
    draw(r, seq, 100);
    assert_int_equal(top->n_ahead, n_ahead);
    OK(weft_seq_tokens(seq, tokens, 400, &n, E));
    assert_true(n > N_PROMPT + n_free + 10);
    assert_int_equal(top->n_read > n_read, top->cpu != NULL);
    const size_t n_read_after = top->n_read;
    OK(weft_seq_append(seq, &one, 1, E));
    draw(r, seq, n_free);
    assert_int_equal(top->n_read, n_read_after);
    OK(weft_seq_tokens(seq, tokens, 400, &n, E));
    weft_seq_release(&seq);
    return n;
}

/* In free text tokens are computed ahead, and they are the same as without. Those that were
 * computed behind a trigger are dropped. */
static void test_ahead(void **state)
{
    (void)state;
    static struct top_backend top;
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    int32_t tokens[2][400];
    size_t n[2];
    params.n_threads = 1;
    params.device = "cpu";
    /* The trigger comes at each place among the tokens computed ahead. */
    for (size_t n_free = 9; n_free < 18; n_free++) {
        top = (struct top_backend){ 0 };
        for (int ahead = 0; ahead < 2; ahead++) {
            params.n_ahead = ahead ? 8 : 0;
            struct rig r = rig_open(model_file("tiny-qwen2"), &params);
            if (ahead) {
                top_backend_wrap(&top, r.engine, TOP_BEST | TOP_AHEAD, 1);
            }
            n[ahead] = draw_triggered(&r, &top, n_free, tokens[ahead]);
            assert_int_equal(top.n_ahead > 0, ahead);
            rig_close(&r);
        }
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(tokens[0], tokens[1], n[0] * sizeof **tokens);
    }
}

/* Draws this token, which free text allows. */
static void force(const struct rig *r, weft_seq *seq, int32_t token)
{
    const weft_logit_bias bias = { token, 1e6f };
    weft_sampling s = sampled(0, 0);
    int32_t got;
    s.bias = &bias;
    s.n_bias = 1;
    OK(weft_seq_set_sampling(seq, &s, E));
    rig_compute(r, seq);
    OK(weft_seq_next(seq, &got, E));
    assert_int_equal(got, token);
    s = sampled(1, 3);
    OK(weft_seq_set_sampling(seq, &s, E));
}

/* A control token is a trigger by its id and by its text; its text is none under a grammar. */
static void test_control(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    int32_t start;
    char text[4000];
    const char *const texts[] = { "<|im_start|>", "|im_", "x|" };
    OK(weft_tokenize(r.model, texts[0], 12, WEFT_TOKENIZE_SPECIAL, &start, 1, NULL, E));
    const weft_trigger by_id = { .size = sizeof by_id, .tokens = &start, .n_tokens = 1 };
    weft_sampling s = sampled(1, 3);
    for (int how = 0; how < 3; how++) {
        const weft_trigger by_text = { .size = sizeof by_text, .texts = texts + how, .n_texts = 1 };
        const char *gbnf = how == 1 ? "root ::= \"start|>abc\"" : "root ::= \"abc\"";
        weft_seq *seq = prompted(&r, &s, 3);
        OK(weft_seq_set_trigger(seq, how < 2 ? &by_text : &by_id, gbnf, strlen(gbnf), E));
        force(&r, seq, start);
        rig_generate(&r, seq, 100, text, sizeof text);
        assert_string_equal(text, "abc");
        assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_END);
        /* After an append the next text is free again. */
        OK(weft_seq_append(seq, &start, 1, E));
        force(&r, seq, 'x');
        force(&r, seq, start);
        rig_generate(&r, seq, 100, text, sizeof text);
        assert_string_equal(text + strlen(text) - 3, "abc");
        weft_seq_release(&seq);
    }
    rig_close(&r);
}

/* ---------------------------------------------------------------- the calls */

static void test_replaced(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = sampled(1, 3);
    char text[4000], free_text[4000];
    const weft_trigger none = WEFT_TRIGGER_INIT;
    s.ignore_end = true;
    weft_seq *seq = prompted(&r, &s, 3);
    rig_generate(&r, seq, 40, free_text, sizeof free_text);
    weft_seq_release(&seq);
    for (int how = 0; how < 5; how++) {
        seq = prompted(&r, &s, 3);
        OK(weft_seq_set_grammar(seq, "root ::= \"abc\"", 14, E));
        set_text(seq, "no such text", "root ::= [0-9]");
        OK(how == 0   ? WEFT_OK
           : how == 1 ? weft_seq_set_trigger(seq, NULL, "root ::= [0-9]", 14, E)
           : how == 2 ? weft_seq_set_trigger(seq, &none, "root ::= [0-9]", 14, E)
           : how == 3 ? weft_seq_set_trigger(seq, NULL, NULL, 0, E)
                      : weft_seq_set_grammar(seq, NULL, 0, E));
        rig_generate(&r, seq, 40, text, sizeof text);
        assert_string_equal(text, free_text);
        OK(weft_seq_rewind(seq, N_PROMPT, E));
        OK(weft_seq_set_grammar(seq, "root ::= \"abc\"", 14, E));
        rig_generate(&r, seq, 40, text, sizeof text);
        assert_string_equal(text, "abc");
        weft_seq_release(&seq);
    }
    rig_close(&r);
}

static void test_stops(void **state)
{
    (void)state;
    static const char *const stops[] = { "n" };
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = sampled(1, 3);
    char text[4000];
    weft_logprob got[3];
    weft_seq *seq = prompted(&r, &s, 3);
    set_text(seq, "a", "root ::= \"bcdefgh\"");
    force(&r, seq, 'a');
    OK(weft_seq_set_stops(seq, (const char *const[]){ "def" }, 1, E));
    OK(weft_seq_set_logprobs(seq, 2, E));
    rig_generate(&r, seq, 100, text, sizeof text);
    assert_string_equal(text, "abc");
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_STOP);
    OK(weft_seq_logprobs(seq, got, 3, NULL, E));
    weft_seq_release(&seq);
    /* Stop strings end free text, too. */
    seq = prompted(&r, &s, 3);
    set_text(seq, "no such text", "root ::= \"bcdefgh\"");
    OK(weft_seq_set_stops(seq, stops, 1, E));
    rig_generate(&r, seq, 300, text, sizeof text);
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_STOP);
    assert_null(strchr(text, 'n'));
    weft_seq_release(&seq);
    rig_close(&r);
}

/* If free text has no token left, it ends as under a grammar. */
static void test_dead_end(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = sampled(1, 3);
    char text[100];
    s.ignore_end = true;
    weft_seq *seq = prompted(&r, &s, 3);
    set_text(seq, "a", "root ::= \"bc\"");
    force(&r, seq, 'a');
    OK(weft_seq_set_sampling(seq, &s, E));
    rig_generate(&r, seq, 100, text, sizeof text);
    assert_string_equal(text, "abc");
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_GRAMMAR);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_errors(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = sampled(1, 3);
    const char *const texts[] = { "a", "" };
    const int32_t end = r.engine->model->ends[0];
    weft_trigger p = { .size = sizeof p, .texts = texts, .n_texts = 1 };
    char text[2000];
    weft_seq *seq = prompted(&r, &s, 3);
    set_text(seq, "a", "root ::= \"bc\"");
    FAILS(WEFT_E_ARG, weft_seq_set_trigger(NULL, &p, "root ::= \"a\"", 12, E));
    FAILS(WEFT_E_ARG, weft_seq_set_trigger(seq, &p, NULL, 1, E));
    FAILS(WEFT_E_FORMAT, weft_seq_set_trigger(seq, &p, "root ::= other", 14, E));
    p.n_texts = 2;
    FAILS(WEFT_E_ARG, weft_seq_set_trigger(seq, &p, "root ::= \"a\"", 12, E));
    rig_message((const char *const[]){ "trigger text 1 is empty", NULL });
    p.n_texts = 0;
    p.tokens = &end;
    p.n_tokens = 1;
    FAILS(WEFT_E_ARG, weft_seq_set_trigger(seq, &p, "root ::= \"a\"", 12, E));
    p.size = 4;
    FAILS(WEFT_E_ARG, weft_seq_set_trigger(seq, &p, "root ::= \"a\"", 12, E));
    /* A call that fails changes nothing. */
    force(&r, seq, 'a');
    rig_generate(&r, seq, 100, text, sizeof text);
    assert_string_equal(text, "abc");
    weft_seq_release(&seq);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws),          cmocka_unit_test(test_texts),
        cmocka_unit_test(test_every_position), cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_control),        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_stops),          cmocka_unit_test(test_dead_end),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
