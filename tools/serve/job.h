/* A request on its way through the threads of the core, and what the core's own files share. */
#ifndef WEFT_SERVE_JOB_H
#define WEFT_SERVE_JOB_H

#include <pthread.h>
#include <stdatomic.h>

#include "serve/answer.h"
#include "serve/queue.h"

/* ---------------------------------------------------------------- news of a job */

/* What has happened to a job. Threads post news; core_drain() takes it, in this order. */
enum news_kind {
    NEWS_BEGIN,    /* admitted */
    NEWS_PROGRESS, /* of the prompts */
    NEWS_PROMPT,   /* log-probabilities of a prompt */
    NEWS_DRAWN,
    NEWS_END
};

struct news {
    struct news *next;
    struct job *job; /* a reference is held */
    enum news_kind kind;
    struct job_figures figures; /* of the whole job at this moment */
    size_t n_done;              /* NEWS_PROGRESS */
    struct drawn drawn;         /* NEWS_DRAWN; its pointers lead to the memory behind this struct */
    struct prompt_logprobs prompt; /* NEWS_PROMPT; likewise */
};

/* ---------------------------------------------------------------- jobs */

/* One answer that is being generated. Only the thread that steps touches it, but for `seq`. */
struct choice {
    weft_seq *seq; /* written under the job's lock, because a cancel reads it from another thread */
    size_t n_generated;
    bool started; /* it has a prompt */
    bool drawing; /* its prompt is computed */
    bool parked;
    bool done;
    struct job_figures figures;
};

struct job {
    struct core *core;
    atomic_int
        n_refs;       /* the caller's, that of the thread or queue that has the job, one per news */
    atomic_bool gone; /* nobody wants the answer any more */
    atomic_bool paused;
    struct queued queued; /* its place in `queue`; the core's lock guards both */
    struct queue *queue;  /* NULL = a thread has the job */
    enum route route;
    char *body; /* [n_body] until it was read */
    size_t n_body;
    char id[JOB_ID_MAX + 1];
    char *key;
    struct request request;
    struct fault fault; /* of a job that has failed: status > 0 */
    char *result;       /* [n_result] the whole answer of a task that generates nothing */
    size_t n_result;
    struct news end; /* the last news needs no memory */

    /* Of the thread that steps. */
    pthread_mutex_t lock;         /* guards the `seq` of the choices */
    struct choice *choices;       /* [n_prompts * n_choices] */
    size_t n_started;             /* prompts that have a sequence */
    size_t n_finished;            /* choices */
    size_t n_told;                /* tokens of prompts that the last NEWS_PROGRESS has counted */
    struct prompt_watch *watches; /* [n_prompts] NULL = the log-probabilities are not wanted */
    struct job_figures figures;
    struct job *older, *newer; /* the running jobs by their admission */

    /* Of the caller's thread. */
    const struct sink *sink; /* NULL = it gets no more calls */
    void *user;
    struct answer *answer;
    struct job_figures shown; /* the latest figures that came with news */
    bool begun;
    struct job *before, *behind; /* all jobs that the caller knows */
};

struct job *job_open(struct core *core, const struct job_params *p);
void job_hold(struct job *job);
/* Gives up a reference; the last one frees the job, whose sequences are released by then. */
void job_drop(struct job *job);
static inline bool job_gone(const struct job *job)
{
    return atomic_load_explicit(&job->gone, memory_order_relaxed);
}
static inline size_t job_choices(const struct job *job)
{
    return job->request.generation.n_prompts * job->request.generation.n_choices;
}

/* ---------------------------------------------------------------- the core */

/* Sums of the thread that steps, for the figures. */
struct published {
    weft_engine_stats engine;
    double last_step;
    uint64_t n_parked;
    struct histogram step_tokens;
};

enum { MOST_THREADS = 64 + 2 }; /* those that prepare requests, one that steps, one that embeds */

struct core {
    struct core_params params;
    struct scope scope;
    atomic_int state; /* a core_state */
    int load_code;
    int fd; /* an eventfd */

    pthread_mutex_t lock; /* guards what follows, up to the empty line; never held for long */
    pthread_cond_t more;  /* there is something to read or to embed, or the core closes */
    struct queue to_read, to_step, to_embed, to_release;
    size_t n_to_read, n_embedding; /* jobs that a thread has now */
    size_t n_next;                 /* 1 = the job that would run next waits for room */
    bool closing;
    struct published published;
    struct news *first, *last;

    pthread_t threads[MOST_THREADS];
    size_t n_threads;

    /* Of the caller's thread. */
    struct job *jobs; /* all that it knows */
    uint64_t n_jobs;  /* ever */
    struct core_figures figures;
};

/* Puts the job into one of the core's queues. At the same moment it leaves the jobs that threads
 * have, whose number is *n_busy, so that it is never counted twice; NULL = no thread had it.
 * Returns false if the core closes or the job is gone; the caller still has it then. */
bool core_queue(struct core *core, struct queue *queue, struct job *job, size_t *n_busy);
/* Takes the next job out of a queue; the caller holds the core's lock. NULL = none waits. */
struct job *core_unqueue(struct queue *queue);
struct job *job_of(struct queued *queued); /* NULL gives NULL */
/* Sleeps until there is a job in the queue, and takes it; *n_busy is one more then. Returns NULL
 * once the core closes. core_done() takes the one back. */
struct job *core_take(struct core *core, struct queue *queue, size_t *n_busy);
void core_done(struct core *core, size_t *n_busy);
/* Wakes the thread that steps. */
void core_wake(struct core *core);
/* Returns true while embeddings are computed, whose pages will be free again soon. */
bool core_embedding(struct core *core);
/* Nobody wants the job's answer any more. On the caller's thread. */
void core_abandon(struct core *core, struct job *job);
/* Takes the job out of the list of the caller's thread, and gives up its reference. */
void core_forget(struct core *core, struct job *job);
/* Posts the last news of a job, and gives up the reference of the thread that had it. */
void core_end(struct job *job);
/* The same for a job that has failed: its fault is set already. */
static inline bool job_failed(const struct job *job) { return job->fault.status != 0; }
/* Posts news; n more bytes lie behind the struct. NULL = not enough memory. */
struct news *news_new(struct job *job, enum news_kind kind, size_t n);
void core_post(struct core *core, struct news *news);
/* Makes core_fd() readable. */
void core_ring(struct core *core);
/* The number of requests that wait; the caller holds the core's lock. */
size_t core_waiting(const struct core *core);
/* Sets the fault of a job that has waited for too long. */
void core_refuse(struct job *job);
/* Takes out of the queues what has waited for too long, and fails it. */
void core_expire(struct core *core);

/* Threads. Their argument is the core. */
void *stepper_run(void *core); /* loads the model, then steps */
void *reader_run(void *core);  /* reads requests */
void *embedder_run(void *core);

#endif
