/* The thread that computes embeddings and scores. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "serve/job.h"

enum { TEXTS_AT_ONCE = 64 };

/* Returns true if nobody holds pages: what finds no room now never will. */
static bool pool_is_free(const struct core *core)
{
    weft_engine_info info = { .size = sizeof info };
    return weft_engine_get_info(core->scope.engine, &info, NULL) == WEFT_OK &&
           info.n_kv_free == info.n_kv;
}

/* Waits a moment for pages that generations hold. Returns false if nobody does, if nobody wants the
 * vectors any more, or if the request has waited for too long. */
static bool wait_for_pages(struct core *core, const struct job *job)
{
    const int wait_s = core->params.wait_s;
    struct timespec until;
    if (pool_is_free(core) || (wait_s > 0 && figures_now() - job->figures.arrived > wait_s)) {
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
    if (status == WEFT_E_KV_FULL && pool_is_free(job->core)) {
        return fault_request(&job->fault, NULL, "a text is too large: %s", err->message);
    }
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
    while ((job = core_take(core, &core->to_embed, &core->n_embedding)) != NULL) {
        job->figures.admitted = figures_now();
        if (!job_gone(job)) {
            (job->request.task == TASK_RANK ? rank : embed)(core, job);
        }
        core_end(job);
        core_done(core, &core->n_embedding);
    }
    return NULL;
}
