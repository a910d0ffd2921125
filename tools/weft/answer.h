/* The parts of an answer, as a conversation keeps them. */
#ifndef WEFT_TOOL_ANSWER_H
#define WEFT_TOOL_ANSWER_H

#include "weft/generate.h"

struct answer_parts {
    struct bytes content, reasoning;
};

/* Splits the answer to a prompt; what looks like a tool call is content. Prints errors and returns
 * the exit code. */
int answer_split(const struct session *s, const weft_prompt *prompt, const struct generated *g,
                 struct answer_parts *out);
void answer_parts_free(struct answer_parts *parts);

#endif
