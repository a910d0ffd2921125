/* The grammar of a sequence: which of its tokens were generated under it, and what may come next. A
 * text of the grammar is what was generated since the last token that was appended, or since an end
 * token; the matcher follows it when the next token is asked for, so that rewinding and failing
 * calls have nothing to undo. */
#ifndef WEFT_CONSTRAINT_H
#define WEFT_CONSTRAINT_H

#include "draw/matcher.h"

struct constraint {
    const struct tokenizer *tokenizer;
    const struct token_trie *trie;
    struct matcher *matcher;
    size_t from, at;        /* the matcher has read the text tokens[from .. at) */
    size_t base;            /* tokens of the sequence when the grammar was set */
    struct bytes generated; /* for each token behind base: 1 = generated, 0 = appended */
};

/* For a sequence that holds n_tokens; the next token generated begins a text. Takes the matcher,
 * which is at its beginning, if it succeeds; the other pointers are borrowed. */
weft_status constraint_open(struct matcher *matcher, const struct tokenizer *tokenizer,
                            const struct token_trie *trie, size_t n_tokens, struct constraint **out,
                            weft_error *err);
weft_status constraint_copy(const struct constraint *c, struct constraint **out, weft_error *err);
/* NULL is fine here, and nothing happens, as in the functions below. */
void constraint_close(struct constraint *c);
size_t constraint_bytes(const struct constraint *c); /* of memory, without the grammar */

/* Room for n more tokens, so that adding them cannot fail. */
weft_status constraint_reserve(struct constraint *c, size_t n, weft_error *err);
void constraint_add(struct constraint *c, size_t n, bool generated);
/* The sequence keeps its first n tokens. */
void constraint_rewind(struct constraint *c, size_t n);
/* The sequence holds n other tokens now; none of them was generated under the grammar. */
void constraint_replace(struct constraint *c, size_t n);

/* The bits of the tokens that may follow the tokens of the sequence; valid until the next call. */
weft_status constraint_mask(struct constraint *c, const struct tokens *tokens,
                            const uint64_t **mask, weft_error *err);

#endif
