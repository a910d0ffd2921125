#include "weft/base_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weft/term.h"

#define MAGIC "WEFTBASE"
/* Shorter windows score nothing, or nearly nothing; weft perplexity makes none. */
enum { VERSION = 1, MAX_TOKENS = 1 << 28, MAX_VOCAB = 1 << 24, MIN_WINDOW = 4 };

static int write_failed(const struct base_file *b) { return term_write_failed(b->path, errno); }

int base_create(struct base_file *b)
{
    const uint32_t head[6] = { VERSION, b->n_vocab, b->window, b->bos, b->vocab_hash, 0 };
    uint64_t n = b->tokens.n;
    b->file = fopen(b->path, "wb");
    if (b->file == NULL || fwrite(MAGIC, 1, 8, b->file) != 8 ||
        fwrite(head, sizeof head, 1, b->file) != 1 || fwrite(&n, sizeof n, 1, b->file) != 1 ||
        fwrite(b->tokens.at, sizeof *b->tokens.at, n, b->file) != n) {
        return write_failed(b);
    }
    return EXIT_OK;
}

int base_write(struct base_file *b, const float *logits)
{
    bool ok = fwrite(logits, sizeof *logits, b->n_vocab, b->file) == b->n_vocab;
    return ok ? EXIT_OK : write_failed(b);
}

static int read_failed(const struct base_file *b)
{
    return ferror(b->file)
               ? term_fail(EXIT_RUNTIME, "%s: cannot be read: %s", b->path, strerror(errno))
               : term_fail(EXIT_RUNTIME,
                           "%s ends too early; it was not written to its end, make it again with "
                           "--save-base",
                           b->path);
}

/* Memory grows with the data that is there, not with what the header promises. */
static int read_tokens(struct base_file *b, uint64_t n)
{
    int32_t part[4096];
    b->tokens = (struct ids){ 0 };
    while (b->tokens.n < n) {
        size_t left = (size_t)n - b->tokens.n, max = sizeof part / sizeof *part;
        size_t n_part = size_min(left, max);
        if (fread(part, sizeof *part, n_part, b->file) != n_part) {
            return read_failed(b);
        }
        for (size_t i = 0; i < n_part; i++) {
            if (part[i] < 0 || (uint32_t)part[i] >= b->n_vocab) {
                return term_fail(EXIT_RUNTIME,
                                 "%s: token %zu is %d, but its vocabulary has %u entries", b->path,
                                 b->tokens.n, part[i], b->n_vocab);
            }
            if (!ids_add(&b->tokens, part[i])) {
                return term_fail(EXIT_MEMORY, "not enough memory for %" PRIu64 " tokens", n);
            }
        }
    }
    return EXIT_OK;
}

int base_open(struct base_file *b)
{
    char magic[8] = "";
    uint32_t head[6];
    uint64_t n;
    b->file = fopen(b->path, "rb");
    if (b->file == NULL) {
        return term_fail(EXIT_RUNTIME, "%s: cannot be read: %s", b->path, strerror(errno));
    }
    if (fread(magic, 1, 8, b->file) != 8 || memcmp(magic, MAGIC, 8) != 0) {
        return term_fail(EXIT_RUNTIME, "%s is no file of weft perplexity --save-base", b->path);
    }
    if (fread(head, sizeof head, 1, b->file) != 1 || fread(&n, sizeof n, 1, b->file) != 1) {
        return read_failed(b);
    }
    if (head[0] != VERSION) {
        return term_fail(EXIT_RUNTIME, "%s has version %u, expected %d; make it again", b->path,
                         head[0], VERSION);
    }
    if (head[1] == 0 || head[1] > MAX_VOCAB || head[2] < MIN_WINDOW || head[3] > 1 || n < head[2] ||
        n > MAX_TOKENS) {
        return term_fail(EXIT_RUNTIME,
                         "%s is damaged: %u entries in the vocabulary, %u tokens in a window, "
                         "%" PRIu64 " tokens in all",
                         b->path, head[1], head[2], n);
    }
    b->n_vocab = head[1];
    b->window = head[2];
    b->bos = head[3];
    b->vocab_hash = head[4];
    return read_tokens(b, n);
}

int base_read(struct base_file *b, float *logits)
{
    if (fread(logits, sizeof *logits, b->n_vocab, b->file) != b->n_vocab) {
        return read_failed(b);
    }
    bool any = false;
    for (size_t i = 0; i < b->n_vocab; i++) {
        /* Their sum would be NaN, and a comparison with NaN would report that all is well. */
        if (isnan(logits[i]) || logits[i] == INFINITY) {
            return term_fail(EXIT_RUNTIME,
                             "%s is damaged: a logit of token %zu is %g, expected a number; make "
                             "it again with --save-base",
                             b->path, i, (double)logits[i]);
        }
        any = any || logits[i] > -INFINITY;
    }
    return any ? EXIT_OK
               : term_fail(EXIT_RUNTIME,
                           "%s is damaged: all logits of a position are -inf; make it again with "
                           "--save-base",
                           b->path);
}

int base_end(struct base_file *b)
{
    if (fgetc(b->file) == EOF) {
        return ferror(b->file) ? read_failed(b) : EXIT_OK;
    }
    return term_fail(EXIT_RUNTIME,
                     "%s goes on behind the logits of its %zu tokens; it is damaged, make it again "
                     "with --save-base",
                     b->path, b->tokens.n);
}

int base_close(struct base_file *b)
{
    FILE *file = b->file;
    b->file = NULL;
    return file != NULL && fclose(file) != 0 ? write_failed(b) : EXIT_OK;
}
