/* Renders a conversation and makes ids of it. */
#ifndef WEFT_PROMPT_H
#define WEFT_PROMPT_H

#include "chat/messages.h"
#include "text/special.h"

/* What is rendered. */
struct prompt_how {
    const json_t *tools;     /* checked by messages_check_tools(), or NULL */
    const json_t *variables; /* an object, or NULL: further variables of the template */
    /* Writes the beginning of the assistant's turn at the end. */
    bool add_prompt;
    /* Continues the last message, which is an assistant's: the text ends with its content. */
    bool prefill;
    /* The messages follow an answer. The text begins behind the content of that answer; the ids
     * begin behind the token that ends its turn, or with that token if the answer was cut. */
    bool continues, cut;
    int64_t now; /* of strftime_now() */
};

/* A conversation that was rendered. Set it to zeros at first. */
struct prompt {
    struct jinja_text text;
    struct tokens ids;
    size_t opening; /* the assistant's turn begins at this byte of the text */
    char *source;   /* [n_source] the template */
    size_t n_source;
    struct bytes own; /* texts of the template, as in struct chat_template */
    bool told;        /* the tools are told in the way of without_tools.h */
};

/* Renders an array of messages in the shape of OpenAI's API. On failure *out is empty. Errors:
 * those of messages_open() and jinja_render(), with the words of a template that raised an
 * exception; WEFT_E_ARG (the last message cannot be continued, a variable has a name that is
 * taken). */
weft_status prompt_make(const struct chat_template *c, const struct tokenizer *t,
                        const json_t *messages, const struct prompt_how *how, struct prompt *out,
                        weft_error *err);
void prompt_free(struct prompt *p);
/* Appends the ids of the text from byte `from` on. flags: those of tokenizer_encode_written(). */
weft_status prompt_encode(const struct prompt *p, const struct tokenizer *t, size_t from,
                          unsigned flags, struct tokens *out, weft_error *err);

#endif
