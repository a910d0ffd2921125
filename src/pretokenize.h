/* Splits text into the words that byte-level BPE works on, by the published patterns that
 * tokenizer.ggml.pre names. PCRE2 runs them, with the JIT compiler where the machine has one. */
#ifndef WEFT_PRETOKENIZE_H
#define WEFT_PRETOKENIZE_H

#include "gguf.h"
#include "mem.h"

struct pretokenizer; /* compiled patterns; read-only, shared by threads */
struct splitter;     /* what one thread needs to run them, and its result */

/* WEFT_E_UNSUPPORTED for an unknown name; the message lists those known. */
weft_status pretokenizer_open(struct gguf_str name, struct pretokenizer **out, weft_error *err);
void pretokenizer_close(struct pretokenizer *p);
bool pretokenizer_ignores_merges(
    const struct pretokenizer *p); /* a word that is a token is taken whole */
bool pretokenizer_adds_bos(const struct pretokenizer *p); /* unless the file says otherwise */

weft_status splitter_open(const struct pretokenizer *p, struct splitter **out, weft_error *err);
void splitter_close(struct splitter *s);

/* The words of text[n], any bytes: word i ends before ends[i] and begins where the one before it
 * ends; the last one ends at n. The array lives until the next call. */
weft_status splitter_run(struct splitter *s, const char *text, size_t n, const size_t **ends,
                         size_t *n_words, weft_error *err);

#endif
