#include "draw/trigger.h"

#include <string.h>

/* ---------------------------------------------------------------- open and close */

static weft_status check_tokens(const weft_trigger *p, const struct tokenizer *t, weft_error *err)
{
    if (p->n_tokens > TRIGGER_MAX_TOKENS) {
        return error_set(err, WEFT_E_ARG, "%zu trigger tokens given, at most %d are possible",
                         p->n_tokens, TRIGGER_MAX_TOKENS);
    }
    if (p->n_tokens > 0 && p->tokens == NULL) {
        return error_set(err, WEFT_E_ARG, "the trigger tokens are NULL, but n_tokens is %zu",
                         p->n_tokens);
    }
    TRY(tokenizer_check(t, p->tokens, p->n_tokens, err));
    for (size_t i = 0; i < p->n_tokens; i++) {
        if (tokenizer_is_end(t, p->tokens[i])) {
            return error_set(err, WEFT_E_ARG,
                             "trigger token %zu is %d, which ends texts, so nothing can follow it; "
                             "leave it out",
                             i, p->tokens[i]);
        }
    }
    return WEFT_OK;
}

static weft_status open_markers(struct trigger *t, const weft_trigger *p, weft_error *err)
{
    if (p->hold_close == NULL && (p->hold_open != NULL || p->held)) {
        return error_set(err, WEFT_E_ARG, "hold_close is NULL, but %s; set the text that ends it",
                         p->held ? "the text begins held" : "hold_open is set");
    }
    t->begins_held = t->at.held = p->held;
    TRY(search_open(&t->markers[0], "hold_open", &p->hold_open, p->hold_open != NULL, err));
    return search_open(&t->markers[1], "hold_close", &p->hold_close, p->hold_close != NULL, err);
}

/* How many kinds of places there are where nothing has begun. */
static size_t n_starts(const struct trigger *t) { return t->markers[1].n > 0 ? 2 : 1; }

static weft_status make_known(struct trigger *t, size_t n_words, weft_error *err)
{
    const size_t n = 2 * n_words;
    t->n_words = n_words;
    for (size_t i = 0; i < n_starts(t); i++) {
        t->starts[i].known = mem_array(n, sizeof *t->starts[i].known);
        if (t->starts[i].known == NULL) {
            return error_nomem(err, "a trigger", n * sizeof *t->starts[i].known);
        }
    }
    return WEFT_OK;
}

weft_status trigger_open(const weft_trigger *p, const struct tokenizer *t, struct trigger **out,
                         weft_error *err)
{
    TRY(check_tokens(p, t, err));
    struct trigger *fresh = mem_array(1, sizeof *fresh);
    if (fresh == NULL) {
        return error_nomem(err, "a trigger", sizeof *fresh);
    }
    weft_status status = search_open(&fresh->texts, "trigger text", p->texts, p->n_texts, err);
    status = status == WEFT_OK ? open_markers(fresh, p, err) : status;
    status = status == WEFT_OK ? make_known(fresh, tokenizer_n_vocab(t) / 64 + 1, err) : status;
    if (status != WEFT_OK) {
        trigger_close(fresh);
        return status;
    }
    fresh->n_tokens = p->n_tokens;
    if (p->n_tokens > 0) {
        memcpy(fresh->tokens, p->tokens, p->n_tokens * sizeof *p->tokens);
    }
    *out = fresh;
    return WEFT_OK;
}

/* Makes room for a mask unless there is one. */
static weft_status make_mask(const struct trigger *t, uint64_t **mask, weft_error *err)
{
    *mask = *mask != NULL ? *mask : mem_array(t->n_words, sizeof **mask);
    return *mask != NULL
               ? WEFT_OK
               : error_nomem(err, "the tokens that a trigger allows", t->n_words * sizeof **mask);
}

static weft_status copy_searches(struct trigger *copy, const struct trigger *t, weft_error *err)
{
    TRY(search_copy(&copy->texts, &t->texts, err));
    TRY(search_copy(&copy->markers[0], &t->markers[0], err));
    return search_copy(&copy->markers[1], &t->markers[1], err);
}

static weft_status copy_masks(struct trigger *copy, const struct trigger *t, weft_error *err)
{
    for (size_t i = 0; i < 2; i++) {
        if (t->starts[i].mask != NULL) {
            TRY(make_mask(copy, &copy->starts[i].mask, err));
            memcpy(copy->starts[i].mask, t->starts[i].mask, t->n_words * sizeof *t->here);
        }
    }
    return WEFT_OK;
}

weft_status trigger_copy(const struct trigger *t, struct trigger **out, weft_error *err)
{
    struct trigger *copy = mem_array(1, sizeof *copy);
    if (copy == NULL) {
        return error_nomem(err, "a trigger", sizeof *copy);
    }
    copy->n_tokens = t->n_tokens;
    memcpy(copy->tokens, t->tokens, sizeof t->tokens);
    copy->begins_held = t->begins_held;
    copy->at = t->at;
    copy->pulled = t->pulled;
    weft_status status = copy_searches(copy, t, err);
    status = status == WEFT_OK ? make_known(copy, t->n_words, err) : status;
    status = status == WEFT_OK ? copy_masks(copy, t, err) : status;
    if (status != WEFT_OK) {
        trigger_close(copy);
        return status;
    }
    *out = copy;
    return WEFT_OK;
}

void trigger_close(struct trigger *t)
{
    if (t == NULL) {
        return;
    }
    search_free(&t->texts);
    for (size_t i = 0; i < 2; i++) {
        search_free(&t->markers[i]);
        free(t->starts[i].known);
        free(t->starts[i].mask);
    }
    free(t->here);
    free(t->piece.data);
    free(t->path);
    free(t);
}

size_t trigger_bytes(const struct trigger *t)
{
    if (t == NULL) {
        return 0;
    }
    size_t n_sets = 2 * n_starts(t) + (t->here != NULL);
    size_t n = sizeof *t + search_bytes(&t->texts) + t->piece.cap + t->cap_path * sizeof *t->path;
    for (size_t i = 0; i < 2; i++) {
        n += search_bytes(&t->markers[i]);
        n_sets += t->starts[i].mask != NULL;
    }
    return n + n_sets * t->n_words * sizeof *t->here;
}

/* ---------------------------------------------------------------- single tokens */

void trigger_restart(struct trigger *t)
{
    t->at = (struct trigger_at){ .held = t->begins_held };
    t->pulled = false;
}

static bool has(const uint64_t *mask, int32_t token)
{
    return mask[(size_t)token / 64] >> (size_t)token % 64 & 1;
}

static void set(uint64_t *mask, int32_t token, bool value)
{
    const uint64_t bit = (uint64_t)1 << (size_t)token % 64;
    uint64_t *word = &mask[(size_t)token / 64];
    *word = value ? *word | bit : *word & ~bit;
}

static bool is_trigger(const struct trigger *t, int32_t token)
{
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (t->tokens[i] == token) {
            return true;
        }
    }
    return false;
}

/* Takes one more byte of free text. Returns true if it completes a trigger. */
static bool feed(const struct trigger *t, struct trigger_at *at, char byte)
{
    if (!at->held && search_feed(&t->texts, &at->texts, byte) > 0) {
        return true;
    }
    if (search_feed(&t->markers[at->held], &at->marker, byte) > 0) {
        *at = (struct trigger_at){ .held = !at->held };
    }
    return false;
}

/* Returns how many of the last bytes may still become a trigger or a marker. */
static size_t begun(const struct trigger *t, const struct trigger_at *at)
{
    return size_max(search_held(&t->texts, &at->texts),
                    search_held(&t->markers[at->held], &at->marker));
}

/* Follows a token from *at on. Its text is then in t->piece. *n is the number of its bytes up to
 * the end of the trigger that it completes; SIZE_MAX = it completes none. A token that is a trigger
 * is one as a whole, whatever its text, but not in held text. */
static weft_status follow(struct trigger *t, const struct tokenizer *tokenizer, int32_t token,
                          struct trigger_at *at, size_t *n, weft_error *err)
{
    struct bytes *piece = &t->piece;
    piece->n = 0;
    TRY(tokenizer_piece(tokenizer, token, WEFT_DETOKENIZE_SPECIAL, piece, err));
    *n = !at->held && is_trigger(t, token) ? piece->n : SIZE_MAX;
    for (size_t i = 0; i < piece->n && *n == SIZE_MAX; i++) {
        if (feed(t, at, piece->data[i])) {
            *n = i + 1;
        }
    }
    return WEFT_OK;
}

weft_status trigger_read(struct trigger *t, struct matcher *m, const struct tokenizer *tokenizer,
                         int32_t token, weft_error *err)
{
    struct trigger_at at = t->at;
    size_t n;
    TRY(follow(t, tokenizer, token, &at, &n, err));
    if (n != SIZE_MAX && n < t->piece.n) {
        TRY(matcher_read(m, t->piece.data + n, t->piece.n - n, err));
    }
    t->pulled = n != SIZE_MAX;
    t->at = at;
    return WEFT_OK;
}

weft_status trigger_goes_on(struct trigger *t, const struct tokenizer *tokenizer, int32_t token,
                            bool *on, weft_error *err)
{
    struct trigger_at at = t->at;
    size_t n = SIZE_MAX;
    const bool first = begun(t, &at) == 0;
    uint64_t *known = t->starts[at.held].known, *goes_on = known + t->n_words;
    if (first && has(known, token)) {
        *on = has(goes_on, token);
        return WEFT_OK;
    }
    if (!tokenizer_is_end(tokenizer, token)) {
        TRY(follow(t, tokenizer, token, &at, &n, err));
    }
    *on = n != SIZE_MAX && n < t->piece.n;
    if (first) {
        set(known, token, true);
        set(goes_on, token, *on);
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- all tokens */

/* What the functions below need to make a mask. */
struct walk {
    struct trigger *t;
    struct matcher *m;
    const struct token_trie *trie;
    struct matcher_place start; /* at the beginning of the grammar */
    uint64_t *mask;
};

/* Allows or forbids the tokens from number `first` of the trie up to `end`. */
static void set_all(const struct walk *w, size_t first, size_t end, bool allowed)
{
    for (size_t k = first; k < end; k++) {
        set(w->mask, w->trie->tokens[k], allowed);
    }
}

/* Returns the end of the tokens at and below the node. */
static size_t tokens_end(const struct token_trie *trie, const struct trie_node *node)
{
    return node->skip < trie->n_nodes ? trie->nodes[node->skip].first : trie->n_tokens;
}

/* Decides on the tokens below node i, where a trigger is complete. */
static weft_status walk_behind(const struct walk *w, uint32_t i, weft_error *err)
{
    const struct token_trie *trie = w->trie;
    const struct trie_node *top = &trie->nodes[i];
    struct trigger_place *path = w->t->path;
    path[top->depth].behind = w->start;
    for (i++; i < top->skip;) {
        const struct trie_node *node = &trie->nodes[i];
        struct matcher_place *to = &path[node->depth].behind;
        TRY(matcher_try(w->m, path[node->depth - 1].behind, node->byte, to, err));
        bool dead = to->set == MATCHER_DEAD;
        set_all(w, node->first,
                dead ? tokens_end(trie, node) : (size_t)node->first + node->n_tokens, !dead);
        i = dead ? node->skip : i + 1;
    }
    return WEFT_OK;
}

/* Moves over the byte of a node. Returns true if it completes a trigger. */
static bool walk_on(const struct trigger *t, const struct trie_node *node)
{
    struct trigger_place *to = &t->path[node->depth];
    const struct trigger_place *from = to - 1;
    to->at = from->at;
    bool complete = feed(t, &to->at, (char)node->byte);
    to->apart = from->apart ||
                (to->at.held != from->at.held && t->markers[from->at.held].texts->n > node->depth);
    return complete;
}

/* Walks the tree of tokens from a place in free text, and decides on those that complete a trigger
 * or a marker. Below a node where all that may become one has begun in the token itself, everything
 * is as where nothing has begun, so the walk stops there unless `all` is set. */
static weft_status walk_nodes(const struct walk *w, struct trigger_at from, bool all,
                              weft_error *err)
{
    struct trigger_place *path = w->t->path;
    path[0].at = from;
    path[0].apart = all;
    for (uint32_t i = 0; i < w->trie->n_nodes;) {
        const struct trie_node *node = &w->trie->nodes[i];
        const struct trigger_place *to = &path[node->depth];
        bool complete = walk_on(w->t, node);
        set_all(w, node->first, (size_t)node->first + node->n_tokens, true);
        if (complete) {
            TRY(walk_behind(w, i, err));
        }
        bool done = complete || (!to->apart && begun(w->t, &to->at) <= node->depth);
        i = done ? node->skip : i + 1;
    }
    return WEFT_OK;
}

/* Decides on a token that is not in the tree. */
static weft_status try_token(const struct walk *w, const struct tokenizer *tokenizer,
                             struct trigger_at from, int32_t token, weft_error *err)
{
    struct matcher_place at = w->start;
    bool allowed = true;
    size_t n;
    TRY(follow(w->t, tokenizer, token, &from, &n, err));
    for (; allowed && n < w->t->piece.n; n++) {
        TRY(matcher_try(w->m, at, (uint8_t)w->t->piece.data[n], &at, err));
        allowed = at.set != MATCHER_DEAD;
    }
    set(w->mask, token, allowed);
    return WEFT_OK;
}

/* Decides on the tokens that complete a trigger or a marker from this place on. */
static weft_status decide(struct walk *w, const struct tokenizer *tokenizer, struct trigger_at from,
                          bool all, weft_error *err)
{
    const struct trigger *t = w->t;
    TRY(matcher_try_start(w->m, &w->start, err));
    TRY(walk_nodes(w, from, all, err));
    for (size_t i = 0; i < w->trie->n_others; i++) {
        TRY(try_token(w, tokenizer, from, w->trie->others[i], err));
    }
    for (size_t i = 0; i < t->n_tokens && !from.held; i++) {
        set(w->mask, t->tokens[i], true);
    }
    return WEFT_OK;
}

/* Makes the mask of where nothing has begun. */
static weft_status make_first(struct walk *w, const struct tokenizer *tokenizer, bool held,
                              weft_error *err)
{
    struct trigger *t = w->t;
    uint64_t **mask = &t->starts[held].mask;
    TRY(make_mask(t, mask, err));
    memset(*mask, 0xff, t->n_words * sizeof **mask);
    w->mask = *mask;
    weft_status status = decide(w, tokenizer, (struct trigger_at){ .held = held }, true, err);
    if (status != WEFT_OK) {
        free(*mask);
        *mask = NULL;
    }
    return status;
}

static bool forbids_any(const struct trigger *t)
{
    uint64_t all = ~(uint64_t)0;
    for (size_t i = 0; i < t->n_words; i++) {
        all &= t->here[i];
    }
    return all != ~(uint64_t)0;
}

weft_status trigger_mask(struct trigger *t, struct matcher *m, const struct tokenizer *tokenizer,
                         const struct token_trie *trie, const uint64_t **mask, weft_error *err)
{
    struct walk w = { .t = t, .m = m, .trie = trie };
    if (!mem_reserve(&t->path, &t->cap_path, trie->depth + 1, sizeof *t->path)) {
        return error_nomem(err, "the tokens that a trigger allows",
                           (trie->depth + 1) * sizeof *t->path);
    }
    TRY(make_mask(t, &t->here, err));
    if (t->starts[t->at.held].mask == NULL) {
        TRY(make_first(&w, tokenizer, t->at.held, err));
    }
    memcpy(t->here, t->starts[t->at.held].mask, t->n_words * sizeof *t->here);
    if (begun(t, &t->at) > 0) {
        w.mask = t->here;
        TRY(decide(&w, tokenizer, t->at, false, err));
    }
    *mask = forbids_any(t) ? t->here : NULL;
    return WEFT_OK;
}
