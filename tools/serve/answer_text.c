/* Answers of /v1/completions. Log-probabilities have OpenAI's old shape, that of lists. */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "serve/answer_parts.h"
#include "serve/piece.h"

enum { TOKENS, LOGPROBS, TOPS, OFFSETS };
static const char *const names[N_LISTS] = { "tokens", "token_logprobs", "top_logprobs",
                                            "text_offset" };

/* ---------------------------------------------------------------- log-probabilities */

static bool is_text(const struct bytes *piece)
{
    for (size_t i = 0, len; i < piece->n; i += len) {
        if (utf8_next(piece->data + i, piece->n - i, &len) != UTF8_CHAR) {
            return false;
        }
    }
    return true;
}

/* Writes a token as a key: bytes that are no text are written as OpenAI's API does. */
static void put_key(struct answer *a, struct json_put *p, int32_t token)
{
    struct bytes piece = { 0 };
    p->failed |= !piece_add(a->scope->model, token, true, &piece);
    if (p->failed || is_text(&piece)) {
        json_put(p, "%.*s", (int)piece.n, piece.n > 0 ? piece.data : "");
    } else {
        json_put(p, "'bytes:");
        for (size_t i = 0; i < piece.n; i++) {
            char hex[8];
            snprintf(hex, sizeof hex, "\\\\x%02x", (unsigned)(unsigned char)piece.data[i]);
            json_put_raw(p, hex, 5);
        }
        json_put(p, "'");
    }
    bytes_free(&piece);
}

/* The token itself is always among the tokens. */
static void put_tops(struct answer *a, struct json_put *p, const weft_logprob *logprobs, size_t n)
{
    bool listed = false;
    json_put(p, "{");
    for (size_t i = 1; i <= n; i++) {
        const weft_logprob *top = &logprobs[i < n ? i : 0];
        if (i == n && listed) {
            break;
        }
        json_put_raw(p, ",", i > 1);
        put_key(a, p, top->token);
        json_put(p, ":%g", (double)top->logprob);
        listed |= top->token == logprobs[0].token;
    }
    json_put(p, "}");
}

static size_t characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += !utf8_inside(text[i]);
    }
    return count;
}

static void token(struct answer *a, struct choice *c, const weft_logprob *logprobs,
                  size_t n_logprobs, const struct bytes *bytes, const char *text, size_t n)
{
    (void)bytes;
    for (size_t i = 0; i < N_LISTS; i++) {
        json_put_raw(&c->lists[i], ",", c->lists[i].text.n > 0);
    }
    json_put(&c->lists[TOKENS], "%.*s", (int)n, text);
    json_put(&c->lists[OFFSETS], "%zu", c->n_characters);
    c->n_characters += characters(text, n);
    if (n_logprobs > 0) {
        json_put_number(&c->lists[LOGPROBS], (double)logprobs[0].logprob);
        put_tops(a, &c->lists[TOPS], logprobs, n_logprobs);
    } else {
        json_put(&c->lists[LOGPROBS], "null");
        json_put(&c->lists[TOPS], "null");
    }
}

static void put_logprobs(struct answer *a, struct choice *c)
{
    if (!answer_wants_logprobs(a)) {
        json_put(&a->out, "null");
        return;
    }
    for (size_t i = 0; i < N_LISTS; i++) {
        json_put(&a->out, i == 0 ? "{%s:[" : ",%s:[", names[i]);
        put_list(&a->out, &c->lists[i]);
        json_put(&a->out, "]");
    }
    json_put(&a->out, "}");
}

/* ---------------------------------------------------------------- streams */

static void put_choice(struct answer *a, struct choice *c, const char *text, size_t n,
                       const char *finish)
{
    json_put(&a->out, "{'index':%zu,'text':%.*s,'logprobs':", c->index, (int)n, text);
    put_logprobs(a, c);
    json_put(&a->out, ",'finish_reason':");
    json_put_text(&a->out, finish);
    json_put(&a->out, "}");
}

static void put_chunk(struct answer *a, struct choice *c, const char *text, size_t n,
                      const char *finish, bool timings)
{
    put_head(a, "text_completion");
    json_put(&a->out, ",'choices':[");
    put_choice(a, c, text, n, finish);
    json_put(&a->out, "]");
    if (timings) {
        json_put(&a->out, ",");
        put_timings(&a->out, &c->figures);
    }
    json_put(&a->out, "}");
}

static void delta(struct answer *a, struct choice *c, enum part part, const char *text, size_t n)
{
    (void)part;
    put_chunk(a, c, text, n, NULL, a->style->timings_per_token);
}

static void last(struct answer *a, struct choice *c)
{
    put_chunk(a, c, "", 0, finish_name(c), !a->style->include_usage);
}

static void put_end(struct answer *a, const struct job_figures *f)
{
    json_put(&a->out, "],");
    put_usage(&a->out, f);
    json_put(&a->out, ",");
    put_timings(&a->out, f);
    json_put(&a->out, "}");
}

static void usage(struct answer *a, const struct job_figures *f)
{
    put_head(a, "text_completion");
    json_put(&a->out, ",'choices':[");
    put_end(a, f);
}

static void progress(struct answer *a, const struct job_figures *f, size_t n_done)
{
    put_head(a, "text_completion");
    json_put(&a->out, ",'choices':[{'index':0,'text':'','logprobs':null,'finish_reason':null}],");
    put_progress(&a->out, f, n_done);
    json_put(&a->out, "}");
}

/* ---------------------------------------------------------------- whole answers */

static void whole(struct answer *a, const struct job_figures *f)
{
    put_head(a, "text_completion");
    json_put(&a->out, ",'choices':[");
    for (size_t i = 0; i < a->n_choices; i++) {
        struct choice *c = &a->choices[i];
        json_put_raw(&a->out, ",", i > 0);
        put_choice(a, c, c->content.n > 0 ? c->content.data : "", c->content.n, finish_name(c));
    }
    put_end(a, f);
}

const struct shape shape_completions = { .prefix = "cmpl-",
                                         .token = token,
                                         .delta = delta,
                                         .last = last,
                                         .usage = usage,
                                         .progress = progress,
                                         .whole = whole,
                                         .ends_with_done = true };
