#include "serve/sequence.h"

#include "base/mem.h"
#include "serve/prompt_watch.h"

/* Choices differ by their seeds. */
static weft_sampling sampling_of(const struct generation *g, size_t i)
{
    weft_sampling s = g->sampling;
    s.seed += i;
    return s;
}

static weft_status constrain(const struct generation *g, size_t i, weft_seq *seq, weft_error *err)
{
    if (g->grammar != NULL) {
        return weft_seq_set_grammar(seq, g->grammar, g->n_grammar, err);
    }
    return g->constrained ? weft_reply_constrain(g->replies[i], seq, err) : WEFT_OK;
}

static weft_status set_up(const struct generation *g, size_t i, weft_seq *seq, weft_error *err)
{
    weft_status status = WEFT_OK;
    if (g->n_stops > 0) {
        status = weft_seq_set_stops(seq, (const char *const *)g->stops, g->n_stops, err);
    }
    if (status == WEFT_OK && g->n_top >= 0) {
        status = weft_seq_set_logprobs(seq, g->n_top, err);
    }
    return status == WEFT_OK ? constrain(g, i, seq, err) : status;
}

/* From now on a cancel finds the sequence. */
static void give(struct job *job, size_t i, weft_seq *seq)
{
    pthread_mutex_lock(&job->lock);
    job->choices[i].seq = seq;
    pthread_mutex_unlock(&job->lock);
    if (job_gone(job)) {
        weft_seq_cancel(seq);
    }
}

bool sequence_open(struct job *job, size_t i)
{
    const struct generation *g = &job->request.generation;
    const weft_sampling s = sampling_of(g, i);
    weft_error err = { 0 };
    weft_seq *seq = NULL;
    weft_status status = weft_seq_open(job->core->scope.engine, &s, &seq, &err);
    if (status == WEFT_OK) {
        status = set_up(g, i, seq, &err);
    }
    if (status != WEFT_OK) {
        weft_seq_release(&seq);
        return fault_library(&job->fault, status, &err);
    }
    give(job, i, seq);
    return true;
}

void sequence_release(struct job *job, size_t i)
{
    pthread_mutex_lock(&job->lock);
    weft_seq *seq = job->choices[i].seq;
    job->choices[i].seq = NULL;
    pthread_mutex_unlock(&job->lock);
    weft_seq_release(&seq);
}

void sequence_release_all(struct job *job)
{
    for (size_t i = 0; job->choices != NULL && i < job_choices(job); i++) {
        sequence_release(job, i);
    }
}

/* What a prompt needs besides its own pages, so that its first tokens find room. */
static size_t room_for(const struct generation *g) { return size_min(g->n_max, WEFT_KV_PAGE); }

/* Has the log-probabilities of prompt p noted. */
static weft_status watch(struct job *job, size_t p, weft_seq *seq, weft_error *err)
{
    const struct generation *g = &job->request.generation;
    struct prompt_watch *w = &job->watches[p];
    if (w->at == NULL && !prompt_watch_open(w, g->prompts[p].at, g->prompts[p].n,
                                            g->n_top > 0 ? (size_t)g->n_top : 0)) {
        return WEFT_E_NOMEM;
    }
    return weft_seq_observe(seq, prompt_watch_see, w, err);
}

static weft_status feed(struct job *job, size_t p, weft_seq *seq, weft_error *err)
{
    const struct generation *g = &job->request.generation;
    const struct token_list *prompt = &g->prompts[p];
    weft_status status = WEFT_OK;
    if (g->echo_logprobs) {
        status = watch(job, p, seq, err);
    }
    if (status == WEFT_OK) {
        status = weft_seq_append(seq, prompt->at, prompt->n, err);
    }
    if (status == WEFT_OK && room_for(g) > 0 && prompt->n + room_for(g) <= job->core->scope.n_ctx) {
        status = weft_seq_reserve(seq, room_for(g), err);
    }
    return status;
}

weft_status sequence_start(struct job *job, size_t p)
{
    const size_t i = p * job->request.generation.n_choices;
    weft_error err = { 0 };
    if (job->choices[i].seq == NULL && !sequence_open(job, i)) {
        return WEFT_E_INTERNAL;
    }
    weft_seq *seq = job->choices[i].seq;
    weft_status status = feed(job, p, seq, &err);
    if (status == WEFT_E_KV_FULL) {
        weft_seq_rewind(seq, 0, NULL); /* what was appended before there was no room behind it */
    } else if (status != WEFT_OK) {
        fault_library(&job->fault, status, &err);
    }
    return status;
}

weft_status sequence_fork(struct job *job, size_t from, size_t i)
{
    const weft_sampling s = sampling_of(&job->request.generation, i);
    weft_error err = { 0 };
    weft_seq *seq = NULL;
    weft_status status = weft_seq_fork(job->choices[from].seq, &seq, &err);
    if (status == WEFT_OK) {
        status = weft_seq_set_sampling(seq, &s, &err);
    }
    if (status == WEFT_OK) {
        give(job, i, seq);
        return WEFT_OK;
    }
    weft_seq_release(&seq);
    if (status != WEFT_E_KV_FULL) {
        fault_library(&job->fault, status, &err);
    }
    return status;
}
