/* What a built-in chat template is: the text around the content of each role. Private to chat*.c.
 */
#ifndef WEFT_CHAT_TEMPLATES_H
#define WEFT_CHAT_TEMPLATES_H

#include "text/chat.h"

/* In a piece of a template: the vocabulary's end-of-text token. */
#define EOS "\001"

enum { MAX_CONTROLS = 5 };

/* What stands around the content of a role. The first control token of the assistant's `after` ends
 * its turn. */
struct turn {
    const char *before, *after;
};

struct chat_template {
    const char *name;
    struct turn system, user, assistant;
    const char *prompt;                 /* opens the assistant's turn */
    const char *default_system;         /* when the first message is not a system message */
    const char *controls[MAX_CONTROLS]; /* without them the vocabulary does not fit */
    const char
        *optional[MAX_CONTROLS]; /* control tokens in some vocabularies, plain text in others */
    bool merges_system; /* it stands in the first user turn; user and assistant alternate */
    bool next_bos;      /* every user turn but the first begins with BOS */
    bool trim_user, trim_assistant, trim_system;
};

#endif
