/* A conversation and the sequence that holds it. The messages are the truth. The sequence is only a
 * cache: it is continued if possible, and otherwise rebuilt from the first token that differs. */
#ifndef WEFT_TALK_H
#define WEFT_TALK_H

#include "weft/generate.h"
#include "weft/prompt.h"

/* For a user's message: the tokens and the bytes of text in the sequence before it. */
struct turn_start {
    size_t n_tokens, n_bytes;
};

struct talk {
    struct session *session;
    /* Limit, template and sampling may change between turns. */
    struct options *o;
    struct generated answer;
    struct prompt_setup setup;
    json_t *messages;
    struct turn_start *starts; /* [n, cap] of each message */
    size_t n, cap;
    /* The text of the sequence behind `base`, control tokens included, as far as it is known. */
    struct bytes text;
    /* The tokens of a loaded state, which come before the messages; 0 = none. */
    size_t base;
    int32_t base_last; /* the last token of that state */
    struct figures figures;
    uint32_t hash;
};

int talk_open(struct talk *t);
void talk_close(struct talk *t);
/* Hands in a message, streams the answer to standard output and keeps both. If the message is
 * refused (with a printed error), the conversation is as before. */
int talk_say(struct talk *t, const char *text);
/* Takes back the last message and its answer. *text is the message, which the caller frees; NULL if
 * there is none. */
int talk_undo(struct talk *t, char **text);
/* Starts over. If `system` is NULL, the system prompt stays the same. */
int talk_restart(struct talk *t, const char *system);
/* Saves the conversation to a file; an answer that was cut is ended there. */
int talk_save(struct talk *t, const char *path);
/* Replaces the conversation, system prompt included, by the one in a file. Its messages are not
 * known, so nothing can be taken back beyond this point. Only talk_restart() drops the loaded
 * conversation; the next conversation then has the system prompt from before the load again, unless
 * talk_restart() gets another. */
int talk_load(struct talk *t, const char *path);
/* Sets whether a template that knows it lets the model think before it answers. */
int talk_set_thinking(struct talk *t, bool on);
/* Uses t->o's sampling from now on. */
int talk_set_sampling(struct talk *t);

#endif
