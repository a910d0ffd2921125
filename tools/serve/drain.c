/* The caller's thread: news of jobs becomes answers. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/job.h"

/* ---------------------------------------------------------------- figures */

/* Counts the phases of a request that has been answered. */
static void count_phases(struct core_figures *f, const struct job_figures *j)
{
    f->n_prompt += j->n_prompt;
    f->n_cached += j->n_cached;
    f->n_generated += j->n_generated;
    f->n_tokens_most = j->n_prompt + j->n_generated > f->n_tokens_most
                           ? j->n_prompt + j->n_generated
                           : f->n_tokens_most;
    histogram_add(&f->whole, j->done - j->arrived);
    histogram_add(&f->prompt_tokens, (double)j->n_prompt);
    if (j->admitted > 0) {
        histogram_add(&f->queued, j->admitted - j->arrived);
        histogram_add(&f->inference, j->done - j->admitted);
    }
    if (j->first == 0) {
        return;
    }
    f->prompt_seconds += j->first - j->admitted;
    f->generated_seconds += j->last - j->first;
    histogram_add(&f->first_token, j->first - j->arrived);
    histogram_add(&f->prefill, j->first - j->admitted);
    histogram_add(&f->decode, j->last - j->first);
    histogram_add(&f->generated_tokens, (double)j->n_generated);
    if (j->n_max != SIZE_MAX) {
        histogram_add(&f->max_tokens, (double)j->n_max);
    }
}

static void count(struct core_figures *f, const struct outcome *out)
{
    static const char *const names[N_FINISH] = { "stop", "length", "tool_calls", "abort", "error" };
    for (size_t i = 0; i < N_FINISH; i++) {
        f->finished[i] += strcmp(out->finish, names[i]) == 0;
    }
    if (strcmp(out->finish, "error") != 0) {
        count_phases(f, &out->figures);
    }
}

void core_figures(struct core *core, struct core_figures *figures)
{
    *figures = core->figures;
    pthread_mutex_lock(&core->lock);
    const struct published *p = &core->published;
    figures->n_waiting = core_waiting(core);
    figures->engine = p->engine;
    figures->last_step = p->last_step;
    figures->n_parked = p->n_parked;
    figures->step_tokens = p->step_tokens;
    pthread_mutex_unlock(&core->lock);
    figures->n_running = 0;
    for (const struct job *job = core->jobs; job != NULL; job = job->behind) {
        figures->n_running += job->begun;
    }
}

bool core_running(struct core *core, size_t i, struct job_figures *figures)
{
    for (const struct job *job = core->jobs; job != NULL; job = job->behind) {
        if (job->begun && i-- == 0) {
            *figures = job->shown;
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- news */

/* The events of an answer. A sink that has cancelled its job gets no more of them, even if the call
 * in which it did so has more to tell. */
static void relay_event(void *user, const char *name, const char *data, size_t n)
{
    const struct job *job = user;
    if (job->sink != NULL) {
        job->sink->event(job->user, name, data, n);
    }
}

static const struct sink relay = { .event = relay_event };

/* Hands the outcome to the sink; the job is forgotten. */
static void finish(struct core *core, struct job *job, struct outcome *out)
{
    if (job->sink == NULL) {
        return; /* it was cancelled with the last events */
    }
    out->figures = job->shown;
    count(&core->figures, out);
    job->sink->end(job->user, out);
    core_forget(core, job);
}

static void finish_failed(struct core *core, struct job *job, const struct fault *fault)
{
    struct outcome out = { .status = fault->status,
                           .retry_after = fault->retry_after,
                           .finish = "error" };
    char *body = NULL;
    if (job->answer != NULL) {
        answer_fail(job->answer, fault, &out);
    } else {
        body = fault_json(fault);
        out.body = body != NULL ? body : "{}";
        out.n_body = strlen(out.body);
    }
    finish(core, job, &out);
    free(body);
}

static void finish_no_memory(struct core *core, struct job *job)
{
    struct fault memory = { 0 };
    fault_memory(&memory);
    finish_failed(core, job, &memory);
}

static void take_end(struct core *core, struct job *job)
{
    struct outcome out = { .status = 200, .finish = "", .body = job->result };
    if (job_failed(job)) {
        finish_failed(core, job, &job->fault);
    } else if (job->request.task != TASK_GENERATE) {
        out.n_body = job->n_result;
        finish(core, job, &out);
    } else if (answer_end(job->answer, &job->shown, &out)) {
        finish(core, job, &out);
    } else {
        finish_no_memory(core, job);
    }
}

static bool take_begin(struct core *core, struct job *job)
{
    job->begun = true;
    job->answer = answer_open(&core->scope, &job->request, job->id, &relay, job);
    if (job->answer == NULL) {
        return false;
    }
    if (job->request.stream) {
        job->sink->begin(job->user, job->request.ping);
    }
    return answer_begin(job->answer);
}

/* Returns false if memory is out. */
static bool take(struct core *core, struct job *job, const struct news *news)
{
    job->shown = news->figures;
    switch (news->kind) {
    case NEWS_BEGIN: return take_begin(core, job);
    case NEWS_PROGRESS: return answer_progress(job->answer, &news->figures, news->n_done);
    case NEWS_PROMPT: return answer_prompt(job->answer, &news->prompt);
    case NEWS_DRAWN: return answer_drawn(job->answer, &news->drawn);
    default: take_end(core, job); return true;
    }
}

static void take_news(struct core *core, struct news *news)
{
    struct job *job = news->job;
    if (!job_gone(job) && !take(core, job, news) && !job_gone(job)) {
        core_abandon(core, job);
        finish_no_memory(core, job);
    }
    if (news->kind != NEWS_END) {
        free(news);
    }
    job_drop(job);
}

void core_drain(struct core *core)
{
    uint64_t n;
    ssize_t got = read(core->fd, &n, sizeof n);
    (void)got;
    pthread_mutex_lock(&core->lock);
    struct news *news = core->first;
    core->first = core->last = NULL;
    pthread_mutex_unlock(&core->lock);
    while (news != NULL) {
        struct news *next = news->next;
        take_news(core, news);
        news = next;
    }
}
