/* The messages of a conversation as JSON, in the shape of OpenAI's API, made ready for a template.
 */
#ifndef WEFT_MESSAGES_H
#define WEFT_MESSAGES_H

#include "chat/template.h"

/* The index of the answer that stands in front of messages that continue a conversation. */
enum { MESSAGES_ANSWER = 1 };

struct messages {
    json_t *list;
    /* The names of the roles, which messages share. They are part of a template's vocabulary, so
     * they count as written by the template. */
    json_t *roles[N_ROLES];
};

/* Copies the messages, checks them, and gives contents and arguments the form that the template
 * writes: parts of text become one string or the reverse, arguments become objects or texts, and a
 * null content becomes "". For a template that does not know tools, text says what it leaves out:
 * the tools (NULL = none), calls and results. If the messages continue a conversation, a question
 * and an answer stand in front of them, in place of that conversation. Errors: WEFT_E_ARG names the
 * message and the member. */
weft_status messages_open(const json_t *list, const struct template_traits *traits,
                          const json_t *tools, bool continues, struct messages *out,
                          weft_error *err);
void messages_close(struct messages *m);
/* Returns N_ROLES if message i does not exist. */
enum message_role messages_role(const struct messages *m, size_t i);
/* Returns the texts of the parts of a content as one string, with line breaks between them; NULL if
 * memory is out. */
json_t *messages_join_parts(const json_t *parts);
/* Checks a list of tools: objects of type "function" that have a function with a name. */
weft_status messages_check_tools(const json_t *tools, weft_error *err);

#endif
