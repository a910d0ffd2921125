/* Reads a mapped model's file, for nobody: while a device starts up (a GPU's context takes some
 * tenths of a second) the disk brings what is wanted next into the page cache. */
#ifndef WEFT_PREREAD_H
#define WEFT_PREREAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "format/gguf.h"

struct preread {
    const struct gguf *file;
    pthread_t thread;
    bool running; /* to be joined */
    atomic_bool stop;
};

/* Begins, in a thread. What fails, fails silently: whoever wants the bytes will hear of it. */
void preread_start(struct preread *r, const struct gguf *file);
/* Ends the thread, after one more piece. A second call does nothing. */
void preread_stop(struct preread *r);

#endif
