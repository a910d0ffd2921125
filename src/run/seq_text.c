/* The text of a sequence begins behind the tokens that were appended, kept by a rewind, or loaded.
 * If these tokens end inside a character, the text begins with that character's first bytes, which
 * the text before left out. So when a text is cut anywhere and goes on, its parts together are the
 * whole text. */
#include "run/seq_text.h"

#include <string.h>

#include "base/utf8.h"

/* Finds the bytes before the text that belong to its first character. Writes at most UTF8_MAX - 1
 * bytes to dst and sets *n. */
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
            break; /* the bytes before an end token belong to another text */
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

/* Adds the bytes of a token that does not end the text. */
static weft_status push(struct weft_seq *seq, int32_t token, weft_error *err)
{
    char first[UTF8_MAX];
    size_t n = 0;
    struct bytes bytes = { 0 };
    bool begins = seq->drawn != seq->sched.tokens.n;
    if (begins) {
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

weft_status seq_text_add(struct weft_seq *seq, int32_t token, weft_finish *finish, weft_error *err)
{
    const struct weft_engine *e = seq->engine;
    if (token < 0) {
        *finish = WEFT_FINISH_GRAMMAR;
        return stream_cut(&seq->stream, err);
    }
    if (tokenizer_is_end(e->model->tokenizer, token)) {
        *finish = WEFT_FINISH_END;
        return stream_finish(&seq->stream, err);
    }
    TRY(push(seq, token, err));
    bool full = seq->sched.tokens.n + 1 == e->n_ctx;
    *finish = seq->stream.stopped ? WEFT_FINISH_STOP : full ? WEFT_FINISH_LENGTH : WEFT_RUNNING;
    /* stream_push() has reserved the memory for this, so it cannot fail after the text was
     * changed. */
    return *finish == WEFT_FINISH_LENGTH ? stream_cut(&seq->stream, err) : WEFT_OK;
}

weft_status seq_text_resume(struct weft_seq *seq, weft_error *err)
{
    if (utf8_partial(seq->stream.in.data, seq->stream.in.n) > 0) {
        /* The text that follows may begin with this character. stream_push() has reserved the
         * memory. */
        TRY(stream_cut(&seq->stream, err));
    }
    seq->stream.stopped = false;
    return WEFT_OK;
}

weft_status weft_seq_text(weft_seq *seq, char *dst, size_t cap, size_t *needed, weft_error *err)
{
    /* The call takes no engine lock, so text can be taken while a step computes. */
    TRY(seq_claim(seq, err));
    struct bytes *out = &seq->stream.out;
    weft_status status = copy_out(out->data, out->n, 1, dst, cap, needed, err);
    if (status == WEFT_OK) {
        out->n = 0;
    }
    atomic_flag_clear(&seq->busy);
    return status;
}
