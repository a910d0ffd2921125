/* What the shapes of answers have in common. */
#include "serve/answer_parts.h"

#include "base/utf8.h"
#include "serve/piece.h"

const char *finish_name(const struct choice *c)
{
    return c->finish == WEFT_FINISH_LENGTH     ? "length"
           : c->n_calls > 0 && !c->call_is_cut ? "tool_calls"
                                               : "stop";
}

void put_head(struct answer *a, const char *object)
{
    json_put(&a->out, "{'id':%s,'object':%s,'created':%lld,'model':%s", a->id, object, a->created,
             a->scope->alias);
    json_put(&a->out, ",'system_fingerprint':'b%c", WEFT_VERSION[0]);
    json_put_raw(&a->out, &WEFT_VERSION[1], sizeof WEFT_VERSION - 2);
    json_put(&a->out, "'");
}

void put_usage(struct json_put *p, const struct job_figures *f)
{
    json_put(p, "'usage':{'prompt_tokens':%zu,'completion_tokens':%zu,'total_tokens':%zu",
             f->n_prompt, f->n_generated, f->n_prompt + f->n_generated);
    json_put(p, ",'prompt_tokens_details':{'cached_tokens':%zu}}", f->n_cached);
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

/* The first token comes with the prompt, so the rates of generating leave it out. */
void put_timings(struct json_put *p, const struct job_figures *f)
{
    const size_t n_prompt = f->n_prompt > f->n_cached ? f->n_prompt - f->n_cached : 0;
    const double n_steps = f->n_generated > 0 ? (double)(f->n_generated - 1) : 0;
    const double first = f->first > 0 ? f->first : f->done;
    const double prompt_ms =
        f->admitted > 0 && first > f->admitted ? (first - f->admitted) * 1000 : 0;
    const double ms = f->first > 0 ? (f->last - f->first) * 1000 : 0;
    json_put(p, "'timings':{'cache_n':%zu,'prompt_n':%zu,'prompt_ms':%g", f->n_cached, n_prompt,
             prompt_ms);
    json_put(p, ",'prompt_per_token_ms':%g,'prompt_per_second':%g",
             ratio(prompt_ms, (double)n_prompt), ratio((double)n_prompt * 1000, prompt_ms));
    json_put(p, ",'predicted_n':%zu,'predicted_ms':%g,'predicted_per_token_ms':%g", f->n_generated,
             ms, ratio(ms, n_steps));
    json_put(p, ",'predicted_per_second':%g}", ratio(n_steps * 1000, ms));
}

void put_progress(struct json_put *p, const struct job_figures *f, size_t n_done)
{
    const double now = figures_now();
    json_put(p, "'prompt_progress':{'total':%zu,'cache':%zu,'processed':%zu,'time_ms':%g}",
             f->n_prompt, f->n_cached, n_done, now > f->admitted ? (now - f->admitted) * 1000 : 0);
}

void put_list(struct json_put *p, struct json_put *from)
{
    p->failed |= from->failed;
    json_put_raw(p, from->text.n > 0 ? from->text.data : "", from->text.n);
    from->text.n = 0;
}

/* Writes one of the best tokens. */
static void put_top(struct answer *a, struct json_put *p, const weft_logprob *top, bool ids)
{
    struct bytes piece = { 0 };
    p->failed |= !piece_add(a->scope->model, top->token, true, &piece);
    if (!p->failed) {
        json_put(p, "{");
        if (ids) {
            json_put(p, "'id':%d,", (int)top->token);
        }
        json_put(p, "'token':%.*s,'logprob':%g,'bytes':", (int)piece.n, piece.data,
                 (double)top->logprob);
        json_put_bytes(p, piece.data, piece.n);
        json_put(p, "}");
    }
    bytes_free(&piece);
}

void put_logprob(struct answer *a, struct json_put *p, const weft_logprob *logprobs,
                 size_t n_logprobs, const struct bytes *bytes, const char *text, size_t n, bool ids)
{
    json_put_raw(p, ",", p->text.n > 0);
    json_put(p, "{");
    if (ids && n_logprobs > 0) {
        json_put(p, "'id':%d,", (int)logprobs[0].token);
    }
    json_put(p, "'token':%.*s,'logprob':%g,'bytes':", (int)n, text,
             n_logprobs > 0 ? (double)logprobs[0].logprob : 0);
    json_put_bytes(p, bytes->data, bytes->n);
    json_put(p, ",'top_logprobs':[");
    for (size_t i = 1; i < n_logprobs; i++) {
        json_put_raw(p, ",", i > 1);
        put_top(a, p, &logprobs[i], ids);
    }
    json_put(p, "]}");
}
