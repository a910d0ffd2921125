/* The names of tokenizer.ggml.pre: the patterns that split a text into words, and what else
 * llama.cpp ties to a name. Several names may share their patterns. */
#ifndef WEFT_PRETOKENIZERS_H
#define WEFT_PRETOKENIZERS_H

#include "format/gguf.h"

enum { PRETOKENIZER_MAX_PATTERNS = 6 };

enum pretokenizer_traits {
    /* If a whole word is a token, it becomes that token, whatever the merges say. */
    PRE_WHOLE_WORDS = 1,
    /* If a word of newlines is a token, it becomes that token, whatever the merges say. */
    PRE_WHOLE_NEWLINES = 2,
    /* A text begins with BOS unless the file says otherwise. */
    PRE_ADDS_BOS = 4,
    /* A text begins with BOS even if the file says otherwise. */
    PRE_ALWAYS_BOS = 8,
    /* Tokens are written in UTF-8, with U+2581 for a space and <0xHH> for a byte, not in the
     * alphabet of bytes. */
    PRE_CHARACTERS = 16,
    /* The token <mask> includes the white space before it. */
    PRE_MASK_STRIPS = 32
};

struct pretokenizer_name {
    const char *name;
    /* Each pattern splits the pieces that the patterns before it have left; NULL ends the list. If
     * the list itself is NULL, Weft does not run this name. */
    const char *const *patterns;
    unsigned traits;
    /* Why Weft does not run the name, and what to do. */
    const char *why;
};

extern const struct pretokenizer_name pretokenizer_names[];
extern const size_t n_pretokenizer_names;

/* Finds the row of a name that Weft runs. WEFT_E_UNSUPPORTED: the message gives the reason if Weft
 * knows the name but does not run it; if the name is unknown, it lists one name for each list of
 * patterns. */
weft_status pretokenizers_find(struct gguf_str name, const struct pretokenizer_name **out,
                               weft_error *err);

#endif
