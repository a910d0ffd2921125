/* Turns chat messages into token ids. The text of a message never becomes a control token. */
#ifndef WEFT_CHAT_H
#define WEFT_CHAT_H

#include "base/error.h"
#include "base/mem.h"
#include "chat/template.h"
#include "text/tokenizer.h"

/* Appends the ids of the messages, as weft_chat_tokens() describes it. On failure *out is
 * unchanged. */
weft_status chat_encode(const struct chat_template *c, const struct tokenizer *t,
                        const weft_message *messages, size_t n, const weft_chat_params *params,
                        struct tokens *out, weft_error *err);

#endif
