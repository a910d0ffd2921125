/* A walk through a grammar: each byte of the input chooses one of the tokens that may follow. */
#ifndef FUZZ_WALK_H
#define FUZZ_WALK_H

#include "draw/matcher.h"
#include "fuzz.h"
#include "run/model_api.h"

/* The most seconds and bytes that a mask may take, however ambiguous the grammar is. The seconds
 * allow for sanitizers, which make it about ten times slower. */
enum { FUZZ_MASK_SECONDS = 8, FUZZ_MASK_BYTES = 128 << 20 };

static inline const uint64_t *fuzz_mask(struct matcher *m, const struct token_trie *trie)
{
    const uint64_t *mask = NULL;
    struct fuzz_cost begin = fuzz_begin();
    MUST(matcher_mask(m, trie, &mask, NULL) == WEFT_OK);
    MUST(fuzz_seconds() - begin.seconds <= FUZZ_MASK_SECONDS);
    MUST(fuzz_peak - begin.bytes <= FUZZ_MASK_BYTES);
    return mask;
}

/* Characters that open and close the parts of a text in the usual languages. A walk prefers the
 * tokens that are just such a character; otherwise it would hardly ever close anything, and the
 * text would not end. */
static const char fuzz_marks[] = "\"}],:{[0x-\n ";
static int32_t fuzz_mark_tokens[sizeof fuzz_marks - 1];

static inline void fuzz_closers(const weft_model *model)
{
    for (size_t i = 0; i < sizeof fuzz_marks - 1; i++) {
        MUST(weft_tokenize(model, &fuzz_marks[i], 1, 0, &fuzz_mark_tokens[i], 1, NULL, NULL) ==
             WEFT_OK);
    }
}

static inline bool fuzz_allows(const uint64_t *mask, int32_t token)
{
    return (mask[(size_t)token / 64] >> (size_t)token % 64 & 1) != 0;
}

/* Chooses a token that writes something and may follow; -1 if there is none. */
static inline int32_t fuzz_choose(struct matcher *m, const struct token_trie *trie, uint8_t byte)
{
    const uint64_t *mask = fuzz_mask(m, trie);
    int32_t mark = fuzz_mark_tokens[byte % (sizeof fuzz_marks - 1)];
    if (byte < 160 && fuzz_allows(mask, mark)) {
        return mark;
    }
    for (size_t i = 0, at = byte * 2654435761u % trie->n_tokens; i < trie->n_tokens; i++, at++) {
        int32_t token = trie->tokens[at % trie->n_tokens];
        if (fuzz_allows(mask, token)) {
            return token;
        }
    }
    return -1;
}

#endif
