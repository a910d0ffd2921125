/* The threads that read requests: JSON, templates, tokens, grammars. */
#include <stdlib.h>

#include "base/mem.h"
#include "serve/job.h"
#include "serve/prompt_watch.h"
#include "serve/sequence.h"

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
    while ((job = core_take(core, &core->to_read, &core->n_to_read)) != NULL) {
        struct queue *next = job_gone(job) ? NULL : read_job(core, job);
        if (next != NULL && core_queue(core, next, job, &core->n_to_read)) {
            continue;
        }
        core_done(core, &core->n_to_read);
        sequence_release_all(job);
        if (next == NULL) {
            core_end(job);
        } else {
            job_drop(job);
        }
    }
    return NULL;
}
