/* Any bytes as text, through both kinds of vocabulary: tokens are in range, control tokens appear
 * only where they were asked for, and what comes back is what went in. */
#include "fuzz_models.h"

static weft_model *models[2];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096) {
        return 0;
    }
    fuzz_models(models);
    const weft_model *m = models[data[0] & 1];
    unsigned flags = (data[0] >> 1) & 15;
    const char *text = (const char *)data + 1;
    size_t n = size - 1, n_ids = 0, n_back = 0;
    weft_error err;
    /* a token stands for at least one byte, but for BOS and the leading space */
    int32_t *ids = malloc((n + 4) * sizeof *ids);
    char *back = malloc(n + 64);
    MUST(ids != NULL && back != NULL);
    MUST(weft_tokenize(m, text, n, flags, ids, n + 4, &n_ids, &err) == WEFT_OK);
    /* SentencePiece writes a space as U+2581 and so cannot tell the two apart, and Phi-3's added
     * tokens, found in any text, take the white space behind them along */
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
    return 0;
}
