#include "serve/piece.h"

/* Appends the text of tokens[n]. */
static bool add_text(const weft_model *model, const int32_t *tokens, size_t n, unsigned flags,
                     struct bytes *out)
{
    size_t needed = 0;
    weft_status status = weft_detokenize(model, tokens, n, flags, NULL, 0, &needed, NULL);
    if (status == WEFT_E_BUFFER) {
        if (!text_reserve(out, needed)) {
            return false;
        }
        status =
            weft_detokenize(model, tokens, n, flags, out->data + out->n, needed, &needed, NULL);
    }
    out->n += status == WEFT_OK ? needed : 0;
    return status == WEFT_OK;
}

/* A text does not begin with the space of its first token, so the second of two equal tokens shows
 * what one has. */
bool piece_add(const weft_model *model, int32_t token, bool control, struct bytes *out)
{
    const unsigned flags = control ? WEFT_DETOKENIZE_SPECIAL : 0;
    const int32_t twice[2] = { token, token };
    const size_t before = out->n;
    if (!add_text(model, twice, 1, flags, out)) {
        return false;
    }
    const size_t once = out->n - before;
    out->n = before;
    if (!add_text(model, twice, 2, flags, out)) {
        return false;
    }
    if (once > 0) {
        for (size_t i = before; i + once < out->n; i++) {
            out->data[i] = out->data[i + once];
        }
    }
    out->n -= once;
    return text_add(out, "", 0);
}
