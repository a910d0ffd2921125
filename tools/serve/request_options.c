/* The fields that requests for a text have in common. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

#include "serve/reading.h"

#define FORM(member) offsetof(struct form, member)
#define SAMPLING(member) offsetof(struct form, sampling.member)

static const struct field common[] = {
    { .name = "stream", .kind = FIELD_BOOL, .offset = FORM(stream) },
    { .name = "stream_options", .kind = FIELD_OBJECT, .offset = FORM(stream_options) },
    { "n_predict",
      { "max_completion_tokens", "max_tokens" },
      FIELD_INT64,
      FORM(n_predict),
      -1,
      INT32_MAX,
      NULL },
    { "n", { "n_cmpl" }, FIELD_INT64, FORM(n_choices), 1, MAX_CHOICES, NULL },
    { "sse_ping_interval", { 0 }, FIELD_INT64, FORM(ping), -1, INT32_MAX, NULL },
    { "temperature", { 0 }, FIELD_FLOAT, SAMPLING(temperature), 0, 100, NULL },
    { "top_k", { 0 }, FIELD_INT32, SAMPLING(top_k), -1, INT32_MAX, NULL },
    { "top_p", { 0 }, FIELD_FLOAT, SAMPLING(top_p), 0, 1, NULL },
    { "min_p", { 0 }, FIELD_FLOAT, SAMPLING(min_p), 0, 1, NULL },
    { "typical_p", { "typ_p" }, FIELD_FLOAT, SAMPLING(typical_p), 0, 1, NULL },
    { "repeat_penalty",
      { "repetition_penalty" },
      FIELD_FLOAT,
      SAMPLING(repeat_penalty),
      0.01,
      100,
      NULL },
    { "repeat_last_n", { 0 }, FIELD_INT32, SAMPLING(repeat_last_n), -1, INT32_MAX, NULL },
    { "frequency_penalty", { 0 }, FIELD_FLOAT, SAMPLING(frequency_penalty), -2, 2, NULL },
    { "presence_penalty", { 0 }, FIELD_FLOAT, SAMPLING(presence_penalty), -2, 2, NULL },
    { "seed", { 0 }, FIELD_INT64, FORM(seed), -9.3e18, 9.3e18, NULL },
    { .name = "ignore_eos", .kind = FIELD_BOOL, .offset = FORM(ignore_end) },
    { .name = "stop", .kind = FIELD_ANY, .offset = FORM(stop) },
    { .name = "logit_bias", .kind = FIELD_ANY, .offset = FORM(bias) },
    { .name = "samplers", .kind = FIELD_ANY, .offset = FORM(samplers) },
    { .name = "grammar", .kind = FIELD_TEXT, .offset = FORM(grammar) },
    { .name = "json_schema", .kind = FIELD_ANY, .offset = FORM(schema) },
    { .name = "response_format", .kind = FIELD_OBJECT, .offset = FORM(response_format) },
    /* Samplers of llama-server. Clients send them with the values that switch them off. */
    { .name = "mirostat", .kind = FIELD_LACKING },
    { .name = "xtc_probability", .kind = FIELD_LACKING },
    { .name = "dry_multiplier", .kind = FIELD_LACKING },
    { .name = "dynatemp_range", .kind = FIELD_LACKING },
    { .name = "top_n_sigma", .kind = FIELD_LACKING, .least = -DBL_MAX },
    { .name = "adaptive_target", .kind = FIELD_LACKING, .least = -DBL_MAX, .most = -DBL_MIN },
    { .name = "min_keep", .kind = FIELD_LACKING, .most = 1 },
    { .name = "n_indent", .kind = FIELD_LACKING },
    { .name = "lora", .kind = FIELD_LACKING },
    { .name = "post_sampling_probs", .kind = FIELD_LACKING },
    { .name = "grammar_lazy", .kind = FIELD_LACKING },
};

/* How the answer is to look. */
static const struct field shown[] = {
    { .name = "timings_per_token",
      .kind = FIELD_BOOL,
      .offset = offsetof(struct style, timings_per_token) },
    { .name = "return_progress",
      .kind = FIELD_BOOL,
      .offset = offsetof(struct style, return_progress) },
};
static const struct field stream_options[] = {
    { .name = "include_usage",
      .kind = FIELD_BOOL,
      .offset = offsetof(struct style, include_usage) },
};

#define N(table) (sizeof(table) / sizeof *(table))

static uint64_t random_seed(void)
{
    uint32_t seed = 0;
    /* It cannot fail once the system has started; a seed of 0 is as good as any. */
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = 0;
    }
    return seed;
}

/* Values that llama-server takes, and the library does not. */
static void fit_sampling(struct form *f)
{
    weft_sampling *s = &f->sampling;
    s->top_k = s->top_k < 0 ? 0 : s->top_k;
    s->top_p = s->top_p < FLT_MIN ? FLT_MIN : s->top_p;
    s->typical_p = s->typical_p < FLT_MIN ? FLT_MIN : s->typical_p;
    if (s->repeat_last_n == 0) {
        s->repeat_penalty = 1;
        s->frequency_penalty = s->presence_penalty = 0;
        s->repeat_last_n = 64;
    }
    s->seed = f->seed == -1 ? random_seed() : (uint64_t)f->seed;
    s->ignore_end = f->ignore_end;
}

static void set_form(struct reading *r)
{
    const struct scope *scope = r->scope;
    r->form = (struct form){ .sampling = scope->sampling,
                             .seed = -1,
                             .n_predict = -1,
                             .n_choices = 1,
                             .ignore_end = scope->sampling.ignore_end };
    r->form.sampling.bias = NULL;
    r->form.sampling.n_bias = 0;
}

static void set_out(struct reading *r)
{
    struct generation *g = &r->out->generation;
    const struct form *f = &r->form;
    r->out->task = TASK_GENERATE;
    r->out->stream = f->stream;
    r->out->ping = (int)f->ping;
    g->n_choices = (size_t)f->n_choices;
    g->n_top = -1;
    g->n_max = f->n_predict < 0 ? SIZE_MAX : (size_t)f->n_predict;
    g->n_max = size_min(g->n_max, r->scope->n_predict);
    g->sampling = f->sampling;
}

bool read_options(struct reading *r)
{
    set_form(r);
    if (!fields_read(r->body, "", common, N(common), &r->form, r->fault) ||
        !fields_read(r->body, "", shown, N(shown), r->out->style, r->fault) ||
        !fields_read(r->form.stream_options, "stream_options.", stream_options, N(stream_options),
                     r->out->style, r->fault)) {
        return false;
    }
    if (!read_samplers(r)) {
        return false;
    }
    fit_sampling(&r->form);
    set_out(r);
    return read_stops(r) && read_bias(r);
}
