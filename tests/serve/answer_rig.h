/* For the tests of answers: draws by hand. */
#ifndef ANSWER_RIG_H
#define ANSWER_RIG_H

#include "request_rig.h"

struct answer_rig {
    struct request_rig *rig;
    struct request request;
    struct answer *answer;
    struct heard heard;
    struct job_figures figures;
};

static inline void answer_rig_open(struct answer_rig *a, struct request_rig *rig, enum route route,
                                   const char *body)
{
    *a = (struct answer_rig){ .rig = rig };
    read_ok(rig, route, body, &a->request);
    a->answer = answer_open(&rig->scope, &a->request, "id", &heard_sink, &a->heard);
    assert_non_null(a->answer);
    a->figures = (struct job_figures){ .n_prompt = 7, .n_cached = 2, .admitted = 1, .first = 2 };
    assert_true(answer_begin(a->answer));
}

static inline void answer_rig_close(struct answer_rig *a)
{
    answer_close(a->answer);
    request_free(&a->request);
    bytes_free(&a->heard.text);
}

/* Returns the token that this text is. */
static inline int32_t token_of(const struct answer_rig *a, const char *text)
{
    int32_t ids[8];
    size_t n = 0;
    OK(weft_tokenize(a->rig->rig.model, text, strlen(text),
                     WEFT_TOKENIZE_SPECIAL | WEFT_TOKENIZE_NO_PREFIX, ids, 8, &n, E));
    assert_int_equal(n, 1);
    return ids[0];
}

/* Draws a token; `text` is what comes with it. */
static inline void draw(struct answer_rig *a, size_t choice, const char *token, const char *text,
                        weft_finish finish)
{
    const int32_t id = token != NULL ? token_of(a, token) : -1;
    const weft_logprob logprobs[3] = { { id, -0.5f }, { id, -0.5f }, { token_of(a, "z"), -1 } };
    const int n_top = a->request.generation.n_top;
    a->figures.n_generated += id >= 0;
    a->figures.last = 2 + (double)a->figures.n_generated;
    struct drawn d = { .choice = choice,
                       .token = id,
                       .text = text,
                       .n_text = strlen(text),
                       .logprobs = logprobs,
                       .n_logprobs = id < 0 || n_top < 0 ? 0 : 1 + (n_top > 2 ? 2 : (size_t)n_top),
                       .finish = finish,
                       .figures = a->figures };
    assert_true(answer_drawn(a->answer, &d));
}

/* Draws a text byte by byte, every byte a token. */
static inline void draw_bytes(struct answer_rig *a, const char *text)
{
    for (; *text != '\0'; text++) {
        char one[2] = { *text, '\0' };
        draw(a, 0, one, one, WEFT_RUNNING);
    }
}

/* The end token. */
static inline void draw_end(struct answer_rig *a, size_t choice, const char *text)
{
    draw(a, choice, "<|im_end|>", text, WEFT_FINISH_END);
}

static inline struct outcome answer_rig_end(struct answer_rig *a)
{
    struct outcome out = { 0 };
    assert_true(answer_end(a->answer, &a->figures, &out));
    assert_int_equal(out.status, 200);
    return out;
}

/* Ends an answer, and compares all of it. */
static inline void whole_is(struct answer_rig *a, const char *want, const char *finish)
{
    struct outcome out = answer_rig_end(a);
    assert_int_equal(a->heard.n_events, 0);
    assert_string_equal(out.finish, finish);
    assert_int_equal(out.n_body, strlen(out.body));
    same_json(out.body, want);
    answer_rig_close(a);
}

#endif
