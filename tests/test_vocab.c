/* Vocabularies that no honest converter writes: each is refused with a status and a message that
 * names the fault, or loads and does no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "special.h"
#include "support/scratch.h"
#include "support/tiny_vocab.h"

static void expect_refusal(const struct spec *s, weft_status want, const char *says)
{
    struct tokenizer *t;
    weft_error err = { 0 };
    assert_int_equal(try_spec(s, &t, &err), want);
    if (strstr(err.message, says) == NULL) {
        fail_msg("'%s' does not say '%s'", err.message, says);
    }
}

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
    const int32_t bad_types[] = { 0, 7, -1, INT32_MAX };
    for (size_t i = 0; i < 4; i++) {
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

static void test_refused_keys(void **state)
{
    (void)state;
    const int64_t ids[] = { B_UNK + 1, INT32_MAX, UINT32_MAX };
    for (size_t i = 0; i < 3; i++) {
        struct spec s = bpe_spec;
        s.bos = ids[i];
        expect_refusal(&s, WEFT_E_FORMAT, "bos_token_id");
        s = bpe_spec;
        s.eos = ids[i];
        expect_refusal(&s, WEFT_E_FORMAT, "eos_token_id");
        s = bpe_spec;
        s.unknown = ids[i];
        expect_refusal(&s, WEFT_E_FORMAT, "unknown_token_id");
    }
    struct spec s = bpe_spec;
    s.bos = -1;
    s.add_bos = 1;
    expect_refusal(&s, WEFT_E_FORMAT, "add_bos_token");
    s = bpe_spec;
    s.pre = "no-such-pre";
    expect_refusal(&s, WEFT_E_UNSUPPORTED, "llama-bpe");
    s = bpe_spec;
    s.model = "bert";
    expect_refusal(&s, WEFT_E_UNSUPPORTED, "gpt2 llama");
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
                struct tokenizer *t;
                weft_error err;
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
                            writer_add_str(&w, "abc" + i, 1);
                        }
                    }
                }
                assert_int_equal(open_written(&w, &t, &err), WEFT_E_FORMAT);
            }
        }
    }
}

/* Odd, but no reason to refuse: empty and repeated tokens, merges that would spell a control token,
 * tokens without merges, merges twice over. */
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
    /* no tokenizer.ggml.pre is "default" */
    s.pre = NULL;
    t = open_spec(&s);
    expect_ids(t, "123", 0, IDS('1', '2', '3'));
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_specs),
        cmocka_unit_test(test_refused_keys),
        cmocka_unit_test(test_refused_arrays),
        cmocka_unit_test(test_tolerated),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
