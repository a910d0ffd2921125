/* /v1/completions and /completion: prompts that are texts or ids. */
#include <stdlib.h>
#include <string.h>

#include "serve/reading.h"
#include "serve/settings.h"

/* ---------------------------------------------------------------- prompts */

/* A text of no tokens goes on from the token that begins texts. */
static bool fill_empty(struct reading *r, struct tokens *t)
{
    const weft_model_info *info = &r->scope->info;
    const int32_t first = info->bos >= 0 ? info->bos : info->eos;
    if (t->n > 0) {
        return true;
    }
    return first < 0 ? fault_request(r->fault, "prompt", "prompt is empty, expected some text")
                     : tokens_add(t, first) || fault_memory(r->fault);
}

/* llama-server reads control tokens in the text of a prompt, and puts BOS in front. */
static bool read_prompt(struct reading *r, const json_t *prompt, struct token_list *out)
{
    struct tokens t = { 0 };
    const unsigned flags = WEFT_TOKENIZE_BOS | WEFT_TOKENIZE_SPECIAL;
    const bool ok =
        add_prompt(r, prompt, "prompt", flags, &t) && fill_empty(r, &t) && check_context(r, t.n);
    *out = (struct token_list){ t.data, t.n };
    return ok;
}

/* A list is several prompts, unless it contains a number. */
static bool read_prompts(struct reading *r)
{
    struct generation *g = &r->out->generation;
    json_t *prompt = field_get(r->body, "prompt");
    const bool list = json_is_array(prompt) && !is_token_list(prompt);
    const size_t n = list ? json_array_size(prompt) : 1;
    if (prompt == NULL || n == 0) {
        return fault_request(r->fault, "prompt",
                             "prompt is %s, expected a string, ids, or a list of these",
                             prompt == NULL ? "missing" : "an empty list");
    }
    if (n > MAX_PROMPTS) {
        return fault_request(r->fault, "prompt", "%zu prompts, expected at most %d", n,
                             MAX_PROMPTS);
    }
    g->prompts = mem_array(n, sizeof *g->prompts);
    if (g->prompts == NULL) {
        return fault_memory(r->fault);
    }
    g->n_prompts = n;
    for (size_t i = 0; i < n; i++) {
        if (!read_prompt(r, list ? json_array_get(prompt, i) : prompt, &g->prompts[i])) {
            return false;
        }
    }
    return true;
}

/* Keeps the text of a prompt: a string as the client wrote it if it is to be given back. */
static char *prompt_text(struct reading *r, const json_t *prompt, const struct token_list *tokens)
{
    struct bytes text = { 0 };
    const bool as_written = prompt != NULL && json_is_string(prompt);
    const bool ok = as_written
                        ? text_add(&text, json_string_value(prompt), json_string_length(prompt)) ||
                              fault_memory(r->fault)
                        : add_tokens_text(r, tokens->at, tokens->n, &text);
    if (!ok) {
        bytes_free(&text);
    }
    return text.data;
}

/* `written`: strings are kept as they were written, without a BOS that was put in front. */
static bool keep_prompts(struct reading *r, bool written)
{
    const struct generation *g = &r->out->generation;
    struct style *s = r->out->style;
    const json_t *prompt = field_get(r->body, "prompt");
    const bool list = json_is_array(prompt) && !is_token_list(prompt);
    s->prompts = mem_array(g->n_prompts, sizeof *s->prompts);
    if (s->prompts == NULL) {
        return fault_memory(r->fault);
    }
    s->n_prompts = g->n_prompts;
    for (size_t i = 0; i < g->n_prompts; i++) {
        const json_t *one = list ? json_array_get(prompt, i) : prompt;
        s->prompts[i] = prompt_text(r, written ? one : NULL, &g->prompts[i]);
        if (s->prompts[i] == NULL) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- /v1/completions */

enum { MAX_COMPLETION_LOGPROBS = 5 };

struct completions {
    bool echo;
    int64_t n_top, best_of; /* -1 = not given */
    json_t *suffix;
};
static const struct field completions_fields[] = {
    { .name = "echo", .kind = FIELD_BOOL, .offset = offsetof(struct completions, echo) },
    { "logprobs",
      { 0 },
      FIELD_INT64,
      offsetof(struct completions, n_top),
      0,
      MAX_COMPLETION_LOGPROBS,
      NULL },
    { "best_of", { 0 }, FIELD_INT64, offsetof(struct completions, best_of), 0, 20, NULL },
    { .name = "suffix", .kind = FIELD_TEXT, .offset = offsetof(struct completions, suffix) },
};

static bool check_completions(struct reading *r, const struct completions *c)
{
    if (json_string_length(c->suffix) > 0) {
        return fault_request(r->fault, "suffix",
                             "suffix is given; texts between two others are not supported");
    }
    if (c->best_of > r->form.n_choices) {
        return fault_request(r->fault, "best_of",
                             "best_of is %lld, expected n (%lld): all choices are returned",
                             (long long)c->best_of, (long long)r->form.n_choices);
    }
    return true;
}

bool read_completions(struct reading *r)
{
    struct completions c = { .n_top = -1, .best_of = -1 };
    struct generation *g = &r->out->generation;
    if (!check_generates(r) || !read_options(r) ||
        !fields_read(r->body, "", completions_fields,
                     sizeof completions_fields / sizeof *completions_fields, &c, r->fault) ||
        !check_completions(r, &c) || !read_grammar(r) || !read_prompts(r)) {
        return false;
    }
    g->n_top = (int)c.n_top;
    g->echo_logprobs = c.echo && c.n_top >= 0;
    r->out->style->echo = c.echo;
    return !c.echo || keep_prompts(r, true);
}

/* ---------------------------------------------------------------- /completion */

struct completion {
    int64_t n_probs, most_ms;
    bool return_tokens;
    json_t *response_fields;
};
static const struct field completion_fields[] = {
    { "n_probs",
      { "logprobs" },
      FIELD_INT64,
      offsetof(struct completion, n_probs),
      0,
      WEFT_TOP_MAX,
      NULL },
    { "t_max_predict_ms",
      { 0 },
      FIELD_INT64,
      offsetof(struct completion, most_ms),
      -1,
      1e12,
      NULL },
    { .name = "return_tokens",
      .kind = FIELD_BOOL,
      .offset = offsetof(struct completion, return_tokens) },
    { .name = "response_fields",
      .kind = FIELD_ARRAY,
      .offset = offsetof(struct completion, response_fields) },
};

enum { MAX_RESPONSE_FIELDS = 256 };

static bool read_response_fields(struct reading *r, const json_t *list)
{
    struct style *s = r->out->style;
    const json_t *name;
    size_t i;
    if (json_array_size(list) > MAX_RESPONSE_FIELDS) {
        return fault_request(r->fault, "response_fields", "%zu fields, expected at most %d",
                             json_array_size(list), MAX_RESPONSE_FIELDS);
    }
    s->fields = mem_array(json_array_size(list), sizeof *s->fields);
    if (s->fields == NULL) {
        return fault_memory(r->fault);
    }
    json_array_foreach(list, i, name)
    {
        if (!json_is_string(name)) {
            return field_wrong(r->fault, "response_fields", name, "a name");
        }
        s->fields[i] = copy_text(r, json_string_value(name), json_string_length(name));
        if (s->fields[s->n_fields++] == NULL) {
            return false;
        }
    }
    return true;
}

bool read_completion(struct reading *r)
{
    struct completion c = { .most_ms = -1 };
    struct generation *g = &r->out->generation;
    struct style *s = r->out->style;
    const size_t n_fields = sizeof completion_fields / sizeof *completion_fields;
    if (!check_generates(r) || !read_options(r) ||
        !fields_read(r->body, "", completion_fields, n_fields, &c, r->fault) ||
        !read_response_fields(r, c.response_fields) || !read_grammar(r) || !read_prompts(r)) {
        return false;
    }
    g->n_top = c.n_probs > 0 ? (int)c.n_probs : -1;
    g->most_seconds = c.most_ms > 0 ? (double)c.most_ms / 1000 : 0;
    s->return_tokens = c.return_tokens;
    s->many = g->n_prompts * g->n_choices > 1;
    s->settings = settings_json(r->scope, r->out);
    return (s->settings != NULL || fault_memory(r->fault)) && keep_prompts(r, false);
}
