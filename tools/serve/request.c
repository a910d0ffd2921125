/* Reads the body, and frees what was made of it. The routes are in request_*.c. */
#include "serve/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "serve/reading.h"

static bool parse(struct reading *r, const char *body, size_t n)
{
    struct json_fault why;
    /* Some editors and shells put a byte order mark in front. */
    const size_t mark = n >= 3 && memcmp(body, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    r->body = json_parse(body + mark, n - mark, MAX_JSON_DEPTH, JSON_READ_ONCE, &why);
    if (r->body == NULL) {
        return why.kind == JSON_FAULT_MEMORY
                   ? fault_memory(r->fault)
                   : fault_request(r->fault, NULL, "body: line %zu, column %zu: %s", why.line,
                                   why.column, why.text);
    }
    return json_is_object(r->body) || field_wrong(r->fault, "body", r->body, "an object");
}

/* Any name is taken, because tools send names of other models. */
static bool check_model(struct reading *r)
{
    const json_t *model = field_get(r->body, "model");
    if (model == NULL || !r->scope->strict_model) {
        return true;
    }
    if (!json_is_string(model)) {
        return field_wrong(r->fault, "model", model, "a string");
    }
    if (strcmp(json_string_value(model), r->scope->alias) == 0) {
        return true;
    }
    char found[FOUND_MAX];
    field_found(model, found);
    fault_set(r->fault, 404, "not_found_error", "the model %s does not exist, expected \"%s\"",
              found, r->scope->alias);
    strcpy(r->fault->param, "model");
    return false;
}

bool check_generates(struct reading *r)
{
    if (r->scope->info.n_labels > 0) {
        return fault_set(r->fault, 501, "not_supported_error",
                         "the model is a reranker, which writes no text; use /rerank");
    }
    return !r->scope->embeddings_only ||
           fault_set(r->fault, 501, "not_supported_error",
                     "this server gives embeddings only (--embeddings)");
}

char *copy_text(struct reading *r, const char *text, size_t n)
{
    char *copy = malloc(n + 1);
    if (copy == NULL) {
        fault_memory(r->fault);
        return NULL;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

bool answer_ready(struct reading *r, char *text)
{
    if (text == NULL) {
        return fault_memory(r->fault);
    }
    r->out->task = TASK_READY;
    r->out->answer = text;
    r->out->n_answer = strlen(text);
    return true;
}

static bool read_route(struct reading *r, enum route route)
{
    static bool (*const routes[])(struct reading *) = {
        [ROUTE_CHAT] = read_chat,
        [ROUTE_COMPLETIONS] = read_completions,
        [ROUTE_COMPLETION] = read_completion,
        [ROUTE_EMBEDDINGS] = read_embeddings,
        [ROUTE_RERANK] = read_rerank,
        [ROUTE_TOKENIZE] = read_tokenize,
        [ROUTE_DETOKENIZE] = read_detokenize,
        [ROUTE_TEMPLATE] = read_template,
    };
    r->out->style = calloc(1, sizeof *r->out->style);
    if (r->out->style == NULL) {
        return fault_memory(r->fault);
    }
    return check_model(r) && routes[route](r);
}

bool request_read(const struct scope *scope, enum route route, const char *body, size_t n,
                  struct request *out, struct fault *fault)
{
    struct reading r = { .scope = scope, .out = out, .fault = fault };
    *out = (struct request){ .route = route };
    *fault = (struct fault){ 0 };
    const bool ok = parse(&r, body, n) && read_route(&r, route);
    json_decref(r.body);
    if (!ok) {
        request_free(out);
        return false;
    }
    out->progress = out->stream && out->style->return_progress;
    return true;
}

/* ---------------------------------------------------------------- freeing */

static void free_texts(char **texts, size_t n)
{
    for (size_t i = 0; texts != NULL && i < n; i++) {
        free(texts[i]);
    }
    free(texts);
}

static void free_generation(struct generation *g)
{
    for (size_t i = 0; g->replies != NULL && i < g->n_prompts * g->n_choices; i++) {
        weft_reply_release(&g->replies[i]);
    }
    for (size_t i = 0; g->prompts != NULL && i < g->n_prompts; i++) {
        free(g->prompts[i].at);
    }
    free(g->replies);
    free(g->prompts);
    free(g->bias);
    free(g->grammar);
    free_texts(g->stops, g->n_stops);
}

static void free_style(struct style *s)
{
    if (s != NULL) {
        free_texts(s->prompts, s->n_prompts);
        free_texts(s->fields, s->n_fields);
        free(s->settings);
        free(s);
    }
}

void request_free(struct request *request)
{
    free_generation(&request->generation);
    free_style(request->style);
    free(request->answer);
    free(request->embedding.tokens);
    free(request->embedding.lengths);
    free(request->ranking.query);
    free(request->ranking.documents);
    free(request->ranking.lengths);
    *request = (struct request){ 0 };
}
