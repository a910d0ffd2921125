/* The prompt of Qwen3-Reranker, in which a document is judged by a query. */
#ifndef WEFT_RANK_PROMPT_H
#define WEFT_RANK_PROMPT_H

#include "base/error.h"
#include "text/tokenizer.h"

/* Returns true if this text of tokenizer.chat_template.rerank is that prompt, with {query} and
 * {document} in the places of both. */
bool rank_prompt_known(const char *text, size_t n);
/* Appends the ids of the prompt. Query and document may be any bytes. WEFT_E_UNSUPPORTED: the
 * vocabulary lacks a control token of the prompt. On failure *out is unchanged. */
weft_status rank_prompt(const struct tokenizer *t, struct gguf_str query, struct gguf_str document,
                        struct tokens *out, weft_error *err);

#endif
