/* Answers of /v1/embeddings and /rerank. */
#include <stdlib.h>
#include <string.h>

#include "serve/answer.h"
#include "serve/json_put.h"
#include "serve/style.h"

/* Little-endian, whatever the machine is. */
static void put_base64(struct json_put *p, const float *vector, size_t dim)
{
    unsigned char *bytes = mem_array(dim, 4);
    if (bytes == NULL) {
        p->failed = true;
        return;
    }
    for (size_t i = 0; i < dim; i++) {
        uint32_t bits;
        memcpy(&bits, &vector[i], sizeof bits);
        for (size_t k = 0; k < 4; k++) {
            bytes[4 * i + k] = (unsigned char)(bits >> 8 * k);
        }
    }
    json_put_base64(p, bytes, 4 * dim);
    free(bytes);
}

static void put_floats(struct json_put *p, const float *vector, size_t dim)
{
    json_put(p, "[");
    for (size_t i = 0; i < dim; i++) {
        json_put_raw(p, ",", i > 0);
        json_put_number(p, (double)vector[i]);
    }
    json_put(p, "]");
}

static void put_usage(struct json_put *p, const struct style *s)
{
    json_put(p, "'usage':{'prompt_tokens':%zu,'total_tokens':%zu}", s->n_tokens, s->n_tokens);
}

char *answer_vectors(const struct scope *scope, const struct request *request, const float *vectors,
                     size_t dim)
{
    struct json_put p = { 0 };
    json_put(&p, "{'object':'list','model':%s,'data':[", scope->alias);
    for (size_t i = 0; i < request->embedding.n_texts; i++) {
        json_put_raw(&p, ",", i > 0);
        json_put(&p, "{'object':'embedding','index':%zu,'embedding':", i);
        if (request->style->base64) {
            put_base64(&p, vectors + i * dim, dim);
        } else {
            put_floats(&p, vectors + i * dim, dim);
        }
        json_put(&p, "}");
    }
    json_put(&p, "],");
    put_usage(&p, request->style);
    json_put(&p, "}");
    return json_put_end(&p);
}

/* ---------------------------------------------------------------- scores */

struct rank {
    size_t index, at; /* of the document, and where its text begins */
    float score;
};

/* The best first; of equal ones the first. */
static int compare(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : x->index < y->index ? -1 : 1;
}

static struct rank *rank(const struct ranking *k, const float *scores)
{
    struct rank *ranks = mem_array(k->n_documents, sizeof *ranks);
    size_t at = 0;
    for (size_t i = 0; ranks != NULL && i < k->n_documents; i++) {
        ranks[i] = (struct rank){ i, at, scores[i] };
        at += k->lengths[i];
    }
    if (ranks != NULL) {
        qsort(ranks, k->n_documents, sizeof *ranks, compare);
    }
    return ranks;
}

static void put_rank(struct json_put *p, const struct request *request, const struct rank *rank)
{
    const struct ranking *k = &request->ranking;
    const struct style *s = request->style;
    json_put(p, "{'index':%zu,%s:%g", rank->index, s->plain ? "score" : "relevance_score",
             (double)rank->score);
    if (s->documents) {
        json_put(p, s->plain ? ",'text':%.*s" : ",'document':{'text':%.*s}",
                 (int)k->lengths[rank->index], k->documents + rank->at);
    }
    json_put(p, "}");
}

char *answer_scores(const struct scope *scope, const struct request *request, const float *scores)
{
    struct rank *ranks = rank(&request->ranking, scores);
    struct json_put p = { .failed = ranks == NULL };
    const struct style *s = request->style;
    if (!s->plain) {
        json_put(&p, "{'object':'list','model':%s,", scope->alias);
        put_usage(&p, s);
        json_put(&p, ",'results':");
    }
    json_put(&p, "[");
    for (size_t i = 0; i < request->ranking.n_documents && i < s->top_n && !p.failed; i++) {
        json_put_raw(&p, ",", i > 0);
        put_rank(&p, request, &ranks[i]);
    }
    json_put(&p, s->plain ? "]" : "]}");
    free(ranks);
    return json_put_end(&p);
}
