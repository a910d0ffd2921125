/* Shared by the abuse suite: an engine, a file and a computed sequence that must survive every
 * case, and a text that must come out the same after each function's cases. For one translation
 * unit: include it after cmocka.h. */
#ifndef TESTS_ABUSE_RIG_H
#define TESTS_ABUSE_RIG_H

#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

enum kind { NO_HANDLE, MODEL, ENGINE, SEQ, FILE_HANDLE, PROMPT, REPLY, N_KINDS };

enum { N_REFERENCE = 24, MAX_STATE = 8192 };

static struct rig rig;
static weft_file *file;
static weft_prompt *conversation;
static weft_reply *answer;
/* A computed sequence with text that nobody has taken yet and with log-probabilities. Every case
 * takes a fork of it. */
static weft_seq *base;
/* The state of `base`, also in a file. */
static uint8_t state_in[MAX_STATE];
static size_t n_state_in;
static const char *state_path;
static int32_t reference[N_REFERENCE];
static size_t n_cases;

static const int32_t ids_in[] = { 300, 301, 302 };
static const weft_engine_params engine_params = {
    .size = sizeof engine_params, .device = "cpu", .n_ctx = 64, .n_threads = 1
};
static const uint64_t zeros[1024]; /* memory that is not a handle */
static const char chat_in[] = "[{\"role\": \"user\", \"content\": \"Hello\"}]";
static const weft_prompt_params prompt_params = { .size = sizeof prompt_params,
                                                  .messages = chat_in,
                                                  .n_messages = sizeof chat_in - 1 };

/* Writes the ids that follow a fixed prompt. */
static void write_ids(weft_engine *engine, int32_t *ids, size_t n)
{
    const struct rig r = { .engine = engine, .n_vocab = rig.n_vocab };
    weft_sampling s = WEFT_SAMPLING_INIT;
    int32_t prompt[30];
    s.seed = 5;
    s.ignore_end = true;
    rig_tokens(&r, 5, prompt, 30);
    weft_seq *seq = rig_seq(&r, &s);
    OK(weft_seq_append(seq, prompt, 30, E));
    for (size_t i = 0; i < n; i++) {
        rig_compute(&r, seq);
        OK(weft_seq_next(seq, &ids[i], E));
    }
    weft_seq_release(&seq);
}

static void still_the_same(const char *after)
{
    int32_t ids[N_REFERENCE];
    write_ids(rig.engine, ids, N_REFERENCE);
    if (memcmp(ids, reference, sizeof ids) != 0) {
        fail_msg("after %s another text comes out", after);
    }
}

static int setup(void **state)
{
    (void)state;
    const weft_logit_bias bias = { 300, 1e4f };
    weft_sampling s = WEFT_SAMPLING_INIT;
    int32_t tokens[5], token;
    s.temperature = 0;
    s.bias = &bias;
    s.n_bias = 1;
    rig = rig_open(model_file("tiny-qwen2"), &engine_params);
    OK(weft_file_open(model_file("tiny-qwen2"), &file, E));
    OK(weft_prompt_open(rig.model, &prompt_params, &conversation, E));
    rig_tokens(&rig, 1, tokens, 5);
    base = rig_fed(&rig, tokens, 5);
    OK(weft_seq_set_sampling(base, &s, E));
    OK(weft_seq_set_logprobs(base, 2, E));
    OK(weft_seq_next(base, &token, E));
    rig_compute(&rig, base);
    state_path = model_path("state");
    OK(weft_seq_save(base, state_in, MAX_STATE, &n_state_in, E));
    OK(weft_seq_save_file(base, state_path, E));
    write_ids(rig.engine, reference, N_REFERENCE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_seq_release(&base);
    weft_file_release(&file);
    weft_reply_release(&answer);
    weft_prompt_release(&conversation);
    rig_close(&rig);
    print_message("abuse: %zu cases\n", n_cases);
    return 0;
}

/* Returns a reply that no text was added to. */
static inline weft_reply *fresh_reply(void)
{
    weft_reply_release(&answer);
    OK(weft_reply_open(conversation, NULL, &answer, E));
    return answer;
}

static inline void *handle_of(enum kind kind, weft_seq *seq)
{
    switch (kind) {
    case MODEL: return rig.model;
    case ENGINE: return rig.engine;
    case SEQ: return seq;
    case FILE_HANDLE: return file;
    case PROMPT: return conversation;
    case REPLY: return fresh_reply();
    default: return NULL;
    }
}

static inline void release(enum kind kind, void *slot)
{
    switch (kind) {
    case MODEL: weft_model_release(slot); break;
    case ENGINE: weft_engine_release(slot); break;
    case SEQ: weft_seq_release(slot); break;
    case FILE_HANDLE: weft_file_release(slot); break;
    case PROMPT: weft_prompt_release(slot); break;
    case REPLY: weft_reply_release(slot); break;
    default: break;
    }
}

/* Returns a handle that its release has cleared. */
static inline void *released(enum kind kind)
{
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    weft_seq *seq = NULL;
    weft_file *f = NULL;
    weft_prompt *p = NULL;
    weft_reply *r = NULL;
    switch (kind) {
    case MODEL:
        OK(weft_model_open(model_file("tiny-qwen2"), NULL, &model, E));
        weft_model_release(&model);
        return model;
    case ENGINE:
        OK(weft_engine_open(rig.model, &engine_params, &engine, E));
        weft_engine_release(&engine);
        return engine;
    case SEQ:
        OK(weft_seq_fork(base, &seq, E));
        weft_seq_release(&seq);
        return seq;
    case PROMPT:
        OK(weft_prompt_open(rig.model, &prompt_params, &p, E));
        weft_prompt_release(&p);
        return p;
    case REPLY:
        OK(weft_reply_open(conversation, NULL, &r, E));
        weft_reply_release(&r);
        return r;
    default:
        OK(weft_file_open(model_file("tiny-qwen2"), &f, E));
        weft_file_release(&f);
        return f;
    }
}

#endif
