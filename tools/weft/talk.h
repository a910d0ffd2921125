/* A conversation and the sequence that holds it. The messages are the truth; the sequence is a
 * cache of them that is continued where possible and rebuilt, from the first token that differs,
 * where not. */
#ifndef WEFT_TALK_H
#define WEFT_TALK_H

#include "weft/generate.h"
#include "weft/session.h"

struct turn_message {
    const char *role;
    char *content;
    size_t start; /* of a user's message: tokens in the sequence before it; UNKNOWN_START after a
                     rebuild */
};
#define UNKNOWN_START SIZE_MAX

struct talk {
    struct session *session;
    struct options *o; /* limit, template and sampling may change between turns */
    struct generated answer;
    struct turn_message *messages;
    size_t n, cap;
    size_t base;       /* tokens of a loaded state, which come before the messages; 0 = none */
    int32_t base_last; /* of these */
    bool rebuild;      /* the sequence does not end where the last answer ends */
    struct figures figures;
    uint32_t hash;
};

int talk_open(struct talk *t);
void talk_close(struct talk *t);
/* Hands in a message, streams the answer to standard output and keeps both. When the message is
 * refused (an error was printed), the conversation is as before. */
int talk_say(struct talk *t, const char *text);
/* Takes the last message and its answer back. Returns the message (to be freed), NULL if there is
 * none. */
char *talk_undo(struct talk *t);
/* Starts over; `system` NULL: with the same system prompt. */
int talk_restart(struct talk *t, const char *system);
/* Keeps the conversation in a file; an answer that was cut is ended there. */
int talk_save(struct talk *t, const char *path);
/* Replaces the conversation by the one in a file, system prompt included. Its messages are not
 * known: nothing reaches back behind this point but talk_restart(), which drops it, and goes back
 * to the system prompt of before. */
int talk_load(struct talk *t, const char *path);
/* Uses t->o's sampling from now on. */
int talk_set_sampling(struct talk *t);

#endif
