#include "run/remarks.h"

#include <stdio.h>

#include "arch.h"

/* Early BPE files do not name their pattern, and the pattern that is used instead may not be the
 * model's. */
static void no_pattern(const struct gguf *g, const struct log *log)
{
    struct gguf_str model = { "", 0 };
    struct gguf_str pre = { "", 0 };
    if (gguf_opt_str(g, "tokenizer.ggml.model", &model, NULL) == WEFT_OK &&
        gguf_str_is(model, "gpt2") &&
        gguf_opt_str(g, "tokenizer.ggml.pre", &pre, NULL) == WEFT_OK && pre.n == 0) {
        log_line(log, WEFT_LOG_WARN,
                 "the file has no tokenizer.ggml.pre: the pattern 'default' is used, and token ids "
                 "may differ from the model's");
    }
}

/* Warns of ids of special tokens that are outside the vocabulary. */
static void no_token(const struct gguf *g, size_t n_vocab, const struct log *log)
{
    static const char *const names[] = { "bos", "eos", "unknown", "eot", "eom" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char key[64];
        uint32_t id = 0;
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", names[i]);
        if (gguf_opt_u32(g, key, &id, NULL) == WEFT_OK && id >= n_vocab) {
            log_line(log, WEFT_LOG_WARN,
                     "%s is %u, but the vocabulary has only %zu tokens (0 to %zu): it is ignored, "
                     "as if the "
                     "key were not there",
                     key, id, n_vocab, n_vocab - 1);
        }
    }
    const struct gguf_kv *kv = gguf_find(g, "tokenizer.ggml.eos_token_ids");
    for (size_t i = 0; kv != NULL && i < kv->n; i++) {
        int32_t id = gguf_i32_at(kv, i);
        if (id < 0 || (size_t)id >= n_vocab) {
            log_line(log, WEFT_LOG_WARN,
                     "%s[%zu] is %d, but the vocabulary has only %zu tokens (0 to %zu): it is "
                     "ignored, and so are others like it",
                     kv->key, i, (int)id, n_vocab, n_vocab - 1);
            break;
        }
    }
}

/* Warns of tokens whose type is 0, undefined. */
static void no_type(const struct gguf *g, const struct log *log)
{
    const struct gguf_kv *kv = gguf_find(g, "tokenizer.ggml.token_type");
    size_t n = 0, first = 0;
    for (size_t i = kv != NULL ? kv->n : 0; i-- > 0;) {
        if (gguf_i32_at(kv, i) == 0) {
            n++;
            first = i;
        }
    }
    if (n > 0) {
        log_line(log, WEFT_LOG_WARN,
                 "tokenizer.ggml.token_type of token %zu is 0 (undefined), of %zu tokens in all: "
                 "they are taken as normal ones (1)",
                 first, n);
    }
}

/* Says that a model is more than Weft runs of it. */
static void no_images(const struct model *m, const struct log *log)
{
    const struct arch *arch = arch_find(m->arch_name, strlen(m->arch_name));
    if (arch != NULL && arch->unread != NULL && !m->vocab_only) {
        log_line(log, WEFT_LOG_WARN, "Weft runs the text part of %s models and reads no %s",
                 arch->name, arch->unread);
    }
}

void remarks_log(const struct model *m, const struct log *log)
{
    no_images(m, log);
    no_pattern(m->file, log);
    no_token(m->file, tokenizer_n_vocab(m->tokenizer), log);
    no_type(m->file, log);
}
