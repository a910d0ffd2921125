/* Any text as the answer of a model, in every form of tool calls. Where the text is cut changes
 * nothing; what is given out is never more than what was written, in its order; without calls the
 * content is the text, byte by byte; the arguments of complete calls are JSON objects, and those of
 * others begin one; little is held back. */
#include <jansson.h>

#include "fuzz.h"
#include "reply/reply.h"

static const char *const sources[] = {
    "",
    "tools<tool_call></tool_call>",
    "tools<function=<parameter=",
    "tools<seed:tool_call><parameter=<seed:think></seed:think>",
    "tools<minimax:tool_call><invoke name=",
    "tools<tool_call><arg_key>",
    "tools<function=</function>",
    "tools<\xef\xbd\x9ctool\xe2\x96\x81"
    "call\xe2\x96\x81"
    "begin\xef\xbd\x9c>```json",
    "tools<\xef\xbd\x9ctool\xe2\x96\x81"
    "call\xe2\x96\x81"
    "begin\xef\xbd\x9c><\xef\xbd\x9ctool\xe2\x96\x81"
    "sep\xef\xbd\x9c>",
    "tools[TOOL_CALLS][ARGS][THINK][/THINK]",
    "tools[TOOL_CALLS]",
    "tools<TOOLCALL>",
    "tools<tool_calls>[",
    "tools<tool_calls></tool_calls>",
    "tools<|tool|>",
    "tools<|tool_call|>",
    "tools ipython\"parameters\": ",
    "tools<tool_call></tool_call><think></think>",
    "tools<function=<parameter=<think></think>",
};
enum { N_SOURCES = sizeof sources / sizeof *sources };

static const char tools[] =
    "[{\"name\":\"f\",\"parameters\":{\"properties\":{\"s\":{\"type\":\"string\"},\"n\":{\"type\":"
    "\"integer\"},\"b\":{\"type\":[\"boolean\",\"null\"]},\"o\":{\"type\":\"object\"},\"x\":{}}}},"
    "{\"name\":\"g\"}]";

/* What a reply gave out so far. */
struct log {
    const char *text; /* the answer */
    size_t n_text;
    struct bytes all;       /* content and reasoning */
    struct bytes events;    /* a byte for the kind of each event, and its text */
    struct bytes arguments; /* of the current call */
    weft_reply_kind last;
    bool inside;
    size_t n_calls;
};

static void check_arguments(const struct log *log)
{
    json_error_t e;
    json_t *value = json_loadb(log->arguments.data, log->arguments.n, JSON_ALLOW_NUL, &e);
    enum json_error_code code = value == NULL ? json_error_code(&e) : json_error_unknown;
    /* These are JSON, but no JSON that jansson can hold. */
    bool beyond = code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
    if (!json_is_object(value) && !beyond) {
        fprintf(stderr, "%s: %.*s\n", e.text, (int)log->arguments.n, log->arguments.data);
        MUST(false);
    }
    json_decref(value);
}

static void add(struct bytes *b, const void *data, size_t n) { MUST(bytes_add(b, data, n)); }

static void on_call(struct log *log, const weft_reply_event *e)
{
    if (e->kind == WEFT_REPLY_CALL) {
        MUST(!log->inside && e->index == log->n_calls++);
        MUST(strcmp(e->name, "f") == 0 || strcmp(e->name, "g") == 0);
        log->arguments.n = 0;
    } else if (e->kind == WEFT_REPLY_ARGUMENTS) {
        MUST(log->inside && e->index == log->n_calls - 1);
        add(&log->arguments, e->text, e->n_text);
    } else if (e->complete) {
        check_arguments(log);
    } else {
        MUST(log->arguments.n > 0 && log->arguments.data[0] == '{');
    }
    log->inside = e->kind != WEFT_REPLY_CALL_END;
}

static void take_events(struct reply *r, struct log *log)
{
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    while (reply_next(r, &e)) {
        bool text = e.kind == WEFT_REPLY_CONTENT || e.kind == WEFT_REPLY_REASONING;
        MUST(e.n_text > 0 || e.kind == WEFT_REPLY_CALL || e.kind == WEFT_REPLY_CALL_END);
        if (e.kind != log->last || log->events.n == 0 || e.kind == WEFT_REPLY_CALL) {
            add(&log->events, (char[]){ (char)e.kind, (char)e.complete }, 2);
        }
        log->last = e.kind;
        add(&log->events, e.text, e.n_text);
        if (text) {
            MUST(!log->inside && e.n_text <= log->n_text && e.from <= log->n_text - e.n_text);
            MUST(memcmp(log->text + e.from, e.text, e.n_text) == 0);
            add(&log->all, e.text, e.n_text);
        } else {
            on_call(log, &e);
        }
    }
}

/* An answer is given in pieces whose lengths `cuts` draws; 0 = as a whole. */
static void feed(struct reply *r, const char *text, size_t n, uint64_t cuts, struct log *log)
{
    for (size_t at = 0, len; at < n; at += len) {
        cuts = cuts * UINT64_C(6364136223846793005) + (cuts != 0);
        len = cuts == 0 ? n : 1 + (cuts >> 60) * (cuts >> 57 & 1);
        len = size_min(len, n - at);
        MUST(reply_add(r, text + at, len, NULL) == WEFT_OK);
        size_t held = r->in.n - r->at;
        MUST(held <= (REPLY_MAX_HEAD + 2 * REPLY_MAX_SPACE) * 17 / 16 || r->state == REPLY_VALUE);
        take_events(r, log);
    }
    MUST(reply_end(r, NULL) == WEFT_OK && reply_end(r, NULL) == WEFT_OK);
    take_events(r, log);
    MUST(!log->inside && r->in.n == r->at);
}

/* The text that was given out stands in the answer, in this order. */
static bool in_order(const struct bytes *part, const char *text, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n && k < part->n; i++) {
        k += part->data[k] == text[i];
    }
    return k == part->n;
}

static void log_free(struct log *log)
{
    bytes_free(&log->all);
    bytes_free(&log->events);
    bytes_free(&log->arguments);
}

/* A reply that was opened is copied for each answer, because opening makes grammars. */
static void check(const struct reply *opened, const char *text, size_t n, uint64_t cuts,
                  struct log *log)
{
    struct reply r = *opened;
    log->text = text;
    log->n_text = n;
    struct fuzz_cost cost = fuzz_begin();
    feed(&r, text, n, cuts, log);
    fuzz_end(cost, n);
    bool exact = r.keep_reasoning || r.marks == NULL;
    MUST(in_order(&log->all, text, n));
    MUST(!exact || log->n_calls > 0 ||
         (log->all.n == n && (n == 0 || memcmp(log->all.data, text, n) == 0)));
    bytes_free(&r.in);
    bytes_free(&r.out);
    free(r.events);
}

/* Returns a reply that no text was added to. */
static const struct reply *open_once(size_t source, size_t how)
{
    static struct reply opened[N_SOURCES][16];
    struct reply *r = &opened[source][how];
    const char *opening = (how & 1) != 0 ? "<think><seed:think>[THINK]" : "";
    const struct reply_source s = {
        sources[source], strlen(sources[source]), opening, strlen(opening),
        tools,           sizeof tools - 1,        false
    };
    const weft_reply_params params = { .choice = (how & 8) != 0 ? WEFT_TOOLS_NONE : WEFT_TOOLS_AUTO,
                                       .no_parallel = (how & 2) != 0,
                                       .keep_reasoning = (how & 4) != 0,
                                       .seed = 1 };
    if (r->format == NULL) {
        MUST(reply_open(&s, &params, r, NULL) == WEFT_OK);
    }
    return r;
}

/* Returns the rest of the input, in memory of its own. Parts of it are not repeated as in
 * fuzz_text(): long texts take long. */
static char *whole_rest(struct fuzz_input *in, size_t *n)
{
    const char *at = fuzz_bytes(in, in->n, n);
    char *text = malloc(*n > 0 ? *n : 1);
    MUST(text != NULL);
    memcpy(text, at, *n);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct log whole = { 0 }, pieces = { 0 };
    size_t n, source = fuzz_byte(&in) % N_SOURCES, how = fuzz_byte(&in);
    uint64_t cuts = (uint64_t)fuzz_u16(&in) << 20 | 1;
    const struct reply *opened = open_once(source, (how & 7) | ((how & 0x38) == 0x38 ? 8 : 0));
    char *text = how == 0xc0 ? fuzz_text(&in, &n) : whole_rest(&in, &n);
    check(opened, text, n, 0, &whole);
    check(opened, text, n, cuts, &pieces);
    MUST(whole.events.n == pieces.events.n &&
         (whole.events.n == 0 ||
          memcmp(whole.events.data, pieces.events.data, pieces.events.n) == 0));
    log_free(&whole);
    log_free(&pieces);
    free(text);
    return 0;
}
