/* What a trigger and its grammar allow, written the slow way: for every question the whole text is
 * read again from its beginning, byte by byte. Only the grammar itself is followed by a matcher. */
#ifndef TESTS_TRIGGER_MODEL_H
#define TESTS_TRIGGER_MODEL_H

#include "draw/matcher.h"

struct trigger_model {
    const struct tokenizer *tokenizer;
    const weft_trigger *trigger;
    struct matcher *matcher;
    /* The text that the last token belongs to: free, from the last marker on, or behind the
     * trigger. */
    bool pulled, held;
    struct bytes text;
};

/* The functions end the test if they fail. */
struct trigger_model trigger_model_open(const struct tokenizer *t, const weft_trigger *trigger,
                                        const char *gbnf);
void trigger_model_close(struct trigger_model *m);
/* Reads the tokens from `start` on; behind tokens[start - 1] a text begins. */
void trigger_model_read(struct trigger_model *m, const int32_t *tokens, size_t start, size_t n);
/* Returns true if the token may follow. */
bool trigger_model_allows(struct trigger_model *m, int32_t token);
/* Returns true if the text is free and the token would complete a trigger text and go on. */
bool trigger_model_goes_on(struct trigger_model *m, int32_t token);
/* Sets the bits of the tokens that may follow, and returns how many they are. */
size_t trigger_model_mask(struct trigger_model *m, uint64_t *mask);

#endif
