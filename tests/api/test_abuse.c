/* Calls every public function with arguments that no caller should give: each handle NULL,
 * released, of another type, or not a handle at all; each pointer NULL; sizes 0 and SIZE_MAX;
 * buffers too small; structs of impossible sizes; ids outside the vocabulary. There is one row per
 * function, and one function per kind of abuse. Every case has the status that weft.h promises; a
 * call that fails changes nothing; and after each function's cases the engine still writes the same
 * text. Includes only weft.h of the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/abuse_rig.h"

/* The arguments of a function besides its handle and err. */
enum {
    PATH = 1,     /* NULL, and a path where there is no file, are refused */
    STATE = 8192, /* in[n], or the file at the path, is a saved state */
    IN = 2,       /* in[n]; NULL is allowed only with n = 0, n = SIZE_MAX never */
    VOCAB = 4,    /* in[n] holds ids of the vocabulary */
    NEEDS_IN = 8, /* in[n] with n = 0 is refused too */
    TOKEN = 16,   /* one id of the vocabulary */
    DST = 32,     /* dst, cap, needed */
    OUT = 64,     /* out, not NULL */
    PARAMS = 128, /* a struct that may be NULL */
    INFO = 256,   /* a struct that the function fills */
    INDEX = 512,  /* an index i; SIZE_MAX is too large */
    FLAGS = 1024,
    LENGTH = 2048, /* n alone; SIZE_MAX is too large */
    SLOW = 4096    /* takes about a second */
};

struct args {
    void *handle;
    const char *path;
    const void *in;
    size_t n, i;
    unsigned flags;
    int32_t token;
    const void *params;
    void *info, *out, *dst;
    size_t cap, *needed;
    weft_error *err;
};

#define CALL(name, ...)                                                                            \
    static weft_status call_##name(const struct args *a) { return weft_##name(__VA_ARGS__); }

CALL(platform_get, a->info, a->err)
CALL(device_get, a->i, a->info, a->err)
CALL(file_open, a->path, a->out, a->err)
CALL(file_load, a->path, a->out, a->err)
CALL(file_key, a->handle, a->i, a->out, a->err)
CALL(file_key_use, a->handle, a->i, a->out, a->err)
CALL(file_tensor, a->handle, a->i, a->out, a->err)
CALL(file_value, a->handle, a->i, 0, a->dst, a->cap, a->needed, a->err)
CALL(model_open, a->path, a->params, a->out, a->err)
CALL(model_get_info, a->handle, a->info, a->err)
CALL(model_get_layer, a->handle, a->i, a->info, a->err)
CALL(model_get_sampling, a->handle, a->info, NULL, a->err)
CALL(tokenize, a->handle, a->in, a->n, a->flags, a->dst, a->cap, a->needed, a->err)
CALL(detokenize, a->handle, a->in, a->n, a->flags, a->dst, a->cap, a->needed, a->err)
CALL(token_text, a->handle, a->token, a->dst, a->cap, a->needed, a->err)
CALL(chat_tokens, a->handle, a->in, a->n, a->params, a->dst, a->cap, a->needed, a->err)
CALL(schema_grammar, a->in, a->n, a->flags, a->dst, a->cap, a->needed, a->err)
CALL(prompt_open, a->handle, a->params, a->out, a->err)
CALL(prompt_tokens, a->handle, a->i, a->dst, a->cap, a->needed, a->err)
CALL(prompt_text, a->handle, a->dst, a->cap, a->needed, a->err)
CALL(prompt_runs, a->handle, a->dst, a->cap, a->needed, a->err)
CALL(reply_open, a->handle, a->params, a->out, a->err)
CALL(reply_constrain, a->handle, base, a->err)
CALL(reply_add, a->handle, a->in, a->n, a->err)
CALL(reply_end, a->handle, a->err)
CALL(engine_open, a->handle, a->params, a->out, a->err)
CALL(engine_get_info, a->handle, a->info, a->err)
CALL(engine_get_stats, a->handle, a->info, a->err)
CALL(engine_measure, a->handle, a->info, a->err)
CALL(engine_step, a->handle, NULL, a->err)
CALL(engine_wait, a->handle, 0, NULL, a->err)
CALL(embed, a->handle, a->in, a->n, a->params, a->dst, a->cap, a->needed, a->err)
CALL(embed_texts, a->handle, a->in, &a->n, 1, a->params, a->dst, a->cap, a->needed, a->err)
CALL(seq_open, a->handle, a->params, a->out, a->err)
CALL(seq_fork, a->handle, a->out, a->err)
CALL(seq_set_sampling, a->handle, a->params, a->err)
CALL(seq_set_stops, a->handle, a->in, a->n, a->err)
CALL(seq_set_grammar, a->handle, a->in, a->n, a->err)
CALL(seq_set_trigger, a->handle, a->params, a->in, a->n, a->err)
CALL(seq_set_logprobs, a->handle, 2, a->err)
CALL(seq_append, a->handle, a->in, a->n, a->err)
CALL(seq_reserve, a->handle, a->n, a->err)
CALL(seq_park, a->handle, a->err)
CALL(seq_unpark, a->handle, a->err)
CALL(seq_next, a->handle, a->out, a->err)
CALL(seq_text, a->handle, a->dst, a->cap, a->needed, a->err)
CALL(seq_end, a->handle, a->err)
CALL(seq_logits, a->handle, a->dst, a->cap, a->needed, a->err)
CALL(seq_logprobs, a->handle, a->dst, a->cap, a->needed, a->err)
CALL(seq_observe, a->handle, NULL, NULL, a->err)
CALL(seq_tokens, a->handle, a->dst, a->cap, a->needed, a->err)
CALL(seq_rewind, a->handle, a->n, a->err)
CALL(seq_save, a->handle, a->dst, a->cap, a->needed, a->err)
CALL(seq_load, a->handle, a->in, a->n, a->err)
CALL(seq_save_file, a->handle, a->path, a->err)
CALL(seq_load_file, a->handle, a->path, a->err)

static weft_status constrain_a_sequence(const struct args *a)
{
    weft_reply *reply = NULL;
    OK(weft_reply_open(conversation, NULL, &reply, E));
    weft_status status = weft_reply_constrain(reply, a->handle, a->err);
    weft_reply_release(&reply);
    return status;
}

static const char text_in[] = "the capital of the world";
static const weft_message messages_in[] = { { "system", "Be short." }, { "user", "Hello" } };
static const char *const stops_in[] = { "one", "two" };
static const char grammar_in[] = "root ::= [a-z ]*";
static const char schema_in[] = "{\"type\": \"boolean\"}";
static const weft_model_params model_params = WEFT_MODEL_PARAMS_INIT;
static const weft_chat_params chat_params = WEFT_CHAT_PARAMS_INIT;
static const weft_reply_params reply_params = WEFT_REPLY_PARAMS_INIT;
static const weft_embed_params embed_params = WEFT_EMBED_PARAMS_INIT;
static const weft_sampling sampling = WEFT_SAMPLING_INIT;
static const weft_trigger trigger = {
    .size = sizeof trigger, .texts = stops_in, .n_texts = 2, .tokens = ids_in, .n_tokens = 3
};

struct row {
    const char *name;
    weft_status (*call)(const struct args *);
    enum kind kind;
    unsigned takes;
    enum kind makes; /* what *out owns after the call */
    const void *in;
    size_t n;
    size_t size; /* of an element of dst, or of *info */
    const void *params;
    size_t params_size;
    weft_status beyond; /* the status for an n beyond all memory, if it is not WEFT_E_ARG */
    weft_status bare;   /* the status for no params, and for params that hold only their size */
};

#define ROW(f) .name = #f, .call = call_##f
#define INPUT(data, count) .in = data, .n = count
#define STRUCT(p) .params = &p, .params_size = sizeof p

static const struct row rows[] = {
    { ROW(platform_get), .takes = INFO, .size = sizeof(weft_platform_info) },
    { ROW(device_get), .takes = INDEX | INFO, .size = sizeof(weft_device_info) },
    { ROW(file_open), .takes = PATH | OUT, .makes = FILE_HANDLE },
    { ROW(file_load), .takes = PATH | OUT, .makes = FILE_HANDLE },
    { ROW(file_key), .kind = FILE_HANDLE, .takes = INDEX | OUT },
    { ROW(file_key_use), .kind = FILE_HANDLE, .takes = INDEX | OUT },
    { ROW(file_tensor), .kind = FILE_HANDLE, .takes = INDEX | OUT },
    { ROW(file_value), .kind = FILE_HANDLE, .takes = INDEX | DST, .size = 1 },
    { ROW(model_open), .takes = PATH | PARAMS | OUT, .makes = MODEL, STRUCT(model_params) },
    { ROW(model_get_info), .kind = MODEL, .takes = INFO, .size = sizeof(weft_model_info) },
    { ROW(model_get_layer), .kind = MODEL, .takes = INDEX | INFO, .size = sizeof(weft_layer_info) },
    { ROW(model_get_sampling), .kind = MODEL, .takes = INFO, .size = sizeof(weft_sampling) },
    { ROW(tokenize), .kind = MODEL, .takes = IN | FLAGS | DST, INPUT(text_in, 24), .size = 4 },
    { ROW(detokenize), .kind = MODEL, .takes = IN | VOCAB | FLAGS | DST, INPUT(ids_in, 3),
      .size = 1 },
    { ROW(token_text), .kind = MODEL, .takes = TOKEN | DST, .size = 1 },
    { ROW(chat_tokens), .kind = MODEL, .takes = IN | NEEDS_IN | PARAMS | DST, INPUT(messages_in, 2),
      .size = 4, STRUCT(chat_params) },
    { ROW(schema_grammar), .takes = IN | FLAGS | DST, INPUT(schema_in, sizeof schema_in - 1),
      .size = 1 },
    { ROW(prompt_open), .kind = MODEL, .takes = PARAMS | OUT, .makes = PROMPT,
      STRUCT(prompt_params), .bare = WEFT_E_ARG },
    { ROW(prompt_tokens), .kind = PROMPT, .takes = INDEX | DST, .size = 4 },
    { ROW(prompt_text), .kind = PROMPT, .takes = DST, .size = 1 },
    { ROW(prompt_runs), .kind = PROMPT, .takes = DST, .size = sizeof(weft_run) },
    { ROW(reply_open), .kind = PROMPT, .takes = PARAMS | OUT, .makes = REPLY,
      STRUCT(reply_params) },
    { ROW(reply_constrain), .kind = REPLY },
    { .name = "reply_constrain", .call = constrain_a_sequence, .kind = SEQ },
    { ROW(reply_add), .kind = REPLY, .takes = IN, INPUT(text_in, 24) },
    { ROW(reply_end), .kind = REPLY },
    { ROW(engine_open), .kind = MODEL, .takes = PARAMS | OUT, .makes = ENGINE,
      STRUCT(engine_params) },
    { ROW(engine_get_info), .kind = ENGINE, .takes = INFO, .size = sizeof(weft_engine_info) },
    { ROW(engine_get_stats), .kind = ENGINE, .takes = INFO, .size = sizeof(weft_engine_stats) },
    { ROW(engine_measure), .kind = ENGINE, .takes = INFO | SLOW, .size = sizeof(weft_limits) },
    { ROW(engine_step), .kind = ENGINE },
    { ROW(engine_wait), .kind = ENGINE },
    { ROW(embed), .kind = ENGINE, .takes = IN | VOCAB | NEEDS_IN | PARAMS | DST, INPUT(ids_in, 3),
      .size = 4, STRUCT(embed_params), .beyond = WEFT_E_CTX_FULL },
    { ROW(embed_texts), .kind = ENGINE, .takes = IN | VOCAB | NEEDS_IN | PARAMS | DST,
      INPUT(ids_in, 3), .size = 4, STRUCT(embed_params), .beyond = WEFT_E_CTX_FULL },
    { ROW(seq_open), .kind = ENGINE, .takes = PARAMS | OUT, .makes = SEQ, STRUCT(sampling) },
    { ROW(seq_fork), .kind = SEQ, .takes = OUT, .makes = SEQ },
    { ROW(seq_set_sampling), .kind = SEQ, .takes = PARAMS, STRUCT(sampling) },
    { ROW(seq_set_stops), .kind = SEQ, .takes = IN, INPUT(stops_in, 2) },
    { ROW(seq_set_grammar), .kind = SEQ, .takes = IN, INPUT(grammar_in, sizeof grammar_in - 1),
      .beyond = WEFT_E_FORMAT },
    { ROW(seq_set_trigger), .kind = SEQ, .takes = IN | PARAMS,
      INPUT(grammar_in, sizeof grammar_in - 1), STRUCT(trigger), .beyond = WEFT_E_FORMAT },
    { ROW(seq_set_logprobs), .kind = SEQ },
    { ROW(seq_append), .kind = SEQ, .takes = IN | VOCAB, INPUT(ids_in, 3),
      .beyond = WEFT_E_CTX_FULL },
    { ROW(seq_reserve), .kind = SEQ, .takes = LENGTH, .beyond = WEFT_E_CTX_FULL },
    { ROW(seq_park), .kind = SEQ },
    { ROW(seq_unpark), .kind = SEQ },
    { ROW(seq_next), .kind = SEQ, .takes = OUT },
    { ROW(seq_text), .kind = SEQ, .takes = DST, .size = 1 },
    { ROW(seq_end), .kind = SEQ },
    { ROW(seq_logits), .kind = SEQ, .takes = DST, .size = 4 },
    { ROW(seq_logprobs), .kind = SEQ, .takes = DST, .size = sizeof(weft_logprob) },
    { ROW(seq_observe), .kind = SEQ },
    { ROW(seq_tokens), .kind = SEQ, .takes = DST, .size = 4 },
    { ROW(seq_rewind), .kind = SEQ, .takes = LENGTH },
    { ROW(seq_save), .kind = SEQ, .takes = DST, .size = 1 },
    { ROW(seq_load), .kind = SEQ, .takes = IN | STATE, INPUT(state_in, 0),
      .beyond = WEFT_E_FORMAT },
    { ROW(seq_save_file), .kind = SEQ, .takes = PATH | STATE },
    { ROW(seq_load_file), .kind = SEQ, .takes = PATH | STATE },
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

/* ---------------------------------------------------------------- one case */

enum { ROOM = 8192, MARK = 0x5a }; /* bytes of a buffer; the value of untouched bytes */

struct space {
    unsigned char out[512], info[512], dst[ROOM];
    size_t needed;
    weft_seq *seq;
};

/* Returns arguments that are all valid. */
static struct args good(const struct row *r, struct space *s)
{
    memset(s, MARK, sizeof *s);
    memset(s->out, 0, sizeof s->out);
    s->seq = NULL;
    if (r->kind == SEQ) {
        OK(weft_seq_fork(base, &s->seq, E));
    }
    if (r->takes & INFO) {
        memcpy(s->info, &r->size, sizeof r->size);
    }
    return (struct args){ .handle = handle_of(r->kind, s->seq),
                          .path = r->takes & STATE ? state_path : model_file("tiny-qwen2"),
                          .in = r->in,
                          .n = r->takes & STATE ? n_state_in : r->n,
                          .token = 300,
                          .params = r->params,
                          .info = s->info,
                          .out = s->out,
                          .dst = s->dst,
                          .cap = r->size > 0 ? ROOM / r->size : 0,
                          .needed = &s->needed,
                          .err = E };
}

/* What a call that fails must leave as it is. */
struct snapshot {
    size_t len, pending, n_seqs, n_kv_free;
    weft_finish finish;
    uint64_t n_rows;
    unsigned char out[512], info[512];
};

static struct snapshot snapshot(const struct space *s)
{
    weft_engine_info info = rig_info(&rig);
    struct snapshot v;
    memset(&v, 0, sizeof v);
    v.n_seqs = info.n_seqs;
    v.n_kv_free = info.n_kv_free;
    v.n_rows = info.n_rows;
    v.len = weft_seq_len(s->seq);
    v.pending = weft_seq_pending(s->seq);
    v.finish = weft_seq_finish(s->seq);
    memcpy(v.out, s->out, sizeof v.out);
    memcpy(v.info, s->info, sizeof v.info);
    return v;
}

static bool untouched(const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != MARK) {
            return false;
        }
    }
    return true;
}

/* Makes one call and expects the status `want`. A call that fails must say why and change
 * nothing. */
static void expect(const struct row *r, struct args a, struct space *s, weft_status want,
                   const char *what)
{
    const struct snapshot before = snapshot(s);
    rig_err = (weft_error){ 0 };
    weft_status got = r->call(&a);
    n_cases++;
    if (got != want) {
        fail_msg("weft_%s, %s: %s, expected %s; %s", r->name, what, weft_status_name(got),
                 weft_status_name(want), got == WEFT_OK ? "it worked" : rig_err.message);
    }
    if (want != WEFT_OK) {
        const struct snapshot after = snapshot(s);
        bool said = a.err == NULL || (rig_err.code == want && rig_err.message[0] != '\0');
        if (!said || memcmp(&before, &after, sizeof after) != 0 || !untouched(s->dst, ROOM)) {
            fail_msg("weft_%s, %s: %s", r->name, what,
                     said ? "something has changed" : "no message");
        }
    } else {
        release(r->makes, s->out);
    }
    weft_seq_release(&s->seq);
}

/* ---------------------------------------------------------------- kinds of abuse */

static void abuse_nothing(const struct row *r)
{
    struct space s;
    struct args a = good(r, &s);
    expect(r, a, &s, WEFT_OK, "all as it should be");
    if (!(r->takes & SLOW)) {
        a = good(r, &s);
        a.err = NULL;
        expect(r, a, &s, WEFT_OK, "err NULL");
    }
}

static void abuse_handle(const struct row *r)
{
    static const char *const names[] = { "",       "a model",  "an engine", "a sequence",
                                         "a file", "a prompt", "a reply" };
    static uint64_t ones[1024];
    struct space s;
    struct args a;
    memset(ones, 0xff, sizeof ones);
    for (int kind = MODEL; kind < N_KINDS && r->kind != NO_HANDLE; kind++) {
        if (kind != (int)r->kind) {
            a = good(r, &s);
            a.handle = handle_of((enum kind)kind, base);
            expect(r, a, &s, WEFT_E_HANDLE, names[kind]);
        }
    }
    void *const no_handles[] = { NULL, NULL, (void *)(uintptr_t)zeros, ones };
    for (size_t i = 0; i < 4 && r->kind != NO_HANDLE; i++) {
        static const char *const what[] = { "NULL", "a released handle", "zeros", "ones" };
        a = good(r, &s);
        a.handle = i == 1 ? released(r->kind) : no_handles[i];
        expect(r, a, &s, i < 2 ? WEFT_E_ARG : WEFT_E_HANDLE, what[i]);
        if (i != 1) {
            a = good(r, &s);
            a.handle = no_handles[i];
            a.err = NULL;
            expect(r, a, &s, i == 0 ? WEFT_E_ARG : WEFT_E_HANDLE, "no handle and err NULL");
        }
    }
}

static void abuse_out(const struct row *r)
{
    struct space s;
    if (r->takes & OUT) {
        struct args a = good(r, &s);
        a.out = NULL;
        expect(r, a, &s, WEFT_E_ARG, "out NULL");
    }
}

static void abuse_path(const struct row *r)
{
    static char long_path[9000];
    static const char *const paths[] = { NULL, "", "/", ".", "/dev/null", "/no/such/model.gguf" };
    struct space s;
    struct args a;
    memset(long_path, 'x', sizeof long_path - 1);
    for (size_t i = 0; i <= sizeof paths / sizeof paths[0] && r->takes & PATH; i++) {
        bool last = i == sizeof paths / sizeof paths[0];
        a = good(r, &s);
        a.path = last ? long_path : paths[i];
        expect(r, a, &s, a.path == NULL ? WEFT_E_ARG : WEFT_E_IO, last ? "a long path" : "a path");
    }
}

static void abuse_in(const struct row *r)
{
    static const size_t counts[] = { SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 4 + 2 };
    struct space s;
    if (!(r->takes & IN)) {
        return;
    }
    struct args a = good(r, &s);
    a.in = NULL;
    expect(r, a, &s, WEFT_E_ARG, "in NULL");
    for (size_t i = 0; i < 2; i++) {
        a = good(r, &s);
        a.in = i == 0 ? r->in : NULL;
        a.n = 0;
        /* Most functions accept an empty array. A saved state of 0 bytes is damaged. */
        weft_status want = r->takes & NEEDS_IN ? WEFT_E_ARG : WEFT_OK;
        want = r->takes & STATE ? i == 0 ? WEFT_E_FORMAT : WEFT_E_ARG : want;
        expect(r, a, &s, want, i == 0 ? "n = 0" : "in NULL, n = 0");
    }
    /* No array can have so many elements. */
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        a = good(r, &s);
        a.n = counts[i];
        expect(r, a, &s, r->beyond != WEFT_OK ? r->beyond : WEFT_E_ARG, "n beyond all memory");
    }
}

static void abuse_tokens(const struct row *r)
{
    const int32_t bad[] = { -1, (int32_t)rig.n_vocab, INT32_MAX, INT32_MIN };
    struct space s;
    struct args a;
    for (size_t i = 0; i < 4; i++) {
        for (size_t at = 0; at < 3 && r->takes & VOCAB; at++) {
            int32_t ids[3] = { 300, 301, 302 };
            ids[at] = bad[i];
            a = good(r, &s);
            a.in = ids;
            expect(r, a, &s, WEFT_E_ARG, "an id outside the vocabulary");
        }
        if (r->takes & TOKEN) {
            a = good(r, &s);
            a.token = bad[i];
            expect(r, a, &s, WEFT_E_ARG, "an id outside the vocabulary");
        }
    }
}

static void abuse_numbers(const struct row *r)
{
    static const unsigned flags[] = { 16u, 1u << 31, ~0u };
    static const size_t beyond[] = { 100000, SIZE_MAX / 2, SIZE_MAX };
    struct space s;
    struct args a;
    for (size_t i = 0; i < 3; i++) {
        if (r->takes & FLAGS) {
            a = good(r, &s);
            a.flags = flags[i];
            expect(r, a, &s, WEFT_E_ARG, "flags that do not exist");
        }
        if (r->takes & (INDEX | LENGTH)) {
            a = good(r, &s);
            a.i = a.n = beyond[i];
            expect(r, a, &s, r->beyond != WEFT_OK ? r->beyond : WEFT_E_ARG,
                   "an index past the end");
        }
    }
}

static void abuse_dst(const struct row *r)
{
    struct space s;
    if (!(r->takes & DST)) {
        return;
    }
    struct args a = good(r, &s);
    a.needed = NULL;
    expect(r, a, &s, WEFT_OK, "needed NULL");
    a = good(r, &s);
    a.dst = NULL;
    a.cap = 0;
    expect(r, a, &s, WEFT_E_BUFFER, "no buffer");
    const size_t needed = s.needed;
    assert_in_range(needed, 1, ROOM / r->size);
    const size_t caps[] = { 0, 1, needed - 1, needed, SIZE_MAX };
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        a = good(r, &s);
        a.cap = caps[i];
        expect(r, a, &s, caps[i] < needed ? WEFT_E_BUFFER : WEFT_OK, "a small buffer");
        assert_int_equal(s.needed, needed);
        assert_true(untouched(s.dst + needed * r->size, ROOM - needed * r->size));
    }
    a = good(r, &s);
    a.cap = needed - 1;
    a.needed = NULL;
    expect(r, a, &s, WEFT_E_BUFFER, "a small buffer and needed NULL");
    a = good(r, &s);
    a.dst = NULL;
    a.cap = needed;
    expect(r, a, &s, WEFT_E_ARG, "dst NULL with cap > 0");
}

static void abuse_params(const struct row *r)
{
    static uint64_t room[1024];
    unsigned char *const bytes = (unsigned char *)room;
    const size_t n = r->params_size;
    const struct {
        size_t size, tail_at; /* the byte that is set behind the struct; 0 = none */
        weft_status want;
    } sizes[] = {
        { 0, 0, WEFT_E_ARG },
        { 1, 0, WEFT_E_ARG },
        { sizeof(size_t) - 1, 0, WEFT_E_ARG },
        { 4097, 0, WEFT_E_ARG },
        { SIZE_MAX, 0, WEFT_E_ARG },
        { n + 8, n, WEFT_E_ARG },
        { n + 8, n + 7, WEFT_E_ARG },
        { 4096, 4095, WEFT_E_ARG },
        { 4096, 0, WEFT_OK },
        { n + 8, 0, WEFT_OK },
        { n, n, WEFT_OK }, /* the byte that is set is no part of the struct: size ends before it */
        { sizeof(size_t), 0, r->bare },
    };
    struct space s;
    struct args a;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && r->takes & PARAMS; i++) {
        memset(room, 0, sizeof room);
        memcpy(room, r->params, n);
        memcpy(room, &sizes[i].size, sizeof(size_t));
        bytes[sizes[i].tail_at] |= sizes[i].tail_at > 0;
        a = good(r, &s);
        a.params = room;
        expect(r, a, &s, sizes[i].want, "a struct of another size");
    }
    if (r->takes & PARAMS) {
        a = good(r, &s);
        a.params = NULL;
        expect(r, a, &s, r->bare, "params NULL");
    }
}

static void abuse_info(const struct row *r)
{
    static const size_t bad[] = { 0, 1, sizeof(size_t) - 1, 4097, SIZE_MAX };
    struct space s;
    if (!(r->takes & INFO)) {
        return;
    }
    struct args a = good(r, &s);
    a.info = NULL;
    expect(r, a, &s, WEFT_E_ARG, "info NULL");
    for (size_t i = 0; i < (r->takes & SLOW ? 1 : sizeof bad / sizeof bad[0]); i++) {
        a = good(r, &s);
        memcpy(s.info, &bad[i], sizeof bad[i]);
        expect(r, a, &s, WEFT_E_ARG, "info of an impossible size");
    }
    const size_t sizes[] = { sizeof(size_t), r->size - 8, r->size + 64 };
    for (size_t i = 0; i < 3 && !(r->takes & SLOW); i++) {
        size_t end = sizes[i] < r->size ? sizes[i] : r->size;
        struct space big;
        a = good(r, &s);
        memcpy(s.info, &sizes[i], sizeof sizes[i]);
        memcpy(&big, &s, sizeof s);
        expect(r, a, &s, WEFT_OK, "info of another version");
        assert_true(end > sizeof s.info || untouched(s.info + end, sizeof s.info - end));
    }
}

static void test_every_function(void **state)
{
    (void)state;
    static void (*const kinds[])(const struct row *) = {
        abuse_nothing, abuse_handle,  abuse_out, abuse_path,   abuse_in,
        abuse_tokens,  abuse_numbers, abuse_dst, abuse_params, abuse_info,
    };
    for (size_t i = 0; i < N_ROWS; i++) {
        for (size_t j = 0; j < sizeof kinds / sizeof kinds[0]; j++) {
            kinds[j](&rows[i]);
        }
        still_the_same(rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_function) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
