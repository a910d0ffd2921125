/* The settings of a sequence: sampling, stop strings, grammar, log-probabilities and observer. */
#include "draw/grammar.h"
#include "run/ahead.h"
#include "run/seq.h"

weft_status weft_seq_set_sampling(weft_seq *seq, const weft_sampling *sampling, weft_error *err)
{
    weft_sampling p = WEFT_SAMPLING_INIT;
    struct sampler *fresh;
    TRY(params_copy(&p, sizeof p, sampling, "weft_sampling", err));
    TRY(seq_enter(seq, err));
    weft_status status = sampler_open(&p, seq->engine->model->config.n_vocab, &fresh, err);
    if (status == WEFT_OK) {
        sampler_close(seq->sampler);
        seq->sampler = fresh;
        seq->picked = -1;
    }
    return seq_leave(seq, status);
}

weft_status weft_seq_set_stops(weft_seq *seq, const char *const *stops, size_t n, weft_error *err)
{
    if (stops == NULL && n > 0) {
        return error_set(err, WEFT_E_ARG, "stops is NULL, but n is %zu", n);
    }
    TRY(seq_enter(seq, err));
    return seq_leave(seq, stream_set_stops(&seq->stream, stops, n, err));
}

weft_status weft_seq_set_logprobs(weft_seq *seq, int n_top, weft_error *err)
{
    TRY(seq_enter(seq, err));
    if (n_top < -1 || n_top > (int)BACKEND_TOP) {
        return seq_leave(
            seq, error_set(err, WEFT_E_ARG, "n_top is %d, expected -1 to %d", n_top, BACKEND_TOP));
    }
    seq->logprobs.on = n_top >= 0;
    seq->logprobs.n_top = n_top > 0 ? (size_t)n_top : 0;
    seq->logprobs.n = 0;
    ahead_drop(seq); /* the logits of these tokens were not kept */
    return seq_leave(seq, WEFT_OK);
}

weft_status weft_seq_observe(weft_seq *seq, weft_logits_fn fn, void *user, weft_error *err)
{
    TRY(seq_enter(seq, err));
    seq->observer = fn;
    seq->observer_user = user;
    seq->sched.observed = fn != NULL;
    if (fn != NULL) {
        ahead_drop(seq); /* nobody has observed the tokens computed ahead */
    }
    return seq_leave(seq, WEFT_OK);
}

/* ---------------------------------------------------------------- grammar */

/* Sets the grammar of the matcher, which holds from the trigger on; no trigger = from the beginning
 * on, no matcher = no grammar. Takes over both if it succeeds. */
static weft_status set_locked(struct weft_seq *seq, struct matcher *matcher,
                              struct trigger *trigger, weft_error *err)
{
    struct weft_engine *e = seq->engine;
    const struct tokenizer *t = e->model->tokenizer;
    struct constraint *fresh = NULL;
    if (matcher != NULL && e->trie == NULL) {
        TRY(token_trie_open(t, &e->trie, err));
    }
    if (matcher != NULL) {
        const size_t n = seq->sched.tokens.n;
        TRY(constraint_open(matcher, trigger, t, e->trie, n, size_max(seq->n_room, n) - n, &fresh,
                            err));
    }
    constraint_close(seq->constraint);
    seq->constraint = fresh;
    seq->picked = -1;
    ahead_drop(seq);
    return WEFT_OK;
}

static weft_status matcher_of(const char *gbnf, size_t n, struct matcher **out, weft_error *err)
{
    struct grammar *g = NULL;
    TRY(grammar_parse(gbnf, n, &g, err));
    weft_status status = matcher_open(g, out, err);
    grammar_release(g);
    return status;
}

/* Sets the grammar gbnf[n], n = 0 for none. p may be NULL: without a trigger. */
static weft_status constrain(struct weft_seq *seq, const weft_trigger *p, const char *gbnf,
                             size_t n, weft_error *err)
{
    struct matcher *matcher = NULL;
    struct trigger *trigger = NULL;
    TRY(seq_claim(seq, err));
    weft_status status = WEFT_OK;
    if (n > 0 && p != NULL) {
        status = trigger_open(p, seq->engine->model->tokenizer, &trigger, err);
    }
    /* Reading a large grammar takes a while, so it is read before the lock is taken. */
    if (n > 0 && status == WEFT_OK) {
        status = matcher_of(gbnf, n, &matcher, err);
    }
    lock_take(&seq->engine->lock);
    status = status == WEFT_OK ? set_locked(seq, matcher, trigger, err) : status;
    if (status != WEFT_OK) {
        matcher_close(matcher);
        trigger_close(trigger);
    }
    return seq_leave(seq, status);
}

static weft_status check_gbnf(const char *gbnf, size_t n, weft_error *err)
{
    return gbnf != NULL || n == 0 ? WEFT_OK
                                  : error_set(err, WEFT_E_ARG, "gbnf is NULL, but n is %zu", n);
}

weft_status weft_seq_set_grammar(weft_seq *seq, const char *gbnf, size_t n, weft_error *err)
{
    TRY(check_gbnf(gbnf, n, err));
    return constrain(seq, NULL, gbnf, n, err);
}

weft_status weft_seq_set_trigger(weft_seq *seq, const weft_trigger *trigger, const char *gbnf,
                                 size_t n, weft_error *err)
{
    weft_trigger p = WEFT_TRIGGER_INIT;
    TRY(check_gbnf(gbnf, n, err));
    TRY(params_copy(&p, sizeof p, trigger, "weft_trigger", err));
    const bool any = p.n_texts > 0 || p.n_tokens > 0;
    return constrain(seq, &p, gbnf, any ? n : 0, err);
}
