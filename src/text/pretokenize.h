/* Splits text into the words that BPE works on, by the patterns that tokenizer.ggml.pre names.
 * PCRE2 runs them, with its JIT compiler if the machine has one. */
#ifndef WEFT_PRETOKENIZE_H
#define WEFT_PRETOKENIZE_H

#include "base/mem.h"
#include "format/gguf.h"
#include "text/pretokenizers.h"

/* Compiled patterns; they are only read, and threads share them. */
struct pretokenizer;
/* The memory in which one thread runs the patterns, and the result. */
struct splitter;

/* Returns WEFT_E_UNSUPPORTED if the name is unknown or if Weft does not run it:
 * pretokenizers_find(). */
weft_status pretokenizer_open(struct gguf_str name, struct pretokenizer **out, weft_error *err);
void pretokenizer_close(struct pretokenizer *p);
unsigned pretokenizer_traits(const struct pretokenizer *p); /* enum pretokenizer_traits */

weft_status splitter_open(const struct pretokenizer *p, struct splitter **out, weft_error *err);
void splitter_close(struct splitter *s);

/* Splits text[n], which may hold any bytes, into words. Word i ends before ends[i] and begins where
 * the word before it ends; the last one ends at n. The array lives until the next call. */
weft_status splitter_run(struct splitter *s, const char *text, size_t n, const size_t **ends,
                         size_t *n_words, weft_error *err);

#endif
