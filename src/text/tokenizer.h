/* Text to token ids and back. One interface stands before two algorithms: bpe.c (byte-level BPE,
 * with the pre-tokenizer patterns of pretokenize.c) and spm.c (SentencePiece unigram scores with
 * byte fallback). */
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
struct written;

/* Builds the tokenizer from the file's tokenizer.ggml.* keys. It copies what it keeps: `g` may be
 * closed afterwards. WEFT_E_UNSUPPORTED: the name of the tokenizer model or pre-tokenizer is
 * unknown (the message lists the known ones). WEFT_E_FORMAT: an array has a wrong length or type,
 * or a byte token or merge is malformed. Special ids out of range are ignored, and the token type 0
 * counts as normal: remarks.h reports both. */
weft_status tokenizer_open(const struct gguf *g, struct tokenizer **out, weft_error *err);
void tokenizer_close(struct tokenizer *t);

/* Returns WEFT_E_ARG and names the first of these ids that is outside the vocabulary. */
weft_status tokenizer_check(const struct tokenizer *t, const int32_t *tokens, size_t n,
                            weft_error *err);

/* Appends the ids of text[n] to *out. flags: WEFT_TOKENIZE_*. Any number of threads may call it at
 * once. On failure *out is unchanged. */
weft_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                             struct tokens *out, weft_error *err);
/* Appends the ids of a text that a template and its callers wrote together. Special tokens count as
 * specials_split() says; text between them is tokenized as one, whoever wrote it. flags:
 * WEFT_TOKENIZE_BOS puts BOS in front if the model wants it and the text does not begin with it;
 * WEFT_TOKENIZE_NO_PREFIX. On failure *out is unchanged. */
weft_status tokenizer_encode_written(const struct tokenizer *t, const char *text, size_t n,
                                     const struct written *by, unsigned flags, struct tokens *out,
                                     weft_error *err);
/* Appends to *out the bytes that the tokens stand for. flags: WEFT_DETOKENIZE_*. */
weft_status tokenizer_decode(const struct tokenizer *t, const int32_t *tokens, size_t n,
                             unsigned flags, struct bytes *out, weft_error *err);

/* Appends the bytes of one token in the middle of a text (an SPM token keeps its leading space).
 * Control tokens give nothing unless flags has WEFT_DETOKENIZE_SPECIAL. `token` must be in the
 * vocabulary. */
weft_status tokenizer_piece(const struct tokenizer *t, int32_t token, unsigned flags,
                            struct bytes *out, weft_error *err);

size_t tokenizer_n_vocab(const struct tokenizer *t);
/* Returns the text as it is stored; it lives as long as t. */
struct gguf_str tokenizer_text(const struct tokenizer *t, int32_t token);
enum token_type tokenizer_type(const struct tokenizer *t, int32_t token);
/* Finds the token with exactly this stored text; -1 if there is none. */
int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n);
/* Returns true for eos, eot, eom and for tokens with the known names of such tokens. */
bool tokenizer_is_end(const struct tokenizer *t, int32_t token);
/* Returns -1 if there is none. */
int32_t tokenizer_bos(const struct tokenizer *t);
int32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_adds_bos(const struct tokenizer *t);
bool tokenizer_adds_eos(const struct tokenizer *t);

#endif
