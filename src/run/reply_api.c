/* The public functions that split answers and constrain them. */
#include <string.h>

#include "reply/reply.h"
#include "run/prompt_api.h"

enum { REPLY_MAGIC = 0x796c7072 };

struct weft_reply {
    uint32_t magic;
    struct reply reply;
};

static weft_status reply_check(const weft_reply *r, weft_error *err)
{
    return handle_check(r, r != NULL ? &r->magic : NULL, REPLY_MAGIC, "reply", err);
}

weft_status weft_reply_open(const weft_prompt *prompt, const weft_reply_params *params,
                            weft_reply **out, weft_error *err)
{
    weft_reply_params p = WEFT_REPLY_PARAMS_INIT;
    TRY(prompt_check(prompt, err));
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "out is NULL");
    }
    TRY(params_copy(&p, sizeof p, params, "weft_reply_params", err));
    TRY(array_check(p.schema, p.n_schema, 1, "schema", err));
    const struct prompt *made = &prompt->prompt;
    const struct bytes *text = &made->text.text;
    const struct reply_source source = { made->source,
                                         made->n_source,
                                         text->n > 0 ? text->data + made->opening : "",
                                         text->n - made->opening,
                                         prompt->tools.data,
                                         prompt->tools.n,
                                         made->told };
    weft_reply *r = mem_array(1, sizeof *r);
    if (r == NULL) {
        return error_nomem(err, "a reply", sizeof *r);
    }
    weft_status status = reply_open(&source, &p, &r->reply, err);
    if (status != WEFT_OK) {
        free(r);
        return status;
    }
    r->magic = REPLY_MAGIC;
    *out = r;
    return WEFT_OK;
}

void weft_reply_release(weft_reply **reply)
{
    if (reply != NULL && reply_check(*reply, NULL) == WEFT_OK) {
        (*reply)->magic = 0;
        reply_close(&(*reply)->reply);
        free(*reply);
        *reply = NULL;
    }
}

weft_status weft_reply_constrain(const weft_reply *reply, weft_seq *seq, weft_error *err)
{
    weft_trigger trigger = WEFT_TRIGGER_INIT;
    TRY(reply_check(reply, err));
    const struct reply_constraint *c = &reply->reply.constraint;
    trigger.texts = c->triggers;
    trigger.n_texts = c->n_triggers;
    trigger.hold_open = c->hold_open;
    trigger.hold_close = c->hold_close;
    trigger.held = c->held;
    return c->n_triggers > 0 ? weft_seq_set_trigger(seq, &trigger, c->gbnf.data, c->gbnf.n, err)
                             : weft_seq_set_grammar(seq, c->gbnf.data, c->gbnf.n, err);
}

weft_status weft_reply_add(weft_reply *reply, const char *text, size_t n, weft_error *err)
{
    TRY(reply_check(reply, err));
    TRY(array_check(text, n, 1, "text", err));
    return reply_add(&reply->reply, text, n, err);
}

weft_status weft_reply_end(weft_reply *reply, weft_error *err)
{
    TRY(reply_check(reply, err));
    return reply_end(&reply->reply, err);
}

bool weft_reply_next(weft_reply *reply, weft_reply_event *event)
{
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    return reply_check(reply, NULL) == WEFT_OK &&
           info_check(event, "weft_reply_event", NULL) == WEFT_OK &&
           reply_next(&reply->reply, &e) &&
           info_copy(event, &e, sizeof e, "weft_reply_event", NULL) == WEFT_OK;
}
