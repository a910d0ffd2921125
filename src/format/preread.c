#include "format/preread.h"

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"

enum { PIECE = 1 << 20 };

/* Reads a part of the file. Returns false when it is time to end. */
static bool read_part(struct preread *r, const struct file *f, uint8_t *buffer)
{
    for (size_t at = 0; f->mapped && at < f->n; at += PIECE) {
        size_t n = size_min(f->n - at, PIECE);
        if (atomic_load(&r->stop) || file_read(f, f->data + at, n, buffer, NULL) != WEFT_OK) {
            return false;
        }
    }
    return true;
}

static void *run(void *arg)
{
    struct preread *r = arg;
    uint8_t *buffer = malloc(PIECE);
    for (size_t i = 0; buffer != NULL && i < r->file->n_parts; i++) {
        if (!read_part(r, &r->file->parts[i], buffer)) {
            break;
        }
    }
    free(buffer);
    return NULL;
}

void preread_start(struct preread *r, const struct gguf *file)
{
    r->file = file;
    atomic_init(&r->stop, false);
    r->running = thread_start(&r->thread, run, r);
}

void preread_stop(struct preread *r)
{
    if (r->running) {
        atomic_store(&r->stop, true);
        pthread_join(r->thread, NULL);
        r->running = false;
    }
}
