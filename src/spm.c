/* The merge order is that of llama.cpp and of sentencepiece's BPE models: highest score first,
 * leftmost of equals. */
#include "spm.h"

#include "utf8.h"

#include <stdio.h>
#include <string.h>

/* U+2581, which stands for a space inside the vocabulary. */
static const char SPACE[] = "\xe2\x96\x81";
enum { SPACE_LEN = 3 };

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
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        int32_t id = vocab_find(v, text, 6);
        if (id < 0 || v->type[id] != TOKEN_BYTE) {
            char raw = (char)byte;
            id = vocab_find(v, &raw, 1);
            if (id >= 0 && !vocab_is_text(v, id)) {
                id = -1;
            }
        }
        s->byte_id[byte] = id >= 0 ? id : unknown;
    }
    return WEFT_OK;
}

static bool escape(const char *text, size_t n, bool prefix, struct bytes *out)
{
    out->n = 0;
    if (prefix && !bytes_add(out, SPACE, SPACE_LEN)) {
        return false;
    }
    while (n > 0) {
        const char *space = memchr(text, ' ', n);
        size_t run = space == NULL ? n : (size_t)(space - text);
        if (!bytes_add(out, text, run)) {
            return false;
        }
        text += run;
        n -= run;
        if (space != NULL) {
            if (!bytes_add(out, SPACE, SPACE_LEN)) {
                return false;
            }
            text++;
            n--;
        }
    }
    return true;
}

struct context {
    const struct vocab *vocab;
    const char *text;
};

/* The score as a number that is smaller for a higher score. */
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

/* One symbol for each character; a byte that belongs to none stands alone. */
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
    for (size_t i = 0; i < symbol->n; i++) {
        uint8_t byte = (uint8_t)text[symbol->start + i];
        if (s->byte_id[byte] < 0) {
            return vocab_no_byte(byte, err);
        }
        if (!tokens_add(out, s->byte_id[byte])) {
            return error_nomem(err, "tokens", out->n * sizeof id);
        }
    }
    return WEFT_OK;
}

weft_status spm_encode(const struct spm *s, const struct vocab *v, const char *text, size_t n,
                       bool prefix, struct merger *m, struct bytes *escaped, struct tokens *out,
                       weft_error *err)
{
    if (!escape(text, n, prefix, escaped) || !add_symbols(m, escaped->data, escaped->n)) {
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

bool spm_piece(const struct vocab *v, int32_t id, struct bytes *out)
{
    struct gguf_str t = vocab_text(v, id);
    while (t.n > 0) {
        const char *space = memmem(t.s, t.n, SPACE, SPACE_LEN);
        size_t run = space == NULL ? t.n : (size_t)(space - t.s);
        if (!bytes_add(out, t.s, run) || (space != NULL && !bytes_add(out, " ", 1))) {
            return false;
        }
        size_t used = space == NULL ? run : run + SPACE_LEN;
        t.s += used;
        t.n -= used;
    }
    return true;
}
