#include "support/chat_vocab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "synth/writer.h"

const char *const chat_specials[N_CHAT_SPECIALS] = { "<unk>",
                                                     "<s>",
                                                     "</s>",
                                                     "<|im_start|>",
                                                     "<|im_end|>",
                                                     "<|im_sep|>",
                                                     "<|system|>",
                                                     "<|user|>",
                                                     "<|assistant|>",
                                                     "<|end|>",
                                                     "<|start_header_id|>",
                                                     "<|end_header_id|>",
                                                     "<|eot_id|>",
                                                     "[INST]",
                                                     "[/INST]",
                                                     "<think>",
                                                     "</think>",
                                                     "<tool_call>",
                                                     "</tool_call>" };

const struct vocab_options chat_vocab_full = { "test", N_CHAT_SPECIALS, TOKEN_CONTROL, false, true,
                                               false };

struct tokenizer *chat_vocab(const struct vocab_options *o)
{
    static const char *const words[] = {
        "\xe2\x96\x81", "\xe2\x96\x81\xe2\x96\x81", "el", "lo",           "ello",
        "Hello",        "\xe2\x96\x81Hello",        "[I", "\xe2\x96\x81["
    };
    enum { N_WORDS = sizeof words / sizeof words[0] };
    size_t n = o->n_specials + 256 + N_WORDS;
    float scores[400] = { 0 };
    int32_t types[400] = { TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_CONTROL };
    struct gguf_writer w;
    writer_init(&w);
    writer_str(&w, "general.architecture", "llama");
    writer_str(&w, "general.name", o->name);
    writer_str(&w, "tokenizer.ggml.model", "llama");
    writer_strs(&w, "tokenizer.ggml.tokens", n);
    for (size_t i = 0; i < o->n_specials; i++) {
        writer_add_str(&w, chat_specials[i], strlen(chat_specials[i]));
        types[i] = i < 3 ? types[i] : (int32_t)o->type;
    }
    for (size_t i = 0; i < 256; i++) {
        char text[8];
        int len = snprintf(text, sizeof text, "<0x%02X>", (unsigned)i);
        writer_add_str(&w, text, (size_t)len);
        types[o->n_specials + i] = TOKEN_BYTE;
    }
    for (size_t i = 0; i < N_WORDS; i++) {
        writer_add_str(&w, words[i], strlen(words[i]));
        types[o->n_specials + 256 + i] = TOKEN_NORMAL;
        scores[o->n_specials + 256 + i] = (float)i;
    }
    writer_array(&w, "tokenizer.ggml.scores", GGUF_F32, n, scores, n * sizeof scores[0]);
    writer_array(&w, "tokenizer.ggml.token_type", GGUF_I32, n, types, n * sizeof types[0]);
    writer_u32(&w, "tokenizer.ggml.bos_token_id", 1);
    if (!o->no_eos) {
        writer_u32(&w, "tokenizer.ggml.eos_token_id", 2);
    }
    writer_bool(&w, "tokenizer.ggml.add_bos_token", o->bos);
    writer_bool(&w, "tokenizer.ggml.add_space_prefix", o->prefix);
    struct bytes file = { 0 };
    weft_error err;
    assert_int_equal(writer_finish(&w, &file, &err), WEFT_OK);
    writer_free(&w);
    char path[] = "/tmp/weft-chat-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, file.data, file.n), file.n);
    close(fd);
    free(file.data);
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    assert_int_equal(gguf_open(path, true, &g, &err), WEFT_OK);
    assert_int_equal(tokenizer_open(g, &t, &err), WEFT_OK);
    gguf_close(g);
    unlink(path);
    return t;
}
