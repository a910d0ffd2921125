/* Which answers run: admission, parking and forks. */
#include "serve/stepper.h"

/* ---------------------------------------------------------------- parking */

static void park(struct stepper *s, struct choice *c)
{
    weft_seq_park(c->seq, NULL);
    c->parked = true;
    s->n_parked++;
    s->n_seqs--;
    s->n_parkings++;
}

/* Finds the youngest answer that has pages, of all or of the paused jobs; *index becomes its number
 * in the job. */
static struct job *youngest(const struct stepper *s, bool paused, size_t *index)
{
    for (struct job *job = s->newest; job != NULL; job = job->older) {
        for (size_t i = job_choices(job); i > 0 && (!paused || atomic_load(&job->paused)); i--) {
            const struct choice *c = &job->choices[i - 1];
            if (c->started && !c->parked && !c->done) {
                *index = i - 1;
                return job;
            }
        }
    }
    return NULL;
}

/* Nobody waits for pages that a client holds who reads slowly. Returns false if none holds any. */
static bool park_paused(struct stepper *s)
{
    size_t index = 0;
    struct job *found = youngest(s, true, &index);
    if (found != NULL) {
        park(s, &found->choices[index]);
    }
    return found != NULL;
}

bool stepper_make_room(struct stepper *s, struct job *job, size_t i)
{
    size_t index = 0;
    if (park_paused(s)) {
        return true;
    }
    struct job *found = youngest(s, false, &index);
    if (found == NULL || (found == job && index == i && s->n_seqs == 1)) {
        return false;
    }
    park(s, &found->choices[index]);
    return true;
}

/* Gives an answer its pages again. It is worth the work only if the answer gets further than the
 * next token. */
static weft_status unpark_one(const struct stepper *s, const struct choice *c)
{
    weft_status status = weft_seq_unpark(c->seq, NULL);
    if (status == WEFT_OK && s->n_seqs > 0) {
        status = weft_seq_reserve(c->seq, WEFT_KV_PAGE, NULL);
        status = status == WEFT_E_CTX_FULL ? WEFT_OK : status;
    }
    if (status != WEFT_OK) {
        weft_seq_park(c->seq, NULL);
    }
    return status;
}

/* Unparks the answers of a job, the first ones first. Returns false if some have to wait. */
static bool unpark(struct stepper *s, struct job *job)
{
    for (size_t i = 0; i < job_choices(job); i++) {
        struct choice *c = &job->choices[i];
        if (!c->parked) {
            continue;
        }
        weft_status status;
        do {
            status = unpark_one(s, c);
        } while (status == WEFT_E_KV_FULL && park_paused(s));
        if (status != WEFT_OK) {
            return false;
        }
        c->parked = false;
        s->n_parked--;
        s->n_seqs++;
    }
    return true;
}

/* Unparks all but the answers of clients that read slowly. Returns false if some have to wait. */
static bool unpark_all(struct stepper *s)
{
    for (struct job *job = s->oldest; job != NULL && s->n_parked > 0; job = job->newer) {
        if (!atomic_load(&job->paused) && !unpark(s, job)) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- admission */

static void begin(struct stepper *s, struct job *job)
{
    job->figures.admitted = figures_now();
    job->older = s->newest;
    job->newer = NULL;
    *(s->newest != NULL ? &s->newest->newer : &s->oldest) = job;
    s->newest = job;
    stepper_post(s, job, news_new(job, NEWS_BEGIN, 0));
}

/* Choice i has begun with a prompt of n tokens, n_cached of which were found. */
static void count_prompt(struct job *job, size_t i, size_t n, size_t n_cached)
{
    struct job_figures *f = &job->choices[i].figures;
    *f = (struct job_figures){ .number = job->figures.number,
                               .arrived = job->figures.arrived,
                               .admitted = figures_now(),
                               .n_max = job->figures.n_max,
                               .n_prompt = n,
                               .n_cached = n_cached };
    job->figures.n_prompt += f->n_prompt;
    job->figures.n_cached += f->n_cached;
}

/* Returns the number of answers that run, are parked, or will be forked when their prompts are
 * computed. */
static size_t count_places(const struct stepper *s)
{
    size_t n = s->n_seqs + s->n_parked;
    for (const struct job *job = s->oldest; job != NULL; job = job->newer) {
        for (size_t i = 0; i < job->n_started * job->request.generation.n_choices; i++) {
            n += !job->choices[i].started;
        }
    }
    return n;
}

/* Starts the next prompt of a job, if there is room for it. */
static bool start_next(struct stepper *s, struct job *job)
{
    const struct generation *g = &job->request.generation;
    const size_t n = count_places(s);
    if (n > 0 && n + g->n_choices > s->n_max) {
        return false;
    }
    const size_t p = job->n_started, i = p * g->n_choices;
    weft_status status;
    size_t n_found;
    do {
        /* A try that found no room has counted what it found in the pool. */
        n_found = weft_seq_cached(job->choices[i].seq);
        status = sequence_start(job, p);
    } while (status == WEFT_E_KV_FULL && park_paused(s));
    if (status == WEFT_E_KV_FULL && s->n_seqs == 0 && s->n_parked == 0 &&
        !core_embedding(s->core)) {
        return fault_set(&job->fault, 503, "unavailable_error",
                         "a prompt of %zu tokens does not fit into the KV pool", g->prompts[p].n);
    }
    if (status == WEFT_OK) {
        job->choices[i].started = true;
        job->n_started++;
        s->n_seqs++;
        count_prompt(job, i, g->prompts[p].n, weft_seq_cached(job->choices[i].seq) - n_found);
    }
    return status == WEFT_OK;
}

/* Makes the job whose turn it is the next one, and returns it. */
static struct job *next_job(struct stepper *s)
{
    if (s->next == NULL) {
        pthread_mutex_lock(&s->core->lock);
        s->next = core_unqueue(&s->core->to_step);
        s->core->n_next = s->next != NULL;
        pthread_mutex_unlock(&s->core->lock);
    }
    return s->next;
}

/* The next job runs now, or has ended. */
static void clear_next(struct stepper *s)
{
    s->next = NULL;
    pthread_mutex_lock(&s->core->lock);
    s->core->n_next = 0;
    pthread_mutex_unlock(&s->core->lock);
}

static bool too_late(const struct job *job)
{
    const int wait_s = job->core->params.wait_s;
    return wait_s > 0 && figures_now() - job->figures.arrived > wait_s;
}

/* Returns false if the job has to wait. `room`: nobody who has run before waits for room. */
static bool admit(struct stepper *s, struct job *job, bool room)
{
    job->figures.n_max = job->request.generation.n_max;
    const bool started = !job_gone(job) && room && start_next(s, job);
    if (!started && !job_gone(job) && !job_failed(job)) {
        if (!too_late(job)) {
            return false;
        }
        core_refuse(job);
    }
    clear_next(s);
    if (started) {
        begin(s, job);
    } else {
        sequence_release_all(job);
        core_end(job);
    }
    return true;
}

enum start { NOTHING, STARTED, WAITS };

/* Starts one more prompt of the jobs that run. */
static enum start start_more(struct stepper *s)
{
    for (struct job *job = s->oldest; job != NULL; job = job->newer) {
        if (!job_failed(job) && job->n_started < job->request.generation.n_prompts) {
            return start_next(s, job) || job_failed(job) ? STARTED : WAITS;
        }
    }
    return NOTHING;
}

/* Admits the next job. */
static enum start start_job(struct stepper *s, bool room)
{
    struct job *job = room ? next_job(s) : s->next;
    return job == NULL ? NOTHING : admit(s, job, room) ? STARTED : WAITS;
}

/* In turns, so that a request with many prompts does not make others wait for all of them. */
static enum start start_one(struct stepper *s)
{
    enum start start = s->more ? start_more(s) : start_job(s, true);
    if (start == NOTHING) {
        start = s->more ? start_job(s, true) : start_more(s);
    }
    s->more = start == STARTED ? !s->more : s->more;
    return start;
}

void stepper_admit(struct stepper *s)
{
    if (unpark_all(s)) {
        while (start_one(s) == STARTED) {
        }
    }
    start_job(s, false); /* it may have waited for too long */
}
