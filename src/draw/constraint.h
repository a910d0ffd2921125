/* The grammar of a sequence: which of its tokens were generated under it, and which may come next.
 * A text begins after the last appended token or after an end token. It follows the grammar from
 * its beginning on or, with a trigger, from the trigger on, and is free before that. The text is
 * read only when the next token is asked for, so rewinding and failing calls have nothing to
 * undo. */
#ifndef WEFT_CONSTRAINT_H
#define WEFT_CONSTRAINT_H

#include "draw/matcher.h"
#include "draw/trigger.h"

struct constraint {
    const struct tokenizer *tokenizer;
    const struct token_trie *trie;
    struct matcher *matcher;
    struct trigger *trigger; /* NULL = the grammar holds from the beginning on */
    /* Where the text begins that the last token belongs to. */
    size_t start;
    size_t from, at; /* tokens[from .. at) were read; at == SIZE_MAX: they must be read again */
    size_t base;     /* tokens of the sequence when the grammar was set */
    /* For each token behind base: 1 = generated, 0 = appended. */
    struct bytes generated;
};

/* Opens a constraint for a sequence that holds n_tokens; the next generated token begins a text. If
 * it succeeds, it takes over the matcher, which must be at its beginning, and the trigger, which
 * may be NULL. The other pointers are borrowed.
 * There is room for n_more tokens, as after constraint_reserve(). */
weft_status constraint_open(struct matcher *matcher, struct trigger *trigger,
                            const struct tokenizer *tokenizer, const struct token_trie *trie,
                            size_t n_tokens, size_t n_more, struct constraint **out,
                            weft_error *err);
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

/* Returns true if the text is free, as far as it has been read: the next draw may then need no
 * mask. Does not accept NULL. */
bool constraint_free(const struct constraint *c);
/* Reads the text as far as it is free. If memory is out, a later call reads the rest. */
void constraint_look(struct constraint *c, const struct tokens *tokens);
/* *may is true if a draw that looks at none but these tokens needs no mask: the text is free, and
 * none of them completes a trigger and goes on behind it. Ids below 0 are none. Does not accept
 * NULL. */
weft_status constraint_lets(struct constraint *c, const struct tokens *tokens, const int32_t *ids,
                            size_t n, bool *may, weft_error *err);
/* *mask has the bits of the tokens that may follow the tokens of the sequence; NULL = all. It is
 * valid until the next call. Does not accept NULL. */
weft_status constraint_mask(struct constraint *c, const struct tokens *tokens,
                            const uint64_t **mask, weft_error *err);

#endif
