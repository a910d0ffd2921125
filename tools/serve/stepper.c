#include "serve/stepper.h"

/* ---------------------------------------------------------------- jobs */

void stepper_post(struct stepper *s, struct job *job, struct news *news)
{
    if (news == NULL) {
        fault_memory(&job->fault);
        return;
    }
    core_post(s->core, news);
    s->posted = true;
}

static void unlink_job(struct stepper *s, struct job *job)
{
    *(job->older != NULL ? &job->older->newer : &s->oldest) = job->newer;
    *(job->newer != NULL ? &job->newer->older : &s->newest) = job->older;
    job->older = job->newer = NULL;
}

void stepper_end(struct stepper *s, struct job *job)
{
    for (size_t i = 0; i < job_choices(job); i++) {
        struct choice *c = &job->choices[i];
        s->n_parked -= c->parked;
        s->n_seqs -= c->started && !c->done && !c->parked;
        sequence_release(job, i);
    }
    unlink_job(s, job);
    core_end(job);
}

/* Ends the jobs that nobody waits for any more, and those that have failed or are finished. */
static void reap(struct stepper *s)
{
    for (struct job *job = s->oldest, *next; job != NULL; job = next) {
        next = job->newer;
        if (job_gone(job) || job_failed(job) || job->n_finished == job_choices(job)) {
            stepper_end(s, job);
        }
    }
}

/* Releases the sequences of jobs that were cancelled while they waited. */
static void release_waiting(struct stepper *s)
{
    struct core *core = s->core;
    struct job *job;
    do {
        pthread_mutex_lock(&core->lock);
        job = core_unqueue(&core->to_release);
        pthread_mutex_unlock(&core->lock);
        if (job != NULL) {
            sequence_release_all(job);
            job_drop(job);
        }
    } while (job != NULL);
}

static void fail_all(struct stepper *s, weft_status status, const weft_error *err)
{
    if (status == WEFT_E_DEVICE_LOST) {
        atomic_store(&s->core->state, CORE_LOST);
    }
    for (struct job *job = s->oldest; job != NULL; job = job->newer) {
        if (!job_failed(job)) {
            fault_library(&job->fault, status, err);
        }
    }
}

/* ---------------------------------------------------------------- stepping */

/* Tells the streams that wait for their prompts how far these are. */
static void tell_progress(struct stepper *s)
{
    for (struct job *job = s->oldest; job != NULL; job = job->newer) {
        size_t n_left = 0, n_all = 0;
        const struct generation *g = &job->request.generation;
        for (size_t p = 0; p < g->n_prompts && job->request.progress; p++) {
            const struct choice *c = &job->choices[p * g->n_choices];
            n_all += g->prompts[p].n;
            n_left += c->drawing || c->done ? 0
                      : c->started          ? weft_seq_pending(c->seq)
                                            : g->prompts[p].n;
        }
        if (job->n_told != n_all - n_left) {
            struct news *news = news_new(job, NEWS_PROGRESS, 0);
            job->n_told = n_all - n_left;
            if (news != NULL) {
                news->n_done = job->n_told;
            }
            stepper_post(s, job, news);
        }
    }
}

static void publish(struct stepper *s, bool stepped)
{
    weft_engine_stats stats = { .size = sizeof stats };
    if (weft_engine_get_stats(s->core->scope.engine, &stats, NULL) != WEFT_OK) {
        return;
    }
    if (stepped) {
        histogram_add(&s->step_tokens, (double)(stats.n_rows - s->n_rows));
    }
    s->n_rows = stats.n_rows;
    pthread_mutex_lock(&s->core->lock);
    s->core->published.engine = stats;
    s->core->published.n_parked = s->n_parkings;
    s->core->published.step_tokens = s->step_tokens;
    if (stepped) {
        s->core->published.last_step = figures_now();
    }
    pthread_mutex_unlock(&s->core->lock);
}

static void step(struct stepper *s)
{
    enum { WAIT_MS = 500 }; /* requests expire meanwhile */
    bool rows = false;
    weft_error err = { 0 };
    weft_engine *engine = s->core->scope.engine;
    weft_status status = weft_engine_wait(engine, WAIT_MS, &rows, &err);
    if (status == WEFT_OK && rows) {
        status = weft_engine_step(engine, NULL, &err);
    }
    if (status != WEFT_OK) {
        fail_all(s, status, &err);
    }
    publish(s, status == WEFT_OK && rows);
}

static bool closing(struct core *core)
{
    pthread_mutex_lock(&core->lock);
    const bool is = core->closing;
    pthread_mutex_unlock(&core->lock);
    return is;
}

static void run(struct stepper *s)
{
    while (!closing(s->core)) {
        core_expire(s->core);
        release_waiting(s);
        reap(s);
        stepper_admit(s);
        stepper_draw(s);
        reap(s);
        if (s->posted) {
            s->posted = false;
            core_ring(s->core);
        }
        step(s);
        tell_progress(s);
    }
    while (s->oldest != NULL) {
        stepper_end(s, s->oldest);
    }
    if (s->next != NULL) {
        sequence_release_all(s->next);
        core_end(s->next);
    }
    release_waiting(s);
}

/* ---------------------------------------------------------------- loading */

/* Without a number, as many requests run as have four pages each, but no more than 64. */
static size_t default_parallel(const weft_engine_info *info)
{
    enum { PAGES = 4, MOST = 64 };
    const size_t n = info->n_kv / (PAGES * info->page);
    return n < 1 ? 1 : size_min(n, MOST);
}

static int load(struct core *core)
{
    struct scope *scope = &core->scope;
    int code = core->params.load(core->params.load_user, &scope->model, &scope->engine);
    if (code != 0) {
        return code;
    }
    scope->info.size = sizeof scope->info;
    scope->engine_info.size = sizeof scope->engine_info;
    if (weft_model_get_info(scope->model, &scope->info, NULL) != WEFT_OK ||
        weft_engine_get_info(scope->engine, &scope->engine_info, NULL) != WEFT_OK) {
        return -1;
    }
    scope->n_parallel = core->params.n_parallel > 0 ? core->params.n_parallel
                                                    : default_parallel(&scope->engine_info);
    return scope_complete(scope) ? 0 : -1;
}

static void serve(struct core *core, struct stepper *s)
{
    struct core_figures bounds;
    s->n_max = core->scope.n_parallel;
    figures_init(&bounds, core->scope.n_ctx);
    s->step_tokens = bounds.step_tokens;
    publish(s, false);
    run(s);
}

void *stepper_run(void *arg)
{
    struct core *core = arg;
    struct stepper s = { .core = core };
    pthread_setname_np(pthread_self(), "weft-step");
    s.logprobs = mem_array(1 + WEFT_TOP_MAX, sizeof *s.logprobs);
    core->load_code = s.logprobs != NULL ? load(core) : -1;
    atomic_store(&core->state, core->load_code == 0 ? CORE_READY : CORE_FAILED);
    core_ring(core);
    if (core->load_code == 0) {
        serve(core, &s);
    }
    free(s.logprobs);
    bytes_free(&s.text);
    return NULL;
}
