/* A small vocabulary under the name of each pre-tokenizer, made when it is first needed. */
#ifndef FUZZ_NAMED_H
#define FUZZ_NAMED_H

#include "fuzz.h"
#include "synth/writer.h"
#include "text/pretokenizers.h"
#include "text/tokenizer.h"

/* Writes a byte: in GPT-2's alphabet, or as the token of a byte. */
static inline size_t fuzz_write_byte(int byte, bool characters, char *text)
{
    if (characters) {
        return (size_t)snprintf(text, 8, "<0x%02X>", (unsigned)byte);
    }
    int extra = 0;
    for (int b = 0; b < byte; b++) {
        extra += b <= ' ' || (b >= 0x7f && b <= 0xa0) || b == 0xad;
    }
    bool printable = byte > ' ' && (byte < 0x7f || byte > 0xa0) && byte != 0xad;
    int c = printable ? byte : 256 + extra;
    text[0] = (char)(c < 0x80 ? c : 0xc0 | c >> 6);
    text[1] = (char)(0x80 | (c & 0x3f));
    return c < 0x80 ? 1 : 2;
}

static inline void fuzz_write_named(struct gguf_writer *w, const struct pretokenizer_name *name)
{
    static const char *const letters[] = { "a", "b", "t", "h", "1", "2", "\n", "\xe2\x96\x81" };
    static const char *const pieces[] = { "ab", "th", "12", "the", "123", "abth", "<s>", "\n\n" };
    static const char *const merges[] = { "a b", "t h", "1 2", "ab th" };
    bool characters = (name->traits & PRE_CHARACTERS) != 0;
    size_t n_letters = characters ? sizeof letters / sizeof letters[0] : 0;
    size_t n_pieces = sizeof pieces / sizeof pieces[0], n = 256 + n_letters + n_pieces;
    int32_t types[512];
    writer_init(w);
    writer_str(w, "tokenizer.ggml.model", "gpt2");
    writer_str(w, "tokenizer.ggml.pre", name->name);
    writer_strs(w, "tokenizer.ggml.tokens", n);
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        writer_add_str(w, text, fuzz_write_byte(byte, characters, text));
        types[byte] = characters ? TOKEN_BYTE : TOKEN_NORMAL;
    }
    for (size_t i = 0; i < n_letters + n_pieces; i++) {
        const char *text = i < n_letters ? letters[i] : pieces[i - n_letters];
        writer_add_str(w, text, strlen(text));
        types[256 + i] = strcmp(text, "<s>") == 0 ? TOKEN_CONTROL : TOKEN_NORMAL;
    }
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, n, types, n * sizeof types[0]);
    writer_strs(w, "tokenizer.ggml.merges", sizeof merges / sizeof merges[0]);
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        writer_add_str(w, merges[i], strlen(merges[i]));
    }
    writer_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)(n - 2));
}

static inline const struct tokenizer *fuzz_named(const struct pretokenizer_name *name)
{
    static struct tokenizer *all[256];
    struct tokenizer **t = &all[name - pretokenizer_names];
    if (*t == NULL) {
        struct gguf_writer w;
        struct bytes file = { 0 };
        struct gguf *g = NULL;
        char path[64];
        fuzz_write_named(&w, name);
        MUST(n_pretokenizer_names <= 256 && writer_finish(&w, &file, NULL) == WEFT_OK);
        int fd = fuzz_file((const uint8_t *)file.data, file.n, path);
        MUST(gguf_open(path, false, &g, NULL) == WEFT_OK);
        MUST(tokenizer_open(g, t, NULL) == WEFT_OK);
        gguf_close(g);
        close(fd);
        free(file.data);
        writer_free(&w);
    }
    return *t;
}

#endif
