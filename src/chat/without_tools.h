/* Conversations with tools for templates that do not know tools. */
#ifndef WEFT_WITHOUT_TOOLS_H
#define WEFT_WITHOUT_TOOLS_H

#include "chat/messages.h"

/* Returns true if the template neither lists tools nor writes tool calls. */
bool without_tools(const struct template_traits *traits);
/* Says with text what such a template leaves out, in the form that reply.h reads back: the system
 * message tells the model about the tools (NULL = none), a call becomes content, and a result
 * becomes a user's message. */
weft_status without_tools_rewrite(struct messages *m, const json_t *tools, weft_error *err);

#endif
