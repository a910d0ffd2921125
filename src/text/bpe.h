/* BPE: the text is split into words, each byte of a word is a token, or in some vocabularies each
 * character, and the pairs that the file lists as merges merge in the order of the list. */
#ifndef WEFT_BPE_H
#define WEFT_BPE_H

#include "text/merge.h"
#include "text/pretokenize.h"
#include "text/vocab.h"

/* (left, right) merges into id; entry n of tokenizer.ggml.merges has rank n. id < 0: empty slot. */
struct bpe_merge {
    int32_t left, right;
    uint32_t rank;
    int32_t id;
};

struct bpe {
    int32_t byte_id[256];     /* -1: the vocabulary has no token for this byte */
    struct bpe_merge *merges; /* [n_slots], open addressing */
    size_t n_slots;           /* a power of two, at least twice their number */
    struct hash_seed seed;    /* of the merges' slots */
    struct pretokenizer *pre;
    unsigned traits; /* of it: enum pretokenizer_traits */
};

/* Memory of one encoding thread. Zero-initialise. */
struct bpe_work {
    struct merger merger;
    struct splitter *splitter;
    struct bytes word, escaped;
};

/* Reads tokenizer.ggml.merges, and tokenizer.ggml.pre unless the pre-tokenizer is given (or NULL).
 * WEFT_E_UNSUPPORTED: a pre-tokenizer that is not run; WEFT_E_FORMAT: a malformed merge, or one of
 * tokens that do not exist. *b is zero then. */
weft_status bpe_open(const struct gguf *g, const struct vocab *v, const char *pre, struct bpe *b,
                     weft_error *err);
void bpe_close(struct bpe *b);

/* Appends the ids of text[n]. Bytes without a token are left out, as llama.cpp does: the unknown
 * token may be a control token (<|endoftext|> in SmolLM2), which a text must not become. */
weft_status bpe_encode(const struct bpe *b, const struct vocab *v, const char *text, size_t n,
                       struct bpe_work *work, struct tokens *out, weft_error *err);
void bpe_work_free(struct bpe_work *work);

/* Appends the bytes of a token of ordinary text. False when memory is out. */
bool bpe_piece(const struct bpe *b, const struct vocab *v, int32_t id, struct bytes *out);

#endif
