/* A chat template that is ready for use: its source, parsed, and what it can do. */
#ifndef WEFT_TEMPLATE_H
#define WEFT_TEMPLATE_H

#include "chat/builtin.h"
#include "text/jinja.h"
#include "text/tokenizer.h"

enum message_role { ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL, N_ROLES };

/* What a template does with the forms that a message may have, as trial renderings show. */
struct template_traits {
    /* It writes contents that are strings; and, for each role, contents that are lists of parts. */
    bool strings, parts[N_ROLES];
    /* It writes the arguments of a tool call that are an object, and those that are a text. */
    bool objects, texts;
    /* It writes the calls of an assistant's message whose content is null, and "". */
    bool nulls, empties;
    /* It knows the roles. */
    bool system, developer;
    /* It reads the list of tools. */
    bool tools;
};

struct chat_template {
    struct jinja *jinja;
    char *source; /* [n], a copy */
    size_t n;
    /* Texts of the template: its source, and what it writes in trials with each role; a NUL stands
     * behind each. The user-defined tokens in them are its own. */
    struct bytes own;
    const struct builtin *builtin; /* NULL: the template is not built in */
    struct template_traits traits;
};

/* Appends what the template has written into a text to a list such as `own`. */
bool template_add_own(struct bytes *own, const struct jinja_text *text);

/* Parses source[n] and tries it out. Errors: those of jinja_parse(). */
weft_status template_open(const char *source, size_t n, struct chat_template **out,
                          weft_error *err);
/* Opens a built-in template. WEFT_E_UNSUPPORTED: the name is unknown (the message lists the names),
 * or the vocabulary lacks a control token of the template. */
weft_status template_open_builtin(const char *name, const struct tokenizer *t,
                                  struct chat_template **out, weft_error *err);
void template_close(struct chat_template *c); /* NULL is allowed */

#endif
