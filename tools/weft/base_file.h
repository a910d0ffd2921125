/* The file of `weft perplexity --save-base`: a text and the logits of its scored positions.
 *
 * The file has: "WEFTBASE"; uint32 version (1), n_vocab, window (tokens), 1 if every window begins
 * with BOS, a hash of the texts of the vocabulary, and 0; uint64 n_tokens; int32 tokens[n_tokens];
 * then float32 [n_vocab] for each scored position, in order. All is little-endian, with no gaps. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdio.h>

#include "weft/session.h"

struct base_file {
    const char *path;
    FILE *file;
    uint32_t n_vocab, window, bos, vocab_hash;
    struct ids tokens;
};

/* These functions print errors and return EXIT_ codes. */

/* Creates the file. b->path to b->tokens must be set; the tokens stay the caller's. */
int base_create(struct base_file *b);
int base_write(struct base_file *b, const float *logits);
/* Opens b->path and reads everything but the logits. The caller then has to free b->tokens. */
int base_open(struct base_file *b);
/* Reads the next position's logits[n_vocab]. Fails if one of them is NaN or +inf, or if all are
 * -inf. */
int base_read(struct base_file *b, float *logits);
/* Call it after all positions have been read: it fails if the file goes on. */
int base_end(struct base_file *b);
/* A file that was written is complete only if this returns EXIT_OK. */
int base_close(struct base_file *b);

#endif
