#include "draw/constraint.h"

#include <string.h>

weft_status constraint_open(struct matcher *matcher, struct trigger *trigger,
                            const struct tokenizer *tokenizer, const struct token_trie *trie,
                            size_t n_tokens, size_t n_more, struct constraint **out,
                            weft_error *err)
{
    struct constraint *c = mem_array(1, sizeof *c);
    if (c == NULL) {
        return error_nomem(err, "a grammar", sizeof *c);
    }
    c->tokenizer = tokenizer;
    c->trie = trie;
    c->start = c->from = c->at = c->base = n_tokens;
    weft_status status = constraint_reserve(c, n_more, err);
    if (status != WEFT_OK) {
        constraint_close(c);
        return status;
    }
    c->matcher = matcher;
    c->trigger = trigger;
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
    copy->trigger = NULL;
    copy->generated = (struct bytes){ 0 };
    weft_status status = WEFT_OK;
    if (!bytes_add(&copy->generated, c->generated.data, c->generated.n)) {
        status = error_nomem(err, "a grammar", c->generated.n);
    }
    if (status == WEFT_OK) {
        status = matcher_copy(c->matcher, &copy->matcher, err);
    }
    if (status == WEFT_OK && c->trigger != NULL) {
        status = trigger_copy(c->trigger, &copy->trigger, err);
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
        trigger_close(c->trigger);
        free(c->generated.data);
        free(c);
    }
}

size_t constraint_bytes(const struct constraint *c)
{
    return c != NULL ? sizeof *c + c->generated.cap + matcher_bytes(c->matcher) +
                           trigger_bytes(c->trigger)
                     : 0;
}

weft_status constraint_reserve(struct constraint *c, size_t n, weft_error *err)
{
    if (c != NULL && !mem_reserve(&c->generated.data, &c->generated.cap, c->generated.n + n, 1)) {
        return error_nomem(err, "a grammar", c->generated.n + n);
    }
    return WEFT_OK;
}

/* Finds where the text begins that the last token belongs to. */
static void find_start(struct constraint *c)
{
    size_t n = c->generated.n;
    while (n > 0 && c->generated.data[n - 1] != 0) {
        n--;
    }
    c->start = c->base + n;
}

void constraint_add(struct constraint *c, size_t n, bool generated)
{
    if (c != NULL && n > 0) {
        memset(c->generated.data + c->generated.n, generated, n);
        c->generated.n += n;
        c->start = generated ? c->start : c->base + c->generated.n;
    }
}

void constraint_replace(struct constraint *c, size_t n)
{
    if (c != NULL) {
        c->start = c->base = n;
        c->generated.n = 0;
        c->at = SIZE_MAX; /* the text is read from its beginning */
    }
}

void constraint_rewind(struct constraint *c, size_t n)
{
    if (c != NULL && n < c->base) {
        constraint_replace(c, n);
    } else if (c != NULL && n < c->base + c->generated.n) {
        c->generated.n = n - c->base;
        c->at = SIZE_MAX;
        find_start(c);
    }
}

/* ---------------------------------------------------------------- the text */

/* Returns true if tokens[from .. at) are of the text that the next token belongs to. */
static bool is_current(const struct constraint *c)
{
    return c->at != SIZE_MAX && c->from == c->start;
}

bool constraint_free(const struct constraint *c)
{
    return c->trigger != NULL && (!is_current(c) || !c->trigger->pulled);
}

static void restart(struct constraint *c)
{
    matcher_restart(c->matcher);
    if (c->trigger != NULL) {
        trigger_restart(c->trigger);
    }
}

static weft_status read_token(struct constraint *c, int32_t token, weft_error *err)
{
    struct bytes piece = { 0 };
    if (tokenizer_is_end(c->tokenizer, token)) {
        restart(c);
        return WEFT_OK;
    }
    if (constraint_free(c)) {
        return trigger_read(c->trigger, c->matcher, c->tokenizer, token, err);
    }
    weft_status status = tokenizer_piece(c->tokenizer, token, 0, &piece, err);
    if (status == WEFT_OK) {
        status = matcher_read(c->matcher, piece.data, piece.n, err);
    }
    free(piece.data);
    return status;
}

/* Reads what was not read yet, with `free_only` up to the trigger at most. */
static weft_status read_text(struct constraint *c, const struct tokens *tokens, bool free_only,
                             weft_error *err)
{
    if (!is_current(c)) {
        restart(c);
        c->from = c->at = c->start;
    }
    while (c->at < tokens->n && (!free_only || constraint_free(c))) {
        TRY(read_token(c, tokens->data[c->at], err));
        c->at++;
    }
    return WEFT_OK;
}

void constraint_look(struct constraint *c, const struct tokens *tokens)
{
    if (c != NULL && c->trigger != NULL) {
        read_text(c, tokens, true, NULL);
    }
}

weft_status constraint_lets(struct constraint *c, const struct tokens *tokens, const int32_t *ids,
                            size_t n, bool *may, weft_error *err)
{
    TRY(read_text(c, tokens, true, err));
    *may = constraint_free(c);
    for (size_t i = 0; i < n && *may; i++) {
        bool on = false;
        if (ids[i] >= 0) {
            TRY(trigger_goes_on(c->trigger, c->tokenizer, ids[i], &on, err));
        }
        *may = !on;
    }
    return WEFT_OK;
}

weft_status constraint_mask(struct constraint *c, const struct tokens *tokens,
                            const uint64_t **mask, weft_error *err)
{
    TRY(read_text(c, tokens, false, err));
    return constraint_free(c)
               ? trigger_mask(c->trigger, c->matcher, c->tokenizer, c->trie, mask, err)
               : matcher_mask(c->matcher, c->trie, mask, err);
}
