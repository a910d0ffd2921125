#include "serve/job.h"

#include <stdlib.h>
#include <string.h>

#include "serve/prompt_watch.h"

static char *copy_of(const char *text, size_t n)
{
    char *copy = malloc(n + 1);
    if (copy != NULL) {
        memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

static void job_free(struct job *job)
{
    answer_close(job->answer);
    for (size_t p = 0; job->watches != NULL && p < job->request.generation.n_prompts; p++) {
        prompt_watch_free(&job->watches[p]);
    }
    request_free(&job->request);
    free(job->watches);
    free(job->choices);
    free(job->body);
    free(job->key);
    free(job->result);
    pthread_mutex_destroy(&job->lock);
    free(job);
}

struct job *job_open(struct core *core, const struct job_params *p)
{
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    if (pthread_mutex_init(&job->lock, NULL) != 0) {
        free(job);
        return NULL;
    }
    job->core = core;
    job->route = p->route;
    job->sink = p->sink;
    job->user = p->user;
    job->body = copy_of(p->n_body > 0 ? p->body : "", p->n_body);
    job->n_body = p->n_body;
    job->key = copy_of(p->key, strlen(p->key));
    strncpy(job->id, p->id, JOB_ID_MAX);
    atomic_init(&job->n_refs, 1);
    if (job->body == NULL || job->key == NULL) {
        job_free(job);
        return NULL;
    }
    return job;
}

void job_hold(struct job *job) { atomic_fetch_add(&job->n_refs, 1); }

void job_drop(struct job *job)
{
    if (atomic_fetch_sub(&job->n_refs, 1) == 1) {
        job_free(job);
    }
}
