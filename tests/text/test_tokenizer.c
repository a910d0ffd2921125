/* The tokenizer: the ids of real vocabularies against llama.cpp's published expectations; small
 * vocabularies whose ids are worked out by hand; text there and back for every vocabulary at hand;
 * control tokens only where asked for; long runs of every class of character in bounded time; and
 * many threads on one tokenizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/scratch.h"
#include "support/slowed.h"
#include "support/tiny_vocab.h"

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

/* The text comes back from its ids, also token by token, except for SPM's leading space. */
static void round_trip(const struct tokenizer *t, const char *text, size_t n)
{
    struct tokens ids = { 0 };
    struct bytes back = { 0 };
    struct bytes pieces = { 0 };
    weft_error err;
    encode(t, text, n, 0, &ids);
    assert_int_equal(tokenizer_decode(t, ids.data, ids.n, 0, &back, &err), WEFT_OK);
    for (size_t i = 0; i < ids.n; i++) {
        assert_int_not_equal(tokenizer_type(t, ids.data[i]), TOKEN_CONTROL);
        assert_int_equal(tokenizer_piece(t, ids.data[i], 0, &pieces, &err), WEFT_OK);
    }
    assert_int_equal(back.n, n);
    size_t prefix = pieces.n - back.n;
    assert_true(prefix <= 1);
    if (n > 0) {
        assert_memory_equal(back.data, text, n);
        assert_memory_equal(pieces.data + prefix, text, n);
    }
    free(ids.data);
    free(back.data);
    free(pieces.data);
}

static const char *const real[] = { "../shared/data/vocab/ggml-vocab-qwen2.gguf",
                                    "../shared/data/vocab/ggml-vocab-phi-3.gguf",
                                    "../shared/data/vocab/ggml-vocab-llama-spm.gguf",
                                    "../shared/data/vocab/ggml-vocab-gpt-2.gguf" };
static const char *const demo[] = { "models/weft-demo-qwen2.gguf", "models/weft-demo-phi3.gguf" };

enum { MAX_VOCABS = 8 };

/* Opens the tokenizers of the small specs, those of the demo models and, if with_real is set and
 * they exist, the real ones. */
static size_t open_all(struct tokenizer **t, bool with_real)
{
    size_t n = 0;
    t[n++] = open_spec(&bpe_spec);
    t[n++] = open_spec(&spm_spec);
    for (size_t i = 0; i < 2; i++) {
        if (access(demo[i], R_OK) == 0) {
            t[n++] = open_file(demo[i]);
        }
    }
    for (size_t i = 0; with_real && i < 4; i++) {
        if (access(real[i], R_OK) == 0) {
            t[n++] = open_file(real[i]);
        }
    }
    return n;
}

static char *read_text(const char *path, const char *suffix, size_t *n)
{
    char name[256];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *f = fopen(name, "rb");
    assert_non_null(f);
    char *data = calloc(1, 1 << 16);
    assert_non_null(data);
    *n = fread(data, 1, (1 << 16) - 1, f);
    fclose(f);
    return data;
}

/* The file <vocab>.inp holds texts between separator lines, <vocab>.out a line of ids for each
 * text. */
static void check_published(const char *path)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    size_t n_in;
    size_t n_out;
    char *in = read_text(path, ".inp", &n_in);
    char *out = read_text(path, ".out", &n_out);
    struct tokenizer *t = open_file(path);
    struct tokens ids = { 0 };
    char *line = out;
    size_t n_cases = 0;
    for (char *text = in; text < in + n_in; n_cases++) {
        char *end = strstr(text, separator);
        size_t n = end == NULL ? (size_t)(in + n_in - text) : (size_t)(end - text);
        encode(t, text, n, 0, &ids);
        for (size_t i = 0; i < ids.n; i++) {
            assert_int_equal(strtol(line, &line, 10), ids.data[i]);
        }
        line += strspn(line, " ");
        assert_int_equal(*line++, '\n');
        round_trip(t, text, n);
        text = end == NULL ? in + n_in : end + sizeof separator - 1;
    }
    assert_int_equal(n_cases, 46);
    tokenizer_close(t);
    free(ids.data);
    free(in);
    free(out);
}

static void test_published(void **state)
{
    (void)state;
    if (access(real[0], R_OK) != 0) {
        skip();
    }
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
        check_published(real[i]);
    }
}

/* Writes characters of all lengths and classes, but never U+2581, which SPM cannot tell from a
 * space. */
static size_t random_text(char *to, size_t n_max, bool valid)
{
    static const char *const parts[] = { " ",
                                         "  ",
                                         "\n",
                                         "\r\n",
                                         "\t",
                                         "a",
                                         "ab",
                                         "abc",
                                         "Hello",
                                         "'s",
                                         "'LL",
                                         "12",
                                         "3456",
                                         "...",
                                         "\xc3\xa9",
                                         "\xcc\x81",
                                         "\xd0\xb6",
                                         "\xe4\xb8\xad",
                                         "\xe3\x80\x80",
                                         "\xc2\xa0",
                                         "\xf0\x9f\x98\x80",
                                         "\xe2\x80\x8d",
                                         "<|im_end",
                                         "<0x41>",
                                         "\x01" };
    size_t n = 0;
    while (n + 8 < n_max) {
        if (!valid && random_below(3) == 0) {
            to[n++] = (char)random_below(256);
            continue;
        }
        const char *part = parts[random_below(sizeof parts / sizeof parts[0])];
        memcpy(to + n, part, strlen(part));
        n += strlen(part);
    }
    return n;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct tokenizer *t[MAX_VOCABS];
    size_t n = open_all(t, true);
    char text[64];
    for (size_t i = 0; i < n; i++) {
        random_state = 7;
        round_trip(t[i], "", 0);
        for (int k = 0; k < 3000; k++) {
            size_t len = random_text(text, 9 + random_below(50), k % 2 == 0);
            if (memmem(text, len, "\xe2\x96\x81", 3) == NULL) {
                round_trip(t[i], text, len);
            }
        }
        tokenizer_close(t[i]);
    }
}

/* A text gives control tokens only if the caller asks for them. */
static void test_control(void **state)
{
    (void)state;
    struct tokenizer *t[MAX_VOCABS];
    size_t n = open_all(t, true);
    struct tokens ids = { 0 };
    for (size_t i = 0; i < n; i++) {
        for (size_t id = 0; id < tokenizer_n_vocab(t[i]); id++) {
            if (tokenizer_type(t[i], (int32_t)id) != TOKEN_CONTROL) {
                continue;
            }
            struct gguf_str s = tokenizer_text(t[i], (int32_t)id);
            encode(t[i], s.s, s.n, WEFT_TOKENIZE_SPECIAL, &ids);
            assert_int_equal(ids.n, 1);
            assert_int_equal(ids.data[0], id);
            encode(t[i], s.s, s.n, 0, &ids);
            for (size_t k = 0; k < ids.n; k++) {
                assert_int_not_equal(tokenizer_type(t[i], ids.data[k]), TOKEN_CONTROL);
            }
        }
        tokenizer_close(t[i]);
    }
    free(ids.data);
}

static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

/* A megabyte of one character takes less than a second of processor time. This bound is one of the
 * reliability goals, and two to ten times what a slow machine takes. */
static void test_long_runs(void **state)
{
    (void)state;
    static const char *const runs[] = {
        "A",    "a",   "0",          ".", " ", "\n", "\xe4\xb8\xad", "\xcc\x81", "\xf0\x9f\x98\x80",
        "\xff", " \n", "<|im_end|>", "'s"
    };
    struct tokenizer *t[MAX_VOCABS];
    size_t n = open_all(t, false);
    for (size_t i = 0; i < 4; i += 2) {
        if (access(real[i], R_OK) == 0) {
            t[n++] = open_file(real[i]);
        }
    }
    char *text = malloc(LONG);
    assert_non_null(text);
    struct tokens ids = { 0 };
    for (size_t r = 0; r < sizeof runs / sizeof runs[0]; r++) {
        size_t len = strlen(runs[r]);
        size_t total = LONG / len * len;
        for (size_t k = 0; k < total; k++) {
            text[k] = runs[r][k % len];
        }
        for (size_t i = 0; i < n; i++) {
            double start = cpu_seconds();
            encode(t[i], text, total, WEFT_TOKENIZE_SPECIAL, &ids);
            double took = cpu_seconds() - start;
            assert_true(took < 1.0);
            struct bytes back = { 0 };
            weft_error err;
            assert_int_equal(tokenizer_decode(t[i], ids.data, ids.n, 1, &back, &err), WEFT_OK);
            assert_int_equal(back.n, total);
            assert_memory_equal(back.data, text, total);
            free(back.data);
        }
    }
    for (size_t i = 0; i < n; i++) {
        tokenizer_close(t[i]);
    }
    free(ids.data);
    free(text);
}

static void test_spm(void **state)
{
    (void)state;
    struct tokenizer *t = open_spec(&spm_spec);
    const unsigned bos = WEFT_TOKENIZE_BOS;
    const unsigned special = WEFT_TOKENIZE_SPECIAL;
    const unsigned middle = WEFT_TOKENIZE_NO_PREFIX;
    assert_true(tokenizer_adds_bos(t));
    expect_ids(t, "", 0, NO_IDS);
    expect_ids(t, "", bos, IDS(1));
    expect_ids(t, "a", bos, IDS(1, SP_A));
    expect_ids(t, "a", middle, IDS(A));
    /* bc has a higher score than ab. */
    expect_ids(t, "abc", middle, IDS(A, BC));
    expect_ids(t, "aaaaaa", middle, IDS(AAAA, AA));
    expect_ids(t, " a", middle, IDS(SP_A));
    expect_ids(t, "  a", 0, IDS(SP, SP, SP_A));
    /* A character without a token becomes bytes. */
    expect_ids(t, "x", middle, IDS(3 + 'x'));
    expect_ids(t, "\xc3\xa9", middle, IDS(3 + 0xc3, 3 + 0xa9));
    expect_ids(t, "\xe4 a", middle, IDS(3 + 0xe4, SP_A));
    /* Control tokens come only if asked for. The text behind one gets the leading space again. */
    expect_ids(t, "<s>a", special, IDS(1, SP_A));
    expect_ids(t, "a<|user|>a", special | middle, IDS(A, USER, SP_A));
    expect_ids(t, "<s>", middle, IDS(3 + '<', 3 + 's', 3 + '>'));
    /* User-defined tokens are always found, the longest first. */
    expect_ids(t, "<tool>b", middle, IDS(TOOL, SP, B));
    expect_ids(t, "<toob", middle, IDS(TOO, SP, B));
    expect_ids(t, "<0x41>", middle, IDS(3 + '<', 3 + '0', 3 + 'x', 3 + '4', 3 + '1', 3 + '>'));

    expect_text(t, IDS(1, SP_A, BC), 0, "abc");
    expect_text(t, IDS(SP, SP_A), 0, " a");
    expect_text(t, IDS(A, SP_A), 0, "a a");
    expect_text(t, IDS(3 + 0xc3, 3 + 0xa9), 0, "\xc3\xa9");
    expect_text(t, IDS(SP_A, USER, A), 0, "aa");
    expect_text(t, IDS(SP_A, USER, A), WEFT_DETOKENIZE_SPECIAL, "a<|user|>a");
    expect_text(t, IDS(TOOL, SP_A), 0, "<tool>a");
    expect_text(t, IDS(TOOL, SP, SP_A), 0, "<tool> a");
    expect_text(t, IDS(1, SP_A, USER, SP_A), WEFT_DETOKENIZE_SPECIAL, "<s>a<|user|>a");
    expect_text(t, IDS(USER, A, SP_A), WEFT_DETOKENIZE_SPECIAL, "<|user|>a a");
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_true(tokenizer_is_end(t, 2));
    assert_false(tokenizer_is_end(t, USER));
    assert_false(tokenizer_is_end(t, -1));
    assert_false(tokenizer_is_end(t, 1 << 30));
    tokenizer_close(t);
}

/* EOS is put behind a text if the file asks for it, the call asks for it too, and it is not there
 * yet. */
static void test_eos(void **state)
{
    (void)state;
    const unsigned eos = WEFT_TOKENIZE_EOS, bos = WEFT_TOKENIZE_BOS;
    struct spec spec = spm_spec;
    struct tokenizer *t = open_spec(&spec);
    assert_false(tokenizer_adds_eos(t));
    expect_ids(t, "a", eos, IDS(SP_A));
    tokenizer_close(t);
    spec.add_eos = true;
    t = open_spec(&spec);
    assert_true(tokenizer_adds_eos(t));
    expect_ids(t, "a", 0, IDS(SP_A));
    expect_ids(t, "a", eos, IDS(SP_A, 2));
    expect_ids(t, "a", eos | bos, IDS(1, SP_A, 2));
    expect_ids(t, "", eos, IDS(2));
    expect_ids(t, "a</s>", eos | WEFT_TOKENIZE_SPECIAL, IDS(SP_A, 2));
    tokenizer_close(t);
}

static void test_bpe(void **state)
{
    (void)state;
    struct spec spec = bpe_spec;
    struct tokenizer *t = open_spec(&spec);
    assert_false(tokenizer_adds_bos(t));
    expect_ids(t, "", WEFT_TOKENIZE_BOS, NO_IDS);
    /* First b c merges, then a b, then a bc. */
    expect_ids(t, "abc", 0, IDS(B_ABC));
    expect_ids(t, "abab", 0, IDS(B_AB, B_AB));
    expect_ids(t, "cab", 0, IDS('c', B_AB));
    expect_ids(t, "aaaaaaa", 0, IDS(B_AAAA, B_AA, 'a'));
    /* Words do not merge with one another. A word takes the space before it. */
    expect_ids(t, "a a\na", 0, IDS('a', B_SP_A, '\n', 'a'));
    expect_ids(t, "a1bc", 0, IDS('a', '1', B_BC));
    expect_ids(t, "\xff\xc3", 0, IDS(0xff, 0xc3));
    expect_ids(t, "<tool><|im_end|>", WEFT_TOKENIZE_SPECIAL, IDS(B_TOOL, B_END));
    expect_ids(t, "<|im_end|>", 0, IDS('<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>'));
    expect_text(t, IDS(B_SP_A, 0xad, ' ', B_END), 0, " a\xad ");
    expect_text(t, IDS(B_TOOL, B_END), WEFT_DETOKENIZE_SPECIAL, "<tool><|im_end|>");
    assert_true(tokenizer_is_end(t, B_END));
    assert_int_equal(tokenizer_find(t, "abc", 3), B_ABC);
    assert_int_equal(tokenizer_find(t, "abcd", 4), -1);
    tokenizer_close(t);

    /* Llama 3: a word that is a token becomes that token, and BOS is the default. */
    spec.pre = "llama-bpe";
    t = open_spec(&spec);
    expect_ids(t, "cab", WEFT_TOKENIZE_BOS, IDS(B_END, B_CAB));
    tokenizer_close(t);
    spec.add_bos = 0;
    t = open_spec(&spec);
    expect_ids(t, "cab", WEFT_TOKENIZE_BOS, IDS(B_CAB));
    tokenizer_close(t);
}

static void test_strip_right(void **state)
{
    (void)state;
    struct spec spec = spm_spec;
    spec.name = "My PHI-3 mini";
    struct tokenizer *t = open_spec(&spec);
    const unsigned flags = WEFT_TOKENIZE_SPECIAL;
    expect_ids(t, "<|user|> \n\ta", flags, IDS(USER, SP_A));
    expect_ids(t, "<|user|>\n<|user|>\n", flags, IDS(USER, USER));
    expect_ids(t, "<s> a", flags, IDS(1, SP, SP_A));
    expect_ids(t, "<tool> a", 0, IDS(TOOL, SP_A));
    tokenizer_close(t);
}

/* A vocabulary with neither newline nor byte tokens. */
static void test_no_bytes(void **state)
{
    (void)state;
    enum { FIRST = 3 };
    struct spec spec = spm_spec;
    spec.no_bytes = true;
    struct tokenizer *t = open_spec(&spec);
    /* The unknown token stands for each byte. */
    expect_ids(t, "ax\xc3\xa9", WEFT_TOKENIZE_NO_PREFIX, IDS(FIRST, 0, 0, 0));
    tokenizer_close(t);

    /* A BPE vocabulary leaves these bytes out. Nothing merges across them, and the unknown token,
     * which is a control token here, does not appear. */
    spec = bpe_spec;
    spec.no_bytes = true;
    static const char *const merges[] = { "a a", NULL };
    static const struct entry entries[] = {
        { "a", 1, 0 }, { "aa", 1, 0 }, { "<|im_end|>", 3, 0 }, { NULL, 0, 0 }
    };
    spec.merges = merges;
    spec.entries = entries;
    for (spec.unknown = -1; spec.unknown <= 2; spec.unknown += 3) {
        spec.bos = spec.eos = 2;
        t = open_spec(&spec);
        expect_ids(t, "aabaxa", 0, IDS(1, 0, 0));
        expect_ids(t, "xyz", 0, NO_IDS);
        tokenizer_close(t);
    }
}

static void test_arguments(void **state)
{
    (void)state;
    struct tokenizer *t = open_spec(&bpe_spec);
    struct tokens ids = { 0 };
    struct bytes text = { 0 };
    weft_error err;
    const int32_t outside[] = { 'a', -1, (int32_t)tokenizer_n_vocab(t), INT32_MAX };
    assert_int_equal(tokenizer_encode(t, "a", 1, 16, &ids, &err), WEFT_E_ARG);
    assert_int_equal(tokenizer_encode(t, "a", SIZE_MAX, 0, &ids, &err), WEFT_E_ARG);
    assert_int_equal(ids.n, 0);
    assert_int_equal(tokenizer_decode(t, outside, 1, 2, &text, &err), WEFT_E_ARG);
    for (size_t i = 1; i < 4; i++) {
        assert_int_equal(tokenizer_check(t, outside, i + 1, &err), WEFT_E_ARG);
        assert_non_null(strstr(err.message, "token 1 is -1, expected 0 to "));
        const int32_t pair[] = { 'a', outside[i] };
        assert_int_equal(tokenizer_decode(t, pair, 2, 0, &text, &err), WEFT_E_ARG);
        assert_int_equal(text.n, 0);
    }
    free(text.data);
    tokenizer_close(t);
    tokenizer_close(NULL);
}

/* Many threads use one compiled pattern. */
static void *encode_often(void *t)
{
    struct tokens first = { 0 };
    struct tokens ids = { 0 };
    static const char text[] = "abc ab's 123 <tool>\n\n aaaa\xff bcabc";
    encode(t, text, sizeof text - 1, 0, &first);
    bool same = true;
    for (int i = 0; i < 200; i++) {
        encode(t, text, sizeof text - 1, 0, &ids);
        same = same && ids.n == first.n && memcmp(ids.data, first.data, ids.n * 4) == 0;
    }
    free(first.data);
    free(ids.data);
    return same ? t : NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct tokenizer *t = open_spec(&bpe_spec);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, encode_often, t), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, t);
    }
    tokenizer_close(t);
}

/* Some names mark the end of a text or a turn, whatever type the file gives them. */
static void test_ends(void **state)
{
    (void)state;
    static const struct entry entries[] = { { "<|im_end|>", 1, 0 },
                                            { "<|endoftext|>", 4, 0 },
                                            { "<|eot_id|>", 3, 0 },
                                            { "<|fim_prefix|>", 4, 0 },
                                            { "<|im_start|>", 3, 0 },
                                            { "<end>", 1, 0 },
                                            { NULL, 0, 0 } };
    struct spec s = bpe_spec;
    s.entries = entries;
    s.merges = (const char *const[]){ NULL };
    s.bos = -1;
    s.eos = FIRST_BPE + 5;
    struct tokenizer *t = open_spec(&s);
    const bool ends[] = { true, true, true, false, false, true };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        assert_int_equal(tokenizer_is_end(t, (int32_t)(FIRST_BPE + i)), ends[i]);
        /* The tokens known by name are control tokens; the EOS that the file names keeps its
         * type. */
        assert_int_equal(tokenizer_type(t, (int32_t)(FIRST_BPE + i)),
                         i < 5 ? TOKEN_CONTROL : TOKEN_NORMAL);
    }
    tokenizer_close(t);
}

/* A text that is special in other models is an ordinary token if merges make it, unless the file
 * gives it another type or a role. */
static void test_ordinary(void **state)
{
    (void)state;
    static const char *const merges[] = { "< /", "</ s", "</s >", NULL };
    static const char *const roles[] = { "bos",     "unknown", "padding", "seperator", "mask",
                                         "cls",     "prefix",  "suffix",  "middle",    "fim_pre",
                                         "fim_suf", "fim_mid", "fim_pad", "fim_rep",   "fim_sep" };
    static const struct entry normal[] = {
        { "</s>", 1, 0 }, { "</s", 1, 0 }, { "</", 1, 0 }, { NULL, 0, 0 }
    };
    static const struct entry defined[] = {
        { "</s>", 4, 0 }, { "</s", 1, 0 }, { "</", 1, 0 }, { NULL, 0, 0 }
    };
    struct spec s = bpe_spec;
    s.entries = normal;
    s.merges = merges;
    s.bos = s.eos = -1;
    struct tokenizer *t = open_spec(&s);
    assert_int_equal(tokenizer_type(t, FIRST_BPE), TOKEN_NORMAL);
    tokenizer_close(t);
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        s.role = roles[i];
        t = open_spec(&s);
        assert_int_equal(tokenizer_type(t, FIRST_BPE), TOKEN_CONTROL);
        tokenizer_close(t);
    }
    s.role = "newline";
    t = open_spec(&s);
    assert_int_equal(tokenizer_type(t, FIRST_BPE), TOKEN_NORMAL);
    tokenizer_close(t);
    s.role = NULL;
    s.entries = defined;
    t = open_spec(&s);
    assert_int_equal(tokenizer_type(t, FIRST_BPE), TOKEN_CONTROL);
    tokenizer_close(t);
    s.entries = normal;
    s.merges = (const char *const[]){ "< /", "</ s", NULL };
    t = open_spec(&s);
    assert_int_equal(tokenizer_type(t, FIRST_BPE), TOKEN_CONTROL);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_control),   cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_spm),       cmocka_unit_test(test_bpe),
        cmocka_unit_test(test_eos),       cmocka_unit_test(test_strip_right),
        cmocka_unit_test(test_no_bytes),  cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_ends),
        cmocka_unit_test(test_ordinary),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
