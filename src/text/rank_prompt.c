/* The prompt of Qwen3-Reranker as its authors document it, with their instruction for web search.
 */
#include "text/rank_prompt.h"

#include <string.h>

#include "text/special.h"

static const char *const texts[] = {
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    "the Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n"
    "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that "
    "answer the query\n<Query>: ",
    "\n<Document>: ",
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
};
/* The special tokens of these texts. */
#define OWN "<|im_start|> <|im_end|> <think> </think>"
static const char *const controls[] = { "<|im_start|>", "<|im_end|>" };

bool rank_prompt_known(const char *text, size_t n)
{
    const char *const parts[] = { texts[0], "{query}", texts[1], "{document}", texts[2] };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t length = strlen(parts[i]);
        if (n < length || memcmp(text, parts[i], length) != 0) {
            return false;
        }
        text += length;
        n -= length;
    }
    return n == 0;
}

static weft_status check_controls(const struct tokenizer *t, weft_error *err)
{
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++) {
        int32_t id = tokenizer_find(t, controls[i], strlen(controls[i]));
        enum token_type type = id < 0 ? TOKEN_NORMAL : tokenizer_type(t, id);
        if (type != TOKEN_CONTROL && type != TOKEN_USER_DEFINED) {
            return error_set(
                err, WEFT_E_UNSUPPORTED,
                "the prompt of rerankers needs the control token %s, which the model's "
                "vocabulary lacks",
                controls[i]);
        }
    }
    return WEFT_OK;
}

static bool put(struct bytes *text, struct bytes *foreign, const char *s, size_t n, bool caller)
{
    for (size_t i = 0; i < n; i++) {
        const char who = caller;
        if (!bytes_add(foreign, &who, 1)) {
            return false;
        }
    }
    return bytes_add(text, s, n);
}

weft_status rank_prompt(const struct tokenizer *t, struct gguf_str query, struct gguf_str document,
                        struct tokens *out, weft_error *err)
{
    struct bytes text = { 0 }, foreign = { 0 };
    TRY(check_controls(t, err));
    weft_status status;
    if (put(&text, &foreign, texts[0], strlen(texts[0]), false) &&
        put(&text, &foreign, query.s, query.n, true) &&
        put(&text, &foreign, texts[1], strlen(texts[1]), false) &&
        put(&text, &foreign, document.s, document.n, true) &&
        put(&text, &foreign, texts[2], strlen(texts[2]), false)) {
        const struct written by = { (const uint8_t *)foreign.data, OWN, sizeof OWN - 1 };
        status = tokenizer_encode_written(t, text.data, text.n, &by, 0, out, err);
    } else {
        status = error_nomem(err, "the prompt of a reranker", query.n + document.n);
    }
    bytes_free(&text);
    bytes_free(&foreign);
    return status;
}
