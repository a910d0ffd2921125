/* Text to token ids and back. One interface, two algorithms: bpe.c (byte-level BPE, pre-tokenizer
 * patterns in pretokenize.c) and spm.c (SentencePiece unigram scores with byte fallback). */
#ifndef WEFT_TOKENIZER_H
#define WEFT_TOKENIZER_H

#include "base/error.h"
#include "base/mem.h"
#include "format/gguf.h"

/* tokenizer.ggml.token_type */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER_DEFINED,
    TOKEN_UNUSED,
    TOKEN_BYTE
};

struct tokenizer;

/* Builds the tokenizer from the file's tokenizer.ggml.* keys. Copies what it keeps: `g` may be
 * closed afterwards. WEFT_E_UNSUPPORTED for a tokenizer model or pre-tokenizer name that is unknown
 * (the message lists those known), WEFT_E_FORMAT for arrays of wrong length or type, malformed byte
 * tokens or merges. Special ids out of range are as if their keys were not there, and the token
 * type 0 is taken as normal: remarks.h. */
weft_status tokenizer_open(const struct gguf *g, struct tokenizer **out, weft_error *err);
void tokenizer_close(struct tokenizer *t);

/* WEFT_E_ARG names the first of these ids that is outside of the vocabulary. */
weft_status tokenizer_check(const struct tokenizer *t, const int32_t *tokens, size_t n,
                            weft_error *err);

/* Appends the ids of text[n] to *out. flags: WEFT_TOKENIZE_*. Free-threaded. On failure *out is
 * unchanged. */
weft_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                             struct tokens *out, weft_error *err);
/* Appends to *out the bytes that the tokens stand for. flags: WEFT_DETOKENIZE_*. */
weft_status tokenizer_decode(const struct tokenizer *t, const int32_t *tokens, size_t n,
                             unsigned flags, struct bytes *out, weft_error *err);

/* Appends the bytes of one token in the middle of a text (SPM: its leading space kept). Control
 * tokens give nothing unless flags has WEFT_DETOKENIZE_SPECIAL. `token` must be in the vocabulary.
 */
weft_status tokenizer_piece(const struct tokenizer *t, int32_t token, unsigned flags,
                            struct bytes *out, weft_error *err);

size_t tokenizer_n_vocab(const struct tokenizer *t);
struct gguf_str tokenizer_text(const struct tokenizer *t,
                               int32_t token); /* as stored; lives as long as t */
enum token_type tokenizer_type(const struct tokenizer *t, int32_t token);
int32_t tokenizer_find(const struct tokenizer *t, const char *text,
                       size_t n); /* exact stored text; -1 if absent */
bool tokenizer_is_end(const struct tokenizer *t,
                      int32_t token); /* eos, eot, eom and the known names of such tokens */
int32_t tokenizer_bos(const struct tokenizer *t); /* -1 if none */
int32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_adds_bos(const struct tokenizer *t);
bool tokenizer_adds_eos(const struct tokenizer *t);

#endif
