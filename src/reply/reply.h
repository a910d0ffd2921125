/* Splits the answer of a model into content, reasoning and tool calls, and says which grammar the
 * answer must follow. The parser never fails: what is no call is content. It gives out only what no
 * later text can change. */
#ifndef WEFT_REPLY_H
#define WEFT_REPLY_H

#include "reply/json_scan.h"
#include "reply/pattern.h"

/* What is known about a request. The texts are copied or read at once. */
struct reply_source {
    const char *template_source; /* of the chat template */
    size_t n_template_source;
    const char *opening; /* the rendered text from where the assistant's turn begins */
    size_t n_opening;
    const char *tools; /* JSON; NULL = none */
    size_t n_tools;
    bool told; /* reply_instruction() has told the model about the tools */
};

enum reply_state {
    REPLY_BEGIN,     /* reasoning may begin here */
    REPLY_REASONING, /* inside reasoning */
    REPLY_TEXT,
    REPLY_JSON,     /* inside the arguments of a call, which are JSON */
    REPLY_TAG,      /* between parameters in tags */
    REPLY_RAW,      /* inside a text in tags */
    REPLY_VALUE,    /* inside another value in tags */
    REPLY_NAMED,    /* between parameters of f(k="v") */
    REPLY_NAMED_IN, /* inside the value of one */
    REPLY_BEHIND    /* behind a call */
};

struct reply_event {
    weft_reply_kind kind;
    size_t call;      /* its number */
    size_t at, n;     /* its text in `out`; for a call its id */
    const char *name; /* of the tool */
    bool complete;
    size_t from; /* where content or reasoning stands in the answer */
};

/* The grammar of an answer, and where it begins. */
struct reply_constraint {
    struct bytes gbnf; /* n = 0: none */
    /* The grammar begins behind one of these texts; n_triggers = 0: at once. */
    const char *triggers[16];
    size_t n_triggers;
    struct bytes names; /* texts of triggers that were made */
    /* Between these markers of reasoning there is no trigger; NULL as in weft_trigger. */
    const char *hold_open, *hold_close;
    bool held; /* the answer begins between them */
};
struct reply {
    const struct reply_format *format;
    const struct reply_marks *marks; /* NULL = the model does not reason */
    struct reply_tools tools;
    json_t *schema; /* of the content; NULL = none */
    weft_tool_choice choice;
    bool single, keep_reasoning, strict_schema;
    bool thinking; /* the answer begins inside reasoning */
    uint64_t seed; /* of the ids */

    struct reply_constraint constraint; /* of the choice of tools and of the schema */

    /* Text that was added; it is read up to `at`. The first `kept` bytes, which were unread when
     * reply_add() was called, stay there until it has read everything. */
    struct bytes in;
    size_t kept;
    size_t at;
    size_t place; /* that of the unread text in the answer: bytes that were read */
    size_t seen;  /* bytes behind `at` that were searched or given to the scanner already */
    /* The unread bytes that make it worth to look again at what was not certain: a sixteenth more.
     * So the time is linear in the text even if each byte is added alone. */
    size_t again;
    enum reply_state state;
    bool trim;     /* white space that comes now is left out */
    bool answered; /* there was content or a call */
    bool behind;   /* nothing but white space has come behind a call */
    bool ended, no_memory;
    /* The call that is being read. */
    size_t n_calls;
    const struct reply_tool *tool;
    struct json_scan scan;
    bool object;    /* its arguments stand inside an object */
    bool first;     /* no parameter came yet */
    unsigned types; /* of the parameter that is being read */

    struct bytes out; /* texts of the events */
    struct reply_event *events;
    size_t n_events, cap_events, next_event;
};

enum {
    REPLY_MAX_PIECE = 1 << 28, /* bytes that are added at once */
    /* The text from where a call may begin to its arguments, from a parameter of a call to the
     * value of the next one, and what closes a call; what is longer is no part of a call. */
    REPLY_MAX_HEAD = 16384,
    /* What is read behind a head to see that it is one: the beginning of a parameter. */
    REPLY_MAX_AHEAD = 64,
    REPLY_SLICE = 16384, /* bytes that are read at once */
    /* White space in front of a call or a marker, which is left out; of a longer one the end is. */
    REPLY_MAX_SPACE = 256
};

/* Opens a parser and fills *r. Errors: WEFT_E_ARG (the parameters contradict each other, or the
 * tools are no JSON), WEFT_E_FORMAT (the schema is no JSON, or strict and a grammar cannot hold it;
 * the grammar is too large), WEFT_E_NOMEM. */
weft_status reply_open(const struct reply_source *source, const weft_reply_params *params,
                       struct reply *r, weft_error *err);
void reply_close(struct reply *r);
/* Reads text[n]. WEFT_E_STATE: reply_end() was called; WEFT_E_ARG: n is above
 * REPLY_MAX_PIECE; WEFT_E_NOMEM: nothing was read. */
weft_status reply_add(struct reply *r, const char *text, size_t n, weft_error *err);
/* The answer ends here. */
weft_status reply_end(struct reply *r, weft_error *err);
/* Gives the next event; its pointers live until the next call that adds text. Returns false if
 * there is none. */
bool reply_next(struct reply *r, weft_reply_event *event);

/* Appends what a system message must say where the template does not tell the model about tools:
 * the tools, and how to call them. tools[n] is JSON as in reply_source. */
weft_status reply_instruction(const char *tools, size_t n, struct bytes *out, weft_error *err);

/* The rest is private to the files of the parser. */

/* Makes the grammar. Errors: WEFT_E_FORMAT (it is too large), WEFT_E_NOMEM. */
weft_status reply_constrain(const struct reply *r, struct reply_constraint *out, weft_error *err);
void reply_constraint_free(struct reply_constraint *c);
/* Errors: WEFT_E_FORMAT (the grammar is larger than those that a sequence takes). */
weft_status reply_check_grammar(const struct bytes *gbnf, weft_error *err);

/* Each reads on from r->at; it returns false if nothing more can be read for now. */
bool reply_step_begin(struct reply *r);
bool reply_step_reasoning(struct reply *r);
bool reply_step_text(struct reply *r);
bool reply_step_json(struct reply *r);
bool reply_step_tag(struct reply *r);
bool reply_step_raw(struct reply *r);
bool reply_step_value(struct reply *r);
bool reply_step_named(struct reply *r);
bool reply_step_named_in(struct reply *r);
bool reply_step_behind(struct reply *r);
/* Begins the call that was found at r->at, and moves behind its head. */
void reply_begin_call(struct reply *r, const struct reply_found *found);
/* Ends the call. Text that is no part of it follows if it is not complete. */
void reply_end_call(struct reply *r, bool complete);
/* Tries a pattern at `at`. At the end of the answer nothing more can come, so MATCH_MORE becomes
 * MATCH_NO there. */
enum reply_match reply_try(const struct reply *r, const char *pattern, size_t at,
                           struct reply_found *found);

/* Appends text to the events: content, reasoning or arguments. */
void reply_emit(struct reply *r, weft_reply_kind kind, const char *text, size_t n);
/* Appends text to the arguments, as the inside of a JSON string. */
void reply_emit_escaped(struct reply *r, const char *text, size_t n);
/* Tells reply_emit() that text was written behind r->out by other means, from `before` on. */
void reply_emitted(struct reply *r, weft_reply_kind kind, size_t before);
/* Appends another event. */
void reply_put_event(struct reply *r, struct reply_event event);

#endif
