/* Special tokens in a text: against a slow search, token by token, on seeded random texts and
 * vocabularies of tokens that overlap; and in bounded time however many tokens there are and
 * however they are nested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/scratch.h"
#include "support/slowed.h"
#include "synth/writer.h"
#include "text/special.h"

#ifdef SLOWED
/* Sanitizers make everything slower, so the text is shorter; the time bound stays the same. */
enum { LONG = 1 << 16 };
#else
enum { LONG = 1 << 20 };
#endif

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

/* Takes token by token, the longest first, each wherever it stands in the rest of the text.
 * owner[i] is the token that byte i belongs to, -1 for text, -2 for white space that a token
 * took. */
static void slow_split(const struct specials *s, const char *text, size_t n, bool all,
                       int32_t *owner)
{
    for (size_t i = 0; i < n; i++) {
        owner[i] = -1;
    }
    for (size_t length = SPECIAL_MAX; length > 0; length--) {
        for (size_t k = 0; k < s->n; k++) {
            const struct special_token *t = &s->tokens[k];
            if (t->text.n != length || (!all && !t->always)) {
                continue;
            }
            for (size_t at = 0; at + length <= n; at++) {
                bool is_free = memcmp(text + at, t->text.s, length) == 0;
                for (size_t i = at; is_free && i < at + length; i++) {
                    is_free = owner[i] == -1;
                }
                if (!is_free) {
                    continue;
                }
                for (size_t i = at; i < at + length; i++) {
                    owner[i] = t->id;
                }
                for (size_t i = at + length; t->strips & STRIPS_RIGHT && i < n && owner[i] == -1 &&
                                             (text[i] == ' ' || text[i] == '\n');
                     i++) {
                    owner[i] = -2;
                }
                for (size_t i = at; t->strips & STRIPS_LEFT && i-- > 0 && owner[i] == -1 &&
                                    (text[i] == ' ' || text[i] == '\n');) {
                    owner[i] = -2;
                }
            }
        }
    }
}

static void compare_split(const struct specials *s, const char *text, size_t n, bool all)
{
    int32_t owner[64];
    slow_split(s, text, n, all, owner);
    struct fragments f = { 0 };
    weft_error err;
    assert_int_equal(specials_split(s, text, n, all, NULL, &f, &err), WEFT_OK);
    size_t at = 0;
    for (size_t i = 0; i < f.n; i++) {
        while (at < n && owner[at] == -2) {
            at++;
        }
        assert_int_equal(f.at[i].start, at);
        assert_true(f.at[i].n > 0 && at + f.at[i].n <= n);
        for (size_t k = 0; k < f.at[i].n; k++) {
            assert_int_equal(owner[at++], f.at[i].id);
        }
        /* Text goes on up to the next token. */
        assert_true(f.at[i].id >= 0 || at == n || owner[at] != -1);
    }
    while (at < n && owner[at] == -2) {
        at++;
    }
    assert_int_equal(at, n);
    free(f.at);
}

/* Writes a vocabulary of tokens with these texts and types, and reads it back. */
static void make_vocab(struct vocab *v, const char *const *texts, const int32_t *types, size_t n)
{
    struct gguf_writer w;
    struct bytes file = { 0 };
    struct gguf *g = NULL;
    weft_error err;
    writer_init(&w);
    writer_strs(&w, "tokenizer.ggml.tokens", n);
    for (size_t i = 0; i < n; i++) {
        writer_add_str(&w, texts[i], strlen(texts[i]));
    }
    writer_array(&w, "tokenizer.ggml.token_type", GGUF_I32, n, types, n * sizeof *types);
    assert_int_equal(writer_finish(&w, &file, &err), WEFT_OK);
    assert_int_equal(gguf_open(scratch_write("special.gguf", file.data, file.n), false, &g, &err),
                     WEFT_OK);
    assert_int_equal(vocab_open(g, v, &err), WEFT_OK);
    gguf_close(g);
    free(file.data);
    writer_free(&w);
}

static void test_special_search(void **state)
{
    (void)state;
    /* These tokens overlap, and begin and end with one another. Some take the white space before or
     * behind them. */
    static const char *const texts[] = { "a",    "ab",   "abc", "bcd", "cd",
                                         "aaaa", "aa a", "b\n", "dcba" };
    static const char letters[] = "aaabbccd \n";
    enum { N = sizeof texts / sizeof texts[0] };
    random_state = 3;
    for (int round = 0; round < 200; round++) {
        int32_t types[N];
        uint8_t strips[N];
        for (size_t i = 0; i < N; i++) {
            types[i] = TOKEN_NORMAL + (int32_t)random_below(4);
            strips[i] = (uint8_t)(random_below(2) * random_below(4));
        }
        struct vocab v;
        struct specials s;
        weft_error err;
        make_vocab(&v, texts, types, N);
        assert_int_equal(specials_open(&v, strips, &s, &err), WEFT_OK);
        for (int k = 0; k < 200; k++) {
            char text[64];
            size_t n = random_below(40);
            for (size_t i = 0; i < n; i++) {
                text[i] = letters[random_below(sizeof letters - 1)];
            }
            compare_split(&s, text, n, k % 2 == 0);
        }
        specials_close(&s);
        vocab_close(&v);
    }
}

/* A tag of the template's never comes from a caller, but white space does. */
static void test_special_of_callers(void **state)
{
    (void)state;
    static const char *const texts[] = { "<t>", "\n\n", "<u>" };
    static const int32_t types[] = { TOKEN_USER_DEFINED, TOKEN_USER_DEFINED, TOKEN_USER_DEFINED };
    static const char text[] = "<t>\n\nx\n\n<t><u>";
    static const struct fragment want[] = { { 0, 3, 0 },  { 3, 2, 1 },  { 5, 1, -1 }, { 6, 2, 1 },
                                            { 8, 1, -1 }, { 9, 2, -1 }, { 11, 3, 2 } };
    static const uint8_t foreign[14] = { 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    struct vocab v;
    struct specials s;
    struct fragments f = { 0 };
    const struct written by = { foreign, "<t>", 3 };
    make_vocab(&v, texts, types, 3);
    assert_int_equal(specials_open(&v, NULL, &s, NULL), WEFT_OK);
    assert_int_equal(specials_split(&s, text, strlen(text), true, &by, &f, NULL), WEFT_OK);
    assert_int_equal(f.n, sizeof want / sizeof *want);
    for (size_t i = 0; i < f.n; i++) {
        assert_int_equal(f.at[i].start, want[i].start);
        assert_int_equal(f.at[i].n, want[i].n);
        assert_int_equal(f.at[i].id, want[i].id);
    }
    free(f.at);
    specials_close(&s);
    vocab_close(&v);
}

static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

/* A thousand special tokens, and tokens that all begin with one another, do not slow down the
 * splitting of a long text. */
static void test_special_time(void **state)
{
    (void)state;
    enum { N = 1000 };
    static char texts[N][SPECIAL_MAX + 1];
    static const char *names[N];
    static int32_t types[N];
    for (size_t i = 0; i < N; i++) {
        if (i < 200) {
            memset(texts[i], 'a', i + 2);
        } else {
            snprintf(texts[i], sizeof texts[i], "<|special_%zu|>", i);
        }
        names[i] = texts[i];
        types[i] = TOKEN_CONTROL;
    }
    struct vocab v;
    struct specials s;
    struct fragments f = { 0 };
    weft_error err;
    make_vocab(&v, names, types, N);
    assert_int_equal(specials_open(&v, NULL, &s, &err), WEFT_OK);
    static const char *const parts[] = { "a", "<|special_", "<|special_777|>", "x<|" };
    static char text[LONG];
    for (size_t p = 0; p < 4; p++) {
        for (size_t i = 0; i < LONG; i++) {
            text[i] = parts[p][i % strlen(parts[p])];
        }
        double start = cpu_seconds();
        f.n = 0;
        assert_int_equal(specials_split(&s, text, LONG, true, NULL, &f, &err), WEFT_OK);
        assert_true(cpu_seconds() - start < 1.0);
        /* The longest of the first 200 tokens has 201 bytes, and one piece may be left. */
        assert_true(p == 0 ? f.n <= LONG / 201 + 2 : p == 2 ? f.n >= LONG / 15 : f.n == 1);
    }
    free(f.at);
    specials_close(&s);
    vocab_close(&v);
}

/* A long text is split in less than a second of processor time, into at most this many pieces. */
static void expect_quick(const struct specials *s, const char *text, size_t n_most)
{
    struct fragments f = { 0 };
    weft_error err;
    double start = cpu_seconds();
    assert_int_equal(specials_split(s, text, LONG, true, NULL, &f, &err), WEFT_OK);
    assert_true(cpu_seconds() - start < 1.0);
    assert_in_range(f.n, 1, n_most);
    free(f.at);
}

/* These vocabularies are made to be slow: at every place of the first text a token almost matches;
 * in the second, tokens have to give way to shorter ones again and again. */
static void test_special_hostile(void **state)
{
    (void)state;
    enum { N = 9000, RUN = 230, BLOCK = RUN + SPECIAL_MAX };
    char(*texts)[SPECIAL_MAX + 1] = calloc(N, sizeof *texts);
    const char **names = calloc(N, sizeof(*names));
    int32_t *types = calloc(N, sizeof *types);
    char *text = malloc(LONG);
    assert_true(texts != NULL && names != NULL && types != NULL && text != NULL);
    struct vocab v;
    struct specials s;
    weft_error err;
    size_t n = 0;
    for (; n < SPECIAL_MAX - 1; n++) {
        memset(texts[n], 'a', n + 1);
        texts[n][n + 1] = 'b';
    }
    for (size_t i = 0; i < N; i++) {
        names[i] = texts[i];
        types[i] = TOKEN_CONTROL;
    }
    make_vocab(&v, names, types, n);
    assert_int_equal(specials_open(&v, NULL, &s, &err), WEFT_OK);
    memset(text, 'a', LONG);
    expect_quick(&s, text, 1);
    specials_close(&s);
    vocab_close(&v);

    memset(texts[0], 'X', SPECIAL_MAX);
    n = 1;
    for (size_t a = 3; a < RUN; a += 3) {
        for (size_t x = 1; a + x <= RUN; x++) {
            memset(texts[n], 'a', a);
            memset(texts[n] + a, 'X', x);
            texts[n++][a + x] = '\0';
        }
    }
    assert_true(n <= N);
    make_vocab(&v, names, types, n);
    assert_int_equal(specials_open(&v, NULL, &s, &err), WEFT_OK);
    for (size_t i = 0; i < LONG; i++) {
        text[i] = i % BLOCK < RUN ? 'a' : 'X';
    }
    expect_quick(&s, text, 2 * (LONG / BLOCK + 1));
    specials_close(&s);
    vocab_close(&v);
    free(text);
    free(types);
    free(names);
    free(texts);
}

/* The special tokens of a vocabulary may have at most SPECIAL_TOTAL bytes together. */
static void test_special_total(void **state)
{
    (void)state;
    enum { N = SPECIAL_TOTAL / SPECIAL_MAX + 1 };
    char(*texts)[SPECIAL_MAX + 1] = calloc(N, sizeof *texts);
    const char **names = calloc(N, sizeof(*names));
    int32_t *types = calloc(N, sizeof *types);
    assert_true(texts != NULL && names != NULL && types != NULL);
    for (size_t i = 0; i < N; i++) {
        memset(texts[i], 'x', SPECIAL_MAX);
        int len = snprintf(texts[i], SPECIAL_MAX, "%zu", i);
        texts[i][len] = 'x';
        names[i] = texts[i];
        types[i] = TOKEN_CONTROL;
    }
    struct vocab v;
    struct specials s;
    weft_error err = { 0 };
    make_vocab(&v, names, types, N);
    assert_int_equal(specials_open(&v, NULL, &s, &err), WEFT_E_FORMAT);
    assert_non_null(strstr(err.message, "4194304 for all"));
    types[N - 1] = TOKEN_NORMAL;
    vocab_close(&v);
    make_vocab(&v, names, types, N);
    assert_int_equal(specials_open(&v, NULL, &s, &err), WEFT_OK);
    specials_close(&s);
    vocab_close(&v);
    free(types);
    free(names);
    free(texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special_search), cmocka_unit_test(test_special_of_callers),
        cmocka_unit_test(test_special_time),   cmocka_unit_test(test_special_hostile),
        cmocka_unit_test(test_special_total),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
