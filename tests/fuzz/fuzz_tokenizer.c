/* Any bytes as text, through the vocabularies of the demo models, or through a small one under the
 * name of any pre-tokenizer: tokens are in range, control tokens appear only where they were asked
 * for, what comes back is what went in, and time and memory are bounded. */
#include "fuzz_models.h"
#include "fuzz_named.h"

static weft_model *models[2];

/* Bit 5 of the first byte is set: the second byte chooses the name. */
static void fuzz_name(const uint8_t *data, size_t size)
{
    const struct pretokenizer_name *name = &pretokenizer_names[data[1] % n_pretokenizer_names];
    if (name->patterns == NULL) {
        return;
    }
    const struct tokenizer *t = fuzz_named(name);
    const char *text = (const char *)data + 2;
    size_t n = size - 2;
    struct tokens ids = { 0 };
    struct bytes back = { 0 };
    weft_error err;
    struct fuzz_cost cost = fuzz_begin();
    MUST(tokenizer_encode(t, text, n, (data[0] >> 1) & 1, &ids, &err) == WEFT_OK);
    fuzz_end(cost, n);
    for (size_t i = 0; i < ids.n; i++) {
        MUST(ids.data[i] >= 0 && (size_t)ids.data[i] < tokenizer_n_vocab(t));
        MUST(i == 0 || tokenizer_type(t, ids.data[i]) != TOKEN_CONTROL);
    }
    bool exact = !(name->traits & PRE_CHARACTERS) || memmem(text, n, "\xe2\x96\x81", 3) == NULL;
    MUST(tokenizer_decode(t, ids.data, ids.n, 0, &back, &err) == WEFT_OK);
    MUST(!exact || (back.n == n && (n == 0 || memcmp(back.data, text, n) == 0)));
    free(ids.data);
    free(back.data);
}

static void fuzz_demo(const uint8_t *data, size_t size)
{
    fuzz_models(models);
    const weft_model *m = models[data[0] & 1];
    unsigned flags = (data[0] >> 1) & 15;
    const char *text = (const char *)data + 1;
    size_t n = size - 1, n_ids = 0, n_back = 0;
    weft_error err;
    /* A token stands for at least one byte, except for BOS and the leading space. */
    int32_t *ids = malloc((n + 4) * sizeof *ids);
    char *back = malloc(n + 64);
    MUST(ids != NULL && back != NULL);
    MUST(weft_tokenize(m, text, n, flags, ids, n + 4, &n_ids, &err) == WEFT_OK);
    /* SentencePiece writes a space as U+2581 and so cannot distinguish the two. Phi-3's added
     * tokens are found in any text, and include the white space behind them. */
    bool exact = (data[0] & 1) == 0 ||
                 (memmem(text, n, "\xe2\x96\x81", 3) == NULL && memchr(text, '<', n) == NULL);
    if (exact &&
        (flags & (WEFT_TOKENIZE_BOS | WEFT_TOKENIZE_SPECIAL | WEFT_TOKENIZE_NO_PREFIX)) == 0) {
        MUST(weft_detokenize(m, ids, n_ids, 0, back, n + 64, &n_back, &err) == WEFT_OK);
        MUST(n_back == n && memcmp(back, text, n) == 0);
        for (size_t i = 0; i < n_ids; i++) {
            MUST(!weft_token_is_end(m, ids[i]));
        }
    }
    free(ids);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096) {
        return 0;
    }
    if (size >= 2 && data[0] & 0x20) {
        fuzz_name(data, size);
    } else if (size >= 1) {
        fuzz_demo(data, size);
    }
    return 0;
}
