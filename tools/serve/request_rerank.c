/* /rerank in the shapes of Jina and of TEI (`texts` in place of `documents`). */
#include <stdlib.h>
#include <string.h>

#include "serve/reading.h"

struct rerank {
    json_t *query, *documents, *texts;
    int64_t top_n; /* -1 = all */
    bool return_documents;
};
static const struct field fields[] = {
    { .name = "query", .kind = FIELD_TEXT, .offset = offsetof(struct rerank, query) },
    { .name = "documents", .kind = FIELD_ARRAY, .offset = offsetof(struct rerank, documents) },
    { .name = "texts", .kind = FIELD_ARRAY, .offset = offsetof(struct rerank, texts) },
    { "top_n", { 0 }, FIELD_INT64, offsetof(struct rerank, top_n), 0, INT32_MAX, NULL },
    { "return_documents",
      { "return_text" },
      FIELD_BOOL,
      offsetof(struct rerank, return_documents),
      0,
      0,
      NULL },
};

static bool count_tokens(struct reading *r, const char *text, size_t n, size_t *sum)
{
    struct tokens tokens = { 0 };
    const bool ok = add_text_tokens(r, text, n, 0, &tokens);
    *sum += tokens.n;
    free(tokens.data);
    return ok;
}

/* A document is a string, or {"text": ...}. */
static bool add_document(struct reading *r, const json_t *document, struct bytes *out)
{
    struct ranking *k = &r->out->ranking;
    const json_t *text = json_is_object(document) ? json_object_get(document, "text") : document;
    if (!json_is_string(text)) {
        return field_wrong(r->fault, "documents", text, "strings, or {\"text\": ...}");
    }
    const size_t n = json_string_length(text);
    k->lengths[k->n_documents++] = n;
    if (!text_add(out, json_string_value(text), n)) {
        return fault_memory(r->fault);
    }
    return count_tokens(r, json_string_value(text), n, &r->out->style->n_tokens);
}

static bool add_documents(struct reading *r, const json_t *list, struct bytes *out)
{
    const json_t *document;
    const size_t n = json_array_size(list);
    size_t i;
    if (n == 0 || n > MAX_INPUTS) {
        return fault_request(r->fault, "documents", "%zu documents, expected 1 to %d", n,
                             MAX_INPUTS);
    }
    r->out->ranking.lengths = mem_array(n, sizeof *r->out->ranking.lengths);
    if (r->out->ranking.lengths == NULL) {
        return fault_memory(r->fault);
    }
    json_array_foreach(list, i, document)
    {
        if (!add_document(r, document, out)) {
            return false;
        }
    }
    return true;
}

/* The tokens of the query count once for each document. */
static bool set_query(struct reading *r, const json_t *query)
{
    struct ranking *k = &r->out->ranking;
    size_t n_tokens = 0;
    if (query == NULL) {
        return field_wrong(r->fault, "query", NULL, "a string");
    }
    k->n_query = json_string_length(query);
    k->query = copy_text(r, json_string_value(query), k->n_query);
    const bool ok = k->query != NULL && count_tokens(r, k->query, k->n_query, &n_tokens);
    r->out->style->n_tokens += n_tokens * k->n_documents;
    return ok;
}

bool read_rerank(struct reading *r)
{
    struct rerank form = { .top_n = -1 };
    struct bytes documents = { 0 };
    struct style *s = r->out->style;
    if (r->scope->info.n_labels == 0) {
        return fault_set(r->fault, 501, "not_supported_error",
                         "the model is no reranker: it has no classifier");
    }
    if (!fields_read(r->body, "", fields, sizeof fields / sizeof *fields, &form, r->fault)) {
        return false;
    }
    const json_t *list = form.documents != NULL ? form.documents : form.texts;
    const bool ok = add_documents(r, list, &documents) && set_query(r, form.query);
    r->out->task = TASK_RANK;
    r->out->ranking.documents = documents.data;
    s->plain = form.documents == NULL;
    s->documents = form.return_documents;
    s->top_n = form.top_n < 0 ? SIZE_MAX : (size_t)form.top_n;
    return ok;
}
