/* What the names in tokenizer.ggml.pre stand for: the patterns that divide a text into words, and
 * what else llama.cpp ties to a name. Several names may share their patterns. */
#ifndef WEFT_PRETOKENIZERS_H
#define WEFT_PRETOKENIZERS_H

#include "format/gguf.h"

enum { PRETOKENIZER_MAX_PATTERNS = 6 };

enum pretokenizer_traits {
    PRE_WHOLE_WORDS = 1,    /* a word that is a token is taken whole, whatever the merges say */
    PRE_WHOLE_NEWLINES = 2, /* so is one of newlines only */
    PRE_ADDS_BOS = 4,       /* a text begins with BOS unless the file says otherwise */
    PRE_ALWAYS_BOS = 8,     /* ... and also then */
    PRE_CHARACTERS = 16,    /* tokens are written in UTF-8, with U+2581 for a space and <0xHH> for a
                               byte, not in the alphabet of bytes */
    PRE_MASK_STRIPS = 32    /* the token <mask> takes the white space before it along */
};

struct pretokenizer_name {
    const char *name;
    const char *const *patterns; /* each divides further what those before it left; NULL ends them.
                                    NULL instead of the list: Weft does not run this name */
    unsigned traits;
    const char *why; /* it is not run, and what to do */
};

extern const struct pretokenizer_name pretokenizer_names[];
extern const size_t n_pretokenizer_names;

/* *out: the row of a name that Weft runs. WEFT_E_UNSUPPORTED: a name that it does not run, with the
 * reason, or that it does not know, with those that stand for a pattern each. */
weft_status pretokenizers_find(struct gguf_str name, const struct pretokenizer_name **out,
                               weft_error *err);

#endif
