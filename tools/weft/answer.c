#include "weft/answer.h"

#include "weft/term.h"

static int no_memory(void) { return term_fail(EXIT_MEMORY, "not enough memory for the answer"); }

/* Takes the events that are there. */
static int take(weft_reply *reply, struct answer_parts *out)
{
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    while (weft_reply_next(reply, &e)) {
        struct bytes *part = e.kind == WEFT_REPLY_REASONING ? &out->reasoning : &out->content;
        if (!text_add(part, e.text, e.n_text)) {
            return no_memory();
        }
    }
    return EXIT_OK;
}

static int split(weft_reply *reply, const struct bytes *text, struct answer_parts *out)
{
    weft_error err = { 0 };
    weft_status status = weft_reply_add(reply, text->data, text->n, &err);
    int code = status == WEFT_OK ? take(reply, out) : term_status(status, &err);
    if (code == EXIT_OK) {
        status = weft_reply_end(reply, &err);
        code = status == WEFT_OK ? take(reply, out) : term_status(status, &err);
    }
    return code;
}

/* Appends the text of the answer, with control tokens but without the one that ends it. */
static int whole_text(const struct session *s, const struct generated *g, struct bytes *out)
{
    size_t n = g->ids.n;
    while (n > 0 && weft_token_is_end(s->model, g->ids.at[n - 1])) {
        n--;
    }
    return session_detokenize(s->model, g->ids.at, n, WEFT_DETOKENIZE_SPECIAL, out);
}

int answer_split(const struct session *s, const weft_prompt *prompt, const struct generated *g,
                 struct answer_parts *out)
{
    const weft_reply_params params = { .size = sizeof params, .choice = WEFT_TOOLS_NONE };
    weft_error err = { 0 };
    weft_reply *reply = NULL;
    struct bytes text = { 0 };
    int code = whole_text(s, g, &text);
    if (code == EXIT_OK) {
        weft_status status = weft_reply_open(prompt, &params, &reply, &err);
        code = status == WEFT_OK ? split(reply, &text, out) : term_status(status, &err);
    }
    weft_reply_release(&reply);
    bytes_free(&text);
    return code;
}

void answer_parts_free(struct answer_parts *parts)
{
    bytes_free(&parts->content);
    bytes_free(&parts->reasoning);
}
