/* Conversations with tools for templates that do not know tools. */
#ifndef WEFT_WITHOUT_TOOLS_H
#define WEFT_WITHOUT_TOOLS_H

#include "chat/messages.h"

/* Returns true if the template does not tell the model about tools. */
bool without_tools(const struct template_traits *traits);
/* Says with text what a template leaves out, in the form that reply.h reads back. If it tells
 * nothing about tools, the system message does so (NULL = no tools), or the first message of a user
 * where the template has no system message, and a result becomes a user's message. If it writes no
 * calls, they become content. */
weft_status without_tools_rewrite(struct messages *m, const struct template_traits *traits,
                                  const json_t *tools, weft_error *err);

#endif
