#include "draw/token_trie.h"

#include <string.h>

#include "base/utf8.h"

struct piece {
    const char *data;
    size_t n;
    int32_t token;
};

struct builder {
    const struct tokenizer *t;
    struct bytes text;    /* of all pieces */
    struct piece *pieces; /* [n] */
    size_t n;
};

void token_trie_close(struct token_trie *trie)
{
    if (trie != NULL) {
        free(trie->nodes);
        free(trie->tokens);
        free(trie->ends);
        free(trie->others);
        free(trie);
    }
}

static int by_bytes(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    int order = memcmp(x->data, y->data, size_min(x->n, y->n));
    if (order != 0) {
        return order;
    }
    return x->n != y->n ? (x->n > y->n) - (x->n < y->n)
                        : (x->token > y->token) - (x->token < y->token);
}

static bool has_text(enum token_type type)
{
    return type == TOKEN_NORMAL || type == TOKEN_USER_DEFINED || type == TOKEN_BYTE;
}

/* Appends a token to a list that is in the trie. */
static weft_status keep(int32_t **list, size_t *n, size_t *cap, int32_t token, weft_error *err)
{
    if (!mem_reserve(list, cap, *n + 1, sizeof **list)) {
        return error_nomem(err, "the tokens of a grammar", (*n + 1) * sizeof **list);
    }
    (*list)[(*n)++] = token;
    return WEFT_OK;
}

/* Adds the text of a token, unless the nodes leave the token out. */
static weft_status add_piece(struct builder *b, int32_t token, bool *added, weft_error *err)
{
    size_t before = b->text.n;
    if (has_text(tokenizer_type(b->t, token))) {
        TRY(tokenizer_piece(b->t, token, 0, &b->text, err));
    }
    size_t n = b->text.n - before;
    *added = n > 0 && n <= UINT16_MAX;
    if (*added) {
        b->pieces[b->n++] = (struct piece){ .n = n, .token = token };
    } else {
        b->text.n = before;
    }
    return WEFT_OK;
}

static weft_status collect(struct builder *b, struct token_trie *trie, weft_error *err)
{
    size_t n_vocab = tokenizer_n_vocab(b->t), cap_ends = 0, cap_others = 0;
    b->pieces = mem_array(n_vocab, sizeof *b->pieces);
    if (b->pieces == NULL) {
        return error_nomem(err, "the tokens of a grammar", n_vocab * sizeof *b->pieces);
    }
    for (size_t i = 0; i < n_vocab; i++) {
        int32_t token = (int32_t)i;
        bool added = false;
        if (tokenizer_is_end(b->t, token)) {
            TRY(keep(&trie->ends, &trie->n_ends, &cap_ends, token, err));
            continue;
        }
        TRY(add_piece(b, token, &added, err));
        if (!added) {
            TRY(keep(&trie->others, &trie->n_others, &cap_others, token, err));
        }
    }
    const char *at = b->text.data;
    for (size_t i = 0; i < b->n; i++) {
        b->pieces[i].data = at;
        at += b->pieces[i].n;
    }
    qsort(b->pieces, b->n, sizeof *b->pieces, by_bytes);
    return WEFT_OK;
}

static size_t common(const struct piece *a, const struct piece *b)
{
    size_t n = size_min(a->n, b->n), i = 0;
    while (i < n && a->data[i] == b->data[i]) {
        i++;
    }
    return i;
}

/* Returns the number of characters of a token of plain characters only (token_trie.h); 0 if the
 * token has others, or too many. */
static uint8_t count_plain(const struct piece *p)
{
    size_t n_chars = 0, len;
    for (size_t i = 0; i < p->n; i += len, n_chars++) {
        uint8_t byte = (uint8_t)p->data[i];
        enum utf8_kind kind = utf8_next(p->data + i, p->n - i, &len);
        if (kind == UTF8_INVALID || (byte < 0x80 && !trie_plain(byte))) {
            return 0;
        }
    }
    return n_chars <= UINT8_MAX ? (uint8_t)n_chars : 0;
}

/* Appends the next token, whose first `shared` bytes are those of the previous token. open[d] is
 * the node at depth d + 1 of the previous token. */
static void add(struct token_trie *trie, const struct piece *p, size_t shared, uint32_t *open,
                size_t *n_open)
{
    while (*n_open > shared) {
        trie->nodes[open[--*n_open]].skip = (uint32_t)trie->n_nodes;
    }
    while (*n_open < p->n) {
        open[*n_open] = (uint32_t)trie->n_nodes;
        trie->nodes[trie->n_nodes++] = (struct trie_node){ .first = (uint32_t)trie->n_tokens,
                                                           .depth = (uint16_t)(*n_open + 1),
                                                           .byte = (uint8_t)p->data[*n_open],
                                                           .n_plain = 1 };
        ++*n_open;
    }
    uint8_t n_plain = count_plain(p);
    for (size_t i = 0; i < p->n; i++) {
        struct trie_node *node = &trie->nodes[open[i]];
        bool more = n_plain == 0 || (node->n_plain > 0 && n_plain > node->n_plain);
        node->n_plain = more ? n_plain : node->n_plain;
    }
    trie->nodes[open[p->n - 1]].n_tokens++;
    trie->tokens[trie->n_tokens++] = p->token;
}

static weft_status build(const struct builder *b, struct token_trie *trie, weft_error *err)
{
    size_t n_nodes = 0, n_open = 0;
    for (size_t i = 0; i < b->n; i++) {
        size_t n = b->pieces[i].n;
        n_nodes += n - (i > 0 ? common(&b->pieces[i - 1], &b->pieces[i]) : 0);
        trie->depth = size_max(n, trie->depth);
    }
    if (n_nodes > UINT32_MAX) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "the tokens have %zu bytes, too many for a grammar", b->text.n);
    }
    uint32_t *open = mem_array(trie->depth, sizeof *open);
    trie->nodes = mem_array(n_nodes, sizeof *trie->nodes);
    trie->tokens = mem_array(b->n, sizeof *trie->tokens);
    if (open == NULL || trie->nodes == NULL || trie->tokens == NULL) {
        free(open);
        return error_nomem(err, "the tokens of a grammar", n_nodes * sizeof *trie->nodes);
    }
    for (size_t i = 0; i < b->n; i++) {
        add(trie, &b->pieces[i], i > 0 ? common(&b->pieces[i - 1], &b->pieces[i]) : 0, open,
            &n_open);
    }
    while (n_open > 0) {
        trie->nodes[open[--n_open]].skip = (uint32_t)trie->n_nodes;
    }
    free(open);
    return WEFT_OK;
}

weft_status token_trie_open(const struct tokenizer *t, struct token_trie **out, weft_error *err)
{
    struct builder b = { .t = t };
    struct token_trie *trie = mem_array(1, sizeof *trie);
    if (trie == NULL) {
        return error_nomem(err, "the tokens of a grammar", sizeof *trie);
    }
    trie->n_vocab = tokenizer_n_vocab(t);
    weft_status status = collect(&b, trie, err);
    if (status == WEFT_OK) {
        status = build(&b, trie, err);
    }
    free(b.text.data);
    free(b.pieces);
    if (status != WEFT_OK) {
        token_trie_close(trie);
        return status;
    }
    *out = trie;
    return WEFT_OK;
}
