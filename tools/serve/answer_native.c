/* Answers of /completion, llama-server's own. */
#include <string.h>

#include "base/json_read.h"
#include "base/json_text.h"
#include "serve/answer_parts.h"

static void token(struct answer *a, struct choice *c, const weft_logprob *logprobs,
                  size_t n_logprobs, const struct bytes *bytes, const char *text, size_t n)
{
    put_logprob(a, &c->lists[0], logprobs, n_logprobs, bytes, text, n, true);
}

static void put_tokens(struct answer *a, struct choice *c, bool shown)
{
    json_put(&a->out, ",'tokens':[");
    for (size_t i = 0; i < c->tokens.n && shown; i++) {
        json_put_raw(&a->out, ",", i > 0);
        json_put(&a->out, "%d", (int)c->tokens.data[i]);
    }
    json_put(&a->out, "]");
    c->tokens.n = 0;
}

static void put_logprobs(struct answer *a, struct choice *c)
{
    if (answer_wants_logprobs(a) && c->lists[0].text.n > 0) {
        json_put(&a->out, ",'completion_probabilities':[");
        put_list(&a->out, &c->lists[0]);
        json_put(&a->out, "]");
    }
}

/* ---------------------------------------------------------------- streams */

static void delta(struct answer *a, struct choice *c, enum part part, const char *text, size_t n)
{
    (void)part;
    json_put(&a->out, "{'index':%zu,'content':%.*s", c->index, (int)n, text);
    put_tokens(a, c, true);
    json_put(&a->out, ",'stop':false,'id_slot':-1,'tokens_predicted':%zu,'tokens_evaluated':%zu",
             c->figures.n_generated, c->figures.n_prompt);
    if (a->style->timings_per_token) {
        json_put(&a->out, ",");
        put_timings(&a->out, &c->figures);
    }
    put_logprobs(a, c);
    json_put(&a->out, "}");
}

static void progress(struct answer *a, const struct job_figures *f, size_t n_done)
{
    json_put(&a->out, "{'index':0,'content':'','tokens':[],'stop':false,'id_slot':-1");
    json_put(&a->out, ",'tokens_predicted':0,'tokens_evaluated':%zu,", f->n_prompt);
    put_progress(&a->out, f, n_done);
    json_put(&a->out, "}");
}

/* ---------------------------------------------------------------- results */

static const char *stop_type(const struct choice *c)
{
    return c->finish == WEFT_FINISH_END      ? "eos"
           : c->finish == WEFT_FINISH_STOP   ? "word"
           : c->finish == WEFT_FINISH_LENGTH ? "limit"
                                             : "none";
}

/* The context was full before the limit of the request. */
static bool truncated(const struct answer *a, const struct choice *c)
{
    const struct generation *g = &a->request->generation;
    return c->finish == WEFT_FINISH_LENGTH && c->figures.n_generated < g->n_max &&
           g->most_seconds <= 0;
}

static void put_counts(struct answer *a, const struct choice *c)
{
    const struct job_figures *f = &c->figures;
    json_put(&a->out, ",'id_slot':-1,'stop':true,'model':%s,'tokens_predicted':%zu",
             a->scope->alias, f->n_generated);
    json_put(&a->out, ",'tokens_evaluated':%zu,'tokens_cached':%zu", f->n_prompt, f->n_cached);
    json_put(&a->out, ",'truncated':%i,'has_new_line':%i,'stop_type':%s,'stopping_word':%s",
             truncated(a, c), c->has_line, stop_type(c), c->stop);
}

/* Writes all that is known of a choice. In a stream its text has been given. */
static void put_result(struct answer *a, struct choice *c)
{
    const char *prompt = a->style->prompts[c->index / a->request->generation.n_choices];
    json_put(&a->out, "{'index':%zu,'content':%.*s", c->index, (int)c->content.n,
             c->content.n > 0 ? c->content.data : "");
    put_tokens(a, c, a->begun || a->style->return_tokens);
    put_counts(a, c);
    json_put(&a->out, ",'prompt':%s,'generation_settings':", prompt);
    json_put_raw(&a->out, a->style->settings, strlen(a->style->settings));
    put_logprobs(a, c);
    json_put(&a->out, ",");
    put_timings(&a->out, &c->figures);
    json_put(&a->out, "}");
}

/* ---------------------------------------------------------------- response_fields */

/* Finds the value at a path such as "generation_settings/n_predict". */
static const json_t *value_at(const json_t *object, const char *path)
{
    while (object != NULL) {
        const size_t n = strcspn(path, "/");
        object = json_object_getn(object, path, n);
        if (path[n] == '\0') {
            return object;
        }
        path += n + 1;
    }
    return NULL;
}

static void put_fields(struct answer *a, const json_t *result)
{
    bool first = true;
    json_put(&a->out, "{");
    for (size_t i = 0; i < a->style->n_fields; i++) {
        const json_t *v = value_at(result, a->style->fields[i]);
        char *text = v != NULL ? json_text(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        a->out.failed |= v != NULL && text == NULL;
        if (text != NULL) {
            json_put(&a->out, first ? "%s:" : ",%s:", a->style->fields[i]);
            json_put_raw(&a->out, text, strlen(text));
            first = false;
        }
        free(text);
    }
    json_put(&a->out, "}");
}

/* Leaves of the result what the client wants. */
static void put_chosen(struct answer *a, struct choice *c)
{
    const size_t before = a->out.text.n;
    json_t *result = NULL;
    put_result(a, c);
    if (a->style->n_fields == 0 || a->out.failed) {
        return;
    }
    const weft_status status =
        json_read("result", a->out.text.data + before, a->out.text.n - before, &result, NULL);
    a->out.failed |= status != WEFT_OK;
    a->out.text.n = before;
    put_fields(a, result);
    json_decref(result);
}

static void last(struct answer *a, struct choice *c) { put_chosen(a, c); }

static void whole(struct answer *a, const struct job_figures *f)
{
    (void)f;
    json_put_raw(&a->out, "[", a->style->many);
    for (size_t i = 0; i < a->n_choices; i++) {
        json_put_raw(&a->out, ",", i > 0);
        put_chosen(a, &a->choices[i]);
    }
    json_put_raw(&a->out, "]", a->style->many);
}

const struct shape shape_completion = { .prefix = "cmpl-",
                                        .token = token,
                                        .delta = delta,
                                        .last = last,
                                        .progress = progress,
                                        .whole = whole };
