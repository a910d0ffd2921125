/* What a caller reads of a sequence: tokens, logits, log-probabilities and counts. */
#include "run/step.h"

static weft_status logits_locked(struct weft_seq *seq, float *dst, size_t cap, size_t *needed,
                                 weft_error *err)
{
    const size_t n_vocab = seq->engine->model->config.n_vocab;
    TRY(seq_has_pages(seq, err));
    if (!seq_fresh(seq)) {
        return error_set(err, WEFT_E_STATE,
                         "no fresh logits; call weft_engine_step() until the sequence is ready");
    }
    if (seq->logits.place == LOGITS_AHEAD) {
        return error_set(err, WEFT_E_STATE,
                         "the last token was computed ahead, and its logits were not kept; open "
                         "the engine with n_ahead 0, or rewind to compute the token again");
    }
    TRY(copy_check(n_vocab, dst, cap, needed, err));
    if (seq->logits.place == LOGITS_LOST) {
        TRY(step_again(seq, err));
    }
    return logits_read(&seq->logits, seq->engine->backend, dst, err);
}

weft_status weft_seq_logits(weft_seq *seq, float *dst, size_t cap, size_t *needed, weft_error *err)
{
    TRY(seq_enter(seq, err));
    return seq_leave(seq, logits_locked(seq, dst, cap, needed, err));
}

weft_status weft_seq_logprobs(weft_seq *seq, weft_logprob *dst, size_t cap, size_t *needed,
                              weft_error *err)
{
    TRY(seq_enter(seq, err));
    const struct logprobs *l = &seq->logprobs;
    if (l->n == 0) {
        return seq_leave(seq, error_set(err, WEFT_E_STATE,
                                        "no log-probabilities were kept; call "
                                        "weft_seq_set_logprobs() before weft_seq_next()"));
    }
    return seq_leave(seq, copy_out(l->list, l->n, sizeof *dst, dst, cap, needed, err));
}

weft_status weft_seq_tokens(weft_seq *seq, int32_t *dst, size_t cap, size_t *needed,
                            weft_error *err)
{
    TRY(seq_enter(seq, err));
    const struct tokens *t = &seq->sched.tokens;
    return seq_leave(seq, copy_out(t->data, t->n, sizeof *dst, dst, cap, needed, err));
}

size_t weft_seq_len(weft_seq *seq)
{
    if (seq_enter(seq, NULL) != WEFT_OK) {
        return 0;
    }
    size_t n = seq->sched.tokens.n;
    seq_leave(seq, WEFT_OK);
    return n;
}

size_t weft_seq_cached(weft_seq *seq)
{
    if (seq_enter(seq, NULL) != WEFT_OK) {
        return 0;
    }
    size_t n = seq->n_cached;
    seq_leave(seq, WEFT_OK);
    return n;
}

size_t weft_seq_pending(weft_seq *seq)
{
    if (seq_enter(seq, NULL) != WEFT_OK) {
        return 0;
    }
    size_t n = seq->sched.tokens.n - seq->sched.n_done;
    seq_leave(seq, WEFT_OK);
    return n;
}

weft_finish weft_seq_finish(const weft_seq *seq)
{
    bool live = seq != NULL && seq->magic == SEQ_MAGIC;
    return live ? (weft_finish)atomic_load(&((struct weft_seq *)(uintptr_t)seq)->sched.finish)
                : WEFT_FINISH_END;
}
