/* weft_rank() scores documents by a query. Each document becomes a prompt for the reranker, and the
 * score is the probability of one label of its classifier. */
#include "run/embed.h"
#include "text/rank_prompt.h"

struct ranking {
    const struct model *model;
    struct tokens prompts; /* one behind the other */
    size_t *lengths;       /* [n] tokens of each */
    float *labels;         /* [n, n_labels] */
    size_t n;
};

static weft_status check_model(const struct model *m, weft_error *err)
{
    if (m->classifier.n_labels == 0) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "the model (%s) is no reranker: its file has no cls.output.weight, and "
                         "its pooling_type and name do not say that it is Qwen3-Reranker, or its "
                         "vocabulary lacks the tokens yes and no; compare vectors of texts, or use "
                         "a reranker",
                         m->arch_name);
    }
    if (m->classifier.other_prompt) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "the prompt of this model (%s, tokenizer.chat_template.rerank) is not "
                         "that of Qwen3-Reranker, the only one that Weft knows; make the prompts "
                         "yourself and give them to weft_embed_texts() with WEFT_POOL_RANK",
                         m->arch_name);
    }
    return WEFT_OK;
}

/* Checks the lengths of the documents: together they must be possible in memory. */
static weft_status check_documents(const char *documents, const size_t *lengths, size_t n,
                                   weft_error *err)
{
    size_t total = 0;
    TRY(array_check(lengths, n, sizeof *lengths, "lengths", err));
    for (size_t i = 0; i < n; i++) {
        if (!add_ok(total, lengths[i], &total)) {
            total = SIZE_MAX;
            break;
        }
    }
    return array_check(documents, total, 1, "documents", err);
}

static weft_status make_prompts(struct ranking *r, struct gguf_str query, const char *documents,
                                const size_t *lengths, weft_error *err)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct gguf_str document = { documents != NULL ? documents : "", lengths[i] };
        const size_t before = r->prompts.n;
        TRY(rank_prompt(r->model->tokenizer, query, document, &r->prompts, err));
        r->lengths[i] = r->prompts.n - before;
        documents = documents != NULL ? documents + lengths[i] : NULL;
    }
    return WEFT_OK;
}

static weft_status score(struct weft_engine *e, const struct ranking *r, float *dst,
                         weft_error *err)
{
    const struct classifier *c = &r->model->classifier;
    const struct pooling p = { .how = WEFT_POOL_RANK, .n_values = c->n_labels };
    const struct texts texts = { .tokens = r->prompts.data,
                                 .lengths = r->lengths,
                                 .n = r->n,
                                 .what = r->n > 1 ? "document" : NULL };
    TRY(embed_check(e, &texts, err));
    TRY(embed_texts(e, &texts, &p, r->labels, err));
    for (size_t i = 0; i < r->n; i++) {
        dst[i] = r->labels[i * c->n_labels + c->yes];
    }
    return WEFT_OK;
}

weft_status weft_rank(weft_engine *engine, const char *query, size_t n_query, const char *documents,
                      const size_t *lengths, size_t n_documents, float *dst, size_t cap,
                      size_t *needed, weft_error *err)
{
    TRY(engine_check(engine, err));
    TRY(check_model(engine->model, err));
    TRY(array_check(query, n_query, 1, "query", err));
    TRY(check_documents(documents, lengths, n_documents, err));
    TRY(copy_check(n_documents, dst, cap, needed, err));
    const size_t n_labels = engine->model->classifier.n_labels;
    struct ranking r = { .model = engine->model, .n = n_documents };
    r.lengths = mem_array(n_documents, sizeof *r.lengths);
    r.labels = n_documents <= SIZE_MAX / n_labels
                   ? mem_array(n_documents * n_labels, sizeof *r.labels)
                   : NULL;
    weft_status status =
        r.lengths == NULL || r.labels == NULL
            ? error_nomem(err, "the scores", n_documents * n_labels * sizeof *r.labels)
            : make_prompts(&r, (struct gguf_str){ query != NULL ? query : "", n_query }, documents,
                           lengths, err);
    if (status == WEFT_OK) {
        status = score(engine, &r, dst, err);
    }
    free(r.prompts.data);
    free(r.lengths);
    free(r.labels);
    return status;
}
