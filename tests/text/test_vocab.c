/* Vocabularies that no honest converter writes: each is refused with a status and a message that
 * names the fault, or it loads and does no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/colliding.h"
#include "support/scratch.h"
#include "support/slowed.h"
#include "support/tiny_vocab.h"
#include "text/special.h"

/* Processor time of a refusal: the time that is promised, and ten times as much where every memory
 * access is checked. */
#ifdef SLOWED
#define MOST_SECONDS 0.5
#else
#define MOST_SECONDS 0.05
#endif

static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

static void expect_refused(struct gguf_writer *w, weft_status want, const char *says)
{
    struct tokenizer *t = NULL;
    weft_error err = { 0 };
    double start = cpu_seconds();
    weft_status status = open_written(w, &t, &err);
    double took = cpu_seconds() - start;
    if (status != want || t != NULL || strstr(err.message, says) == NULL) {
        fail_msg("%s '%s', expected %s '...%s...'", weft_status_name(status), err.message,
                 weft_status_name(want), says);
    }
    if (took > MOST_SECONDS) {
        fail_msg("'%s' took %.3f s", err.message, took);
    }
}

static void expect_refusal(const struct spec *s, weft_status want, const char *says)
{
    struct gguf_writer w;
    writer_init(&w);
    write_spec(&w, s);
    expect_refused(&w, want, says);
}

/* Scores, merges, byte tokens and types that are not as they must be, and special tokens that are
 * too long. */
static void test_refused_specs(void **state)
{
    (void)state;
    static const char *const merges[][2] = { { "ab", NULL },   { " ", NULL },    { "a ", NULL },
                                             { "zz a", NULL }, { "a zz", NULL }, { "a x", NULL },
                                             { "", NULL } };
    static const char *const why[] = { "a space between", "a space between", "a space between",
                                       "the left text",   "the right text",  "the merged text",
                                       "a space between" };
    for (size_t i = 0; i < sizeof why / sizeof why[0]; i++) {
        struct spec s = bpe_spec;
        s.merges = merges[i];
        expect_refusal(&s, WEFT_E_FORMAT, why[i]);
    }
    static const char *const bad_bytes[] = { "<0x-1>", "<0x0a>", "<0xGG>", "<0x100>",
                                             "<0x1>",  "x",      "" };
    for (size_t i = 0; i < sizeof bad_bytes / sizeof bad_bytes[0]; i++) {
        const struct entry entries[] = { { bad_bytes[i], TOKEN_BYTE, 0 }, { NULL, 0, 0 } };
        struct spec s = spm_spec;
        s.entries = entries;
        expect_refusal(&s, WEFT_E_FORMAT, "byte token");
    }
    const int32_t bad_types[] = { 7, -1, INT32_MAX };
    for (size_t i = 0; i < 3; i++) {
        const struct entry entries[] = { { "x", bad_types[i], 0 }, { NULL, 0, 0 } };
        struct spec s = spm_spec;
        s.entries = entries;
        expect_refusal(&s, WEFT_E_FORMAT, "token_type");
    }
    const struct entry nan_entries[] = { { "x", 1, NAN }, { NULL, 0, 0 } };
    struct spec s = spm_spec;
    s.entries = nan_entries;
    expect_refusal(&s, WEFT_E_FORMAT, "not a number");
    static char huge[SPECIAL_MAX + 2];
    memset(huge, 'x', sizeof huge - 1);
    const struct entry long_entries[] = { { huge, TOKEN_CONTROL, 0 }, { NULL, 0, 0 } };
    s = spm_spec;
    s.entries = long_entries;
    expect_refusal(&s, WEFT_E_FORMAT, "special token");
}

/* Opens the tokenizer; the caller closes it. */
static struct tokenizer *opened(struct gguf_writer *w)
{
    struct tokenizer *t = NULL;
    weft_error err = { 0 };
    if (open_written(w, &t, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return t;
}

/* A special token outside the vocabulary counts as not named, as in llama.cpp. SPM then has its
 * usual special tokens, BPE has none, and BOS is not added. */
static void test_ids_out_of_range(void **state)
{
    (void)state;
    const int64_t ids[] = { B_UNK + 1, INT32_MAX, UINT32_MAX };
    for (size_t i = 0; i < 3; i++) {
        for (size_t adds = 0; adds < 2; adds++) {
            struct gguf_writer w;
            struct spec s = bpe_spec;
            s.bos = s.eos = s.unknown = ids[i];
            s.add_bos = adds == 1;
            writer_init(&w);
            write_spec(&w, &s);
            struct tokenizer *t = opened(&w);
            assert_int_equal(tokenizer_bos(t), -1);
            assert_int_equal(tokenizer_eos(t), -1);
            assert_false(tokenizer_adds_bos(t));
            tokenizer_close(t);
        }
    }
    /* SPM: beside the usual special tokens there is one token. Its type is 0 (undefined), which
     * counts as normal. */
    static const struct entry entries[] = { { "c", 0, 0 }, { NULL, 0, 0 } };
    struct gguf_writer w;
    struct spec s = spm_spec;
    struct tokens tokens = { 0 };
    struct bytes text = { 0 };
    s.entries = entries;
    s.no_bytes = true;
    s.bos = s.eos = INT32_MAX;
    s.unknown = INT32_MAX;
    writer_init(&w);
    write_spec(&w, &s);
    struct tokenizer *t = opened(&w);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    encode(t, "c", 1, WEFT_TOKENIZE_NO_PREFIX, &tokens);
    assert_int_equal(tokens.n, 1);
    assert_int_equal(tokenizer_type(t, tokens.data[0]), TOKEN_NORMAL);
    assert_int_equal(tokenizer_piece(t, tokens.data[0], 0, &text, NULL), WEFT_OK);
    assert_int_equal(text.n, 1);
    assert_int_equal(text.data[0], 'c');
    free(text.data);
    free(tokens.data);
    tokenizer_close(t);
}

/* Files that lack a key that another one needs, and tokenizers that Weft does not have. */
static void test_refused_keys(void **state)
{
    (void)state;
    struct spec s = bpe_spec;
    s.bos = -1;
    s.add_bos = 1;
    expect_refusal(&s, WEFT_E_FORMAT, "add_bos_token");
    s = bpe_spec;
    s.pre = "no-such-pre";
    expect_refusal(&s, WEFT_E_UNSUPPORTED, "llama-bpe");
    static const char *const models[] = { "bert", "t5", "rwkv", "" };
    for (size_t i = 0; i < 4; i++) {
        s = bpe_spec;
        s.model = models[i];
        expect_refusal(&s, WEFT_E_UNSUPPORTED, "expected gpt2, llama or gemma4");
    }
    s = bpe_spec;
    s.merges = NULL;
    expect_refusal(&s, WEFT_E_FORMAT, "merges");
}

/* Arrays of every other element type, and of another length. */
static void test_refused_arrays(void **state)
{
    (void)state;
    static const char *const keys[] = { "tokenizer.ggml.tokens", "tokenizer.ggml.scores",
                                        "tokenizer.ggml.token_type" };
    static const uint32_t right[] = { GGUF_STR, GGUF_F32, GGUF_I32 };
    const uint8_t zeros[64] = { 0 };
    const struct {
        uint32_t type;
        size_t size;
    } elements[] = { { GGUF_U8, 1 },   { GGUF_I16, 2 }, { GGUF_I32, 4 }, { GGUF_F32, 4 },
                     { GGUF_BOOL, 1 }, { GGUF_U64, 8 }, { GGUF_F64, 8 } };
    for (size_t k = 0; k < 3; k++) {
        for (size_t e = 0; e < sizeof elements / sizeof elements[0]; e++) {
            for (size_t n = 0; n < 8; n += 3) {
                struct gguf_writer w;
                if (elements[e].type == right[k] && n == 3) {
                    continue;
                }
                writer_init(&w);
                writer_str(&w, "tokenizer.ggml.model", "llama");
                for (size_t other = 0; other < 3; other++) {
                    const int32_t ones[] = { 1, 1, 1 };
                    if (other == k) {
                        writer_array(&w, keys[k], elements[e].type, n, zeros, n * elements[e].size);
                    } else if (other > 0) {
                        writer_array(&w, keys[other], right[other], 3, ones, sizeof ones);
                    } else {
                        writer_strs(&w, keys[0], 3);
                        for (size_t i = 0; i < 3; i++) {
                            writer_add_str(&w, &"abc"[i], 1);
                        }
                    }
                }
                expect_refused(&w, WEFT_E_FORMAT, "tokenizer.ggml.");
            }
        }
    }
}

/* Writes the texts as a vocabulary of this model; all tokens have one type. */
static void write_texts(struct gguf_writer *w, const char *model, char *const *texts, size_t n,
                        int32_t type)
{
    int32_t *types = calloc(n + 1, sizeof *types);
    float *scores = calloc(n + 1, sizeof *scores);
    assert_true(types != NULL && scores != NULL);
    writer_init(w);
    writer_str(w, "tokenizer.ggml.model", model);
    writer_strs(w, "tokenizer.ggml.tokens", n);
    for (size_t i = 0; i < n; i++) {
        writer_add_str(w, texts[i], strlen(texts[i]));
        types[i] = type;
    }
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, n, types, n * sizeof *types);
    writer_array(w, "tokenizer.ggml.scores", GGUF_F32, n, scores, n * sizeof *scores);
    free(types);
    free(scores);
}

/* A token of 64 KiB is one of BPE's words like any other; a longer one is refused. SPM and the
 * search for special tokens have limits of their own. A token of 2^31 bytes is no GGUF string
 * (test_gguf_damage.c). */
static void test_long_token(void **state)
{
    (void)state;
    enum { LONG = VOCAB_MAX_TEXT };
    char *text = calloc(1, LONG + 2);
    assert_non_null(text);
    memset(text, 'x', LONG + 1);
    char *const texts[] = { "x", text };
    struct gguf_writer w;
    write_texts(&w, "gpt2", texts, 2, TOKEN_NORMAL);
    expect_refused(&w, WEFT_E_FORMAT, "token 1 has 65537 bytes, expected at most 65536");
    text[LONG] = '\0';
    write_texts(&w, "llama", texts, 2, TOKEN_NORMAL);
    expect_refused(&w, WEFT_E_FORMAT, "a token of 65536 bytes, expected at most 1024");
    write_texts(&w, "gpt2", texts, 2, TOKEN_CONTROL);
    writer_strs(&w, "tokenizer.ggml.merges", 0);
    expect_refused(&w, WEFT_E_FORMAT, "a special token of 65536 bytes, expected at most 256");
    write_texts(&w, "gpt2", texts, 2, TOKEN_NORMAL);
    writer_str(&w, "tokenizer.ggml.pre", "llama-bpe");
    writer_strs(&w, "tokenizer.ggml.merges", 0);
    struct tokenizer *t;
    weft_error err;
    assert_int_equal(open_written(&w, &t, &err), WEFT_OK);
    struct tokens ids = { 0 };
    encode(t, text, LONG, 0, &ids);
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.data[0], 1);
    encode(t, text, LONG - 1, 0, &ids);
    assert_int_equal(ids.n, LONG - 1);
    struct bytes back = { 0 };
    assert_int_equal(tokenizer_decode(t, IDS(1), 1, 0, &back, &err), WEFT_OK);
    assert_int_equal(back.n, LONG);
    free(back.data);
    free(ids.data);
    tokenizer_close(t);
    free(text);
}

/* Vocabularies of 0 to 4 tokens. They may lack their default special tokens, the bytes of a text,
 * and an unknown token that could stand for these bytes. */
static void test_tiny(void **state)
{
    (void)state;
    static char *const texts[] = { "a", "b", "c", "d" };
    static const char *const models[] = { "llama", "gpt2" };
    static const char *const keys[] = { "tokenizer.ggml.bos_token_id",
                                        "tokenizer.ggml.eos_token_id",
                                        "tokenizer.ggml.unknown_token_id",
                                        "tokenizer.ggml.eot_token_id",
                                        "tokenizer.ggml.eom_token_id" };
    struct gguf_writer w;
    write_texts(&w, "llama", texts, 0, TOKEN_NORMAL);
    expect_refused(&w, WEFT_E_FORMAT, "has 0 elements, expected 1 to");
    for (size_t n = 1; n <= 4; n++) {
        for (size_t m = 0; m < 2; m++) {
            for (size_t k = 0; k < 5; k++) {
                write_texts(&w, models[m], texts, n, TOKEN_NORMAL);
                writer_strs(&w, "tokenizer.ggml.merges", 0);
                writer_u32(&w, keys[k], (uint32_t)n);
                tokenizer_close(opened(&w));
                write_texts(&w, models[m], texts, n, TOKEN_NORMAL);
                writer_strs(&w, "tokenizer.ggml.merges", 0);
                writer_i32(&w, keys[k], -1);
                expect_refused(&w, WEFT_E_FORMAT, keys[k]);
            }
            write_texts(&w, models[m], texts, n, TOKEN_NORMAL);
            writer_strs(&w, "tokenizer.ggml.merges", 0);
            struct tokenizer *t;
            weft_error err;
            struct tokens ids = { 0 };
            assert_int_equal(open_written(&w, &t, &err), WEFT_OK);
            assert_true(tokenizer_bos(t) < (int32_t)n && tokenizer_eos(t) < (int32_t)n);
            /* SPM refuses a text with a byte that has no token; BPE leaves the byte out. */
            bool spm = m == 0;
            assert_int_equal(tokenizer_encode(t, "a\n", 2, WEFT_TOKENIZE_NO_PREFIX, &ids, &err),
                             spm ? WEFT_E_UNSUPPORTED : WEFT_OK);
            assert_true(!spm || strstr(err.message, "0x0A") != NULL);
            assert_int_equal(ids.n, spm ? 0 : 1);
            encode(t, "a", 1, WEFT_TOKENIZE_NO_PREFIX, &ids);
            assert_int_equal(ids.n, 1);
            free(ids.data);
            tokenizer_close(t);
        }
    }
}

/* Counts are unsigned and keep their full width all the way: a vocabulary that declares 2^31 or
 * 2^63 tokens is refused while the file is read. test_gguf.c tests the limit of 2^24 elements. */
static void test_counts(void **state)
{
    (void)state;
    static const uint64_t counts[] = { UINT64_C(1) << 31, (UINT64_C(1) << 31) - 1,
                                       UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1,
                                       UINT64_C(1) << 63, UINT64_MAX };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct gguf_writer w;
        struct bytes file = { 0 };
        struct gguf *g = NULL;
        weft_error err = { 0 };
        writer_init(&w);
        writer_str(&w, "tokenizer.ggml.model", "llama");
        writer_strs(&w, "tokenizer.ggml.tokens", counts[i]);
        writer_add_str(&w, "a", 1);
        assert_int_equal(writer_finish(&w, &file, &err), WEFT_OK);
        writer_free(&w);
        double start = cpu_seconds();
        assert_int_equal(gguf_open(scratch_write("many.gguf", file.data, file.n), true, &g, &err),
                         WEFT_E_FORMAT);
        assert_true(cpu_seconds() - start < MOST_SECONDS);
        assert_non_null(strstr(err.message, "tokenizer.ggml.tokens"));
        free(file.data);
    }
}

/* The names collide in a table of 65,536 slots that is indexed by FNV-1a and a mix of its bits:
 * each look-up would walk through thousands of others. */
enum { N_COLLIDING = 20000 };

static bool collides(uint64_t h)
{
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9u;
    return (h >> 32 & 0xffff) < 64;
}

/* Texts of tokens that were made to collide make nothing slow, because they are found by a
 * hash with a seed. */
static void test_colliding_tokens(void **state)
{
    (void)state;
    struct colliding_name *names = colliding_names(N_COLLIDING, collides);
    char **texts = calloc(N_COLLIDING, sizeof(*texts));
    assert_non_null(texts);
    for (size_t i = 0; i < N_COLLIDING; i++) {
        texts[i] = names[i].text;
    }
    struct gguf_writer w;
    write_texts(&w, "llama", texts, N_COLLIDING, TOKEN_NORMAL);
    double start = cpu_seconds();
    struct tokenizer *t = opened(&w);
    for (size_t i = 0; i < N_COLLIDING; i++) {
        assert_int_equal(tokenizer_find(t, texts[i], COLLIDING_LETTERS), i);
    }
    assert_true(cpu_seconds() - start < MOST_SECONDS);
    tokenizer_close(t);
    free(texts);
    free(names);
}

/* Merges that collide in the same way: pairs of N_HALVES tokens. */
enum { N_PAIRS = 20000, N_HALVES = 4096 };

static bool pair_collides(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 32) * 0xbf58476d1ce4e5b9u;
    return (h >> 32 & 0xffff) < 96;
}

static void test_colliding_merges(void **state)
{
    (void)state;
    enum { N = N_HALVES + N_PAIRS, TEXT = 16 };
    char(*room)[TEXT] = calloc(N, sizeof *room), (*merges)[TEXT] = calloc(N_PAIRS, sizeof *merges);
    char **texts = calloc(N, sizeof(*texts));
    size_t n = 0;
    assert_true(room != NULL && merges != NULL && texts != NULL);
    for (uint32_t i = 0; i < N_HALVES; i++) {
        snprintf(room[n++], TEXT, "%03x", i);
    }
    for (uint32_t i = 0; i < N_HALVES * N_HALVES && n < N; i++) {
        uint32_t left = i / N_HALVES, right = i % N_HALVES;
        if (pair_collides(left, right)) {
            snprintf(merges[n - N_HALVES], TEXT, "%03x %03x", left, right);
            snprintf(room[n++], TEXT, "%03x%03x", left, right);
        }
    }
    assert_int_equal(n, N);
    for (size_t i = 0; i < N; i++) {
        texts[i] = room[i];
    }
    struct gguf_writer w;
    write_texts(&w, "gpt2", texts, N, TOKEN_NORMAL);
    writer_strs(&w, "tokenizer.ggml.merges", N_PAIRS);
    for (size_t i = 0; i < N_PAIRS; i++) {
        writer_add_str(&w, merges[i], strlen(merges[i]));
    }
    double start = cpu_seconds();
    tokenizer_close(opened(&w));
    assert_true(cpu_seconds() - start < MOST_SECONDS);
    free(texts);
    free(merges);
    free(room);
}

/* A vocabulary may be odd in these ways without being refused: empty and repeated tokens,
 * merges that would spell a control token, tokens without merges, merges that come twice. */
static void test_tolerated(void **state)
{
    (void)state;
    static const struct entry entries[] = { { "", 1, 0 },   { "", 3, 0 },    { "ab", 1, 0 },
                                            { "ab", 1, 0 }, { "bcb", 3, 0 }, { "bc", 1, 0 },
                                            { "zz", 1, 0 }, { NULL, 0, 0 } };
    static const char *const merges[] = { "a b", "b c", "bc b", "a b", NULL };
    struct spec s = bpe_spec;
    s.entries = entries;
    s.merges = merges;
    s.bos = s.eos = -1;
    struct tokenizer *t = open_spec(&s);
    expect_ids(t, "ab", 0, IDS(FIRST_BPE + 2));
    expect_ids(t, "bcb", 0, IDS(FIRST_BPE + 5, 'b'));
    expect_ids(t, "bcb", WEFT_TOKENIZE_SPECIAL, IDS(FIRST_BPE + 4));
    expect_ids(t, "zz", WEFT_TOKENIZE_BOS, IDS('z', 'z'));
    expect_text(t, IDS(FIRST_BPE, FIRST_BPE + 1, FIRST_BPE + 3), 0, "ab");
    assert_int_equal(tokenizer_find(t, "", 0), -1);
    assert_int_equal(tokenizer_bos(t), -1);
    tokenizer_close(t);
    /* A file without tokenizer.ggml.pre counts as "default". */
    s.pre = NULL;
    t = open_spec(&s);
    expect_ids(t, "123", 0, IDS('1', '2', '3'));
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_specs),    cmocka_unit_test(test_refused_keys),
        cmocka_unit_test(test_ids_out_of_range), cmocka_unit_test(test_refused_arrays),
        cmocka_unit_test(test_long_token),       cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_counts),           cmocka_unit_test(test_colliding_tokens),
        cmocka_unit_test(test_colliding_merges), cmocka_unit_test(test_tolerated),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
