/* Byte-level BPE. The text is split into words. Each byte of a word is first a token of its own (in
 * some vocabularies each character); then the pairs that the file lists as merges are merged, in
 * the order of the list. */
#ifndef WEFT_BPE_H
#define WEFT_BPE_H

#include "text/merge.h"
#include "text/pretokenize.h"
#include "text/vocab.h"

/* The pair (left, right) merges into id. Entry n of tokenizer.ggml.merges has rank n. id < 0 means
 * an empty slot. */
struct bpe_merge {
    int32_t left, right;
    uint32_t rank;
    int32_t id;
};

struct bpe {
    int32_t byte_id[256];     /* -1: the vocabulary has no token for this byte */
    struct bpe_merge *merges; /* [n_slots], open addressing */
    size_t n_slots;           /* a power of two, at least twice the number of merges */
    struct hash_seed seed;    /* of the merges' slots */
    struct pretokenizer *pre;
    unsigned traits; /* of `pre`: enum pretokenizer_traits */
};

/* Memory of one encoding thread. It starts as zeros. */
struct bpe_work {
    struct merger merger;
    struct splitter *splitter;
    struct bytes word, escaped;
};

/* Reads tokenizer.ggml.merges. `pre` names the pre-tokenizer; NULL means the one of
 * tokenizer.ggml.pre. WEFT_E_UNSUPPORTED: Weft does not run that pre-tokenizer. WEFT_E_FORMAT: a
 * merge is malformed, or one of its tokens does not exist. *b is zero after an error. */
weft_status bpe_open(const struct gguf *g, const struct vocab *v, const char *pre, struct bpe *b,
                     weft_error *err);
void bpe_close(struct bpe *b);

/* Appends the ids of text[n]. Bytes without a token are left out, as in llama.cpp: the unknown
 * token may be a control token (<|endoftext|> in SmolLM2), and text must never become one. */
weft_status bpe_encode(const struct bpe *b, const struct vocab *v, const char *text, size_t n,
                       struct bpe_work *work, struct tokens *out, weft_error *err);
void bpe_work_free(struct bpe_work *work);

/* Appends the bytes of a token of ordinary text. Returns false if memory is out. */
bool bpe_piece(const struct bpe *b, const struct vocab *v, int32_t id, struct bytes *out);

#endif
