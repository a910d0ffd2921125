/* Reads the file of a mapped model and drops the bytes. While a device starts up (a GPU's context
 * takes some tenths of a second), the file comes from the disk into the page cache. */
#ifndef WEFT_PREREAD_H
#define WEFT_PREREAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "format/gguf.h"

struct preread {
    const struct gguf *file;
    pthread_t thread;
    /* The thread has to be joined. */
    bool running;
    atomic_bool stop;
};

/* Starts the thread. If it fails, it does so silently: the code that needs
 * the bytes later will get the error. */
void preread_start(struct preread *r, const struct gguf *file);
/* Ends the thread, which may read one more piece. A second call does nothing. */
void preread_stop(struct preread *r);

#endif
