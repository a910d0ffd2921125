/* The threads that read requests (JSON, templates, tokens, grammars), and the one that embeds. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "serve/job.h"
#include "serve/prompt_watch.h"
#include "serve/sequence.h"

/* ---------------------------------------------------------------- taking jobs */

/* Sleeps until there is a job in the queue, and takes it. Returns NULL once the core closes. */
static struct job *wait_for_job(struct core *core, struct queue *queue, size_t *n_busy)
{
    struct job *job = NULL;
    pthread_mutex_lock(&core->lock);
    while (!core->closing && (job = core_unqueue(queue)) == NULL) {
        pthread_cond_wait(&core->more, &core->lock);
    }
    *n_busy += job != NULL;
    pthread_mutex_unlock(&core->lock);
    return job;
}

static void no_longer_busy(struct core *core, size_t *n_busy)
{
    pthread_mutex_lock(&core->lock);
    --*n_busy;
    pthread_mutex_unlock(&core->lock);
}

/* ---------------------------------------------------------------- reading */

/* The watches are opened when the prompts are started: they take much memory. */
static bool watch_prompts(struct job *job)
{
    job->watches = mem_array(job->request.generation.n_prompts, sizeof *job->watches);
    return job->watches != NULL;
}

/* Makes the answers that a request asks for. A grammar may take long to read, so the sequences that
 * have one are opened here, and not by the thread that steps. */
static bool make_choices(struct job *job)
{
    const struct generation *g = &job->request.generation;
    struct choice *choices = mem_array(job_choices(job), sizeof *choices);
    if (choices == NULL || (g->echo_logprobs && !watch_prompts(job))) {
        free(choices);
        return fault_memory(&job->fault);
    }
    pthread_mutex_lock(&job->lock);
    job->choices = choices;
    pthread_mutex_unlock(&job->lock);
    const bool ruled = g->constrained || g->grammar != NULL;
    for (size_t i = 0; ruled && i < g->n_prompts; i++) {
        if (!sequence_open(job, i * g->n_choices)) {
            return false;
        }
    }
    return true;
}

/* Returns the queue for which the job is ready now; NULL if it has ended. */
static struct queue *read_job(struct core *core, struct job *job)
{
    struct request *r = &job->request;
    if (!request_read(&core->scope, job->route, job->body, job->n_body, r, &job->fault)) {
        return NULL;
    }
    free(job->body);
    job->body = NULL;
    switch (r->task) {
    case TASK_READY:
        job->result = r->answer;
        job->n_result = r->n_answer;
        r->answer = NULL;
        return NULL;
    case TASK_GENERATE: return make_choices(job) ? &core->to_step : NULL;
    default: return &core->to_embed;
    }
}

void *reader_run(void *arg)
{
    struct core *core = arg;
    struct job *job;
    pthread_setname_np(pthread_self(), "weft-read");
    while ((job = wait_for_job(core, &core->to_read, &core->n_to_read)) != NULL) {
        struct queue *next = job_gone(job) ? NULL : read_job(core, job);
        if (next != NULL && core_queue(core, next, job, &core->n_to_read)) {
            continue;
        }
        no_longer_busy(core, &core->n_to_read);
        sequence_release_all(job);
        if (next == NULL) {
            core_end(job);
        } else {
            job_drop(job);
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- embedding */

enum { TEXTS_AT_ONCE = 64 };

/* Waits a moment for pages that generations hold. Returns false if nobody wants the vectors any
 * more, or if the request has waited for too long. */
static bool wait_for_pages(struct core *core, const struct job *job)
{
    const int wait_s = core->params.wait_s;
    struct timespec until;
    if (wait_s > 0 && figures_now() - job->figures.arrived > wait_s) {
        return false;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 50 * 1000 * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&core->lock);
    pthread_cond_timedwait(&core->more, &core->lock, &until);
    const bool again = !core->closing && !job_gone(job);
    pthread_mutex_unlock(&core->lock);
    return again;
}

/* Some texts at a time, so that a client that leaves is noticed. *dim becomes the number of values
 * of a vector. */
static weft_status embed_texts(struct core *core, struct job *job, float *dst, size_t dim,
                               weft_error *err)
{
    const struct embedding *e = &job->request.embedding;
    const int32_t *tokens = e->tokens;
    weft_status status = WEFT_OK;
    size_t most = TEXTS_AT_ONCE;
    for (size_t i = 0; i < e->n_texts && status == WEFT_OK && !job_gone(job);) {
        const size_t n = size_min(e->n_texts - i, most);
        size_t needed;
        status = weft_embed_texts(core->scope.engine, tokens, e->lengths + i, n, &e->params,
                                  dst + i * dim, n * dim, &needed, err);
        if (status == WEFT_E_KV_FULL && wait_for_pages(core, job)) {
            /* One by one they need the least room, and none is computed twice. */
            most = 1;
            status = WEFT_OK;
            continue;
        }
        for (const size_t end = i + n; i < end; i++) {
            tokens += e->lengths[i];
        }
    }
    return status;
}

static size_t vector_size(const struct scope *scope, const weft_embed_params *p)
{
    const bool labels =
        p->pooling == WEFT_POOL_RANK || (p->pooling == WEFT_POOL_MODEL && scope->info.n_labels > 0);
    return labels ? scope->info.n_labels : p->dimensions > 0 ? p->dimensions : scope->info.dim;
}

static bool has_result(struct job *job, weft_status status, const weft_error *err)
{
    if (status == WEFT_E_KV_FULL) {
        core_refuse(job);
        return false;
    }
    if (status != WEFT_OK) {
        return fault_library(&job->fault, status, err);
    }
    if (job->result == NULL) {
        return fault_memory(&job->fault);
    }
    job->n_result = strlen(job->result);
    return true;
}

static bool embed(struct core *core, struct job *job)
{
    const struct embedding *e = &job->request.embedding;
    const size_t dim = vector_size(&core->scope, &e->params);
    weft_error err = { 0 };
    size_t n;
    float *vectors = mul_ok(e->n_texts, dim, &n) ? mem_array(n, sizeof *vectors) : NULL;
    if (vectors == NULL) {
        return fault_memory(&job->fault);
    }
    weft_status status = embed_texts(core, job, vectors, dim, &err);
    if (status == WEFT_OK) {
        job->result = answer_vectors(&core->scope, &job->request, vectors, dim);
        job->figures.n_prompt = e->n_tokens;
    }
    free(vectors);
    return has_result(job, status, &err);
}

static bool rank(struct core *core, struct job *job)
{
    const struct ranking *r = &job->request.ranking;
    weft_error err = { 0 };
    weft_status status;
    float *scores = mem_array(r->n_documents, sizeof *scores);
    if (scores == NULL) {
        return fault_memory(&job->fault);
    }
    do {
        status = weft_rank(core->scope.engine, r->query, r->n_query, r->documents, r->lengths,
                           r->n_documents, scores, r->n_documents, NULL, &err);
    } while (status == WEFT_E_KV_FULL && wait_for_pages(core, job));
    if (status == WEFT_OK) {
        job->result = answer_scores(&core->scope, &job->request, scores);
    }
    free(scores);
    return has_result(job, status, &err);
}

void *embedder_run(void *arg)
{
    struct core *core = arg;
    struct job *job;
    pthread_setname_np(pthread_self(), "weft-embed");
    while ((job = wait_for_job(core, &core->to_embed, &core->n_embedding)) != NULL) {
        job->figures.admitted = figures_now();
        if (!job_gone(job)) {
            (job->request.task == TASK_RANK ? rank : embed)(core, job);
        }
        core_end(job);
        no_longer_busy(core, &core->n_embedding);
    }
    return NULL;
}
