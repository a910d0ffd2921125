/* Models, props and slots as JSON. No value is null: some clients stumble over it. */
#include "serve/describe.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/mem.h"
#include "base/utf8.h"

const struct scope *describe_scope(struct core *core)
{
    const enum core_state state = core_state(core);
    return state == CORE_READY || state == CORE_LOST ? core_scope(core) : NULL;
}

const char *describe_name(struct core *core) { return core_scope(core)->alias; }

/* Writes a value as text, and frees it. Settings are floats, and have no more digits. */
static char *write_json(json_t *value)
{
    char *text = value != NULL ? json_text(value, JSON_COMPACT | JSON_REAL_PRECISION(7)) : NULL;
    json_decref(value);
    return text;
}

/* Makes a string of text[n], with U+FFFD for what is not UTF-8 and for NUL: names of files and
 * texts of tokens may hold any bytes. */
static json_t *make_string(const char *text, size_t n)
{
    struct bytes clean = { 0 };
    bool ok = text_reserve(&clean, 1);
    for (size_t i = 0; i < n && ok;) {
        size_t len;
        const bool good = utf8_next(text + i, n - i, &len) == UTF8_CHAR && text[i] != '\0';
        ok = good ? text_add(&clean, text + i, len) : text_add(&clean, "\xef\xbf\xbd", 3);
        i += len;
    }
    json_t *made = ok ? json_stringn(clean.data, clean.n) : NULL;
    bytes_free(&clean);
    return made;
}

static json_t *make_text(const char *text) { return make_string(text, strlen(text)); }

static json_int_t make_int(uint64_t n) { return (json_int_t)n; }

/* ---------------------------------------------------------------- models */

/* A template that does not read tools is told about them in words, so every usable template can. */
static bool can_call_tools(const struct scope *scope)
{
    return scope->template_name != NULL || scope->template_source != NULL ||
           scope->info.chat_template != NULL;
}

static json_t *make_meta(const struct scope *scope)
{
    const weft_model_info *m = &scope->info;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "n_ctx", make_int(scope->n_ctx),
                     "n_ctx_train", make_int(m->n_ctx_train), "n_vocab", make_int(m->n_vocab),
                     "n_embd", make_int(m->dim), "n_params", make_int(m->n_params), "size",
                     make_int(m->n_bytes), "ftype", m->type);
}

static json_t *make_model(struct core *core)
{
    const struct scope *scope = describe_scope(core);
    const char *name = describe_name(core);
    json_t *model =
        json_pack("{s:o, s:s, s:I, s:s, s:[o], s:[]}", "id", make_text(name), "object", "model",
                  "created", make_int(scope != NULL ? (uint64_t)scope->created : 0), "owned_by",
                  "weft", "aliases", make_text(name), "tags");
    if (model == NULL || scope == NULL) {
        return model;
    }
    if (json_object_set_new(model, "max_model_len", json_integer(make_int(scope->n_ctx))) != 0 ||
        json_object_set_new(model, "meta", make_meta(scope)) != 0) {
        json_decref(model);
        return NULL;
    }
    return model;
}

static json_t *make_capabilities(const struct scope *scope)
{
    const bool generates = scope == NULL || (!scope->embeddings_only && scope->info.n_labels == 0);
    if (!generates) {
        return json_pack("[s]", scope->info.n_labels > 0 ? "rerank" : "embedding");
    }
    return scope != NULL && can_call_tools(scope) ? json_pack("[s, s]", "completion", "tools")
                                                  : json_pack("[s]", "completion");
}

/* The entry for clients of Ollama. */
static json_t *make_short(struct core *core)
{
    const char *name = describe_name(core);
    return json_pack("{s:o, s:o, s:o, s:{s:s}}", "name", make_text(name), "model", make_text(name),
                     "capabilities", make_capabilities(describe_scope(core)), "details", "format",
                     "gguf");
}

char *describe_models(struct core *core)
{
    return write_json(json_pack("{s:s, s:[o], s:[o]}", "object", "list", "data", make_model(core),
                                "models", make_short(core)));
}

bool describe_knows(struct core *core, const char *id)
{
    return !core_scope(core)->strict_model || strcmp(id, describe_name(core)) == 0;
}

char *describe_model(struct core *core, const char *id)
{
    return describe_knows(core, id) ? write_json(make_model(core)) : NULL;
}

/* ---------------------------------------------------------------- props */

/* Returns the text of a key of the file, or "" if there is none. */
static json_t *make_value(const weft_file *file, size_t key)
{
    size_t n = 0;
    weft_file_value(file, key, 0, NULL, 0, &n, NULL);
    char *text = mem_array(n, 1);
    json_t *value = NULL;
    if (text != NULL && weft_file_value(file, key, 0, text, n, &n, NULL) == WEFT_OK) {
        value = make_string(text, n);
    }
    free(text);
    return value;
}

/* The model keeps only what it compiled of the template, so the source comes from the file. */
static json_t *make_file_template(const char *path)
{
    weft_file *file = NULL;
    json_t *value = NULL;
    bool found = false;
    if (weft_file_open(path, &file, NULL) != WEFT_OK) {
        return json_string("");
    }
    for (size_t i = 0; i < weft_file_n_keys(file) && !found; i++) {
        weft_key_info key;
        found = weft_file_key(file, i, &key, NULL) == WEFT_OK &&
                strcmp(key.name, "tokenizer.chat_template") == 0;
        value = found ? make_value(file, i) : NULL;
    }
    weft_file_release(&file);
    return found ? value : json_string("");
}

/* A built-in template is named in chat_template_name; its source is not to be had. */
static json_t *make_template(const struct scope *scope)
{
    if (scope->template_source != NULL) {
        return make_string(scope->template_source, scope->n_template_source);
    }
    return scope->template_name != NULL ? json_string("") : make_file_template(scope->path);
}

/* Returns the text of a token, or "" for -1. */
static json_t *make_token(const struct scope *scope, int32_t token)
{
    char text[256];
    size_t n = 0;
    const bool ok =
        token >= 0 && weft_token_text(scope->model, token, text, sizeof text, &n, NULL) == WEFT_OK;
    return make_string(text, ok ? n : 0);
}

static json_t *make_params(const struct scope *scope)
{
    const weft_sampling *s = &scope->sampling;
    const json_int_t most = scope->n_predict == SIZE_MAX ? -1 : make_int(scope->n_predict);
    return json_pack("{s:f, s:i, s:f, s:f, s:f, s:f, s:i, s:f, s:f, s:I, s:I, s:i}", "temperature",
                     (double)s->temperature, "top_k", (int)s->top_k, "top_p", (double)s->top_p,
                     "min_p", (double)s->min_p, "typical_p", (double)s->typical_p, "repeat_penalty",
                     (double)s->repeat_penalty, "repeat_last_n", (int)s->repeat_last_n,
                     "frequency_penalty", (double)s->frequency_penalty, "presence_penalty",
                     (double)s->presence_penalty, "n_predict", most, "max_tokens", most, "seed",
                     -1);
}

static json_t *make_caps(bool tools)
{
    return json_pack("{s:b, s:b, s:b}", "supports_tools", tools, "supports_tool_calls", tools,
                     "supports_parallel_tool_calls", tools);
}

/* What is known only when the model is there. */
static json_t *make_loaded(const struct scope *scope)
{
    const char *name = scope->template_name;
    return json_pack("{s:{s:I, s:o}, s:I, s:o, s:s, s:o, s:o, s:o}", "default_generation_settings",
                     "n_ctx", make_int(scope->n_ctx), "params", make_params(scope), "total_slots",
                     make_int(scope->n_parallel), "chat_template", make_template(scope),
                     "chat_template_name", name != NULL ? name : "", "chat_template_caps",
                     make_caps(can_call_tools(scope)), "bos_token",
                     make_token(scope, scope->info.bos), "eos_token",
                     make_token(scope, scope->info.eos));
}

char *describe_props(struct core *core)
{
    const struct scope *scope = core_scope(core), *loaded = describe_scope(core);
    json_t *props =
        json_pack("{s:o, s:o, s:{s:b, s:b}, s:s+, s:b, s:b}", "model_path", make_text(scope->path),
                  "model_alias", make_text(describe_name(core)), "modalities", "vision", 0, "audio",
                  0, "build_info", "b", weft_version(), "endpoint_slots", scope->slots,
                  "endpoint_metrics", scope->metrics);
    json_t *more = loaded != NULL ? make_loaded(loaded) : json_object();
    if (props != NULL && json_object_update(props, more) != 0) {
        json_decref(props);
        props = NULL;
    }
    json_decref(more);
    return write_json(props);
}

/* ---------------------------------------------------------------- slots */

/* Says nothing about prompts and settings, which are their users' own. */
static json_t *make_slot(size_t i, size_t n_ctx, const struct job_figures *job)
{
    if (job == NULL) {
        return json_pack("{s:I, s:I, s:b, s:b}", "id", make_int(i), "n_ctx", make_int(n_ctx),
                         "speculative", 0, "is_processing", 0);
    }
    const bool limited = job->n_max != SIZE_MAX;
    const size_t left = job->n_max > job->n_generated ? job->n_max - job->n_generated : 0;
    return json_pack("{s:I, s:I, s:b, s:b, s:I, s:[{s:b, s:I, s:I}]}", "id", make_int(i), "n_ctx",
                     make_int(n_ctx), "speculative", 0, "is_processing", 1, "id_task",
                     make_int(job->number), "next_token", "has_next_token", 1, "n_decoded",
                     make_int(job->n_generated), "n_remain",
                     limited ? make_int(left) : (json_int_t)-1);
}

char *describe_slots(struct core *core)
{
    const struct scope *scope = describe_scope(core);
    const size_t n = scope != NULL ? scope->n_parallel : 0;
    json_t *slots = json_array();
    bool running = scope != NULL, ok = slots != NULL;
    for (size_t i = 0; ok; i++) {
        struct job_figures job;
        running = running && core_running(core, i, &job);
        if (!running && i >= n) {
            break;
        }
        ok = json_array_append_new(slots, make_slot(i, scope->n_ctx, running ? &job : NULL)) == 0;
    }
    if (!ok) {
        json_decref(slots);
        return NULL;
    }
    return write_json(slots);
}
