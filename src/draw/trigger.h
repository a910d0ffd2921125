/* Where free text goes over to a grammar: behind one of several texts, or behind one of several
 * tokens. A token may complete a trigger text and go on. It is then allowed only if the grammar
 * allows its further bytes at the beginning of a text, so nothing ever has to be taken back.
 *
 * Few tokens go on behind a trigger, and most of them never come up in a draw. So a draw from the
 * best logits asks trigger_goes_on() about each of these, and needs no mask. A draw from all logits
 * takes a mask, because what a sampler keeps depends on every candidate. The mask of the place
 * where nothing of a trigger has begun is made once, by a walk over all tokens. At other places
 * only the tokens that complete a trigger begun before them can differ, and they are few nodes of
 * the trie.
 *
 * Between two markers the text is held: only the closing marker is looked for. There is a mask for
 * the beginning of held text, too. A token that completes a marker begun before it leads to a place
 * that neither of the two masks knows, so all tokens that go on behind it are decided anew. */
#ifndef WEFT_TRIGGER_H
#define WEFT_TRIGGER_H

#include "draw/matcher.h"
#include "text/search.h"

enum { TRIGGER_MAX_TOKENS = 16 };

/* A place in free text. All zeros: nothing of a trigger or a marker has begun. */
struct trigger_at {
    struct search_at texts;  /* of the triggers; not in held text */
    struct search_at marker; /* of the one that may come */
    bool held;
};

/* A place in the trie while a mask is made: in free text, or behind a trigger. */
struct trigger_place {
    struct trigger_at at;
    bool apart; /* a marker that had begun before the token is complete */
    struct matcher_place behind;
};

/* What is known of the tokens where nothing of a trigger or a marker has begun. */
struct trigger_start {
    /* [2, n_words] The tokens that trigger_goes_on() has looked at there; and those of them that go
     * on. The same few tokens come up again and again. */
    uint64_t *known;
    uint64_t *mask; /* [n_words] the tokens allowed there; NULL = not made yet */
};

struct trigger {
    struct search texts;
    struct search markers[2]; /* what opens a hold, and what closes it; of one text or of none */
    bool begins_held;
    int32_t tokens[TRIGGER_MAX_TOKENS];
    size_t n_tokens;
    /* The free text up to here. */
    struct trigger_at at;
    /* A trigger has come; the grammar holds. */
    bool pulled;
    struct bytes piece;             /* the text of one token */
    size_t n_words;                 /* of a bit for each token */
    struct trigger_start starts[2]; /* of text that is not held, and of held text if there is any */
    uint64_t *here;                 /* [n_words] the tokens allowed here; NULL = not made yet */
    struct trigger_place *path;     /* [cap_path], by depth in the trie */
    size_t cap_path;
};

/* Copies `p`. WEFT_E_ARG: too many texts or tokens; an empty or too long text; a token that is
 * outside the vocabulary or ends texts; held text that nothing closes. */
weft_status trigger_open(const weft_trigger *p, const struct tokenizer *t, struct trigger **out,
                         weft_error *err);
weft_status trigger_copy(const struct trigger *t, struct trigger **out, weft_error *err);
/* These two functions accept NULL. */
void trigger_close(struct trigger *t);
size_t trigger_bytes(const struct trigger *t);

/* Free text begins. */
void trigger_restart(struct trigger *t);
/* Reads a token of free text that does not end it. If it completes a trigger, the matcher, which is
 * at its beginning, reads what the token holds behind that. WEFT_E_NOMEM: nothing was read. */
weft_status trigger_read(struct trigger *t, struct matcher *m, const struct tokenizer *tokenizer,
                         int32_t token, weft_error *err);
/* *on is true if the token, as the next one of free text, would complete a trigger text and go on
 * behind it. */
weft_status trigger_goes_on(struct trigger *t, const struct tokenizer *tokenizer, int32_t token,
                            bool *on, weft_error *err);
/* *mask has the bits of the tokens that may follow in free text; NULL = all. It is valid until the
 * next call. Every call must use the same trie, which is the tokenizer's. */
weft_status trigger_mask(struct trigger *t, struct matcher *m, const struct tokenizer *tokenizer,
                         const struct token_trie *trie, const uint64_t **mask, weft_error *err);

#endif
