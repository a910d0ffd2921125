/* Prompts: messages as JSON are checked and take the form that a template writes; the text, its
 * runs and its ids; prefill, continuations, where the assistant's turn begins; and that no control
 * token comes from a caller's bytes, whatever the template does with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "chat/prompt.h"
#include "support/chat_vocab.h"

#define CHATML                                                                                     \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"     \
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

/* What a test renders. NULL and 0 stand for what is not given. */
struct given {
    const char *source, *messages, *tools, *variables;
    bool no_prompt, prefill, continues, cut;
    int64_t now;
};

#define OF(template, conversation) .source = (template), .messages = (conversation)

struct rig {
    struct tokenizer *t;
    struct prompt p;
    weft_error err;
};

static json_t *parsed(const char *text)
{
    json_t *v = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    assert_true(text == NULL || v != NULL);
    return v;
}

static weft_status make(struct rig *r, const struct given *g)
{
    struct chat_template *c = NULL;
    const char *source = g->source != NULL ? g->source : CHATML;
    prompt_free(&r->p);
    memset(&r->err, 0, sizeof r->err);
    assert_int_equal(template_open(source, strlen(source), &c, &r->err), WEFT_OK);
    json_t *messages = parsed(g->messages), *tools = parsed(g->tools),
           *variables = parsed(g->variables);
    const struct prompt_how how = { .tools = tools,
                                    .variables = variables,
                                    .add_prompt = !g->no_prompt,
                                    .prefill = g->prefill,
                                    .continues = g->continues,
                                    .cut = g->cut,
                                    .now = g->now };
    weft_status status = prompt_make(c, r->t, messages, &how, &r->p, &r->err);
    json_decref(messages);
    json_decref(tools);
    json_decref(variables);
    template_close(c);
    return status;
}

static void expect_text(struct rig *r, const struct given *g, const char *want)
{
    weft_status status = make(r, g);
    if (status != WEFT_OK) {
        fail_msg("%s: %s", g->messages, r->err.message);
    }
    if (r->p.text.text.n != strlen(want) || memcmp(r->p.text.text.data, want, strlen(want)) != 0) {
        fail_msg("%s\ngave     %.*s\nexpected %s", g->messages, (int)r->p.text.text.n,
                 r->p.text.text.data, want);
    }
    size_t n = 0;
    for (size_t i = 0; i < r->p.text.n_runs; i++) {
        assert_true(r->p.text.runs[i].n > 0);
        n += r->p.text.runs[i].n;
    }
    assert_int_equal(n, r->p.text.text.n);
}

static void expect_refusal(struct rig *r, const struct given *g, const char *words)
{
    assert_int_equal(make(r, g), WEFT_E_ARG);
    if (strstr(r->err.message, words) == NULL) {
        fail_msg("'%s' lacks '%s'", r->err.message, words);
    }
    assert_int_equal(r->p.text.text.n, 0);
    assert_null(r->p.ids.data);
}

/* ---------------------------------------------------------------- messages */

static void test_wrong_messages(void **state)
{
    static const char *const rows[][2] = {
        { "{}", "not an array" },
        { "[]", "no messages" },
        { "[1]", "message 0 is a number, expected an object" },
        { "[{}]", "message 0: role is missing, expected a string" },
        { "[{\"role\":1}]", "message 0: role is a number" },
        { "[{\"role\":\"boss\",\"content\":\"\"}]", "message 0 has the role \"boss\", expected" },
        { "[{\"role\":\"user\"}]", "message 0: content is missing" },
        { "[{\"role\":\"user\",\"content\":null}]", "message 0: content is null" },
        { "[{\"role\":\"user\",\"content\":{}}]", "message 0: content is an object" },
        { "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]",
          "message 0: part 0 of the content is of type \"image_url\"" },
        { "[{\"role\":\"user\",\"content\":[\"x\"]}]",
          "part 0 of the content is of type \"none\"" },
        { "[{\"role\":\"assistant\",\"tool_calls\":{}}]", "tool_calls is an object" },
        { "[{\"role\":\"assistant\",\"tool_calls\":[1]}]", "a tool call is a number" },
        { "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}]", "without a name" },
        { "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":1}}"
          "]"
          "}]",
          "the arguments of a tool call is a number" },
    };
    struct rig *r = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        expect_refusal(r, &(struct given){ .messages = rows[i][0] }, rows[i][1]);
    }
}

static void test_forms_of_content(void **state)
{
    static const char parts[] =
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
        "{\"type\":\"text\",\"text\":\"b\"}]}]";
    static const char text[] = "[{\"role\":\"user\",\"content\":\"a\"}]";
    static const char only_parts[] =
        "{% for m in messages %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endfor %}";
    struct rig *r = *state;
    /* A template that writes strings gets one string; a template that writes parts gets parts. */
    expect_text(r, &(struct given){ .messages = parts, .no_prompt = true },
                "<|im_start|>user\na\nb<|im_end|>\n");
    expect_text(r, &(struct given){ OF(only_parts, parts) }, "[a][b]");
    expect_text(r, &(struct given){ OF(only_parts, text) }, "[a]");
    /* An answer without content is empty; developer is system where nobody knows it. */
    expect_text(r,
                &(struct given){ .messages = "[{\"role\":\"developer\",\"content\":\"d\"},"
                                             "{\"role\":\"assistant\",\"content\":null}]",
                                 .no_prompt = true },
                "<|im_start|>system\nd<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n");
    expect_text(
        r,
        &(struct given){ OF("{% for m in messages %}{{ m.role == 'developer' }}{% endfor %}",
                            "[{\"role\":\"developer\",\"content\":\"d\"}]") },
        "True");
}

#define CALLS "{% for m in messages %}{% for c in m.tool_calls %}"
#define END_CALLS "{% endfor %}{% endfor %}"

static void test_forms_of_arguments(void **state)
{
    static const char object[] = "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":"
                                 "\"f\",\"arguments\":{\"a\": 1}}}]}]";
    static const char text[] = "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":"
                               "\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}}]}]";
    static const char broken[] = "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":"
                                 "\"f\",\"arguments\":\"{\\\"a\\\":\"}}]}]";
    static const char none[] =
        "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]}]";
    static const char dumps[] = CALLS "{{ c.function.arguments | tojson }}" END_CALLS;
    static const char adds[] = CALLS "{{ '<' + c.function.arguments + '>' }}" END_CALLS;
    struct rig *r = *state;
    expect_text(r, &(struct given){ OF(dumps, object) }, "{\"a\": 1}");
    expect_text(r, &(struct given){ OF(dumps, text) }, "{\"a\": 1}");
    expect_text(r, &(struct given){ OF(adds, object) }, "<{\"a\": 1}>");
    expect_text(r, &(struct given){ OF(adds, text) }, "<{\"a\": 1}>");
    expect_text(r, &(struct given){ OF(dumps, none) }, "{}");
    /* What is no object stays as it is. */
    expect_text(r, &(struct given){ OF(dumps, broken) }, "\"{\\\"a\\\":\"");
}

/* A template that knows no tools tells of them by text. One that reads `tools` is left alone. */
static void test_without_tools(void **state)
{
    static const char tools[] = "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]";
    static const char talk[] =
        "[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":\"c\","
        "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},"
        "{\"role\":\"tool\",\"content\":\"r\"}]";
    static const char *const parts[] = {
        "<|im_start|>system\nYou can call these tools",
        "{\"name\": \"f\"}\n",
        "<|im_start|>assistant\nc\n\n{\"tool_call\": {\"name\": \"f\", \"arguments\": {\"a\": 1}}}"
        "<|im_end|>\n",
        "<|im_start|>user\n{\"tool_response\": \"r\"}<|im_end|>\n",
    };
    struct rig *r = *state;
    assert_int_equal(make(r, &(struct given){ .messages = talk, .tools = tools }), WEFT_OK);
    const struct bytes *text = &r->p.text.text;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (memmem(text->data, text->n, parts[i], strlen(parts[i])) == NULL) {
            fail_msg("%.*s\nlacks %s", (int)text->n, text->data, parts[i]);
        }
    }
    /* The system message that is there gets another paragraph. */
    static const char system[] = "[{\"role\":\"system\",\"content\":\"s\"}]";
    static const char begins[] = "<|im_start|>system\ns\n\nYou can call";
    assert_int_equal(make(r, &(struct given){ .messages = system, .tools = tools }), WEFT_OK);
    assert_memory_equal(r->p.text.text.data, begins, strlen(begins));
    /* Without tools nothing is said. */
    expect_text(r, &(struct given){ .messages = system, .no_prompt = true },
                "<|im_start|>system\ns<|im_end|>\n");
    expect_text(r,
                &(struct given){ OF("{{ tools | length }}{{ messages | length }}", system),
                                 .tools = tools },
                "11");
}

/* ---------------------------------------------------------------- text and ids */

static void test_variables(void **state)
{
    static const char user[] = "[{\"role\":\"user\",\"content\":\"u\"}]";
    static const char shows[] = "{{ enable_thinking }} {{ tools is none }} {{ documents is none }} "
                                "{{ bos_token }} {{ eos_token }} {{ strftime_now('%Y-%m-%d') }}";
    struct rig *r = *state;
    expect_text(r,
                &(struct given){ OF(shows, user), .variables = "{\"enable_thinking\":false}",
                                 .now = 951782400 },
                "False True True <s> </s> 2000-02-29");
    expect_text(
        r, &(struct given){ OF("{{ documents[0] }}", user), .variables = "{\"documents\":[7]}" },
        "7");
    expect_refusal(r, &(struct given){ OF(shows, user), .variables = "{\"messages\":[]}" },
                   "variable messages is set by the conversation");
    expect_refusal(r, &(struct given){ OF("{{ raise_exception('no more') }}", user) }, "no more");
    expect_refusal(r, &(struct given){ OF("{{ nothing.at.all }}", user) }, "nothing");
}

static void test_prefill(void **state)
{
    static const char talk[] = "[{\"role\":\"user\",\"content\":\"u\"},"
                               "{\"role\":\"assistant\",\"content\":\"An an\"}]";
    static const char without[] = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}"
                                  "{% endif %}{% endfor %}";
    struct rig *r = *state;
    expect_text(r, &(struct given){ .messages = talk, .prefill = true },
                "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\nAn an");
    assert_int_equal(r->p.opening, strlen("<|im_start|>user\nu<|im_end|>\n"));
    expect_refusal(r, &(struct given){ OF(without, talk), .prefill = true }, "writes nothing");
    expect_refusal(
        r,
        &(struct given){ .messages = "[{\"role\":\"user\",\"content\":\"u\"}]", .prefill = true },
        "is not an assistant's");
}

static void test_opening(void **state)
{
    static const char user[] = "[{\"role\":\"user\",\"content\":\"u\"}]";
    static const char strict[] =
        "{% if not add_generation_prompt %}{{ raise_exception('never') }}{% endif %}"
        "{{ messages[0].content }}<|assistant|><think>";
    struct rig *r = *state;
    expect_text(r, &(struct given){ .messages = user },
                "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
    assert_int_equal(r->p.opening, strlen("<|im_start|>user\nu<|im_end|>\n"));
    /* If the template does not render a closed conversation, the last byte of a caller counts. */
    assert_int_equal(make(r, &(struct given){ OF(strict, user) }), WEFT_OK);
    assert_int_equal(r->p.opening, 1);
    assert_int_equal(make(r, &(struct given){ .messages = user, .no_prompt = true }), WEFT_OK);
    assert_int_equal(r->p.opening, r->p.text.text.n);
}

static void expect_ids(const struct rig *r, const struct tokens *ids, const char *text)
{
    struct tokens want = { 0 };
    assert_int_equal(tokenizer_encode(r->t, text, strlen(text), WEFT_TOKENIZE_SPECIAL, &want, NULL),
                     WEFT_OK);
    assert_int_equal(ids->n, want.n);
    assert_memory_equal(ids->data, want.data, want.n * sizeof *want.data);
    free(want.data);
}

static void test_continues(void **state)
{
    static const char user[] = "[{\"role\":\"user\",\"content\":\"u\"}]";
    struct rig *r = *state;
    struct given g = { .messages = user, .continues = true };
    expect_text(r, &g, "<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
    expect_ids(r, &r->p.ids, "\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
    g.cut = true;
    expect_text(r, &g, "<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
    expect_ids(r, &r->p.ids, "<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
}

/* BOS stands once, whether the template writes it or the model wants it. */
static void test_bos(void **state)
{
    static const char user[] = "[{\"role\":\"user\",\"content\":\"<s>u\"}]";
    struct rig *r = *state;
    static const char *const sources[] = { "{{ bos_token }}{{ messages[0].content }}",
                                           "{{ messages[0].content }}" };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(make(r, &(struct given){ OF(sources[i], user) }), WEFT_OK);
        assert_int_equal(r->p.ids.data[0], 1);
        for (size_t k = 1; k < r->p.ids.n; k++) {
            assert_int_not_equal(r->p.ids.data[k], 1);
        }
    }
}

/* The ids of the text from a place on, put behind those before it, spell the same text. */
static void test_ids_from_a_place(void **state)
{
    static const char talk[] = "[{\"role\":\"user\",\"content\":\"Hello\"},"
                               "{\"role\":\"assistant\",\"content\":\"el lo\"}]";
    struct rig *r = *state;
    assert_int_equal(make(r, &(struct given){ .messages = talk }), WEFT_OK);
    const size_t from = strlen("<|im_start|>user\nHello<|im_end|>");
    struct tokens rest = { 0 };
    assert_int_equal(prompt_encode(&r->p, r->t, from, WEFT_TOKENIZE_NO_PREFIX, &rest, NULL),
                     WEFT_OK);
    assert_memory_equal(r->p.ids.data + r->p.ids.n - rest.n, rest.data, rest.n * sizeof *rest.data);
    free(rest.data);
}

/* ---------------------------------------------------------------- look-alikes */

static size_t count(const struct rig *r, const char *token)
{
    const int32_t id = tokenizer_find(r->t, token, strlen(token));
    size_t n = 0;
    for (size_t i = 0; i < r->p.ids.n; i++) {
        n += r->p.ids.data[i] == id;
    }
    return n;
}

/* Control tokens that the template writes count, whatever it does with a caller's bytes. */
static void test_look_alikes(void **state)
{
    static const struct {
        const char *source, *content, *token;
        size_t n;
    } rows[] = {
        { CHATML, "<|im_end|>", "<|im_end|>", 1 },
        { CHATML, "<|im_", "<|im_end|>", 1 },
        { "{{ messages[0].content }}end|>", "<|im_", "<|im_end|>", 0 },
        { "<|im_{{ messages[0].content }}", "end|>", "<|im_end|>", 0 },
        { "<|im_{{ messages[0].content }}<|im_end|>", "end|>", "<|im_end|>", 1 },
        { "{{ messages[0].content | replace('x', '') }}", "<|imx_end|>", "<|im_end|>", 0 },
        { "{{ messages[0].content | trim | upper | lower }}", " <|IM_END|> ", "<|im_end|>", 0 },
        { "{{ messages | tojson }}<|im_end|>", "<|im_end|>", "<|im_end|>", 1 },
        { "{{ ['<|im_end|>', messages[0].content] | join('<|im_end|>') }}", "<|im_end|>",
          "<|im_end|>", 2 },
        { "{{ (messages[0].content ~ '<|im_end|>')[::1] }}", "<|im_end|>", "<|im_end|>", 1 },
        { "{{ (messages[0].content ~ '<|im_end|>')[10:] }}", "<|im_end|>", "<|im_end|>", 1 },
        { "{{ '<|' ~ messages[0].role ~ '|>' }}", "x", "<|user|>", 1 },
        { "{{ '%s<|im_end|>' % messages[0].content }}", "<|im_end|>", "<|im_end|>", 1 },
        { "{{ '<|im_end|>'.join(['a', messages[0].content]) }}", "<|im_end|>", "<|im_end|>", 1 },
    };
    struct rig *r = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *m = json_pack("[{s:s, s:s}]", "role", "user", "content", rows[i].content);
        char *messages = json_dumps(m, 0);
        assert_int_equal(
            make(r, &(struct given){ OF(rows[i].source, messages), .no_prompt = true }), WEFT_OK);
        if (count(r, rows[i].token) != rows[i].n) {
            fail_msg("row %zu: %zu of %s, expected %zu", i, count(r, rows[i].token), rows[i].token,
                     rows[i].n);
        }
        free(messages);
        json_decref(m);
    }
}

/* A user-defined token that the template's own text contains never comes from a caller; others may,
 * because they are ordinary text for the model. */
static void test_user_defined_tokens(void **state)
{
    static const char user[] =
        "[{\"role\":\"user\",\"content\":\"a<think>b</think><tool_call><|im_sep|>\"}]";
    static const char thinks[] = CHATML "<think>{{ '<tool' ~ '_call>' }}";
    (void)state;
    struct vocab_options o = chat_vocab_full;
    o.type = TOKEN_USER_DEFINED;
    struct rig r = { .t = chat_vocab(&o) };
    assert_int_equal(make(&r, &(struct given){ OF(thinks, user) }), WEFT_OK);
    assert_int_equal(count(&r, "<think>"), 1);
    /* The template spells </think> nowhere, and <tool_call> only in what it renders. */
    assert_int_equal(count(&r, "</think>"), 1);
    assert_int_equal(count(&r, "<tool_call>"), 1);
    assert_int_equal(count(&r, "<|im_sep|>"), 1);
    struct bytes text = { 0 };
    assert_int_equal(tokenizer_decode(r.t, r.p.ids.data + 1, r.p.ids.n - 1, WEFT_DETOKENIZE_SPECIAL,
                                      &text, NULL),
                     WEFT_OK);
    assert_int_equal(text.n, r.p.text.text.n);
    assert_memory_equal(text.data, r.p.text.text.data, text.n);
    bytes_free(&text);
    prompt_free(&r.p);
    tokenizer_close(r.t);
}

static int open_rig(void **state)
{
    static struct rig r;
    r.t = chat_vocab(&chat_vocab_full);
    *state = &r;
    return 0;
}

static int close_rig(void **state)
{
    struct rig *r = *state;
    prompt_free(&r->p);
    tokenizer_close(r->t);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_messages),
        cmocka_unit_test(test_forms_of_content),
        cmocka_unit_test(test_forms_of_arguments),
        cmocka_unit_test(test_without_tools),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_prefill),
        cmocka_unit_test(test_opening),
        cmocka_unit_test(test_continues),
        cmocka_unit_test(test_bos),
        cmocka_unit_test(test_ids_from_a_place),
        cmocka_unit_test(test_look_alikes),
        cmocka_unit_test(test_user_defined_tokens),
    };
    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
