/* Text of a sequence. It begins behind the tokens that were appended, kept by a rewind or loaded,
 * and these may end inside a character: then it begins with that character's first bytes, which the
 * text before left out. So texts that are cut anywhere and go on are together the same text. */
#include "run/seq_text.h"

#include <string.h>

#include "base/utf8.h"

/* The bytes before the text that belong to its first character: at most UTF8_MAX - 1 in dst; *n =
 * their number. */
static weft_status first_bytes(const struct weft_seq *seq, char *dst, size_t *n, weft_error *err)
{
    enum { WANT = UTF8_MAX - 1 };
    const struct tokenizer *t = seq->engine->model->tokenizer;
    char last[WANT];
    size_t have = 0;
    struct bytes piece = { 0 };
    weft_status status = WEFT_OK;
    for (size_t i = seq->sched.tokens.n; i-- > 0 && have < WANT && status == WEFT_OK;) {
        int32_t token = seq->sched.tokens.data[i];
        if (tokenizer_is_end(t, token)) {
            break; /* of another text */
        }
        piece.n = 0;
        status = tokenizer_piece(t, token, 0, &piece, err);
        size_t take = piece.n < WANT - have ? piece.n : WANT - have;
        if (status == WEFT_OK && take > 0) {
            have += take;
            memcpy(last + WANT - have, piece.data + piece.n - take, take);
        }
    }
    free(piece.data);
    TRY(status);
    *n = utf8_partial(last + WANT - have, have);
    memcpy(dst, last + WANT - *n, *n);
    return WEFT_OK;
}

weft_status seq_text_add(struct weft_seq *seq, int32_t token, weft_error *err)
{
    char first[UTF8_MAX];
    size_t n = 0;
    struct bytes bytes = { 0 };
    if (seq->drawn != seq->sched.tokens.n) { /* the text begins here */
        TRY(first_bytes(seq, first, &n, err));
    }
    weft_status status = bytes_add(&bytes, first, n) ? WEFT_OK : error_nomem(err, "a text", n);
    if (status == WEFT_OK) {
        status = tokenizer_piece(seq->engine->model->tokenizer, token, 0, &bytes, err);
    }
    if (status == WEFT_OK) {
        status = stream_push(&seq->stream, bytes.data, bytes.n, err);
    }
    free(bytes.data);
    return status;
}
