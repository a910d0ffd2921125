/* Answers a file of requests, in the format of OpenAI's batches: a line of JSON for each request,
 * and a line for each answer, in the order in which they are ready. Requests are read only as they
 * are needed, so the size of the file does not matter. */
#ifndef WEFT_BATCH_H
#define WEFT_BATCH_H

#include "serve/batch_done.h"
#include "serve/core.h"

struct batch_figures {
    uint64_t n_lines;              /* read that belong to this shard and are not empty */
    uint64_t n_skipped;            /* of these, the output holds an answer already */
    uint64_t n_answered, n_failed; /* answers written, and how many of them are not good */
    size_t n_running;              /* requests that the core has */
    uint64_t n_prompt, n_cached, n_generated; /* tokens of the answers */
    uint64_t n_read;                          /* bytes of the input that were used */
    double seconds;                           /* since the model was ready */
};

struct batch_params {
    struct core *core;
    int input, output;             /* descriptors */
    const struct batch_done *done; /* NULL = nothing was answered before */
    uint64_t shard,
        n_shards; /* only lines whose number, from 0, modulo n_shards is shard; 0 = all */
    /* Called a few times a second. `progress` may be NULL. If `stop` returns true, what is ready is
     * written, and all else is given up. */
    bool (*stop)(void *user);
    void (*progress)(void *user, const struct batch_figures *figures);
    void *user;
};

enum batch_end {
    BATCH_COMPLETE,
    BATCH_STOPPED,
    BATCH_NO_MODEL, /* core_load_code() has the exit code */
    BATCH_LOST,     /* the device has failed */
    BATCH_READ,     /* *error is an errno */
    BATCH_WRITE,    /* *error is an errno */
    BATCH_NO_MEMORY
};

/* Returns when all is answered or nothing more can be. */
enum batch_end batch_run(const struct batch_params *params, struct batch_figures *figures,
                         int *error);

#endif
