/* The public function that gives a sequence a grammar. */
#include "draw/grammar.h"
#include "run/ahead.h"
#include "run/seq.h"

/* Takes the matcher (NULL: no grammar), if it succeeds. */
static weft_status set_locked(struct weft_seq *seq, struct matcher *matcher, weft_error *err)
{
    struct weft_engine *e = seq->engine;
    const struct tokenizer *t = e->model->tokenizer;
    struct constraint *fresh = NULL;
    if (matcher != NULL && e->trie == NULL) {
        TRY(token_trie_open(t, &e->trie, err));
    }
    if (matcher != NULL) {
        TRY(constraint_open(matcher, t, e->trie, seq->sched.tokens.n, &fresh, err));
    }
    constraint_close(seq->constraint);
    seq->constraint = fresh;
    seq->picked = -1;
    ahead_drop(seq);
    return WEFT_OK;
}

static weft_status parse(const char *gbnf, size_t n, struct matcher **out, weft_error *err)
{
    struct grammar *g = NULL;
    TRY(grammar_parse(gbnf, n, &g, err));
    weft_status status = matcher_open(g, out, err);
    grammar_release(g);
    return status;
}

weft_status weft_seq_set_grammar(weft_seq *seq, const char *gbnf, size_t n, weft_error *err)
{
    if (gbnf == NULL && n > 0) {
        return error_set(err, WEFT_E_ARG, "gbnf is NULL, but n is %zu", n);
    }
    /* a large grammar takes a while: other sequences do not wait for it */
    struct matcher *matcher = NULL;
    TRY(seq_claim(seq, err));
    weft_status status = n > 0 ? parse(gbnf, n, &matcher, err) : WEFT_OK;
    lock_take(&seq->engine->lock);
    status = status == WEFT_OK ? set_locked(seq, matcher, err) : status;
    if (status != WEFT_OK) {
        matcher_close(matcher);
    }
    return seq_leave(seq, status);
}
