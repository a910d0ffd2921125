/* See tiny_vocab.h. The byte-level alphabet is derived here by counting, as GPT-2's authors do, so
 * that a mistake in src/text/bpe.c cannot hide behind the same mistake in the file. */
#include "support/tiny_vocab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/scratch.h"

/* Writes a letter of GPT-2's alphabet, by counting as its authors do. */
static size_t write_letter(int byte, char *to)
{
    int extra = 0;
    for (int b = 0; b <= byte; b++) {
        bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (b == byte) {
            int c = printable ? b : 256 + extra;
            if (c < 0x80) {
                to[0] = (char)c;
                return 1;
            }
            to[0] = (char)(0xc0 | c >> 6);
            to[1] = (char)(0x80 | (c & 0x3f));
            return 2;
        }
        extra += !printable;
    }
    return 0;
}

static void write_vocab(struct gguf_writer *w, const struct spec *s)
{
    bool spm = strcmp(s->model, "llama") == 0;
    size_t n_bytes = s->no_bytes ? 0 : 256;
    int32_t types[2048];
    float scores[2048];
    char texts[2048][16];
    size_t n_texts[2048];
    size_t n = 0;
    const struct entry first[] = { { "<unk>", 2, 0 }, { "<s>", 3, 0 }, { "</s>", 3, 0 } };
    for (size_t i = 0; spm && i < 3; i++, n++) {
        n_texts[n] = (size_t)snprintf(texts[n], sizeof texts[n], "%s", first[i].text);
        types[n] = first[i].type;
        scores[n] = 0;
    }
    for (size_t i = 0; i < n_bytes; i++, n++) {
        n_texts[n] = spm ? (size_t)snprintf(texts[n], sizeof texts[n], "<0x%02X>", (unsigned)i)
                         : write_letter((int)i, texts[n]);
        types[n] = spm ? 6 : 1;
        scores[n] = 0;
    }
    size_t n_entries = 0;
    while (s->entries[n_entries].text != NULL) {
        types[n + n_entries] = s->entries[n_entries].type;
        scores[n + n_entries] = s->entries[n_entries].score;
        n_entries++;
    }
    writer_strs(w, "tokenizer.ggml.tokens", n + n_entries);
    for (size_t i = 0; i < n; i++) {
        writer_add_str(w, texts[i], n_texts[i]);
    }
    for (size_t i = 0; i < n_entries; i++) {
        writer_add_str(w, s->entries[i].text, strlen(s->entries[i].text));
    }
    n += n_entries;
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, n, types, n * sizeof types[0]);
    if (spm) {
        writer_array(w, "tokenizer.ggml.scores", GGUF_F32, n, scores, n * sizeof scores[0]);
    }
}

void write_spec(struct gguf_writer *w, const struct spec *s)
{
    writer_str(w, "tokenizer.ggml.model", s->model);
    write_vocab(w, s);
    if (s->pre != NULL) {
        writer_str(w, "tokenizer.ggml.pre", s->pre);
    }
    if (s->name != NULL) {
        writer_str(w, "general.name", s->name);
    }
    if (s->merges != NULL) {
        size_t n = 0;
        while (s->merges[n] != NULL) {
            n++;
        }
        writer_strs(w, "tokenizer.ggml.merges", n);
        for (size_t i = 0; i < n; i++) {
            writer_add_str(w, s->merges[i], strlen(s->merges[i]));
        }
    }
    const char *const keys[] = { "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                 "tokenizer.ggml.unknown_token_id" };
    const int64_t ids[] = { s->bos, s->eos, s->unknown };
    for (size_t i = 0; i < 3; i++) {
        if (ids[i] >= 0) {
            writer_u32(w, keys[i], (uint32_t)ids[i]);
        }
    }
    if (s->add_bos >= 0) {
        writer_bool(w, "tokenizer.ggml.add_bos_token", s->add_bos != 0);
    }
    if (s->add_eos) {
        writer_bool(w, "tokenizer.ggml.add_eos_token", true);
    }
    if (s->role != NULL) {
        char key[64];
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", s->role);
        writer_u32(w, key, FIRST_BPE);
    }
}

weft_status open_written(struct gguf_writer *w, struct tokenizer **t, weft_error *err)
{
    struct bytes file = { 0 };
    assert_int_equal(writer_finish(w, &file, err), WEFT_OK);
    const char *path = scratch_write("vocab.gguf", file.data, file.n);
    struct gguf *g = NULL;
    weft_status status = gguf_open(path, false, &g, err);
    if (status != WEFT_OK) {
        fail_msg("%s", err->message);
    }
    *t = NULL;
    status = tokenizer_open(g, t, err);
    gguf_close(g);
    free(file.data);
    writer_free(w);
    return status;
}

weft_status try_spec(const struct spec *s, struct tokenizer **t, weft_error *err)
{
    struct gguf_writer w;
    writer_init(&w);
    write_spec(&w, s);
    return open_written(&w, t, err);
}

struct tokenizer *open_spec(const struct spec *s)
{
    struct tokenizer *t;
    weft_error err;
    if (try_spec(s, &t, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return t;
}

struct tokenizer *open_file(const char *path)
{
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    weft_error err;
    if (gguf_open(path, true, &g, &err) != WEFT_OK || tokenizer_open(g, &t, &err) != WEFT_OK) {
        fail_msg("%s: %s", path, err.message);
    }
    gguf_close(g);
    return t;
}

static const struct entry spm_entries[] = { { "a", 1, -5 },
                                            { "b", 1, -6 },
                                            { "c", 1, -7 },
                                            { "ab", 1, -2 },
                                            { "bc", 1, -1 },
                                            { "\xe2\x96\x81", 1, -3 },
                                            { "\xe2\x96\x81"
                                              "a",
                                              1, -4 },
                                            { "aa", 1, -2 },
                                            { "aaaa", 1, -1.5f },
                                            { "<|user|>", 3, 0 },
                                            { "<tool>", 4, 0 },
                                            { "<too", 4, 0 },
                                            { NULL, 0, 0 } };
const struct spec spm_spec = { .model = "llama",
                               .pre = NULL,
                               .entries = spm_entries,
                               .bos = 1,
                               .eos = 2,
                               .unknown = 0,
                               .add_bos = -1 };

static const struct entry bpe_entries[] = { { "ab", 1, 0 },
                                            { "bc", 1, 0 },
                                            { "abc", 1, 0 },
                                            { "\xc4\xa0"
                                              "a",
                                              1, 0 },
                                            { "aa", 1, 0 },
                                            { "aaaa", 1, 0 },
                                            { "cab", 1, 0 },
                                            { "<|im_end|>", 3, 0 },
                                            { "<tool>", 4, 0 },
                                            { "<unk>", 2, 0 },
                                            { NULL, 0, 0 } };
static const char *const bpe_merges[] = {
    "b c", "a b", "a bc", "\xc4\xa0 a", "a a", "aa aa", NULL
};
const struct spec bpe_spec = { .model = "gpt2",
                               .pre = "qwen2",
                               .entries = bpe_entries,
                               .merges = bpe_merges,
                               .bos = B_END,
                               .eos = B_END,
                               .unknown = -1,
                               .add_bos = -1 };

void encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
            struct tokens *out)
{
    weft_error err;
    out->n = 0;
    if (tokenizer_encode(t, text, n, flags, out, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
}

void expect_ids(const struct tokenizer *t, const char *text, unsigned flags, const int32_t *want)
{
    struct tokens got = { 0 };
    encode(t, text, strlen(text), flags, &got);
    size_t n = 0;
    while (want[n] >= 0) {
        n++;
    }
    bool same = n == got.n && (n == 0 || memcmp(got.data, want, n * sizeof *want) == 0);
    if (!same) {
        for (size_t i = 0; i < got.n; i++) {
            print_error("%d ", got.data[i]);
        }
        fail_msg("are the ids of '%s'", text);
    }
    free(got.data);
}

void expect_text(const struct tokenizer *t, const int32_t *ids, unsigned flags, const char *want)
{
    size_t n = 0;
    while (ids[n] >= 0) {
        n++;
    }
    struct bytes got = { 0 };
    weft_error err;
    assert_int_equal(tokenizer_decode(t, ids, n, flags, &got, &err), WEFT_OK);
    assert_int_equal(got.n, strlen(want));
    if (got.n > 0) {
        assert_memory_equal(got.data, want, got.n);
    }
    free(got.data);
}
