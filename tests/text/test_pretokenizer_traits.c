/* What the name of a pre-tokenizer implies beside its patterns: BOS, words that are tokens, tokens
 * of characters, white space before <mask>; and the kinds of tokenizers that Weft does not run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/scratch.h"
#include "support/tiny_vocab.h"

#define SPACE "\xe2\x96\x81"

static struct tokenizer *open_named(const struct spec *base, const char *pre)
{
    struct spec s = *base;
    s.pre = pre;
    return open_spec(&s);
}

/* "cab" is a token that no merge makes. */
static void test_whole_words(void **state)
{
    (void)state;
    static const char *const whole[] = { "llama-bpe", "glm5",  "minicpm5",
                                         "tekken",    "youtu", "granite-embed-multi-97m" };
    static const char *const merged[] = { "dbrx", "chatglm-bpe", "gpt-4o", "qwen35",
                                          "deepseek-v3" };
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        struct tokenizer *t = open_named(&bpe_spec, whole[i]);
        expect_ids(t, "cab", 0, IDS(B_CAB));
        tokenizer_close(t);
    }
    for (size_t i = 0; i < sizeof merged / sizeof merged[0]; i++) {
        struct tokenizer *t = open_named(&bpe_spec, merged[i]);
        expect_ids(t, "cab", 0, IDS('c', B_AB));
        tokenizer_close(t);
    }
}

static void expect_bos(const struct spec *base, const char *pre, int add_bos, bool want)
{
    struct spec s = *base;
    s.pre = pre;
    s.add_bos = add_bos;
    struct tokenizer *t = open_spec(&s);
    assert_int_equal(tokenizer_adds_bos(t), want);
    tokenizer_close(t);
}

/* The file's key decides, except for models for which converters wrote the wrong value. */
static void test_bos(void **state)
{
    (void)state;
    static const char *const adds[] = { "llama-bpe", "lfm2", "jina-v5-nano", "tekken",
                                        "chameleon" };
    for (size_t i = 0; i < sizeof adds / sizeof adds[0]; i++) {
        expect_bos(&bpe_spec, adds[i], -1, true);
        expect_bos(&bpe_spec, adds[i], 0, false);
    }
    static const char *const not [] = { "dbrx", "glm4", "qwen35", "gpt-4o", "default", NULL };
    for (size_t i = 0; i < sizeof not / sizeof not [0]; i++) {
        expect_bos(&bpe_spec, not [i], -1, false);
        expect_bos(&bpe_spec, not [i], 1, true);
    }
    for (int add = -1; add <= 1; add++) {
        expect_bos(&bpe_spec, "gemma4", add, true);
        expect_bos(&bpe_spec, "granite-embed-multi-311m", add, true);
        expect_bos(&bpe_spec, "sarvam-moe", add, add == 1);
    }
    /* There is no BOS to add. */
    struct spec s = bpe_spec;
    s.bos = -1;
    expect_bos(&s, "gemma4", 0, false);
}

/* A vocabulary of characters: spaces are U+2581, and bytes spell everything that is not a token. */
static const struct entry entries[] = {
    { "<s>", 3, 0 },       { "</s>", 3, 0 },   { "<0xC3>", 6, 0 },   { "<0xA9>", 6, 0 },
    { SPACE, 1, 0 },       { "a", 1, 0 },      { "b", 1, 0 },        { SPACE "a", 1, 0 },
    { "ab", 1, 0 },        { "\n", 1, 0 },     { "\n\n", 1, 0 },     { "\xc3\xa4", 1, 0 },
    { "a\xc3\xa4", 1, 0 }, { "<tool>", 4, 0 }, { "\n\n\n\n", 3, 0 }, { "<unk>", 2, 0 },
    { NULL, 0, 0 }
};
enum {
    C_BOS,
    C_EOS,
    C_C3,
    C_A9,
    C_SPACE,
    C_A,
    C_B,
    C_SPACE_A,
    C_AB,
    C_NL,
    C_NL2,
    C_AE,
    C_A_AE,
    C_TOOL,
    C_NL4,
    C_UNK
};
static const char *const merges[] = { SPACE " a", "a b", "a \xc3\xa4", NULL };
static const struct spec characters = { .model = "gpt2",
                                        .pre = "sarvam-moe",
                                        .entries = entries,
                                        .merges = merges,
                                        .no_bytes = true,
                                        .bos = C_BOS,
                                        .eos = C_EOS,
                                        .unknown = -1,
                                        .add_bos = -1 };

static void test_characters(void **state)
{
    (void)state;
    struct tokenizer *t = open_spec(&characters);
    expect_ids(t, "ab ab", 0, IDS(C_AB, C_SPACE_A, C_B));
    expect_text(t, IDS(C_AB, C_SPACE_A, C_B), 0, "ab ab");
    expect_ids(t, " a", 0, IDS(C_SPACE_A));
    expect_text(t, IDS(C_SPACE_A), 0, " a");
    expect_ids(t, "a\xc3\xa4\xc3\xa9", 0, IDS(C_A_AE, C_C3, C_A9));
    expect_text(t, IDS(C_A_AE, C_C3, C_A9), 0, "a\xc3\xa4\xc3\xa9");
    expect_ids(t, "b<tool> a", 0, IDS(C_B, C_TOOL, C_SPACE_A));
    /* Half a character; then newlines, over which nothing merges. */
    expect_ids(t, "\xc3", 0, IDS(C_C3));
    expect_ids(t, "a\n\nb", WEFT_TOKENIZE_BOS, IDS(C_A, C_NL, C_NL, C_B));
    /* As in llama.cpp, a character that has neither a token nor byte tokens is left out. */
    expect_ids(t, "acb", 0, IDS(C_A, C_B));
    tokenizer_close(t);
    struct spec s = characters;
    s.unknown = C_UNK;
    t = open_spec(&s);
    expect_ids(t, "ac\xc3\xa9", 0, IDS(C_A, C_C3, C_A9));
    tokenizer_close(t);
}

/* Gemma 4 is known by the kind of its tokenizer, whatever tokenizer.ggml.pre says. Two newlines are
 * a token, but not a control token. */
static void test_gemma4(void **state)
{
    (void)state;
    static const char *const pres[] = { NULL, "default", "nonesuch" };
    for (size_t i = 0; i < 3; i++) {
        struct spec s = characters;
        s.model = "gemma4";
        s.pre = pres[i];
        struct tokenizer *t = open_spec(&s);
        expect_ids(t, "a\n\nb\n", WEFT_TOKENIZE_BOS, IDS(C_BOS, C_A, C_NL2, C_B, C_NL));
        expect_ids(t, "\n\n\n", 0, IDS(C_NL, C_NL, C_NL));
        expect_ids(t, "\n\n\n\n", 0, IDS(C_NL, C_NL, C_NL, C_NL));
        tokenizer_close(t);
    }
}

static void test_mask(void **state)
{
    (void)state;
    static const struct entry with_mask[] = { { "<mask>", 3, 0 }, { NULL, 0, 0 } };
    static const char *const none[] = { NULL };
    struct spec s = bpe_spec;
    s.entries = with_mask;
    s.merges = none;
    s.bos = s.eos = -1;
    struct tokenizer *t = open_named(&s, "jina-v2-code");
    expect_ids(t, "a \n<mask> b", WEFT_TOKENIZE_SPECIAL, IDS('a', FIRST_BPE, ' ', 'b'));
    expect_ids(t, "<mask> <mask>", WEFT_TOKENIZE_SPECIAL, IDS(FIRST_BPE, FIRST_BPE));
    tokenizer_close(t);
    t = open_named(&s, "jina-es");
    expect_ids(t, "a <mask>", WEFT_TOKENIZE_SPECIAL, IDS('a', ' ', FIRST_BPE));
    tokenizer_close(t);
}

/* Some tokens are known by their text: Gemma 4's end tokens, for which </s> is HTML, and DeepSeek's
 * placeholders, which a user's text does not become unless the caller asks for it. */
static void test_known(void **state)
{
    (void)state;
    static const char hole[] = "<\xef\xbd\x9c"
                               "fim\xe2\x96\x81hole\xef\xbd\x9c>";
    static const struct entry known[] = { { "</s>", 1, 0 },
                                          { hole, 4, 0 },
                                          { "<turn|>", 4, 0 },
                                          { "<|tool_response>", 4, 0 },
                                          { NULL, 0, 0 } };
    enum { HTML = FIRST_BPE, HOLE, TURN, RESPONSE };
    static const char *const none[] = { NULL };
    struct spec s = bpe_spec;
    s.entries = known;
    s.merges = none;
    s.bos = s.eos = -1;
    struct tokenizer *t = open_named(&s, "deepseek-coder");
    assert_int_equal(tokenizer_type(t, HTML), TOKEN_NORMAL);
    assert_false(tokenizer_is_end(t, HTML));
    assert_int_equal(tokenizer_type(t, HOLE), TOKEN_CONTROL);
    assert_false(tokenizer_is_end(t, HOLE));
    assert_int_equal(tokenizer_type(t, TURN), TOKEN_CONTROL);
    assert_true(tokenizer_is_end(t, TURN) && tokenizer_is_end(t, RESPONSE));
    struct tokens ids = { 0 };
    encode(t, hole, strlen(hole), WEFT_TOKENIZE_SPECIAL, &ids);
    assert_int_equal(ids.n, 1);
    encode(t, hole, strlen(hole), 0, &ids);
    assert_int_equal(ids.n, strlen(hole));
    free(ids.data);
    tokenizer_close(t);
}

/* An empty name counts as no name. */
static void test_no_name(void **state)
{
    (void)state;
    static const char *const pres[] = { NULL, "", "default" };
    for (size_t i = 0; i < 3; i++) {
        struct tokenizer *t = open_named(&bpe_spec, pres[i]);
        expect_ids(t, "ab+ab", 0, IDS(B_AB, '+', B_AB));
        tokenizer_close(t);
    }
}

/* All other kinds of tokenizers of llama.cpp are refused by name, and the message says what they
 * are for. */
static void test_kinds(void **state)
{
    (void)state;
    static const char *const kinds[][2] = {
        { "bert", "encoder models" }, { "t5", "encoder models" },
        { "rwkv", "RWKV" },           { "plamo2", "PLaMo" },
        { "hybriddna", "DNA" },       { "whitespace", "white space" },
        { "none", "convert the" },    { "no_vocab", "convert the" },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct spec s = bpe_spec;
        s.model = kinds[i][0];
        struct tokenizer *t;
        weft_error err;
        assert_int_equal(try_spec(&s, &t, &err), WEFT_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, kinds[i][0]));
        assert_non_null(strstr(err.message, kinds[i][1]));
        assert_non_null(strstr(err.message, "expected gpt2, llama or gemma4"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_words), cmocka_unit_test(test_bos),
        cmocka_unit_test(test_characters),  cmocka_unit_test(test_gemma4),
        cmocka_unit_test(test_mask),        cmocka_unit_test(test_no_name),
        cmocka_unit_test(test_known),       cmocka_unit_test(test_kinds),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
