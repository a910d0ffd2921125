/* Replies through weft.h: an answer comes out in pieces, in the forms that the prompt's template
 * asks for; a model writes calls under the grammar; and each wrong argument is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

static const char messages[] = "[{\"role\":\"user\",\"content\":\"Hello\"}]";
static const char tools[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":99}},\"required\":["
    "\"n\"]}}}]";
#define PLAIN "{{ tools }}{{ messages[0].content }}{# <tool_call></tool_call> #}"
static const char plain[] = PLAIN;
static const char reasoning[] = PLAIN "{# <think></think> #}";
static const char thinking[] = PLAIN "{% if add_generation_prompt %}<think>\n{% endif %}"
                                     "{# </think> #}";

static weft_model *model;

static int setup(void **state)
{
    (void)state;
    OK(weft_model_open(model_file("tiny-qwen2"), NULL, &model, E));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_model_release(&model);
    return 0;
}

/* Opens a reply to a prompt with this template. The prompt is released at once. */
static weft_reply *open_reply(const char *source, const weft_reply_params *params)
{
    weft_prompt_params p = WEFT_PROMPT_PARAMS_INIT;
    weft_prompt *prompt = NULL;
    weft_reply *reply = NULL;
    p.messages = messages;
    p.n_messages = sizeof messages - 1;
    p.tools = tools;
    p.n_tools = sizeof tools - 1;
    p.template_source = source;
    p.n_template_source = strlen(source);
    OK(weft_prompt_open(model, &p, &prompt, E));
    OK(weft_reply_open(prompt, params, &reply, E));
    weft_prompt_release(&prompt);
    return reply;
}

static void expect_event(weft_reply *reply, weft_reply_kind kind, const char *text)
{
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    assert_true(weft_reply_next(reply, &e));
    assert_int_equal(e.kind, kind);
    assert_int_equal(e.n_text, strlen(text));
    if (e.n_text > 0) {
        assert_memory_equal(e.text, text, e.n_text);
    }
}

static void add(weft_reply *reply, const char *text)
{
    OK(weft_reply_add(reply, text, strlen(text), E));
}

/* Events come as soon as they are certain. */
static void test_events(void **state)
{
    (void)state;
    weft_reply *reply = open_reply(thinking, NULL);
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    add(reply, "Let me see");
    expect_event(reply, WEFT_REPLY_REASONING, "Let me see");
    assert_false(weft_reply_next(reply, &e));
    add(reply, ".\n</think>\n\nI look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n");
    expect_event(reply, WEFT_REPLY_REASONING, ".");
    expect_event(reply, WEFT_REPLY_CONTENT, "I look.");
    assert_true(weft_reply_next(reply, &e));
    assert_int_equal(e.kind, WEFT_REPLY_CALL);
    assert_string_equal(e.name, "f");
    assert_int_equal(strlen(e.id), 21);
    assert_int_equal(e.index, 0);
    expect_event(reply, WEFT_REPLY_ARGUMENTS, "{\"n");
    add(reply, "\": 7}}\n</tool_call>");
    expect_event(reply, WEFT_REPLY_ARGUMENTS, "\": 7}");
    assert_true(weft_reply_next(reply, &e));
    assert_true(e.kind == WEFT_REPLY_CALL_END && e.complete);
    OK(weft_reply_end(reply, E));
    assert_false(weft_reply_next(reply, &e));
    FAILS(WEFT_E_STATE, weft_reply_add(reply, "x", 1, E));
    weft_reply_release(&reply);
    assert_null(reply);
}

/* An older program has a smaller event; one without a size gets none. */
static void test_event_sizes(void **state)
{
    (void)state;
    weft_reply *reply = open_reply(plain, NULL);
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    add(reply, "a");
    e.size = 0;
    assert_false(weft_reply_next(reply, &e) || weft_reply_next(reply, NULL) ||
                 weft_reply_next(NULL, &e));
    e.size = offsetof(weft_reply_event, complete);
    expect_event(reply, WEFT_REPLY_CONTENT, "a");
    weft_reply_release(&reply);
    weft_reply_release(&reply);
    weft_reply_release(NULL);
}

static weft_engine *open_engine(void)
{
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    weft_engine *engine = NULL;
    params.device = "cpu";
    params.n_ctx = 256;
    params.n_threads = 1;
    OK(weft_engine_open(model, &params, &engine, E));
    return engine;
}

/* Generates until the answer ends, and returns whether what came was one complete call of f. */
static bool writes_call(weft_engine *engine, weft_seq *seq, weft_reply *reply)
{
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    char text[256];
    size_t n = 0, ready, calls = 0;
    int32_t token;
    while (weft_seq_finish(seq) == WEFT_RUNNING && weft_seq_len(seq) < 255) {
        while (weft_seq_pending(seq) > 0) {
            OK(weft_engine_step(engine, &ready, E));
        }
        OK(weft_seq_next(seq, &token, E));
        OK(weft_seq_text(seq, text, sizeof text, &n, E));
        OK(weft_reply_add(reply, text, n, E));
    }
    OK(weft_reply_end(reply, E));
    bool ended = weft_seq_finish(seq) == WEFT_FINISH_END;
    while (weft_reply_next(reply, &e)) {
        assert_true(e.kind != WEFT_REPLY_CONTENT && e.kind != WEFT_REPLY_REASONING);
        calls += e.kind == WEFT_REPLY_CALL_END && e.complete;
    }
    return ended && calls == 1;
}

static bool generates_call(weft_engine *engine, weft_reply *reply, uint64_t seed)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    weft_seq *seq = NULL;
    const int32_t ids[] = { 300, 301 };
    s.seed = seed;
    s.temperature = 2;
    OK(weft_seq_open(engine, &s, &seq, E));
    OK(weft_seq_append(seq, ids, 2, E));
    OK(weft_reply_constrain(reply, seq, E));
    bool call = writes_call(engine, seq, reply);
    weft_seq_release(&seq);
    return call;
}

/* Makes the sequence draw the tokens of a text, and gives them to the reply. */
static void write_text(weft_engine *engine, weft_seq *seq, weft_reply *reply, const char *what)
{
    weft_logit_bias bias = { 0, 1e6f };
    weft_sampling s = WEFT_SAMPLING_INIT;
    int32_t ids[64], token;
    char text[256];
    size_t n_ids, n, ready;
    s.bias = &bias;
    s.n_bias = 1;
    OK(weft_tokenize(model, what, strlen(what), 0, ids, 64, &n_ids, E));
    for (size_t i = 0; i < n_ids; i++) {
        bias.token = ids[i];
        OK(weft_seq_set_sampling(seq, &s, E));
        while (weft_seq_pending(seq) > 0) {
            OK(weft_engine_step(engine, &ready, E));
        }
        OK(weft_seq_next(seq, &token, E));
        assert_int_equal(token, ids[i]);
        OK(weft_seq_text(seq, text, sizeof text, &n, E));
        OK(weft_reply_add(reply, text, n, E));
    }
    s = (weft_sampling)WEFT_SAMPLING_INIT;
    s.temperature = 2;
    s.seed = 1;
    OK(weft_seq_set_sampling(seq, &s, E));
}

/* Writes thoughts that name the beginning of a call, then a call of which the model chooses the
 * rest. */
static void check_thoughts(weft_engine *engine, const char *source, const char *open)
{
    const int32_t ids[] = { 300, 301 };
    weft_reply *reply = open_reply(source, NULL);
    weft_seq *seq = NULL;
    OK(weft_seq_open(engine, NULL, &seq, E));
    OK(weft_seq_append(seq, ids, 2, E));
    OK(weft_reply_constrain(reply, seq, E));
    write_text(engine, seq, reply, open);
    write_text(engine, seq, reply, "Not <tool_call> x yet.</think>");
    expect_event(reply, WEFT_REPLY_REASONING, "Not <tool_call> x yet.");
    write_text(engine, seq, reply, "I look.<tool_call>");
    expect_event(reply, WEFT_REPLY_CONTENT, "I look.");
    assert_true(writes_call(engine, seq, reply));
    weft_seq_release(&seq);
    weft_reply_release(&reply);
}

static void test_thoughts(void **state)
{
    (void)state;
    weft_engine *engine = open_engine();
    check_thoughts(engine, thinking, "");
    check_thoughts(engine, reasoning, "<think>\n");
    weft_engine_release(&engine);
}

static void test_required(void **state)
{
    (void)state;
    weft_reply_params p = WEFT_REPLY_PARAMS_INIT;
    weft_engine *engine = open_engine();
    p.choice = WEFT_TOOLS_NAMED;
    p.choice_name = "f";
    p.no_parallel = true;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        weft_reply *reply = open_reply(plain, &p);
        assert_true(generates_call(engine, reply, seed));
        weft_reply_release(&reply);
    }
    weft_engine_release(&engine);
}

static void test_refusals(void **state)
{
    (void)state;
    weft_prompt_params p = WEFT_PROMPT_PARAMS_INIT;
    weft_reply_params r = WEFT_REPLY_PARAMS_INIT;
    weft_prompt *prompt = NULL;
    weft_reply *reply = NULL;
    p.messages = messages;
    p.n_messages = sizeof messages - 1;
    p.template_source = plain;
    p.n_template_source = sizeof plain - 1;
    OK(weft_prompt_open(model, &p, &prompt, E));
    r.choice = WEFT_TOOLS_REQUIRED;
    FAILS(WEFT_E_ARG, weft_reply_open(prompt, &r, &reply, E));
    r.choice = WEFT_TOOLS_NONE;
    r.schema = "{\"not\":{}}";
    r.n_schema = 10;
    r.strict_schema = true;
    FAILS(WEFT_E_FORMAT, weft_reply_open(prompt, &r, &reply, E));
    assert_non_null(strstr(rig_err.message, "'not'"));
    r.strict_schema = false;
    OK(weft_reply_open(prompt, &r, &reply, E));
    weft_reply_release(&reply);
    weft_prompt_release(&prompt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),   cmocka_unit_test(test_event_sizes),
        cmocka_unit_test(test_thoughts), cmocka_unit_test(test_required),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
