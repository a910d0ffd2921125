/* The public function that gives a sequence a grammar. */
#include "ahead.h"
#include "seq.h"

static weft_status set_locked(struct weft_seq *seq, const char *gbnf, size_t n, weft_error *err)
{
    struct weft_engine *e = seq->engine;
    const struct tokenizer *t = e->model->tokenizer;
    struct constraint *fresh = NULL;
    if (n > 0 && e->trie == NULL) {
        TRY(token_trie_open(t, &e->trie, err));
    }
    if (n > 0) {
        TRY(constraint_open(gbnf, n, t, e->trie, seq->sched.tokens.n, &fresh, err));
    }
    constraint_close(seq->constraint);
    seq->constraint = fresh;
    seq->picked = -1;
    ahead_drop(seq);
    return WEFT_OK;
}

weft_status weft_seq_set_grammar(weft_seq *seq, const char *gbnf, size_t n, weft_error *err)
{
    if (gbnf == NULL && n > 0) {
        return error_set(err, WEFT_E_ARG, "gbnf is NULL, but n is %zu", n);
    }
    TRY(seq_enter(seq, err));
    return seq_leave(seq, set_locked(seq, gbnf, n, err));
}
