/* SentencePiece vocabularies: spaces become U+2581, neighbouring pairs that make a token merge in
 * the order of their scores, and characters without a token become byte tokens. */
#ifndef WEFT_SPM_H
#define WEFT_SPM_H

#include "text/merge.h"
#include "text/vocab.h"

/* The longest token, in bytes. A merge may read that many bytes, so this bounds the time that a
 * text can take. */
enum { SPM_MAX = 1024 };

struct spm {
    /* -1: neither a byte token nor the unknown token stands for the byte. */
    int32_t byte_id[256];
};

/* `unknown` (or -1) stands for bytes without a token. WEFT_E_FORMAT: the vocabulary has no scores,
 * or a token is longer than SPM_MAX bytes. */
weft_status spm_open(const struct vocab *v, int32_t unknown, struct spm *s, weft_error *err);

/* Appends the ids of text[n]; if `prefix`, of the text with a space in front. `m` and `escaped` are
 * memory that the caller keeps between calls. */
weft_status spm_encode(const struct spm *s, const struct vocab *v, const char *text, size_t n,
                       bool prefix, struct merger *m, struct bytes *escaped, struct tokens *out,
                       weft_error *err);

#endif
