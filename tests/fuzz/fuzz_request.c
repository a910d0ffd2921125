/* Any body for any route: it is refused with words, or read. A text that is then drawn at random is
 * answered with JSON, and the tokens of its log-probabilities, put together, are its content. */
#include <jansson.h>

#include "fuzz_models.h"
#include "serve/answer.h"
#include "serve/piece.h"
#include "serve/style.h"
#include "text/stream.h"

static struct scope scopes[2];

static void open_scopes(void)
{
    static weft_model *models[2];
    const weft_sampling sampling = WEFT_SAMPLING_INIT;
    if (models[0] != NULL) {
        return;
    }
    fuzz_models(models);
    for (int i = 0; i < 2; i++) {
        struct scope *s = &scopes[i];
        *s = (struct scope){
            .alias = "m", .sampling = sampling, .n_predict = SIZE_MAX, .model = models[i]
        };
        s->info.size = sizeof s->info;
        MUST(weft_model_get_info(s->model, &s->info, NULL) == WEFT_OK);
        s->engine_info.n_ctx = 1 << 16;
        s->info.dim = 64;
        s->info.n_labels = 0;
        MUST(scope_complete(s));
    }
}

/* Returns NULL for JSON that jansson cannot hold: \u0000 in a key, which may be a token. */
static json_t *must_be_json(const char *text, size_t n)
{
    json_error_t e;
    json_t *v = json_loadb(text, n, JSON_ALLOW_NUL, &e);
    if (v == NULL && json_error_code(&e) != json_error_null_byte_in_key) {
        fprintf(stderr, "%s: %.*s\n", e.text, (int)n, text);
        MUST(false);
    }
    return v;
}

/* ---------------------------------------------------------------- the answer */

/* What the sink got of choice 0: the content, and the texts of its tokens. */
struct heard {
    struct bytes content, tokens;
    bool done;
};

static void add(struct bytes *b, const json_t *text)
{
    MUST(!json_is_string(text) || bytes_add(b, json_string_value(text), json_string_length(text)));
}

static void add_tokens(struct bytes *b, const json_t *list)
{
    json_t *one;
    size_t i;
    json_array_foreach(list, i, one)
    {
        add(b, json_is_object(one) ? json_object_get(one, "token") : one);
    }
}

static void hear_choice(struct heard *h, const json_t *c)
{
    const json_t *delta = json_object_get(c, "delta"), *message = json_object_get(c, "message");
    const json_t *logprobs = json_object_get(c, "logprobs");
    if (json_integer_value(json_object_get(c, "index")) != 0) {
        return;
    }
    add(&h->content, json_object_get(delta != NULL ? delta : message, "content"));
    add(&h->content, json_object_get(c, "text"));
    add(&h->content, json_object_get(c, "content"));
    add_tokens(&h->tokens, json_object_get(logprobs, "content"));
    add_tokens(&h->tokens, json_object_get(logprobs, "tokens"));
    add_tokens(&h->tokens, json_object_get(c, "completion_probabilities"));
}

static void hear(struct heard *h, const char *text, size_t n)
{
    json_t *v = must_be_json(text, n), *c;
    const json_t *list = json_is_array(v) ? v : json_object_get(v, "choices");
    size_t i;
    json_array_foreach(list, i, c) { hear_choice(h, c); }
    if (list == NULL && v != NULL) {
        hear_choice(h, v);
    }
    json_decref(v);
}

static void on_event(void *user, const char *name, const char *data, size_t n)
{
    struct heard *h = user;
    MUST(name == NULL && !h->done);
    h->done = n == 6 && memcmp(data, "[DONE]", 6) == 0;
    if (!h->done) {
        hear(h, data, n);
    }
}
static const struct sink sink = { .event = on_event };

/* Draws a token as the core does. Returns false once the text has ended. */
static bool draw(const struct scope *scope, const struct request *r, struct answer *a,
                 struct stream *s, int32_t token, bool last)
{
    struct bytes piece = { 0 };
    const bool end = weft_token_is_end(scope->model, token);
    const bool control = !end && scope->is_control[token] != 0;
    const weft_logprob logprobs[2] = { { token, -1 }, { token, -1 } };
    struct drawn d = { .token = token,
                       .logprobs = logprobs,
                       .n_logprobs = r->generation.n_top < 0 ? 0 : 2 };
    if (!end) {
        MUST(piece_add(scope->model, token, false, &piece));
        MUST(stream_push(s, piece.data, piece.n, NULL) == WEFT_OK);
    }
    d.finish = end          ? WEFT_FINISH_END
               : s->stopped ? WEFT_FINISH_STOP
               : last       ? WEFT_FINISH_LENGTH
                            : WEFT_RUNNING;
    if (d.finish == WEFT_FINISH_END) {
        MUST(stream_finish(s, NULL) == WEFT_OK);
    } else if (d.finish == WEFT_FINISH_LENGTH) {
        MUST(stream_cut(s, NULL) == WEFT_OK);
    }
    if (control && r->generation.replies != NULL) {
        MUST(piece_add(scope->model, token, true, &s->out));
    }
    d.text = s->out.data;
    d.n_text = s->out.n;
    MUST(answer_drawn(a, &d));
    s->out.n = 0;
    bytes_free(&piece);
    return d.finish == WEFT_RUNNING;
}

/* Every byte of the input is a token: a control token, or one of the first. */
static void draw_all(const struct scope *scope, const struct request *r, struct answer *a,
                     struct stream *s, struct fuzz_input *in)
{
    bool more = true;
    while (more) {
        const uint32_t b = fuzz_u16(in);
        const size_t n = scope->info.n_vocab;
        const int32_t token = (int32_t)((b & 1) != 0 ? n - 1 - b / 2 % 8 : b / 2 % n);
        more = draw(scope, r, a, s, token, in->n == 0);
    }
}

static void give_prompt(struct answer *a, const struct request *r)
{
    const struct token_list *prompt = &r->generation.prompts[0];
    const size_t n_top = (size_t)r->generation.n_top;
    weft_logprob *at = calloc(prompt->n, (1 + n_top) * sizeof *at);
    MUST(at != NULL);
    at[0].token = -1;
    const struct prompt_logprobs p = { .at = at, .n = prompt->n, .n_top = n_top };
    MUST(answer_prompt(a, &p));
    free(at);
}

static void check_same(const struct heard *h)
{
    if (h->content.n != h->tokens.n ||
        (h->content.n > 0 && memcmp(h->content.data, h->tokens.data, h->tokens.n) != 0)) {
        fprintf(stderr, "the content is\n%.*s\nthe tokens are\n%.*s\n", (int)h->content.n,
                h->content.data, (int)h->tokens.n, h->tokens.data);
        MUST(false);
    }
}

static void answer(const struct scope *scope, struct request *r, struct fuzz_input *in)
{
    const struct generation *g = &r->generation;
    const struct job_figures figures = { .n_prompt = 1 };
    struct heard h = { 0 };
    struct outcome out = { 0 };
    struct stream s;
    stream_init(&s);
    MUST(stream_set_stops(&s, (const char *const *)g->stops, g->n_stops, NULL) == WEFT_OK);
    struct answer *a = answer_open(scope, r, "id", &sink, &h);
    MUST(a != NULL && answer_begin(a) && answer_progress(a, &figures, 1));
    if (g->echo_logprobs) {
        give_prompt(a, r);
    }
    draw_all(scope, r, a, &s, in);
    MUST(answer_end(a, &figures, &out) && out.status == 200 && (out.body == NULL) == r->stream);
    if (out.body != NULL) {
        hear(&h, out.body, out.n_body);
    }
    const size_t n_all = g->n_prompts * g->n_choices;
    /* Here the text of a prompt of bytes does not go on in that of the answer. */
    if (g->n_top >= 0 && n_all == 1 && r->route == ROUTE_CHAT && !r->style->both_reasonings) {
        check_same(&h);
    }
    answer_close(a);
    stream_free(&s);
    bytes_free(&h.content);
    bytes_free(&h.tokens);
}

/* ---------------------------------------------------------------- the request */

static void check_fault(const struct request *r, const struct fault *f)
{
    MUST(f->status == 400 || f->status == 404 || f->status == 501);
    MUST(f->message[0] != '\0' && f->type != NULL && r->style == NULL && r->answer == NULL);
    char *text = fault_json(f);
    MUST(text != NULL);
    json_decref(must_be_json(text, strlen(text)));
    free(text);
}

static void check_numbers(const struct request *r)
{
    float *numbers = calloc(r->embedding.n_texts + r->ranking.n_documents, 2 * sizeof *numbers);
    MUST(numbers != NULL);
    char *text = r->task == TASK_EMBED ? answer_vectors(&scopes[0], r, numbers, 2)
                                       : answer_scores(&scopes[0], r, numbers);
    MUST(text != NULL);
    json_decref(must_be_json(text, strlen(text)));
    free(text);
    free(numbers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct request r;
    struct fault f;
    open_scopes();
    const uint8_t how = fuzz_byte(&in);
    const enum route route = (enum route)(how & 7);
    struct scope scope = scopes[how >> 3 & 1];
    scope.strict_model = (how & 16) != 0;
    scope.template_name = (how & 32) != 0 ? "chatml" : NULL;
    scope.reasoning = (how & 64) != 0 ? REASONING_LEGACY : REASONING_AUTO;
    scope.info.n_labels = route == ROUTE_RERANK;
    size_t n;
    const uint8_t *end = memchr(in.data, 0, in.n);
    const char *body = fuzz_bytes(&in, end != NULL ? (size_t)(end - in.data) : in.n, &n);
    fuzz_byte(&in);
    const struct fuzz_cost cost = fuzz_begin();
    if (!request_read(&scope, route, body, n, &r, &f)) {
        check_fault(&r, &f);
    } else if (r.task == TASK_READY) {
        json_decref(must_be_json(r.answer, r.n_answer));
    } else if (r.task == TASK_GENERATE) {
        answer(&scope, &r, &in);
    } else {
        check_numbers(&r);
    }
    request_free(&r);
    fuzz_end(cost, size);
    return 0;
}
