/* Conversations as prompts: reads what the options say about them, and has the chat template render
 * them. The functions print errors and return the exit code. */
#ifndef WEFT_TOOL_PROMPT_H
#define WEFT_TOOL_PROMPT_H

#include <jansson.h>

#include "weft/session.h"

/* What the options say about conversations. */
struct prompt_setup {
    const struct options *o;
    struct bytes source;   /* of the template; empty: that of the model or a built-in one */
    struct bytes messages; /* of --messages */
    struct bytes tools;    /* of --tools-file */
    json_t *variables;     /* of the template */
};

/* Reads the files that the options name. */
int prompt_setup(const struct options *o, struct prompt_setup *p);
void prompt_setup_free(struct prompt_setup *p);
/* Sets a variable of the template to true or false. */
int prompt_set_flag(struct prompt_setup *p, const char *name, bool value);

/* Appends a message to the list. What is not UTF-8 in `content` becomes U+FFFD, with a note. */
int prompt_add_message(json_t *list, const char *role, const char *content, size_t n);

/* How a list of messages is rendered. */
struct prompt_form {
    bool no_prompt, prefill;
    /* The messages follow an answer in a sequence; `last` is the last token of that sequence. */
    bool continues;
    int32_t last;
};
/* Renders the messages, or those of --messages if `messages` is NULL. */
/* Tries the template of the options on a short conversation, so that a mistake in it is told before
 * the first message comes. A template that refuses this conversation may like others. */
int prompt_try(const struct session *s, const struct prompt_setup *p);
int prompt_open(const struct session *s, const struct prompt_setup *p, const json_t *messages,
                const struct prompt_form *form, weft_prompt **out);
/* Gets the ids of the text from byte `from` on. */
int prompt_ids(const weft_prompt *prompt, size_t from, struct ids *out);
/* Appends the text. */
int prompt_text(const weft_prompt *prompt, struct bytes *out);

#endif
