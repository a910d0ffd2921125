/* Which answers run: admission, parking and forks. */
#include "serve/stepper.h"

/* ---------------------------------------------------------------- parking */

/* Gives pages back to the oldest parked answer of a job. Returns false if there is no room. */
static bool unpark(struct stepper *s, struct job *job)
{
    for (size_t i = 0; i < job_choices(job); i++) {
        struct choice *c = &job->choices[i];
        if (!c->parked) {
            continue;
        }
        weft_status status = weft_seq_unpark(c->seq, NULL);
        /* It is worth the work only if the answer gets further than the next token. */
        if (status == WEFT_OK && s->n_seqs > 0) {
            status = weft_seq_reserve(c->seq, WEFT_KV_PAGE, NULL);
            status = status == WEFT_E_CTX_FULL ? WEFT_OK : status;
        }
        if (status != WEFT_OK) {
            weft_seq_park(c->seq, NULL);
            return false;
        }
        c->parked = false;
        s->n_parked--;
        s->n_seqs++;
    }
    return true;
}

static void unpark_all(struct stepper *s)
{
    for (struct job *job = s->oldest; job != NULL && s->n_parked > 0; job = job->newer) {
        if (!unpark(s, job)) {
            return;
        }
    }
}

static void park(struct stepper *s, struct choice *c)
{
    weft_seq_park(c->seq, NULL);
    c->parked = true;
    s->n_parked++;
    s->n_seqs--;
    s->n_parkings++;
}

/* Finds the youngest answer that has pages; *index becomes its number in the job. */
static struct job *youngest(const struct stepper *s, size_t *index)
{
    for (struct job *job = s->newest; job != NULL; job = job->older) {
        for (size_t i = job_choices(job); i > 0; i--) {
            const struct choice *c = &job->choices[i - 1];
            if (c->started && !c->parked && !c->done) {
                *index = i - 1;
                return job;
            }
        }
    }
    return NULL;
}

bool stepper_make_room(struct stepper *s, struct job *job, size_t i)
{
    size_t index = 0;
    struct job *found = youngest(s, &index);
    if (found == NULL || (found == job && index == i && s->n_seqs == 1)) {
        return false;
    }
    park(s, &found->choices[index]);
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

/* Starts the next prompt of a job, if there is room for it. */
static bool start_next(struct stepper *s, struct job *job)
{
    const struct generation *g = &job->request.generation;
    if (s->n_seqs > 0 && s->n_seqs + g->n_choices > s->n_max) {
        return false;
    }
    const size_t p = job->n_started, i = p * g->n_choices;
    weft_status status = sequence_start(job, p);
    if (status == WEFT_E_KV_FULL && s->n_seqs == 0 && s->n_parked == 0 &&
        !core_embedding(s->core)) {
        return fault_set(&job->fault, 503, "unavailable_error",
                         "a prompt of %zu tokens does not fit into the KV pool", g->prompts[p].n);
    }
    if (status == WEFT_OK) {
        job->choices[i].started = true;
        job->n_started++;
        s->n_seqs++;
        job->choices[i].figures.admitted = job->figures.admitted;
        job->choices[i].figures.n_prompt = g->prompts[p].n;
        job->choices[i].figures.n_cached = weft_seq_cached(job->choices[i].seq);
        job->figures.n_prompt += g->prompts[p].n;
        job->figures.n_cached += job->choices[i].figures.n_cached;
    }
    return status == WEFT_OK;
}

/* Further prompts of jobs that run. Returns false if some have to wait. */
static bool start_more(struct stepper *s)
{
    for (struct job *job = s->oldest; job != NULL; job = job->newer) {
        while (!job_failed(job) && job->n_started < job->request.generation.n_prompts) {
            if (!start_next(s, job)) {
                return job_failed(job);
            }
        }
    }
    return true;
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

/* Returns false if the job has to wait for room. */
static bool admit(struct stepper *s, struct job *job)
{
    job->figures.n_max = job->request.generation.n_max;
    const bool started = !job_gone(job) && start_next(s, job);
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

void stepper_admit(struct stepper *s)
{
    struct job *job;
    unpark_all(s);
    if (s->n_parked > 0 || !start_more(s)) {
        return;
    }
    while ((job = next_job(s)) != NULL) {
        if (!admit(s, job) || !start_more(s)) {
            return;
        }
    }
}
