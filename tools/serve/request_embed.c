/* /v1/embeddings. */
#include <string.h>

#include "serve/reading.h"

static const char *const encodings[] = { "float", "base64", NULL };

struct embeddings {
    json_t *input;
    int encoding;
    int64_t dimensions;
};
static const struct field fields[] = {
    { "input", { "content" }, FIELD_ANY, offsetof(struct embeddings, input), 0, 0, NULL },
    { .name = "encoding_format",
      .kind = FIELD_WORD,
      .offset = offsetof(struct embeddings, encoding),
      .words = encodings },
    { "dimensions", { 0 }, FIELD_INT64, offsetof(struct embeddings, dimensions), 1, 1 << 20, NULL },
};

/* Joins the texts of {"content": [{"type": "text", "text": ...}, ...]}. */
static bool add_parts(struct reading *r, const json_t *parts, struct bytes *out)
{
    const json_t *part;
    size_t i;
    if (!json_is_array(parts)) {
        return field_wrong(r->fault, "input: content", parts, "a list of parts");
    }
    json_array_foreach(parts, i, part)
    {
        const json_t *type = json_object_get(part, "type"), *text = json_object_get(part, "text");
        const char *name = json_string_value(type);
        if (name == NULL || strcmp(name, "text") != 0 || !json_is_string(text)) {
            return field_wrong(r->fault, "input: type of a part", type,
                               "\"text\"; only text can be read");
        }
        if (!text_add(out, json_string_value(text), json_string_length(text))) {
            return fault_memory(r->fault);
        }
    }
    return text_add(out, "", 0) || fault_memory(r->fault);
}

static bool add_content(struct reading *r, const json_t *parts, unsigned flags, struct tokens *out)
{
    struct bytes text = { 0 };
    const bool ok = add_parts(r, parts, &text) && add_text_tokens(r, text.data, text.n, flags, out);
    bytes_free(&text);
    return ok;
}

/* A text of no tokens becomes the one that ends texts. */
static bool fill_empty(struct reading *r, size_t before, struct tokens *out)
{
    const weft_model_info *info = &r->scope->info;
    const int32_t last = info->eos >= 0 ? info->eos : info->bos;
    if (out->n > before) {
        return true;
    }
    return last < 0 ? fault_request(r->fault, "input", "input is empty, expected some text")
                    : tokens_add(out, last) || fault_memory(r->fault);
}

/* Appends the ids of a text. No control token ever comes from it. */
static bool add_input(struct reading *r, const json_t *input, struct tokens *out)
{
    struct embedding *e = &r->out->embedding;
    const unsigned flags = WEFT_TOKENIZE_BOS | WEFT_TOKENIZE_EOS;
    const json_t *parts = field_get(input, "content");
    const size_t before = out->n;
    const bool ok = parts != NULL ? add_content(r, parts, flags, out)
                                  : add_prompt(r, input, "input", flags, out);
    if (!ok || !fill_empty(r, before, out)) {
        return false;
    }
    const weft_engine_info *engine = &r->scope->engine_info;
    const size_t n = out->n - before, n_ctx = size_min(engine->n_ctx, engine->n_kv);
    e->lengths[e->n_texts++] = n;
    return n <= n_ctx || fault_request(r->fault, "input",
                                       "input %zu has %zu tokens, which is too large: expected at "
                                       "most %zu, the available context size",
                                       e->n_texts - 1, n, n_ctx);
}

static bool add_inputs(struct reading *r, json_t *input, struct tokens *out)
{
    const bool list = json_is_array(input) && !is_token_list(input);
    const size_t n = list ? json_array_size(input) : 1;
    if (input == NULL || n == 0) {
        return fault_request(r->fault, "input", "input is %s, expected a string, ids, or a list",
                             input == NULL ? "missing" : "an empty list");
    }
    if (n > MAX_INPUTS) {
        return fault_request(r->fault, "input", "%zu inputs, expected at most %d", n, MAX_INPUTS);
    }
    r->out->embedding.lengths = mem_array(n, sizeof *r->out->embedding.lengths);
    if (r->out->embedding.lengths == NULL) {
        return fault_memory(r->fault);
    }
    for (size_t i = 0; i < n; i++) {
        if (!add_input(r, list ? json_array_get(input, i) : input, out)) {
            return false;
        }
    }
    return true;
}

bool read_embeddings(struct reading *r)
{
    struct embeddings form = { 0 };
    struct embedding *e = &r->out->embedding;
    struct tokens tokens = { 0 };
    if (!fields_read(r->body, "", fields, sizeof fields / sizeof *fields, &form, r->fault)) {
        return false;
    }
    if ((size_t)form.dimensions > r->scope->info.dim) {
        return fault_request(r->fault, "dimensions", "dimensions is %lld, expected 1 to %zu",
                             (long long)form.dimensions, r->scope->info.dim);
    }
    const bool ok = add_inputs(r, form.input, &tokens);
    r->out->task = TASK_EMBED;
    r->out->style->base64 = form.encoding == 1;
    r->out->style->n_tokens = tokens.n;
    e->tokens = tokens.data;
    e->n_tokens = tokens.n;
    e->params = (weft_embed_params)WEFT_EMBED_PARAMS_INIT;
    e->params.pooling = r->scope->pooling;
    e->params.dimensions = (size_t)form.dimensions;
    return ok;
}
