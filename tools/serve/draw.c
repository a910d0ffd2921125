/* Draws tokens, and tells the caller's thread of them. */
#include <string.h>

#include "serve/prompt_watch.h"
#include "serve/stepper.h"

/* ---------------------------------------------------------------- text */

/* Takes the text that the sequence has ready. Returns false if there is not enough memory. */
static bool take_text(struct stepper *s, weft_seq *seq)
{
    size_t needed = 0;
    weft_status status;
    do {
        if (!text_reserve(&s->text, size_max(needed, 64))) {
            return false;
        }
        status = weft_seq_text(seq, s->text.data + s->text.n, s->text.cap - s->text.n - 1, &needed,
                               NULL);
    } while (status == WEFT_E_BUFFER);
    s->text.n += status == WEFT_OK ? needed : 0;
    return status == WEFT_OK;
}

/* Adds the text of a control token, which weft_seq_text() leaves out. */
static bool take_control(struct stepper *s, int32_t token)
{
    const struct scope *scope = &s->core->scope;
    size_t needed = 0;
    if (token < 0 || scope->is_control[token] == 0 || weft_token_is_end(scope->model, token)) {
        return true;
    }
    weft_status status = weft_token_text(scope->model, token, NULL, 0, &needed, NULL);
    if (status == WEFT_E_BUFFER) {
        if (!text_reserve(&s->text, needed)) {
            return false;
        }
        status =
            weft_token_text(scope->model, token, s->text.data + s->text.n, needed, &needed, NULL);
    }
    s->text.n += status == WEFT_OK ? needed : 0;
    return true;
}

/* ---------------------------------------------------------------- news */

static size_t take_logprobs(struct stepper *s, const struct job *job, weft_seq *seq, int32_t token)
{
    size_t n = 0;
    if (job->request.generation.n_top < 0 || token < 0 ||
        weft_seq_logprobs(seq, s->logprobs, 1 + WEFT_TOP_MAX, &n, NULL) != WEFT_OK) {
        return 0;
    }
    return n;
}

static void tell(struct stepper *s, struct job *job, const struct drawn *d)
{
    const size_t n_list = d->n_logprobs * sizeof *d->logprobs;
    struct news *news = news_new(job, NEWS_DRAWN, n_list + d->n_text);
    if (news != NULL) {
        news->drawn = *d;
        weft_logprob *list = (void *)(news + 1);
        char *text = (char *)list + n_list;
        if (n_list > 0) {
            memcpy(list, d->logprobs, n_list);
        }
        if (d->n_text > 0) {
            memcpy(text, d->text, d->n_text);
        }
        news->drawn.logprobs = list;
        news->drawn.text = text;
    }
    stepper_post(s, job, news);
}

static void tell_prompt(struct stepper *s, struct job *job, size_t p)
{
    const struct prompt_watch *w = &job->watches[p];
    const size_t n = w->n * (1 + w->n_top) * sizeof *w->at;
    struct news *news = news_new(job, NEWS_PROMPT, n);
    if (news != NULL) {
        if (n > 0) {
            memcpy(news + 1, w->at, n);
        }
        news->prompt = (struct prompt_logprobs){ p, (void *)(news + 1), w->n, w->n_top };
    }
    stepper_post(s, job, news);
}

/* ---------------------------------------------------------------- drawing */

/* Tells of what was drawn last; token = -1: nothing was. */
static void tell_drawn(struct stepper *s, struct job *job, size_t i, int32_t token, bool by_limit)
{
    struct choice *c = &job->choices[i];
    s->text.n = 0;
    if (!take_text(s, c->seq) ||
        (job->request.generation.replies != NULL && !take_control(s, token))) {
        fault_memory(&job->fault);
        return;
    }
    const struct drawn d = { .choice = i,
                             .token = token,
                             .text = s->text.data,
                             .n_text = s->text.n,
                             .logprobs = s->logprobs,
                             .n_logprobs = take_logprobs(s, job, c->seq, token),
                             .finish = weft_seq_finish(c->seq),
                             .by_limit = by_limit,
                             .figures = c->figures };
    tell(s, job, &d);
    if (d.finish != WEFT_RUNNING) {
        c->done = true;
        job->n_finished++;
        sequence_release(job, i);
        s->n_seqs--;
    }
}

static void count_token(struct job *job, struct choice *c)
{
    const double now = figures_now();
    c->n_generated++;
    c->figures.n_generated++;
    c->figures.first = c->figures.first > 0 ? c->figures.first : now;
    c->figures.last = now;
    job->figures.n_generated++;
    job->figures.first = job->figures.first > 0 ? job->figures.first : now;
    job->figures.last = now;
}

/* Returns true if the answer has reached a limit of the request or of its share of the context. */
static bool at_limit(const struct job *job, const struct choice *c, size_t i)
{
    const struct generation *g = &job->request.generation;
    const size_t n_prompt = g->prompts[i / g->n_choices].n;
    return c->n_generated >= g->n_max || n_prompt + c->n_generated >= job->core->scope.n_ctx ||
           (g->most_seconds > 0 && c->n_generated > 0 &&
            c->figures.last - c->figures.first >= g->most_seconds);
}

static void end_here(struct stepper *s, struct job *job, size_t i, int32_t token)
{
    weft_error err = { 0 };
    weft_status status = weft_seq_end(job->choices[i].seq, &err);
    if (status != WEFT_OK) {
        fault_library(&job->fault, status, &err);
        return;
    }
    tell_drawn(s, job, i, token, true);
}

/* The pool has no page for the next token. Returns true if it is worth another try at once. */
static bool no_room(struct stepper *s, struct job *job, size_t i)
{
    if (stepper_make_room(s, job, i)) {
        return !job->choices[i].parked;
    }
    if (!core_embedding(s->core)) {
        end_here(s, job, i, -1); /* it has the whole pool already */
    }
    return false;
}

/* Returns true if the answer may have another token ready. */
static bool draw_one(struct stepper *s, struct job *job, size_t i)
{
    struct choice *c = &job->choices[i];
    weft_error err = { 0 };
    int32_t token = -1;
    if (at_limit(job, c, i)) {
        end_here(s, job, i, -1);
        return false;
    }
    weft_status status = weft_seq_next(c->seq, &token, &err);
    if (status == WEFT_E_KV_FULL) {
        return no_room(s, job, i);
    }
    if (status == WEFT_E_CANCELLED) {
        return false;
    }
    if (status != WEFT_OK) {
        return fault_library(&job->fault, status, &err);
    }
    if (token >= 0) {
        count_token(job, c);
    }
    if (weft_seq_finish(c->seq) == WEFT_RUNNING && at_limit(job, c, i)) {
        end_here(s, job, i, token);
    } else {
        tell_drawn(s, job, i, token, false);
    }
    return !c->done;
}

/* A fork takes pages for what the forked choice has set aside. If there are none, it gives that up:
 * it may be parked then, as the others. */
static weft_status fork_choice(struct job *job, size_t from, size_t i)
{
    weft_status status = sequence_fork(job, from, i);
    if (status == WEFT_E_KV_FULL) {
        weft_seq_reserve(job->choices[from].seq, 0, NULL);
        status = sequence_fork(job, from, i);
    }
    return status;
}

/* The same, with the pages of younger answers if there are no others. */
static weft_status fork_with_room(struct stepper *s, struct job *job, size_t from, size_t i)
{
    weft_status status;
    do {
        status = fork_choice(job, from, i);
    } while (status == WEFT_E_KV_FULL && stepper_make_room(s, job, from) &&
             !job->choices[from].parked);
    return status;
}

/* Forks a choice whose prompt has just been computed. Returns false if it must wait for pages. */
static bool fork_choices(struct stepper *s, struct job *job, size_t first)
{
    const size_t n = job->request.generation.n_choices;
    for (size_t i = first + 1; i < first + n; i++) {
        if (job->choices[i].started) {
            continue;
        }
        weft_status status = fork_with_room(s, job, first, i);
        if (status == WEFT_E_KV_FULL && !job->choices[first].parked && !core_embedding(s->core)) {
            fault_set(&job->fault, 503, "unavailable_error",
                      "the KV pool has no room for %zu answers to this prompt", n);
        }
        if (status != WEFT_OK) {
            return false;
        }
        job->choices[i].started = job->choices[i].drawing = true;
        job->choices[i].figures = job->choices[first].figures;
        s->n_seqs++;
    }
    return true;
}

/* Returns true if the choice can be drawn from. */
static bool is_ready(struct stepper *s, struct job *job, size_t i)
{
    struct choice *c = &job->choices[i];
    const struct generation *g = &job->request.generation;
    if (!c->started || c->parked || c->done || weft_seq_pending(c->seq) > 0) {
        return false;
    }
    if (!c->drawing) {
        if (!fork_choices(s, job, i)) {
            return false;
        }
        c->drawing = true;
        if (g->echo_logprobs) {
            weft_seq_observe(c->seq, NULL, NULL, NULL);
            tell_prompt(s, job, i / g->n_choices);
            prompt_watch_free(&job->watches[i / g->n_choices]);
        }
    }
    return true;
}

void stepper_draw(struct stepper *s)
{
    for (struct job *job = s->oldest; job != NULL; job = job->newer) {
        for (size_t i = 0; i < job_choices(job); i++) {
            while (!job_gone(job) && !job_failed(job) && !atomic_load(&job->paused) &&
                   is_ready(s, job, i) && draw_one(s, job, i)) {
            }
        }
    }
}
