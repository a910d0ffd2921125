/* The struct behind the public handle of a prompt. */
#ifndef WEFT_PROMPT_API_H
#define WEFT_PROMPT_API_H

#include "chat/prompt.h"
#include "run/api.h"

struct weft_prompt {
    uint32_t magic;
    weft_model *model; /* a reference */
    struct prompt prompt;
    struct bytes tools; /* the JSON that it was made with; empty = none */
};

weft_status prompt_check(const weft_prompt *p, weft_error *err);

#endif
