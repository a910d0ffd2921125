/* Answers of /v1/chat/completions. */
#include "serve/answer_parts.h"

static void token(struct answer *a, struct choice *c, const weft_logprob *logprobs,
                  size_t n_logprobs, const struct bytes *bytes, const char *text, size_t n)
{
    put_logprob(a, &c->lists[0], logprobs, n_logprobs, bytes, text, n, false);
}

/* ---------------------------------------------------------------- streams */

static void open_chunk(struct answer *a, const struct choice *c)
{
    put_head(a, "chat.completion.chunk");
    json_put(&a->out, ",'choices':[{'index':%zu,'delta':{", c->index);
}

static void close_chunk(struct answer *a, const struct choice *c, bool timings)
{
    json_put(&a->out, ",'finish_reason':");
    json_put_text(&a->out, c->done ? finish_name(c) : NULL);
    json_put(&a->out, "}]");
    if (timings) {
        json_put(&a->out, ",");
        put_timings(&a->out, &c->figures);
    }
    json_put(&a->out, "}");
}

static void put_logprobs(struct answer *a, struct choice *c)
{
    json_put(&a->out, "{'content':[");
    put_list(&a->out, &c->lists[0]);
    json_put(&a->out, "]}");
}

/* A choice that is done has deltas that were held back; only its last chunk says why it ended. */
static void end_delta(struct answer *a, struct choice *c)
{
    const bool done = c->done;
    c->done = false;
    close_chunk(a, c, a->style->timings_per_token);
    c->done = done;
}

static void first(struct answer *a, struct choice *c)
{
    open_chunk(a, c);
    json_put(&a->out, "'role':'assistant','content':null}");
    close_chunk(a, c, false);
}

static void delta(struct answer *a, struct choice *c, enum part part, const char *text, size_t n)
{
    open_chunk(a, c);
    json_put(&a->out, "%s:%.*s}", part == PART_CONTENT ? "content" : "reasoning_content", (int)n,
             text);
    if (answer_wants_logprobs(a) && part == PART_CONTENT) {
        json_put(&a->out, ",'logprobs':");
        put_logprobs(a, c);
    }
    end_delta(a, c);
}

/* The id and the name come once. */
static void call(struct answer *a, struct choice *c, const weft_reply_event *e)
{
    open_chunk(a, c);
    json_put(&a->out, "'tool_calls':[{'index':%zu", e->index);
    if (e->kind == WEFT_REPLY_CALL) {
        json_put(&a->out, ",'id':%s,'type':'function','function':{'name':%s,'arguments':''}}]}",
                 e->id, e->name);
    } else {
        json_put(&a->out, ",'function':{'arguments':%.*s}}]}", (int)e->n_text, e->text);
    }
    end_delta(a, c);
}

/* The timings stand in the last chunk of a stream, which is that of the usage if it is wanted. */
static void last(struct answer *a, struct choice *c)
{
    open_chunk(a, c);
    json_put(&a->out, "}");
    close_chunk(a, c, !a->style->include_usage);
}

static void usage(struct answer *a, const struct job_figures *f)
{
    put_head(a, "chat.completion.chunk");
    json_put(&a->out, ",'choices':[],");
    put_usage(&a->out, f);
    json_put(&a->out, ",");
    put_timings(&a->out, f);
    json_put(&a->out, "}");
}

static void progress(struct answer *a, const struct job_figures *f, size_t n_done)
{
    open_chunk(a, &a->choices[0]);
    json_put(&a->out, "},'finish_reason':null}],");
    put_progress(&a->out, f, n_done);
    json_put(&a->out, "}");
}

/* ---------------------------------------------------------------- whole answers */

static void put_message(struct answer *a, struct choice *c)
{
    const bool calls = c->n_calls > 0;
    json_put(&a->out, "'message':{'role':'assistant','content':");
    if (c->content.n > 0 || !calls) {
        json_put_string(&a->out, c->content.data, c->content.n);
    } else {
        json_put(&a->out, "null");
    }
    if (c->reasoning.n > 0) {
        json_put(&a->out, ",'reasoning_content':%.*s", (int)c->reasoning.n, c->reasoning.data);
    }
    if (calls) {
        json_put(&a->out, ",'tool_calls':[");
        put_list(&a->out, &c->calls);
        json_put(&a->out, "]");
    }
    json_put(&a->out, "}}");
}

static void put_choice(struct answer *a, struct choice *c)
{
    json_put(&a->out, "{'index':%zu,'finish_reason':%s,'logprobs':", c->index, finish_name(c));
    if (answer_wants_logprobs(a)) {
        put_logprobs(a, c);
    } else {
        json_put(&a->out, "null");
    }
    json_put(&a->out, ",");
    put_message(a, c);
}

static void whole(struct answer *a, const struct job_figures *f)
{
    put_head(a, "chat.completion");
    json_put(&a->out, ",'choices':[");
    for (size_t i = 0; i < a->n_choices; i++) {
        json_put_raw(&a->out, ",", i > 0);
        put_choice(a, &a->choices[i]);
    }
    json_put(&a->out, "],");
    put_usage(&a->out, f);
    json_put(&a->out, ",");
    put_timings(&a->out, f);
    json_put(&a->out, "}");
}

const struct shape shape_chat = { .prefix = "chatcmpl-",
                                  .token = token,
                                  .first = first,
                                  .delta = delta,
                                  .call = call,
                                  .last = last,
                                  .usage = usage,
                                  .progress = progress,
                                  .whole = whole,
                                  .ends_with_done = true };
