/* Triggers against a model that reads the whole text again for every question: random triggers,
 * grammars and texts, with everything that may happen to a sequence in between. After each
 * operation all tokens of a small vocabulary are compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "draw/constraint.h"
#include "support/level.h"
#include "support/rig.h"
#include "support/scratch.h"
#include "support/tiny_vocab.h"
#include "support/trigger_model.h"

enum { MAX_TOKENS = 60, N_WORDS = 8 };

/* Tokens that end inside triggers, hold them, and go on behind them; control tokens and others with
 * texts that are triggers. */
static const struct entry entries[] = { { "ab", 1, 0 },
                                        { "aab", 1, 0 },
                                        { "aaab", 1, 0 },
                                        { "ba", 1, 0 },
                                        { "aba", 1, 0 },
                                        { "abab", 1, 0 },
                                        { "bca", 1, 0 },
                                        { "cab", 1, 0 },
                                        { "abcc", 1, 0 },
                                        { "<t", 1, 0 },
                                        { "oo", 1, 0 },
                                        { "<tool", 1, 0 },
                                        { "l>", 1, 0 },
                                        { "l>{", 1, 0 },
                                        { ">{", 1, 0 },
                                        { "_c", 1, 0 },
                                        { "<tool>", 4, 0 },
                                        { "<tool_c>", 3, 0 },
                                        { "<|ab|>", 3, 0 },
                                        { "<|im_end|>", 3, 0 },
                                        { "<unk>ab", 2, 0 },
                                        { "<unused>", 5, 0 },
                                        { "b\xc4\xa0", 1, 0 },
                                        { "aabcabc", 1, 0 },
                                        { "abcabcabcabcabc", 1, 0 },
                                        { NULL, 0, 0 } };
enum {
    FIRST_ENTRY = FIRST_BPE,
    TOKEN_TOOL_C = FIRST_BPE + 17,
    TOKEN_END = FIRST_BPE + 19,
    TOKEN_UNUSED_ONE = FIRST_BPE + 21,
    N_ENTRIES = 25
};
static const struct spec spec = { .model = "gpt2",
                                  .pre = "qwen2",
                                  .entries = entries,
                                  .merges = (const char *const[]){ "a b", NULL },
                                  .bos = TOKEN_END,
                                  .eos = TOKEN_END,
                                  .unknown = -1,
                                  .add_bos = -1 };

static const char *const words[N_WORDS] = { "a",     "ab",       "aab", "abab",
                                            "<tool", "<tool_c>", "bc",  "l>" };
static const char *const grammars[] = {
    "root ::= \"c\"*",
    "root ::= [ab]{2} \"c\"?",
    "root ::= \"\" | \"ca\" | \"{\"",
    "root ::= (\"_c>\" | \">\" | \"b\") [a-c{}]*",
    "root ::= \"\xc3\xa9\"",
    "root ::= [^b]*",
};
enum { N_GRAMMARS = sizeof grammars / sizeof grammars[0] };

struct world {
    struct tokenizer *t;
    struct token_trie *trie;
    weft_trigger p;
    const char *texts[4];
    int32_t ids[3];
    struct trigger_model model;
    struct constraint *c;
    int32_t list[MAX_TOKENS + 8];
    struct tokens tokens; /* in `list` */
    bool written[MAX_TOKENS + 8];
    uint64_t seed;
    size_t n_free, n_held, n_pulled, n_on, n_forbidden;
};

static uint32_t below(struct world *w, uint32_t n) { return rig_random(&w->seed, n); }

static int32_t some_token(struct world *w)
{
    uint32_t what = below(w, 12);
    return what < 5 ? (int32_t) "abc"[below(w, 3)] : FIRST_ENTRY + (int32_t)below(w, N_ENTRIES);
}

static const char *some_word(struct world *w)
{
    return words[below(w, 3) == 0 ? below(w, N_WORDS) : 1 + below(w, N_WORDS - 1)];
}

static void choose_hold(struct world *w)
{
    if (below(w, 3) > 0) {
        w->p.hold_close = some_word(w);
        w->p.hold_open = below(w, 4) > 0 ? some_word(w) : NULL;
        w->p.held = below(w, 2) == 0;
    }
}

static void choose_trigger(struct world *w)
{
    w->p = (weft_trigger)WEFT_TRIGGER_INIT;
    w->p.texts = w->texts;
    w->p.tokens = w->ids;
    w->p.n_texts = below(w, 4);
    w->p.n_tokens = w->p.n_texts == 0 ? 1 : below(w, 2) * below(w, 3);
    for (size_t i = 0; i < w->p.n_texts; i++) {
        w->texts[i] = some_word(w);
    }
    for (size_t i = 0; i < w->p.n_tokens; i++) {
        do {
            w->ids[i] = some_token(w);
        } while (w->ids[i] == TOKEN_END);
    }
    choose_hold(w);
}

static void open_world(struct world *w)
{
    struct grammar *g = NULL;
    struct matcher *matcher = NULL;
    struct trigger *trigger = NULL;
    const char *gbnf = grammars[below(w, N_GRAMMARS)];
    choose_trigger(w);
    OK(trigger_open(&w->p, w->t, &trigger, E));
    OK(grammar_parse(gbnf, strlen(gbnf), &g, E));
    OK(matcher_open(g, &matcher, E));
    grammar_release(g);
    w->model = trigger_model_open(w->t, &w->p, gbnf);
    w->tokens = (struct tokens){ .data = w->list, .n = below(w, 3), .cap = MAX_TOKENS };
    memset(w->written, 0, sizeof w->written);
    for (size_t i = 0; i < w->tokens.n; i++) {
        w->list[i] = some_token(w);
    }
    OK(constraint_open(matcher, trigger, w->t, w->trie, w->tokens.n, MAX_TOKENS, &w->c, E));
}

static void close_world(struct world *w)
{
    constraint_close(w->c);
    trigger_model_close(&w->model);
}

static size_t text_start(const struct world *w)
{
    size_t n = w->tokens.n;
    while (n > 0 && w->written[n - 1]) {
        n--;
    }
    return n;
}

static bool holds_end(const struct world *w)
{
    bool holds = false;
    for (size_t i = text_start(w); i < w->tokens.n; i++) {
        holds |= w->list[i] == TOKEN_END;
    }
    return holds;
}

/* A few tokens, of which a draw from the best logits might choose. Behind a trigger and an end
 * token, the text counts as free only after a mask was asked for. */
static void check_few(struct world *w)
{
    int32_t few[5];
    bool may = false, want = !w->model.pulled;
    for (size_t i = 0; i < 5; i++) {
        few[i] = below(w, 20) == 0 ? -1 : some_token(w);
        want = want && (few[i] < 0 || !trigger_model_goes_on(&w->model, few[i]));
    }
    OK(constraint_lets(w->c, &w->tokens, few, 5, &may, E));
    assert_true(may == want || (want && holds_end(w)));
    assert_true(constraint_free(w->c) || w->model.pulled || holds_end(w));
}

static void check(struct world *w, const char *what)
{
    uint64_t want[8];
    const uint64_t *got = NULL;
    const size_t n_vocab = tokenizer_n_vocab(w->t);
    assert_in_range(n_vocab, 1, sizeof want * 8 - 1);
    trigger_model_read(&w->model, w->list, text_start(w), w->tokens.n);
    size_t n = trigger_model_mask(&w->model, want);
    if (below(w, 2) == 0) {
        check_few(w);
    }
    OK(constraint_mask(w->c, &w->tokens, &got, E));
    assert_true(got != NULL || (!w->model.pulled && n == n_vocab));
    for (size_t i = 0; got != NULL && i < n_vocab; i++) {
        bool has = got[i / 64] >> i % 64 & 1, wants = want[i / 64] >> i % 64 & 1;
        if (has != wants) {
            fail_msg("%s, %zu tokens: token %zu is %s; the text '%.*s' is %s", what, w->tokens.n, i,
                     has ? "allowed" : "not allowed", (int)w->model.text.n, w->model.text.data,
                     w->model.pulled ? "behind the trigger" : "free");
        }
    }
    assert_int_equal(constraint_free(w->c), !w->model.pulled);
    w->n_free += !w->model.pulled;
    w->n_held += !w->model.pulled && w->model.held;
    w->n_pulled += w->model.pulled;
    w->n_forbidden += w->model.pulled ? 0 : n_vocab - n;
}

static void do_draw(struct world *w)
{
    uint64_t mask[8];
    size_t tries = 0;
    int32_t token;
    trigger_model_read(&w->model, w->list, text_start(w), w->tokens.n);
    if (trigger_model_mask(&w->model, mask) == 0 || w->tokens.n == MAX_TOKENS) {
        return;
    }
    do {
        token = tries++ < 50 ? some_token(w) : (int32_t)below(w, (uint32_t)tokenizer_n_vocab(w->t));
    } while ((mask[token / 64] >> token % 64 & 1) == 0);
    w->n_on += trigger_model_goes_on(&w->model, token);
    w->written[w->tokens.n] = true;
    w->list[w->tokens.n++] = token;
    constraint_add(w->c, 1, true);
    if (below(w, 2) == 0) {
        constraint_look(w->c, &w->tokens);
    }
}

static void do_append(struct world *w)
{
    size_t n = below(w, 3);
    for (size_t i = 0; i < n && w->tokens.n < MAX_TOKENS; i++) {
        w->written[w->tokens.n] = false;
        w->list[w->tokens.n++] = some_token(w);
        constraint_add(w->c, 1, false);
    }
}

static void do_rewind(struct world *w)
{
    w->tokens.n = below(w, (uint32_t)w->tokens.n + 1);
    constraint_rewind(w->c, w->tokens.n);
}

static void do_fork(struct world *w)
{
    struct constraint *copy = NULL;
    OK(constraint_copy(w->c, &copy, E));
    OK(constraint_reserve(copy, MAX_TOKENS, E));
    assert_true(constraint_bytes(copy) > 0);
    constraint_close(w->c);
    w->c = copy;
}

static void do_load(struct world *w)
{
    w->tokens.n = below(w, 5);
    for (size_t i = 0; i < w->tokens.n; i++) {
        w->list[i] = some_token(w);
        w->written[i] = false;
    }
    constraint_replace(w->c, w->tokens.n);
    OK(constraint_reserve(w->c, MAX_TOKENS, E));
}

static void operate(struct world *w)
{
    static const struct {
        const char *name;
        void (*run)(struct world *);
    } operations[] = {
        { "append", do_append }, { "rewind", do_rewind }, { "fork", do_fork }, { "load", do_load }
    };
    uint32_t what = below(w, 40);
    if (what >= 4) {
        do_draw(w);
    } else {
        operations[what].run(w);
    }
    if (below(w, 4) > 0) {
        check(w, what < 4 ? operations[what].name : "draw");
    }
}

static void test_random(void **state)
{
    (void)state;
    static struct world w;
    w.t = open_spec(&spec);
    OK(token_trie_open(w.t, &w.trie, E));
    w.seed = 1;
    const int n_rounds = level_all("four of five random triggers") ? 1500 : 300;
    for (int round = 0; round < n_rounds; round++) {
        open_world(&w);
        for (int i = 0; i < 60; i++) {
            operate(&w);
        }
        close_world(&w);
    }
    token_trie_close(w.trie);
    tokenizer_close(w.t);
    print_message(
        "%zu masks of free text, %zu of them held, %zu behind a trigger; %zu tokens went on behind "
        "one, %zu were forbidden\n",
        w.n_free, w.n_held, w.n_pulled, w.n_on, w.n_forbidden);
    const size_t n = 60 * (size_t)n_rounds;
    assert_true(w.n_free > n / 10 && w.n_pulled > n / 10 && w.n_held > n / 20);
    assert_true(w.n_on > n / 200 && w.n_forbidden > n / 2);
}

/* ---------------------------------------------------------------- work */

enum { N_LONG = '~' - '!' + 1 };

/* A vocabulary with "<" before each printable character, and a grammar in which each of them has
 * very many ways. */
static struct tokenizer *open_wide(void)
{
    static char texts[N_LONG][3];
    static struct entry wide[N_LONG + 1];
    struct spec s = spec;
    for (size_t i = 0; i < N_LONG; i++) {
        texts[i][0] = '<';
        texts[i][1] = (char)('!' + i);
        wide[i] = (struct entry){ texts[i], 1, 0 };
    }
    s.entries = wide;
    s.merges = (const char *const[]){ NULL };
    s.bos = s.eos = 0;
    return open_spec(&s);
}

static struct matcher *open_laborious(void)
{
    struct bytes b = { 0 };
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    assert_true(bytes_add(&b, "root ::= (\"~\"", 13));
    for (int i = 0; i < 9000; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "|[\\x%02x]", (unsigned)('!' + i % N_LONG));
        assert_true(bytes_add(&b, text, (size_t)n));
    }
    assert_true(bytes_add(&b, ")*", 2));
    OK(grammar_parse(b.data, b.n, &g, E));
    OK(matcher_open(g, &m, E));
    grammar_release(g);
    free(b.data);
    return m;
}

/* Returns how many of the tokens "<!" to "<~" a new trigger allows; the first ones are. */
static size_t count_allowed(const struct tokenizer *t, const struct token_trie *trie,
                            struct matcher *m)
{
    const weft_trigger p = { .size = sizeof p,
                             .texts = (const char *const[]){ "<" },
                             .n_texts = 1 };
    struct trigger *trigger = NULL;
    const uint64_t *mask = NULL;
    size_t n = 0;
    OK(trigger_open(&p, t, &trigger, E));
    OK(trigger_mask(trigger, m, t, trie, &mask, E));
    assert_non_null(mask);
    for (size_t i = 0; i < N_LONG; i++) {
        bool allowed = mask[(FIRST_BPE + i) / 64] >> (FIRST_BPE + i) % 64 & 1;
        assert_true(!allowed || n == i);
        n += allowed;
    }
    trigger_close(trigger);
    return n;
}

/* Beyond the limit of work, tokens that go on behind a trigger are forbidden. How much was done
 * before makes no difference. */
static void test_work(void **state)
{
    (void)state;
    struct tokenizer *t = open_wide();
    struct token_trie *trie = NULL;
    const uint64_t *mask = NULL;
    OK(token_trie_open(t, &trie, E));
    struct matcher *m = open_laborious();
    const size_t n = count_allowed(t, trie, m);
    print_message("%zu of %d tokens within the limit\n", n, N_LONG);
    assert_in_range(n, 1, N_LONG - 1);
    assert_int_equal(count_allowed(t, trie, m), n);
    OK(matcher_mask(m, trie, &mask, E));
    assert_int_equal(count_allowed(t, trie, m), n);
    matcher_close(m);
    token_trie_close(trie);
    tokenizer_close(t);
}

/* ---------------------------------------------------------------- single cases */

/* Reads a text of tokens, and expects the trigger's place in it: `rest` is the text behind it, NULL
 * if there is none. */
static void expect_rest(const struct tokenizer *t, const weft_trigger *p, const int32_t *tokens,
                        size_t n, const char *rest)
{
    struct trigger *trigger = NULL;
    struct matcher *m = NULL;
    struct grammar *g = NULL;
    char gbnf[64];
    snprintf(gbnf, sizeof gbnf, "root ::= \"%s\"", rest != NULL ? rest : "never");
    OK(trigger_open(p, t, &trigger, E));
    OK(grammar_parse(gbnf, strlen(gbnf), &g, E));
    OK(matcher_open(g, &m, E));
    for (size_t i = 0; i < n; i++) {
        assert_false(trigger->pulled);
        OK(trigger_read(trigger, m, t, tokens[i], E));
    }
    assert_int_equal(trigger->pulled, rest != NULL);
    assert_true(rest == NULL || matcher_may_end(m));
    trigger_close(trigger);
    matcher_close(m);
    grammar_release(g);
}

#define LIST(...) (const int32_t[]){ __VA_ARGS__ }, sizeof((const int32_t[]){ __VA_ARGS__ }) / 4

static void test_cases(void **state)
{
    (void)state;
    enum {
        LETTER_A = 'a', /* the first tokens are the bytes */
        LETTER_B = 'b',
        AAAB = FIRST_ENTRY + 2,
        T_ABAB = FIRST_ENTRY + 5,
        LESS_T = FIRST_ENTRY + 9,
        OO = FIRST_ENTRY + 10,
        L_BRACE = FIRST_ENTRY + 13
    };
    struct tokenizer *t = open_spec(&spec);
    const char *const aab[] = { "aab" }, *const tools[] = { "<tool_c>", "<tool" },
                      *const abc[] = { "abcabcabcabcabc" };
    const int32_t unused = TOKEN_UNUSED_ONE, tool = TOKEN_TOOL_C;
    const weft_trigger one = { .size = sizeof one, .texts = aab, .n_texts = 1 };
    const weft_trigger two = { .size = sizeof two, .texts = tools, .n_texts = 2 };
    const weft_trigger ids = { .size = sizeof ids, .tokens = &unused, .n_tokens = 1 };
    const weft_trigger both = {
        .size = sizeof both, .texts = tools, .n_texts = 2, .tokens = &tool, .n_tokens = 1
    };
    const weft_trigger long_one = { .size = sizeof long_one, .texts = abc, .n_texts = 1 };
    expect_rest(t, &one, LIST(LETTER_A, LETTER_A, LETTER_A, LETTER_B), "");
    expect_rest(t, &one, LIST(AAAB), "");
    expect_rest(t, &one, LIST(LETTER_A, LETTER_B, T_ABAB), NULL);
    expect_rest(t, &one, LIST(LETTER_A, T_ABAB), "ab");
    expect_rest(t, &one, LIST(LETTER_A, LETTER_A, T_ABAB), "ab");
    /* The shorter trigger is complete first. */
    expect_rest(t, &two, LIST(LESS_T, OO, L_BRACE), ">{");
    expect_rest(t, &two, LIST(TOKEN_TOOL_C), "_c>");
    /* A token that is a trigger is one as a whole; it may also have no text. */
    expect_rest(t, &both, LIST(TOKEN_TOOL_C), "");
    expect_rest(t, &ids, LIST(LETTER_A, TOKEN_UNUSED_ONE), "");
    expect_rest(t, &long_one, LIST(FIRST_ENTRY + 24), "");
    tokenizer_close(t);
}

static void test_holds(void **state)
{
    (void)state;
    enum {
        AAAB = FIRST_ENTRY + 2,
        LESS_T = FIRST_ENTRY + 9,
        OO = FIRST_ENTRY + 10,
        AABCABC = FIRST_ENTRY + 23
    };
    struct tokenizer *t = open_spec(&spec);
    const char *const oo[] = { "oo" }, *const ca[] = { "ca" }, *const ab[] = { "ab" },
                      *const c[] = { "_c" };
    const int32_t tool = TOKEN_TOOL_C;
    weft_trigger p = {
        .size = sizeof p, .texts = oo, .n_texts = 1, .hold_open = "aab", .hold_close = "<t"
    };
    expect_rest(t, &p, LIST(OO), "");
    expect_rest(t, &p, LIST(AAAB, OO), NULL);
    expect_rest(t, &p, LIST(AAAB, OO, LESS_T, OO), "");
    expect_rest(t, &p, LIST(AAAB, LESS_T, AABCABC, OO), NULL);
    /* The trigger is complete at the same byte. */
    p.texts = ab;
    expect_rest(t, &p, LIST(AAAB), "");
    /* A token holds the end of the hold, a trigger, and what follows. */
    p = (weft_trigger){
        .size = sizeof p, .texts = ca, .n_texts = 1, .hold_close = "aab", .held = true
    };
    expect_rest(t, &p, LIST(OO, AABCABC), "bc");
    /* A trigger token that begins in held text is a text. */
    p = (weft_trigger){ .size = sizeof p, .tokens = &tool, .n_tokens = 1, .held = true };
    p.hold_close = "<tool";
    expect_rest(t, &p, LIST(TOKEN_TOOL_C), NULL);
    p.texts = c;
    p.n_texts = 1;
    expect_rest(t, &p, LIST(TOKEN_TOOL_C), ">");
    tokenizer_close(t);
}

static void refused(const struct tokenizer *t, weft_trigger p, const char *word)
{
    struct trigger *trigger = NULL;
    p.size = sizeof p;
    FAILS(WEFT_E_ARG, trigger_open(&p, t, &trigger, E));
    rig_message((const char *const[]){ word, NULL });
    assert_null(trigger);
}

static void test_refusals(void **state)
{
    (void)state;
    static char text[SEARCH_MAX_TEXT + 2];
    const char *many[SEARCH_MAX_TEXTS + 1];
    int32_t ids[TRIGGER_MAX_TOKENS + 1] = { 0 };
    struct tokenizer *t = open_spec(&spec);
    memset(text, 'a', SEARCH_MAX_TEXT + 1);
    for (size_t i = 0; i <= SEARCH_MAX_TEXTS; i++) {
        many[i] = text + 1;
    }
    refused(t, (weft_trigger){ .texts = many, .n_texts = SIZE_MAX }, "trigger texts");
    refused(t, (weft_trigger){ .texts = many, .n_texts = 17 }, "17 trigger texts");
    refused(t, (weft_trigger){ .n_texts = 1 }, "NULL");
    refused(t, (weft_trigger){ .texts = (const char *const[]){ "a", "" }, .n_texts = 2 }, "empty");
    refused(t, (weft_trigger){ .texts = (const char *const[]){ NULL }, .n_texts = 1 }, "NULL");
    refused(t, (weft_trigger){ .texts = (const char *const[]){ text }, .n_texts = 1 }, "too long");
    refused(t, (weft_trigger){ .tokens = ids, .n_tokens = 17 }, "17 trigger tokens");
    refused(t, (weft_trigger){ .n_tokens = 1 }, "NULL");
    refused(t, (weft_trigger){ .hold_open = "a" }, "hold_close is NULL");
    refused(t, (weft_trigger){ .held = true }, "hold_close is NULL");
    refused(t, (weft_trigger){ .hold_open = "", .hold_close = "a" }, "empty");
    refused(t, (weft_trigger){ .hold_close = text }, "too long");
    ids[1] = -1;
    refused(t, (weft_trigger){ .tokens = ids, .n_tokens = 2 }, "token 1 is -1");
    ids[1] = TOKEN_END;
    refused(t, (weft_trigger){ .tokens = ids, .n_tokens = 2 }, "ends texts");
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),   cmocka_unit_test(test_work),
        cmocka_unit_test(test_cases),    cmocka_unit_test(test_holds),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
