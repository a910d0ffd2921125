/* A built-in chat template: the text around the content of each role. Private to chat*.c. */
#ifndef WEFT_CHAT_TEMPLATES_H
#define WEFT_CHAT_TEMPLATES_H

#include "text/chat.h"

/* Stands in a text of a template for the vocabulary's end-of-text token. */
#define EOS "\001"

enum { MAX_CONTROLS = 5 };

/* The text before and after the content of a role. The first control token of the assistant's
 * `after` ends its turn. */
struct turn {
    const char *before, *after;
};

struct chat_template {
    const char *name;
    struct turn system, user, assistant;
    const char *prompt;         /* opens the assistant's turn */
    const char *default_system; /* used if the first message is not a system message */
    /* Control tokens that the vocabulary must have. */
    const char *controls[MAX_CONTROLS];
    /* Control tokens in some vocabularies, plain text in others. */
    const char *optional[MAX_CONTROLS];
    /* The system message stands in the first user turn; user and assistant alternate. */
    bool merges_system;
    /* Every user turn but the first begins with BOS. */
    bool next_bos;
    bool trim_user, trim_assistant, trim_system;
};

/* The prompt of a reranker, which is no conversation: the text around the query stands in the
 * user's turn, and that around the document in the assistant's. */
extern const struct chat_template chat_rank_template;

#endif
