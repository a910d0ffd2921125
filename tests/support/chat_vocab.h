/* Small vocabularies with the control tokens of the chat templates. */
#ifndef TESTS_CHAT_VOCAB_H
#define TESTS_CHAT_VOCAB_H

#include "text/tokenizer.h"

/* The special tokens; ids 0 to 2 are <unk>, <s> and </s>. */
enum { N_CHAT_SPECIALS = 19 };
extern const char *const chat_specials[N_CHAT_SPECIALS];

struct vocab_options {
    /* The value of general.name. "phi3" makes control tokens take the white space behind them. */
    const char *name;
    size_t n_specials; /* the number of chat_specials that the vocabulary has */
    uint32_t type;     /* the token type of those behind </s> */
    bool prefix;       /* a space is put in front of a text */
    bool bos;
    bool no_eos;
};

/* All tokens, as control tokens; BOS is wanted. */
extern const struct vocab_options chat_vocab_full;

/* Makes a vocabulary of one token per byte, a few merged tokens, and control tokens. */
struct tokenizer *chat_vocab(const struct vocab_options *o);

#endif
