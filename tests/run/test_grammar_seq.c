/* Grammars through the public API: random weights write what the grammar allows, whatever the
 * sampling; forks, rewinding, appending, saved state; and the ways in which a text ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/top_backend.h"

enum { N_PROMPT = 5, MAX_TOKENS = 400 };

/* Lists of one to four numbers and words, in which some letters have several bytes. */
static const char lists[] =
    "root ::= \"[\" item (\",\" \" \"? item){0,3} \"]\"\n"
    "item ::= \"-\"? [1-9] [0-9]{0,2} | \"\\\"\" [a-z\xc3\xa9\xe4\xb8\xad]{0,4}"
    " \"\\\"\"";

static void set_grammar(weft_seq *seq, const char *gbnf)
{
    OK(weft_seq_set_grammar(seq, gbnf, strlen(gbnf), E));
}

/* Opens a sequence with a prompt, which the next step computes, and a grammar. */
static weft_seq *prompted(const struct rig *r, const weft_sampling *sampling, const char *gbnf)
{
    int32_t prompt[N_PROMPT];
    weft_seq *seq = rig_seq(r, sampling);
    rig_tokens(r, 7, prompt, N_PROMPT);
    OK(weft_seq_append(seq, prompt, N_PROMPT, E));
    set_grammar(seq, gbnf);
    return seq;
}

static weft_sampling sampled(float temperature, uint64_t seed)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = temperature;
    s.top_k = seed % 2 == 0 ? 0 : 40;
    s.seed = seed;
    return s;
}

static void check_list(const char *text)
{
    json_t *list = json_loads(text, 0, NULL);
    if (!json_is_array(list) || json_array_size(list) < 1 || json_array_size(list) > 4 ||
        strpbrk(text, "{:.\\\n") != NULL) {
        fail_msg("the text '%s' does not match the grammar", text);
    }
    json_decref(list);
}

static void test_seeds(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-phi3" };
    char text[2000];
    for (size_t p = 0; p < 2; p++) {
        struct rig r = rig_open(model_file(presets[p]), NULL);
        for (uint64_t seed = 0; seed <= 100; seed++) {
            weft_sampling s = sampled(seed == 0 ? 0 : seed % 3 == 0 ? 5.0f : 1.0f, seed);
            s.repeat_penalty = seed % 5 == 0 ? 1.3f : 1.0f;
            weft_seq *seq = prompted(&r, &s, lists);
            rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
            check_list(text);
            assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_END);
            weft_seq_release(&seq);
        }
        rig_close(&r);
    }
}

/* Sequences that share their steps, greedy and sampled, with and without grammars, write the same
 * texts as each of them alone. */
static void test_together(void **state)
{
    (void)state;
    enum { N = 4 };
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    char alone[N][2000], text[N][2000];
    weft_seq *seqs[N];
    for (int together = 0; together < 2; together++) {
        for (int i = 0; i < N; i++) {
            weft_sampling s = sampled(i % 2 == 0 ? 1.0f : 0, (uint64_t)i);
            seqs[i] = prompted(&r, &s, lists);
            if (i == 3) {
                OK(weft_seq_set_grammar(seqs[i], NULL, 0, E));
            }
            if (!together) {
                rig_generate(&r, seqs[i], 60, alone[i], sizeof alone[i]);
                weft_seq_release(&seqs[i]);
            }
        }
        size_t n[N] = { 0 };
        for (bool running = together != 0; running;) {
            running = false;
            OK(weft_engine_step(r.engine, NULL, E));
            for (int i = 0; i < N; i++) {
                int32_t token;
                size_t got;
                if (weft_seq_finish(seqs[i]) == WEFT_RUNNING && weft_seq_len(seqs[i]) < 60) {
                    OK(weft_seq_next(seqs[i], &token, E));
                    OK(weft_seq_text(seqs[i], text[i] + n[i], 2000 - n[i], &got, E));
                    n[i] += got;
                    running = true;
                }
            }
        }
        for (int i = 0; together && i < N; i++) {
            text[i][n[i]] = '\0';
            assert_string_equal(text[i], alone[i]);
            weft_seq_release(&seqs[i]);
        }
    }
    rig_close(&r);
}

/* Draws n tokens, or until the text ends; returns how many were drawn. */
static size_t draw(const struct rig *r, weft_seq *seq, size_t n)
{
    size_t i = 0;
    for (; i < n && weft_seq_finish(seq) == WEFT_RUNNING; i++) {
        int32_t token;
        rig_compute(r, seq);
        OK(weft_seq_next(seq, &token, E));
    }
    return i;
}

/* Checks that the text behind the prompt, with the part that a rewind kept, is a whole list and has
 * ended. */
static void check_whole(const struct rig *r, weft_seq *seq)
{
    int32_t tokens[N_PROMPT + MAX_TOKENS];
    char text[2000];
    size_t n, n_text;
    OK(weft_seq_tokens(seq, tokens, N_PROMPT + MAX_TOKENS, &n, E));
    OK(weft_detokenize(r->model, tokens + N_PROMPT, n - N_PROMPT, 0, text, sizeof text - 1, &n_text,
                       E));
    text[n_text] = '\0';
    check_list(text);
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_END);
}

/* A fork has the grammar at the same place and the same random numbers, so it draws the same rest
 * as the forked sequence; with another seed its text may differ, but ends as the grammar wants. */
static void test_fork(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    char rest[2000], text[2000];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        size_t n;
        weft_sampling s = sampled(1, seed);
        weft_seq *seq = prompted(&r, &s, lists), *copy, *other;
        draw(&r, seq, 1 + seed % 5);
        OK(weft_seq_fork(seq, &copy, E));
        OK(weft_seq_fork(seq, &other, E));
        s.seed += 1000;
        OK(weft_seq_set_sampling(other, &s, E));
        weft_seq *all[] = { seq, copy, other };
        for (int i = 0; i < 3; i++) {
            rig_generate(&r, all[i], MAX_TOKENS, text, sizeof text);
            check_list(text);
            check_whole(&r, all[i]);
            if (i == 0) {
                strcpy(rest, text);
            } else if (i == 1) {
                assert_string_equal(text, rest);
            }
        }
        /* A finished sequence is rewound into its text and forked there, before the grammar has
         * read the kept tokens again. */
        n = weft_seq_len(copy) - N_PROMPT;
        OK(weft_seq_rewind(copy, N_PROMPT + n / 2, E));
        weft_seq_release(&other);
        OK(weft_seq_fork(copy, &other, E));
        rig_generate(&r, copy, MAX_TOKENS, rest, sizeof rest);
        rig_generate(&r, other, MAX_TOKENS, text, sizeof text);
        assert_string_equal(text, rest);
        check_whole(&r, copy);
        check_whole(&r, other);
        weft_seq_release(&seq);
        weft_seq_release(&copy);
        weft_seq_release(&other);
    }
    rig_close(&r);
}

/* After every rewind the rest is drawn as before, because the grammar is again in the state that it
 * had after the last kept token. */
static void test_rewind(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling greedy = sampled(0, 0);
    greedy.repeat_penalty = 1.5f;
    greedy.repeat_last_n = -1;
    weft_seq *seq = prompted(&r, &greedy, lists);
    int32_t want[MAX_TOKENS], got[MAX_TOKENS];
    char text[2000];
    size_t n, n_got;
    rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
    check_list(text);
    OK(weft_seq_tokens(seq, want, MAX_TOKENS, &n, E));
    for (size_t keep = N_PROMPT; keep < n; keep++) {
        OK(weft_seq_rewind(seq, keep, E));
        draw(&r, seq, MAX_TOKENS);
        OK(weft_seq_tokens(seq, got, MAX_TOKENS, &n_got, E));
        assert_int_equal(n_got, n);
        assert_memory_equal(got, want, n * sizeof *want);
    }
    /* After a rewind into the prompt, a new text begins behind the tokens that are kept. */
    OK(weft_seq_rewind(seq, 2, E));
    rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
    check_list(text);
    /* After a rewind that keeps the end token, the old text stays ended, and what is drawn next is
     * a new text. */
    OK(weft_seq_rewind(seq, weft_seq_len(seq), E));
    rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
    check_list(text);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_append(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = sampled(1, 3);
    weft_seq *seq = prompted(&r, &s, "root ::= \"abcdefgh\"");
    int32_t token = 60;
    char text[2000];
    /* Behind an append a new text begins, whether or not the last one was finished. */
    draw(&r, seq, 2);
    OK(weft_seq_text(seq, text, sizeof text, NULL, E));
    for (int i = 0; i < 2; i++) {
        OK(weft_seq_append(seq, &token, 1, E));
        rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
        assert_string_equal(text, "abcdefgh");
        assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_END);
    }
    /* A rewind to before the append goes back into the first text. */
    OK(weft_seq_rewind(seq, N_PROMPT + 1, E));
    rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
    assert_true(strlen(text) > 0 && strlen(text) < 8);
    assert_string_equal(text, &"abcdefgh"[8 - strlen(text)]);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_saved(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = sampled(1, 3);
    weft_seq *seq = prompted(&r, &s, "root ::= \"abcdefgh\"");
    static char state_bytes[1 << 22];
    char text[2000];
    size_t n;
    draw(&r, seq, 2);
    OK(weft_seq_save(seq, state_bytes, sizeof state_bytes, &n, E));
    OK(weft_seq_load(seq, state_bytes, n, E));
    rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
    assert_string_equal(text, "abcdefgh");
    weft_seq_release(&seq);
    rig_close(&r);
}

/* ---------------------------------------------------------------- how a text ends */

static void test_dead_end(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = sampled(1, 3);
    s.ignore_end = true;
    for (int greedy = 0; greedy < 2; greedy++) {
        s.temperature = greedy ? 0 : 1;
        weft_seq *seq = prompted(&r, &s, "root ::= \"ab\"");
        char text[100];
        int32_t token = 60;
        for (int i = 0; i < 2; i++) {
            rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
            assert_string_equal(text, "ab");
            assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_GRAMMAR);
            size_t n = weft_seq_len(seq);
            FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
            assert_int_equal(weft_seq_len(seq), n);
            assert_int_equal(weft_seq_pending(seq), 0);
            token = 60;
            OK(weft_seq_append(seq, &token, 1, E));
        }
        weft_seq_release(&seq);
        /* The grammar has more ways to begin than the matcher follows, so no token at all may come.
         */
        struct {
            char gbnf[6 * 17000 + 20];
        } *many = malloc(sizeof *many);
        strcpy(many->gbnf, "root ::= \"a\"");
        for (size_t i = 0; i < 17000; i++) {
            memcpy(many->gbnf + 12 + 6 * i, " | \"a\"", 7);
        }
        seq = prompted(&r, &s, many->gbnf);
        free(many);
        rig_compute(&r, seq);
        OK(weft_seq_next(seq, &token, E));
        assert_int_equal(token, -1);
        assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_GRAMMAR);
        assert_int_equal(weft_seq_len(seq), N_PROMPT);
        weft_seq_release(&seq);
    }
    rig_close(&r);
}

static void test_stops(void **state)
{
    (void)state;
    static const char *const stop = "def";
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = sampled(1, 3);
    weft_seq *seq = prompted(&r, &s, "root ::= \"abcdefgh\"");
    char text[100];
    OK(weft_seq_set_stops(seq, &stop, 1, E));
    rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
    assert_string_equal(text, "abc");
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_STOP);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* Tokens computed ahead know nothing of grammars. None of them is used, even if the grammar comes
 * while some of them wait. */
static void test_ahead(void **state)
{
    (void)state;
    static struct top_backend top;
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    weft_sampling greedy = sampled(0, 0);
    int32_t tokens[2][MAX_TOKENS];
    size_t n[2];
    params.n_threads = 1;
    params.device = "cpu";
    for (int ahead = 0; ahead < 2; ahead++) {
        params.n_ahead = ahead ? 8 : 0;
        struct rig r = rig_open(model_file("tiny-qwen2"), &params);
        if (ahead) {
            top_backend_wrap(&top, r.engine, TOP_BEST | TOP_AHEAD, 1);
        }
        weft_seq *seq = prompted(&r, &greedy, lists);
        OK(weft_seq_set_grammar(seq, NULL, 0, E));
        draw(&r, seq, 11);
        assert_int_equal(ahead, ahead && top.n_ahead > 0);
        set_grammar(seq, lists);
        size_t before = top.n_ahead;
        draw(&r, seq, MAX_TOKENS);
        assert_int_equal(top.n_ahead, before);
        assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_END);
        OK(weft_seq_tokens(seq, tokens[ahead], MAX_TOKENS, &n[ahead], E));
        weft_seq_release(&seq);
        rig_close(&r);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(tokens[0], tokens[1], n[0] * sizeof **tokens);
}

static void test_errors(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = sampled(1, 3);
    weft_seq *seq = prompted(&r, &s, "root ::= \"abc\"");
    char text[2000];
    FAILS(WEFT_E_ARG, weft_seq_set_grammar(NULL, "root ::= \"a\"", 12, E));
    FAILS(WEFT_E_ARG, weft_seq_set_grammar(seq, NULL, 1, E));
    FAILS(WEFT_E_FORMAT, weft_seq_set_grammar(seq, text, SIZE_MAX, E));
    FAILS(WEFT_E_FORMAT, weft_seq_set_grammar(seq, "root ::= \"a\"\nroot ::=", 21, E));
    rig_message((const char *const[]){ "line 2, column 1", NULL });
    /* A call that fails changes nothing. */
    rig_generate(&r, seq, MAX_TOKENS, text, sizeof text);
    assert_string_equal(text, "abc");
    weft_seq_release(&seq);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),    cmocka_unit_test(test_together),
        cmocka_unit_test(test_fork),     cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_append),   cmocka_unit_test(test_saved),
        cmocka_unit_test(test_dead_end), cmocka_unit_test(test_stops),
        cmocka_unit_test(test_ahead),    cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
