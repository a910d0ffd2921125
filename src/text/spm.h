/* SentencePiece vocabularies: spaces become U+2581, pairs of neighbours that are tokens merge in
 * the order of their scores, and characters that are no token fall back to byte tokens. */
#ifndef WEFT_SPM_H
#define WEFT_SPM_H

#include "text/merge.h"
#include "text/vocab.h"

/* Bytes of the longest token: a merge reads that many, so they bound the time a text can take. */
enum { SPM_MAX = 1024 };

struct spm {
    int32_t byte_id[256]; /* -1: neither a byte token nor the unknown token stands for it */
};

/* `unknown` (or -1) stands for bytes without a token. WEFT_E_FORMAT: the vocabulary has no
 * scores, or a token of more than SPM_MAX bytes. */
weft_status spm_open(const struct vocab *v, int32_t unknown, struct spm *s, weft_error *err);

/* Appends the ids of text[n], after a space if `prefix`. `m` and `escaped` are memory kept between
 * calls. */
weft_status spm_encode(const struct spm *s, const struct vocab *v, const char *text, size_t n,
                       bool prefix, struct merger *m, struct bytes *escaped, struct tokens *out,
                       weft_error *err);

#endif
