/* The server without sockets: requests go in as JSON, answers come out as JSON. weft serve puts
 * HTTP around it, weft batch reads and writes files.
 *
 * There are three kinds of threads besides the caller's. One loads the model and then steps the
 * engine; a few prepare requests (JSON, templates, tokens, grammars); one computes embeddings. The
 * caller's own thread, the only one that may call the functions below unless their comment says
 * otherwise, submits jobs and takes their answers with core_drain(). None of the functions waits
 * for a step. */
#ifndef WEFT_CORE_H
#define WEFT_CORE_H

#include "serve/figures.h"
#include "serve/scope.h"

struct core;
struct job;

/* What a request asks for. */
enum route {
    ROUTE_CHAT,        /* /v1/chat/completions */
    ROUTE_COMPLETIONS, /* /v1/completions */
    ROUTE_COMPLETION,  /* /completion, llama-server's own */
    ROUTE_EMBEDDINGS,
    ROUTE_RERANK,
    ROUTE_TOKENIZE,
    ROUTE_DETOKENIZE,
    ROUTE_TEMPLATE /* /apply-template */
};

/* How a job ended. */
struct outcome {
    int status;       /* of HTTP; of a stream that has begun 200, whatever happened later */
    const char *body; /* [n_body] JSON; NULL for a stream that has begun */
    size_t n_body;
    int retry_after; /* seconds; 0 = nothing to say */
    const char
        *finish; /* for the log: "stop", "length", "tool_calls", "error"; "" without a text */
    struct job_figures figures;
};

/* Where the answer of a job goes. core_drain() calls these functions. A stream gets begin(), events
 * and end(); any other answer, and a stream that fails before it begins, only end(). begin() and
 * event() may cancel the job. */
struct sink {
    /* The job was admitted: a stream begins. `ping` is the number of seconds of silence after which
     * the client wants a sign of life; 0 = the server's default, -1 = never. */
    void (*begin)(void *user, int ping);
    /* An event of the stream: data[n] is JSON, or "[DONE]". name is NULL or the event's name. */
    void (*event)(void *user, const char *name, const char *data, size_t n);
    /* The last call. The handle of the job is no longer valid. */
    void (*end)(void *user, const struct outcome *outcome);
};

struct job_params {
    enum route route;
    const char *body; /* [n_body] is copied */
    size_t n_body;
    const char *id;  /* names the request in answers and logs; at most JOB_ID_MAX bytes, copied */
    const char *key; /* requests with equal keys share a place in the queue's turns; copied */
    const struct sink *sink;
    void *user;
};
enum { JOB_ID_MAX = 128 };

enum core_state {
    CORE_LOADING,
    CORE_READY,
    CORE_FAILED, /* the model could not be opened; load() has said why */
    CORE_LOST    /* the device has failed: nothing can be computed any more */
};

struct core_params {
    /* Opens model and engine, on a thread of the core. Returns 0, or an exit code. */
    int (*load)(void *user, weft_model **model, weft_engine **engine);
    void *load_user;
    struct scope scope; /* what the command line says; the core adds what the model says */
    size_t n_parallel;  /* requests that run at once; 0 = as the KV pool allows */
    size_t n_waiting;   /* requests that may wait */
    int wait_s;         /* a request that has waited for this long is refused with 503; 0 = never */
    size_t n_threads;   /* that prepare requests; 0 = 2 */
};

/* Returns NULL if there is not enough memory or no thread. Loading has begun then. */
struct core *core_open(const struct core_params *params);
/* Cancels all jobs without calling their sinks, and frees everything. NULL is allowed. */
void core_close(struct core *core);

enum core_state core_state(struct core *core);
/* The exit code of load(), once the state is CORE_FAILED; -1 = memory was missing elsewhere. */
int core_load_code(struct core *core);
/* What the requests are read against. Complete once the state is CORE_READY. */
const struct scope *core_scope(struct core *core);
/* A descriptor that poll() shows readable when core_drain() has something to do, or when the state
 * has changed. */
int core_fd(struct core *core);
/* Calls the sinks with all that has happened since. */
void core_drain(struct core *core);

/* Takes a request. Every outcome, also a refusal, comes through the sink, from core_drain().
 * Returns NULL if there is not enough memory. */
struct job *core_submit(struct core *core, const struct job_params *params);
/* The client is gone: the sink is not called any more, and the handle is no longer valid. The
 * sequences of the job are released before the next step. *figures says how far it came; NULL is
 * allowed. */
void core_cancel(struct core *core, struct job *job, struct job_figures *figures);
/* While a job is paused nothing is drawn for it; what was drawn before still comes. */
void core_pause(struct core *core, struct job *job, bool paused);

/* Writes the state of all counters. */
void core_figures(struct core *core, struct core_figures *figures);
/* Gives the i-th running job, for /slots. Returns false past the last. */
bool core_running(struct core *core, size_t i, struct job_figures *figures);

#endif
