#include "draw/constraint.h"

#include <string.h>

weft_status constraint_open(struct matcher *matcher, const struct tokenizer *tokenizer,
                            const struct token_trie *trie, size_t n_tokens, size_t n_more,
                            struct constraint **out, weft_error *err)
{
    struct constraint *c = mem_array(1, sizeof *c);
    if (c == NULL) {
        return error_nomem(err, "a grammar", sizeof *c);
    }
    c->tokenizer = tokenizer;
    c->trie = trie;
    c->from = c->at = c->base = n_tokens;
    weft_status status = constraint_reserve(c, n_more, err);
    if (status != WEFT_OK) {
        constraint_close(c);
        return status;
    }
    c->matcher = matcher;
    *out = c;
    return WEFT_OK;
}

weft_status constraint_copy(const struct constraint *c, struct constraint **out, weft_error *err)
{
    struct constraint *copy = mem_array(1, sizeof *copy);
    if (copy == NULL) {
        return error_nomem(err, "a grammar", sizeof *copy);
    }
    *copy = *c;
    copy->matcher = NULL;
    copy->generated = (struct bytes){ 0 };
    weft_status status = WEFT_OK;
    if (!bytes_add(&copy->generated, c->generated.data, c->generated.n)) {
        status = error_nomem(err, "a grammar", c->generated.n);
    }
    if (status == WEFT_OK) {
        status = matcher_copy(c->matcher, &copy->matcher, err);
    }
    if (status != WEFT_OK) {
        constraint_close(copy);
        return status;
    }
    *out = copy;
    return WEFT_OK;
}

void constraint_close(struct constraint *c)
{
    if (c != NULL) {
        matcher_close(c->matcher);
        free(c->generated.data);
        free(c);
    }
}

size_t constraint_bytes(const struct constraint *c)
{
    return c != NULL ? sizeof *c + c->generated.cap + matcher_bytes(c->matcher) : 0;
}

weft_status constraint_reserve(struct constraint *c, size_t n, weft_error *err)
{
    if (c != NULL && !mem_reserve(&c->generated.data, &c->generated.cap, c->generated.n + n, 1)) {
        return error_nomem(err, "a grammar", c->generated.n + n);
    }
    return WEFT_OK;
}

void constraint_add(struct constraint *c, size_t n, bool generated)
{
    if (c != NULL && n > 0) {
        memset(c->generated.data + c->generated.n, generated, n);
        c->generated.n += n;
    }
}

void constraint_replace(struct constraint *c, size_t n)
{
    if (c != NULL) {
        c->base = n;
        c->generated.n = 0;
        c->at = SIZE_MAX; /* the matcher starts from the beginning */
    }
}

void constraint_rewind(struct constraint *c, size_t n)
{
    if (c != NULL && n < c->base) {
        constraint_replace(c, n);
    } else if (c != NULL && n < c->base + c->generated.n) {
        c->generated.n = n - c->base;
        c->at = SIZE_MAX;
    }
}

/* Returns where the text begins that the last token belongs to. */
static size_t text_start(const struct constraint *c)
{
    size_t n = c->generated.n;
    while (n > 0 && c->generated.data[n - 1] != 0) {
        n--;
    }
    return c->base + n;
}

static weft_status read_token(struct constraint *c, int32_t token, weft_error *err)
{
    struct bytes piece = { 0 };
    if (tokenizer_is_end(c->tokenizer, token)) {
        matcher_restart(c->matcher);
        return WEFT_OK;
    }
    weft_status status = tokenizer_piece(c->tokenizer, token, 0, &piece, err);
    if (status == WEFT_OK) {
        status = matcher_read(c->matcher, piece.data, piece.n, err);
    }
    free(piece.data);
    return status;
}

weft_status constraint_mask(struct constraint *c, const struct tokens *tokens,
                            const uint64_t **mask, weft_error *err)
{
    size_t start = text_start(c);
    if (c->at == SIZE_MAX || c->from != start) {
        matcher_restart(c->matcher);
        c->from = c->at = start;
    }
    while (c->at < tokens->n) {
        TRY(read_token(c, tokens->data[c->at], err));
        c->at++;
    }
    return matcher_mask(c->matcher, c->trie, mask, err);
}
