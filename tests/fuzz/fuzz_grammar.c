/* Any bytes as a grammar, and any bytes as a text. The grammar is refused with line and column, or
 * a text is followed in the same way however it is cut. Tokens are in the mask exactly if the text
 * may go on with them. Time and memory of parsing are bounded by the size of the grammar, those of
 * a mask by its limit. */
#include "fuzz_models.h"
#include "fuzz_walk.h"

static weft_model *models[2];
static struct token_trie *trie;

static void must_agree(const struct matcher *a, const struct matcher *b)
{
    MUST(matcher_may_end(a) == matcher_may_end(b));
    MUST(matcher_alive(a) == matcher_alive(b));
    MUST(!matcher_may_end(a) || matcher_alive(a));
}

static struct matcher *copy_of(const struct matcher *m)
{
    struct matcher *copy = NULL;
    weft_error err;
    MUST(matcher_copy(m, &copy, &err) == WEFT_OK);
    must_agree(m, copy);
    return copy;
}

static void check_mask(struct matcher *m, uint32_t seed)
{
    const struct tokenizer *t = models[0]->model->tokenizer;
    const uint64_t *mask = fuzz_mask(m, trie);
    weft_error err;
    for (int i = 0; i < 8 && m->mask_steps <= MATCHER_MASK_STEPS; i++) {
        seed = seed * 1664525u + 1013904223u;
        int32_t token = trie->tokens[(seed >> 8) % trie->n_tokens];
        struct bytes piece = { 0 };
        struct matcher *copy = copy_of(m);
        MUST(tokenizer_piece(t, token, 0, &piece, &err) == WEFT_OK);
        MUST(matcher_read(copy, piece.data, piece.n, &err) == WEFT_OK);
        MUST(matcher_alive(copy) == fuzz_allows(mask, token));
        matcher_close(copy);
        free(piece.data);
    }
}

static void follow(struct grammar *g, struct fuzz_input *in, uint32_t cuts)
{
    struct matcher *whole = NULL, *cut = NULL;
    weft_error err;
    MUST(matcher_open(g, &whole, &err) == WEFT_OK);
    MUST(matcher_open(g, &cut, &err) == WEFT_OK);
    must_agree(whole, cut);
    MUST(matcher_read(whole, (const char *)in->data, in->n, &err) == WEFT_OK);
    while (in->n > 0) {
        size_t n;
        cuts = cuts * 1664525u + 1013904223u;
        const char *piece = fuzz_bytes(in, 1 + (cuts >> 29), &n);
        MUST(matcher_read(cut, piece, n, &err) == WEFT_OK);
    }
    must_agree(whole, cut);
    check_mask(cut, cuts);
    matcher_close(whole);
    matcher_close(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct grammar *g = NULL;
    weft_error err = { 0 };
    size_t n;
    if (trie == NULL) {
        fuzz_models(models);
        MUST(token_trie_open(models[0]->model->tokenizer, &trie, &err) == WEFT_OK);
    }
    char *text = fuzz_text(&in, &n);
    struct fuzz_cost cost = fuzz_begin();
    weft_status s = grammar_parse(text, n, &g, &err);
    fuzz_end(cost, n);
    free(text);
    if (s != WEFT_OK) {
        MUST(s == WEFT_E_FORMAT && strstr(err.message, ", column ") != NULL);
        return 0;
    }
    in.n = in.n < 2000 ? in.n : 2000;
    follow(g, &in, (uint32_t)size * 2654435761u);
    grammar_release(g);
    return 0;
}
