/* Everything in the arrays of a file is checked here, once; the users of a struct vocab may trust
 * it. */
#include "text/vocab.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct gguf_str vocab_text(const struct vocab *v, int32_t id)
{
    size_t start = v->start[id];
    return (struct gguf_str){ v->text + start, v->start[id + 1] - start };
}

/* Returns the slot of this text, or the empty slot where it would go. */
static struct vocab_slot *find_slot(const struct vocab *v, const char *text, size_t n,
                                    uint32_t *hash)
{
    const size_t mask = v->n_slots - 1;
    const uint32_t h = (uint32_t)hash_bytes(&v->seed, text, n);
    *hash = h;
    for (size_t i = h & mask;; i = (i + 1) & mask) {
        struct vocab_slot *slot = &v->index[i];
        if (slot->id_plus_1 == 0) {
            return slot;
        }
        if (slot->hash == h) {
            struct gguf_str found = vocab_text(v, (int32_t)(slot->id_plus_1 - 1));
            if (found.n == n && memcmp(found.s, text, n) == 0) {
                return slot;
            }
        }
    }
}

int32_t vocab_find(const struct vocab *v, const char *text, size_t n)
{
    if (n == 0 || n > v->longest) {
        return -1;
    }
    uint32_t hash;
    return (int32_t)find_slot(v, text, n, &hash)->id_plus_1 - 1;
}

bool vocab_is_text(const struct vocab *v, int32_t id)
{
    return v->type[id] == TOKEN_NORMAL || v->type[id] == TOKEN_USER_DEFINED;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Returns the value of a text written exactly <0xHH>, else -1. */
static int byte_value(struct gguf_str t)
{
    if (t.n != 6 || memcmp(t.s, "<0x", 3) != 0 || t.s[5] != '>') {
        return -1;
    }
    int high = hex_digit(t.s[3]);
    int low = hex_digit(t.s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

uint8_t vocab_byte(const struct vocab *v, int32_t id)
{
    return (uint8_t)byte_value(vocab_text(v, id));
}

void vocab_byte_tokens(const struct vocab *v, int32_t unknown, int32_t *byte_id)
{
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
        byte_id[byte] = id >= 0 ? id : unknown;
    }
}

static weft_status copy_texts(const struct gguf_kv *tokens, struct vocab *v, weft_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < tokens->n; i++) {
        if (!add_ok(total, tokens->strs[i].n, &total)) {
            return error_nomem(err, "the token texts", SIZE_MAX);
        }
    }
    v->n = tokens->n;
    v->text = mem_array(total, 1);
    v->start = mem_array(v->n + 1, sizeof *v->start);
    if (v->text == NULL || v->start == NULL) {
        return error_nomem(err, "the token texts", total);
    }
    size_t at = 0;
    for (size_t i = 0; i < v->n; i++) {
        size_t n = tokens->strs[i].n;
        if (n > 0) {
            memcpy(v->text + at, tokens->strs[i].s, n);
        }
        at += n;
        v->start[i + 1] = at;
        v->longest = size_max(n, v->longest);
        if (n > VOCAB_MAX_TEXT) {
            return error_set(err, WEFT_E_FORMAT,
                             "tokenizer.ggml.tokens: token %zu has %zu bytes, expected at most %d",
                             i, n, VOCAB_MAX_TEXT);
        }
    }
    return WEFT_OK;
}

static weft_status build_index(struct vocab *v, weft_error *err)
{
    v->seed = hash_seed_draw();
    v->n_slots = 16;
    while (v->n_slots < 2 * v->n) {
        v->n_slots *= 2;
    }
    v->index = mem_array(v->n_slots, sizeof *v->index);
    if (v->index == NULL) {
        return error_nomem(err, "the token index", v->n_slots * sizeof *v->index);
    }
    for (size_t i = 0; i < v->n; i++) {
        struct gguf_str t = vocab_text(v, (int32_t)i);
        if (t.n == 0) {
            continue;
        }
        uint32_t hash;
        struct vocab_slot *slot = find_slot(v, t.s, t.n, &hash);
        if (slot->id_plus_1 == 0) {
            *slot = (struct vocab_slot){ hash, (uint32_t)i + 1 };
        }
    }
    return WEFT_OK;
}

static weft_status wrong_length(const struct gguf_kv *kv, size_t n, weft_error *err)
{
    return error_set(err, WEFT_E_FORMAT,
                     "%s has %zu elements, expected %zu, one for each of tokenizer.ggml.tokens",
                     kv->key, kv->n, n);
}

static weft_status read_types(const struct gguf *g, struct vocab *v, weft_error *err)
{
    const struct gguf_kv *kv = NULL;
    TRY(gguf_opt_array(g, "tokenizer.ggml.token_type", GGUF_I32, &kv, err));
    if (kv != NULL && kv->n != v->n) {
        return wrong_length(kv, v->n, err);
    }
    v->type = mem_array(v->n, 1);
    if (v->type == NULL) {
        return error_nomem(err, "the token types", v->n);
    }
    for (size_t i = 0; i < v->n; i++) {
        int32_t type = kv == NULL ? TOKEN_NORMAL : gguf_i32_at(kv, i);
        /* 0 is undefined; such tokens count as normal, and the file gets a warning. */
        type = type == 0 ? TOKEN_NORMAL : type;
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE) {
            return error_set(err, WEFT_E_FORMAT,
                             "tokenizer.ggml.token_type of token %zu is %d, expected %d to %d", i,
                             (int)type, TOKEN_NORMAL, TOKEN_BYTE);
        }
        v->type[i] = (uint8_t)type;
        struct gguf_str t = vocab_text(v, (int32_t)i);
        if (type == TOKEN_BYTE && byte_value(t) < 0) {
            return error_set(err, WEFT_E_FORMAT,
                             "byte token %zu is written '%.*s', expected <0x00> to <0xFF>", i,
                             (int)size_min(t.n, 32), t.s);
        }
    }
    return WEFT_OK;
}

static weft_status read_scores(const struct gguf *g, struct vocab *v, weft_error *err)
{
    const struct gguf_kv *kv = NULL;
    TRY(gguf_opt_array(g, "tokenizer.ggml.scores", GGUF_F32, &kv, err));
    if (kv == NULL) {
        return WEFT_OK;
    }
    if (kv->n != v->n) {
        return wrong_length(kv, v->n, err);
    }
    v->score = mem_array(v->n, sizeof *v->score);
    if (v->score == NULL) {
        return error_nomem(err, "the token scores", v->n * sizeof *v->score);
    }
    for (size_t i = 0; i < v->n; i++) {
        v->score[i] = gguf_f32_at(kv, i);
        if (isnan(v->score[i])) {
            return error_set(err, WEFT_E_FORMAT,
                             "tokenizer.ggml.scores of token %zu is not a number", i);
        }
    }
    return WEFT_OK;
}

static weft_status read_all(const struct gguf *g, struct vocab *v, weft_error *err)
{
    const struct gguf_kv *tokens = NULL;
    TRY(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STR, &tokens, err));
    if (tokens->n == 0 || tokens->n > INT32_MAX / 4) {
        return error_set(err, WEFT_E_FORMAT,
                         "tokenizer.ggml.tokens has %zu elements, expected 1 to %d", tokens->n,
                         INT32_MAX / 4);
    }
    TRY(copy_texts(tokens, v, err));
    TRY(read_types(g, v, err));
    TRY(read_scores(g, v, err));
    return build_index(v, err);
}

weft_status vocab_open(const struct gguf *g, struct vocab *v, weft_error *err)
{
    memset(v, 0, sizeof *v);
    weft_status status = read_all(g, v, err);
    if (status != WEFT_OK) {
        vocab_close(v);
    }
    return status;
}

void vocab_close(struct vocab *v)
{
    free(v->text);
    free(v->start);
    free(v->type);
    free(v->score);
    free(v->index);
    memset(v, 0, sizeof *v);
}
