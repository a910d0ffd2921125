/* What the threads of the core tell the caller's thread. */
#include <stdlib.h>
#include <unistd.h>

#include "serve/job.h"

void core_ring(struct core *core)
{
    const uint64_t one = 1;
    /* It fails only if the counter is full; then the descriptor is readable anyway. */
    ssize_t n = write(core->fd, &one, sizeof one);
    (void)n;
}

struct news *news_new(struct job *job, enum news_kind kind, size_t n)
{
    struct news *news = malloc(sizeof *news + n);
    if (news != NULL) {
        *news = (struct news){ .job = job, .kind = kind, .figures = job->figures };
    }
    return news;
}

void core_post(struct core *core, struct news *news)
{
    job_hold(news->job);
    pthread_mutex_lock(&core->lock);
    if (core->last != NULL) {
        core->last->next = news;
    } else {
        core->first = news;
    }
    core->last = news;
    pthread_mutex_unlock(&core->lock);
}

void core_end(struct job *job)
{
    job->figures.done = figures_now();
    job->end = (struct news){ .job = job, .kind = NEWS_END, .figures = job->figures };
    core_post(job->core, &job->end);
    core_ring(job->core);
    job_drop(job);
}
