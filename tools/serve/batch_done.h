/* The requests that the output of a batch holds already, from an earlier run that was ended. */
#ifndef WEFT_BATCH_DONE_H
#define WEFT_BATCH_DONE_H

#include "base/hash.h"
#include "serve/batch_line.h"

/* Keeps 128 bits of a hash for each request, not its custom_id, so that a run of millions of lines
 * can go on. It starts as zeros; batch_done_free() frees it. */
struct batch_done {
    struct batch_mark {
        uint64_t at[2];
    } * marks;     /* [cap] a table; both 0 = free */
    size_t cap, n; /* cap is 0 or a power of two */
    struct hash_seed seeds[2];
    uint64_t n_failed; /* of them */
};

enum batch_done_status {
    BATCH_DONE_OK,
    BATCH_DONE_STRANGE, /* the file is something else; *line says where, and nothing was changed */
    BATCH_DONE_FAILED   /* *error is an errno, ENOMEM included */
};

/* Reads a regular file, which is open for reading and writing, and cuts off a last line that is not
 * whole. */
enum batch_done_status batch_done_read(struct batch_done *done, int fd, uint64_t *line, int *error);
/* Returns true if the output holds an answer to the line. A line without custom_id is known by its
 * number. */
bool batch_done_has(const struct batch_done *done, const struct batch_line *line);
void batch_done_free(struct batch_done *done);

#endif
