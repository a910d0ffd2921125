/* Draws calls under their grammar from a small model, for tools that another program thought of.
 * Reads lines of JSON: {"source": a chat template, "tools": [...], "max": tokens}; writes for each
 * {"text": the answer, "content": ..., "calls": [{"name", "arguments", "complete"}]}.
 * usage: sample_calls MODEL TEMPERATURE */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft.h"

static weft_error err;

/* A program for tests: what fails ends it. */
static void must(weft_status status)
{
    if (status != WEFT_OK) {
        fprintf(stderr, "sample_calls: %s\n", err.message);
        exit(1);
    }
}

static void append(json_t *object, const char *key, const char *text, size_t n)
{
    const json_t *old = json_object_get(object, key);
    size_t before = json_string_length(old);
    char *both = malloc(before + n + 1);
    if (both == NULL) {
        exit(1);
    }
    memcpy(both, before > 0 ? json_string_value(old) : "", before);
    memcpy(both + before, text, n);
    json_object_set_new(object, key, json_stringn(both, before + n));
    free(both);
}

static void take_events(weft_reply *reply, json_t *out)
{
    json_t *calls = json_object_get(out, "calls"), *call;
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    while (weft_reply_next(reply, &e)) {
        switch (e.kind) {
        case WEFT_REPLY_CALL:
            json_array_append_new(calls, json_pack("{s:s,s:s}", "name", e.name, "id", e.id));
            break;
        case WEFT_REPLY_ARGUMENTS:
            append(json_array_get(calls, e.index), "arguments", e.text, e.n_text);
            break;
        case WEFT_REPLY_CALL_END:
            call = json_array_get(calls, e.index);
            json_object_set_new(call, "complete", json_boolean(e.complete));
            break;
        default: append(out, "content", e.text, e.n_text); break;
        }
    }
}

static weft_reply *open_reply(const weft_model *model, const json_t *in, weft_prompt **prompt)
{
    static const char messages[] = "[{\"role\":\"user\",\"content\":\"Call a tool.\"}]";
    const char *source = json_string_value(json_object_get(in, "source"));
    char *tools = json_dumps(json_object_get(in, "tools"), JSON_COMPACT);
    weft_prompt_params p = WEFT_PROMPT_PARAMS_INIT;
    weft_reply_params r = WEFT_REPLY_PARAMS_INIT;
    weft_reply *reply = NULL;
    p.messages = messages;
    p.n_messages = strlen(messages);
    p.template_source = source;
    p.n_template_source = strlen(source);
    p.tools = tools;
    p.n_tools = strlen(tools);
    r.choice = WEFT_TOOLS_REQUIRED;
    r.seed = 1;
    must(weft_prompt_open(model, &p, prompt, &err));
    must(weft_reply_open(*prompt, &r, &reply, &err));
    free(tools);
    return reply;
}

static void add_text(weft_seq *seq, weft_reply *reply, json_t *out)
{
    char text[4096];
    size_t n = 0;
    must(weft_seq_text(seq, text, sizeof text, &n, &err));
    append(out, "text", text, n);
    must(weft_reply_add(reply, text, n, &err));
    take_events(reply, out);
}

static json_t *sample(weft_engine *engine, const weft_model *model, const json_t *in,
                      double temperature, uint64_t seed)
{
    weft_prompt *prompt = NULL;
    weft_reply *reply = open_reply(model, in, &prompt);
    weft_sampling s = WEFT_SAMPLING_INIT;
    weft_seq *seq = NULL;
    int32_t ids[512], token;
    size_t n = 0, ready, max = (size_t)json_integer_value(json_object_get(in, "max"));
    json_t *out = json_pack("{s:[],s:s}", "calls", "content", "");
    s.temperature = (float)temperature;
    s.seed = seed;
    s.top_k = 0;
    s.top_p = 1;
    s.min_p = 0;
    must(weft_prompt_tokens(prompt, 0, ids, 512, &n, &err));
    must(weft_seq_open(engine, &s, &seq, &err));
    must(weft_seq_append(seq, ids, n, &err));
    must(weft_reply_constrain(reply, seq, &err));
    for (size_t i = 0; i < max && weft_seq_finish(seq) == WEFT_RUNNING; i++) {
        while (weft_seq_pending(seq) > 0) {
            must(weft_engine_step(engine, &ready, &err));
        }
        must(weft_seq_next(seq, &token, &err));
        add_text(seq, reply, out);
    }
    json_object_set_new(out, "finish", json_integer(weft_seq_finish(seq)));
    must(weft_seq_end(seq, &err));
    add_text(seq, reply, out);
    must(weft_reply_end(reply, &err));
    take_events(reply, out);
    weft_seq_release(&seq);
    weft_reply_release(&reply);
    weft_prompt_release(&prompt);
    return out;
}

int main(int argc, char **argv)
{
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    json_t *in;
    if (argc != 3) {
        fprintf(stderr, "usage: sample_calls MODEL TEMPERATURE <LINES\n");
        return 2;
    }
    params.device = "cpu";
    must(weft_model_open(argv[1], NULL, &model, &err));
    must(weft_engine_open(model, &params, &engine, &err));
    for (uint64_t seed = 1; (in = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, NULL)) != NULL;
         seed++) {
        json_t *out = sample(engine, model, in, strtod(argv[2], NULL), seed);
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(out);
        json_decref(in);
    }
    weft_engine_release(&engine);
    weft_model_release(&model);
    return 0;
}
