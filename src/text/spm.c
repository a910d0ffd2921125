/* The merge order is that of llama.cpp and of sentencepiece's BPE models: the highest score first,
 * and the leftmost of equals. */
#include "text/spm.h"

#include "base/utf8.h"
#include "text/spaces.h"

#include <string.h>

weft_status spm_open(const struct vocab *v, int32_t unknown, struct spm *s, weft_error *err)
{
    if (v->longest > SPM_MAX) {
        return error_set(err, WEFT_E_FORMAT,
                         "tokenizer.ggml.tokens has a token of %zu bytes, expected at most %d",
                         v->longest, SPM_MAX);
    }
    if (v->score == NULL) {
        return error_set(err, WEFT_E_FORMAT,
                         "tokenizer.ggml.scores is missing; tokenizer.ggml.model llama needs it to "
                         "know which tokens to prefer");
    }
    vocab_byte_tokens(v, unknown, s->byte_id);
    return WEFT_OK;
}

struct context {
    const struct vocab *vocab;
    const char *text;
};

/* Returns the score as an integer that is smaller for a higher score. */
static uint32_t order_of(float score)
{
    float s = score + 0.0f; /* -0 and 0 are the same score */
    uint32_t bits;
    memcpy(&bits, &s, sizeof bits);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

static bool rule(const void *user, const struct symbol *left, const struct symbol *right,
                 uint32_t *order, int32_t *id)
{
    const struct context *c = user;
    *id = vocab_find(c->vocab, c->text + left->start, (size_t)left->n + right->n);
    if (*id < 0 || !vocab_is_text(c->vocab, *id)) {
        return false;
    }
    *order = order_of(c->vocab->score[*id]);
    return true;
}

/* Adds one symbol for each character; a byte that belongs to no character stands alone. */
static bool add_symbols(struct merger *m, const char *text, size_t n)
{
    m->n = 0;
    for (size_t at = 0; at < n;) {
        size_t len;
        if (utf8_next(text + at, n - at, &len) != UTF8_CHAR) {
            len = 1;
        }
        if (!merger_add(m, at, len, -1)) {
            return false;
        }
        at += len;
    }
    return true;
}

static weft_status no_byte(uint8_t byte, weft_error *err)
{
    return error_set(
        err, WEFT_E_UNSUPPORTED,
        "the text has the byte 0x%02X, for which the vocabulary has no token, nor has it "
        "an unknown token (tokenizer.ggml.unknown_token_id) to stand for it",
        byte);
}

/* Appends the tokens of the bytes. */
static weft_status spell(const int32_t *byte_id, const char *text, size_t n, struct tokens *out,
                         weft_error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte_id[byte] < 0) {
            return no_byte(byte, err);
        }
        if (!tokens_add(out, byte_id[byte])) {
            return error_nomem(err, "tokens", out->n * sizeof(int32_t));
        }
    }
    return WEFT_OK;
}

static weft_status emit(const struct spm *s, const struct vocab *v, const struct symbol *symbol,
                        const char *text, struct tokens *out, weft_error *err)
{
    int32_t id = symbol->id;
    if (id < 0) {
        id = vocab_find(v, text + symbol->start, symbol->n);
    }
    if (id >= 0 && vocab_is_text(v, id)) {
        return tokens_add(out, id) ? WEFT_OK : error_nomem(err, "tokens", out->n * sizeof id);
    }
    return spell(s->byte_id, text + symbol->start, symbol->n, out, err);
}

weft_status spm_encode(const struct spm *s, const struct vocab *v, const char *text, size_t n,
                       bool prefix, struct merger *m, struct bytes *escaped, struct tokens *out,
                       weft_error *err)
{
    if (!spaces_write(text, n, prefix, escaped) || !add_symbols(m, escaped->data, escaped->n)) {
        return error_nomem(err, "text to tokenize", n);
    }
    struct context c = { v, escaped->data };
    if (!merger_run(m, rule, &c)) {
        return error_nomem(err, "merging", n * sizeof *m->heap);
    }
    for (int32_t i = m->n > 0 ? 0 : -1; i >= 0; i = m->symbols[i].next) {
        TRY(emit(s, v, &m->symbols[i], escaped->data, out, err));
    }
    return WEFT_OK;
}
