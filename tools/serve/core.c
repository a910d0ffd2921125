#include "serve/core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "serve/job.h"
#include "serve/sequence.h"

enum { DEFAULT_READERS = 2 };

/* ---------------------------------------------------------------- opening and closing */

static bool core_init(struct core *core, const struct core_params *p)
{
    core->params = *p;
    core->scope = p->scope;
    scope_set_name(&core->scope);
    atomic_init(&core->state, CORE_LOADING);
    core->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (core->fd == -1) {
        return false;
    }
    if (pthread_mutex_init(&core->lock, NULL) != 0) {
        close(core->fd);
        return false;
    }
    if (pthread_cond_init(&core->more, NULL) != 0) {
        pthread_mutex_destroy(&core->lock);
        close(core->fd);
        return false;
    }
    return true;
}

static bool start(struct core *core, void *(*run)(void *))
{
    const bool ok = thread_start(&core->threads[core->n_threads], run, core);
    core->n_threads += ok;
    return ok;
}

static bool start_all(struct core *core)
{
    const size_t asked = core->params.n_threads > 0 ? core->params.n_threads : DEFAULT_READERS;
    const size_t n = size_min(asked, MOST_THREADS - 2);
    bool ok = start(core, stepper_run) && start(core, embedder_run);
    for (size_t i = 0; i < n && ok; i++) {
        ok = start(core, reader_run);
    }
    return ok;
}

struct core *core_open(const struct core_params *params)
{
    struct core *core = calloc(1, sizeof *core);
    if (core == NULL || !core_init(core, params)) {
        free(core);
        return NULL;
    }
    figures_init(&core->figures, SIZE_MAX);
    if (!start_all(core)) {
        core_close(core);
        return NULL;
    }
    return core;
}

static void drop_news(struct core *core)
{
    while (core->first != NULL) {
        struct news *news = core->first;
        core->first = news->next;
        struct job *job = news->job;
        if (news->kind != NEWS_END) {
            free(news);
        }
        job_drop(job);
    }
}

/* Takes all jobs out of a queue; no thread runs any more. */
static void drop_queue(struct queue *queue)
{
    for (struct queued *q = queue_pop(queue); q != NULL; q = queue_pop(queue)) {
        sequence_release_all(job_of(q));
        job_drop(job_of(q));
    }
}

void core_close(struct core *core)
{
    if (core == NULL) {
        return;
    }
    pthread_mutex_lock(&core->lock);
    core->closing = true;
    pthread_cond_broadcast(&core->more);
    pthread_mutex_unlock(&core->lock);
    while (core->jobs != NULL) {
        core_cancel(core, core->jobs, NULL);
    }
    core_wake(core);
    for (size_t i = 0; i < core->n_threads; i++) {
        pthread_join(core->threads[i], NULL);
    }
    drop_queue(&core->to_read);
    drop_queue(&core->to_step);
    drop_queue(&core->to_embed);
    drop_queue(&core->to_release);
    drop_news(core);
    weft_engine_release(&core->scope.engine);
    weft_model_release(&core->scope.model);
    scope_free(&core->scope);
    pthread_cond_destroy(&core->more);
    pthread_mutex_destroy(&core->lock);
    close(core->fd);
    free(core);
}

/* ---------------------------------------------------------------- state */

enum core_state core_state(struct core *core) { return (enum core_state)atomic_load(&core->state); }

int core_load_code(struct core *core) { return core->load_code; }

const struct scope *core_scope(struct core *core) { return &core->scope; }

int core_fd(struct core *core) { return core->fd; }

void core_wake(struct core *core)
{
    /* Before the model is there the thread does not sleep in the engine. */
    if (core_state(core) != CORE_LOADING) {
        weft_engine_wake(core->scope.engine);
    }
}

/* ---------------------------------------------------------------- queues */

bool core_queue(struct core *core, struct queue *queue, struct job *job, size_t *n_busy)
{
    pthread_mutex_lock(&core->lock);
    const bool ok = !core->closing && !job_gone(job);
    if (ok) {
        job->queue = queue;
        job->queued.key = job->key;
        job->queued.since = job->figures.arrived;
        queue_push(queue, &job->queued);
        if (n_busy != NULL) {
            --*n_busy;
        }
        pthread_cond_broadcast(&core->more);
    }
    pthread_mutex_unlock(&core->lock);
    if (ok && queue == &core->to_step) {
        core_wake(core);
    }
    return ok;
}

bool core_embedding(struct core *core)
{
    pthread_mutex_lock(&core->lock);
    const bool is = core->n_embedding > 0;
    pthread_mutex_unlock(&core->lock);
    return is;
}

struct job *job_of(struct queued *q)
{
    return q != NULL ? (struct job *)(void *)((char *)q - offsetof(struct job, queued)) : NULL;
}

struct job *core_unqueue(struct queue *queue)
{
    struct job *job = job_of(queue_pop(queue));
    if (job != NULL) {
        job->queue = NULL;
    }
    return job;
}

void core_refuse(struct job *job)
{
    fault_set(&job->fault, 503, "unavailable_error",
              "the request has waited for %d seconds; the server is busy, try again later",
              job->core->params.wait_s);
    job->fault.retry_after = 5;
}

struct job *core_take(struct core *core, struct queue *queue, size_t *n_busy)
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

void core_done(struct core *core, size_t *n_busy)
{
    pthread_mutex_lock(&core->lock);
    --*n_busy;
    pthread_mutex_unlock(&core->lock);
}

/* Takes out of the queue one request that has waited for too long, and fails it. */
static bool expire_one(struct core *core, struct queue *queue, double now)
{
    pthread_mutex_lock(&core->lock);
    struct job *job = job_of(queue_expire(queue, now, core->params.wait_s));
    if (job != NULL) {
        job->queue = NULL;
    }
    pthread_mutex_unlock(&core->lock);
    if (job != NULL) {
        core_refuse(job);
        sequence_release_all(job);
        core_end(job);
    }
    return job != NULL;
}

void core_expire(struct core *core)
{
    const double now = figures_now();
    while (core->params.wait_s > 0 &&
           (expire_one(core, &core->to_read, now) || expire_one(core, &core->to_step, now) ||
            expire_one(core, &core->to_embed, now))) {
    }
}

/* ---------------------------------------------------------------- jobs */

size_t core_waiting(const struct core *core)
{
    return core->to_read.n + core->n_to_read + core->to_step.n + core->n_next + core->to_embed.n;
}

/* Returns false and sets the fault if the core takes no request now. */
static bool may_come(struct core *core, struct job *job)
{
    struct fault *f = &job->fault;
    pthread_mutex_lock(&core->lock);
    const size_t n = core_waiting(core);
    pthread_mutex_unlock(&core->lock);
    switch (core_state(core)) {
    case CORE_LOADING: fault_set(f, 503, "unavailable_error", "Loading model"); break;
    case CORE_FAILED: fault_set(f, 503, "unavailable_error", "the model cannot be loaded"); break;
    case CORE_LOST: fault_set(f, 503, "unavailable_error", "the device has failed"); break;
    default:
        if (n >= core->params.n_waiting) {
            fault_set(f, 503, "unavailable_error",
                      "%zu requests wait already, which is the limit; try again later", n);
        }
    }
    f->retry_after = job_failed(job) ? core_state(core) == CORE_READY ? 1 : 5 : 0;
    return !job_failed(job);
}

struct job *core_submit(struct core *core, const struct job_params *params)
{
    struct job *job = job_open(core, params);
    if (job == NULL) {
        return NULL;
    }
    job->figures.number = ++core->n_jobs;
    job->figures.arrived = figures_now();
    job->shown = job->figures;
    job->behind = core->jobs;
    if (core->jobs != NULL) {
        core->jobs->before = job;
    }
    core->jobs = job;
    job_hold(job); /* for the threads */
    if (!may_come(core, job)) {
        core_end(job);
    } else if (!core_queue(core, &core->to_read, job, NULL)) {
        job_drop(job);
    }
    return job;
}

void core_forget(struct core *core, struct job *job)
{
    *(job->before != NULL ? &job->before->behind : &core->jobs) = job->behind;
    if (job->behind != NULL) {
        job->behind->before = job->before;
    }
    job->before = job->behind = NULL;
    job->sink = NULL;
    job_drop(job);
}

/* Ends a step in which only this job has rows. */
static void cancel_sequences(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    for (size_t i = 0; job->choices != NULL && i < job_choices(job); i++) {
        weft_seq_cancel(job->choices[i].seq);
    }
    pthread_mutex_unlock(&job->lock);
}

/* Takes the job out of the queue in which it waits. Returns false if a thread has it. A job that
 * has sequences goes to the thread that steps, because their release may wait for a step. */
static bool leave_queue(struct core *core, struct job *job)
{
    pthread_mutex_lock(&core->lock);
    const bool waited = job->queue != NULL && job->queue != &core->to_release;
    const bool opened = waited && job->choices != NULL;
    if (waited) {
        queue_remove(job->queue, &job->queued);
        job->queue = NULL;
    }
    if (opened) {
        job->queue = &core->to_release;
        queue_push(&core->to_release, &job->queued);
    }
    pthread_mutex_unlock(&core->lock);
    if (waited && !opened) {
        job_drop(job);
    }
    return waited;
}

void core_abandon(struct core *core, struct job *job)
{
    atomic_store(&job->gone, true);
    if (!leave_queue(core, job)) {
        cancel_sequences(job);
    }
    core_wake(core);
}

void core_cancel(struct core *core, struct job *job, struct job_figures *figures)
{
    if (figures != NULL) {
        *figures = job->shown;
        figures->done = figures_now();
    }
    core->figures.finished[FINISH_ABORT]++;
    core_abandon(core, job);
    core_forget(core, job);
}

void core_pause(struct core *core, struct job *job, bool paused)
{
    atomic_store(&job->paused, paused);
    core_wake(core);
}
