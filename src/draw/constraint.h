/* The grammar of a sequence: which of its tokens were generated under it, and which may come next.
 * A text of the grammar begins after the last appended token or after an end token. The matcher
 * reads the text only when the next token is asked for, so rewinding and failing calls have nothing
 * to undo. */
#ifndef WEFT_CONSTRAINT_H
#define WEFT_CONSTRAINT_H

#include "draw/matcher.h"

struct constraint {
    const struct tokenizer *tokenizer;
    const struct token_trie *trie;
    struct matcher *matcher;
    size_t from, at; /* the matcher has read the text tokens[from .. at) */
    size_t base;     /* tokens of the sequence when the grammar was set */
    /* For each token behind base: 1 = generated, 0 = appended. */
    struct bytes generated;
};

/* Opens a constraint for a sequence that holds n_tokens; the next generated token begins a text. If
 * it succeeds, it takes over the matcher, which must be at its beginning. The other pointers are
 * borrowed.
 * There is room for n_more tokens, as after constraint_reserve(). */
weft_status constraint_open(struct matcher *matcher, const struct tokenizer *tokenizer,
                            const struct token_trie *trie, size_t n_tokens, size_t n_more,
                            struct constraint **out, weft_error *err);
weft_status constraint_copy(const struct constraint *c, struct constraint **out, weft_error *err);
/* This function and those below accept NULL and then do nothing. */
void constraint_close(struct constraint *c);
/* Returns the bytes of memory, without the grammar. */
size_t constraint_bytes(const struct constraint *c);

/* Makes room for n more tokens, so that adding them cannot fail. */
weft_status constraint_reserve(struct constraint *c, size_t n, weft_error *err);
void constraint_add(struct constraint *c, size_t n, bool generated);
/* Called when the sequence keeps only its first n tokens. */
void constraint_rewind(struct constraint *c, size_t n);
/* Called when the sequence holds n other tokens, none of which was generated under the grammar. */
void constraint_replace(struct constraint *c, size_t n);

/* *mask has the bits of the tokens that may follow the tokens of the sequence. It is valid until
 * the next call. */
weft_status constraint_mask(struct constraint *c, const struct tokens *tokens,
                            const uint64_t **mask, weft_error *err);

#endif
