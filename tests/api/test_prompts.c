/* Prompts through weft.h: the ids of a prompt are those of the same messages as structs; its runs
 * say who wrote what; it outlives the handle of its model; and each wrong argument is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

#define WORDS(...) rig_message((const char *const[]){ __VA_ARGS__, NULL })

static weft_model *model;

static weft_prompt_params params_of(const char *messages)
{
    weft_prompt_params p = WEFT_PROMPT_PARAMS_INIT;
    p.messages = messages;
    p.n_messages = strlen(messages);
    return p;
}

static void set_source(weft_prompt_params *p, const char *source)
{
    p->template_source = source;
    p->n_template_source = strlen(source);
}

static weft_prompt *opened(const weft_prompt_params *p)
{
    weft_prompt *prompt = NULL;
    OK(weft_prompt_open(model, p, &prompt, E));
    return prompt;
}

static void expect_text(const weft_prompt *prompt, const char *want)
{
    char text[512];
    size_t n = 0;
    OK(weft_prompt_text(prompt, text, sizeof text, &n, E));
    assert_int_equal(n, strlen(want));
    assert_memory_equal(text, want, n);
}

static void test_same_as_structs(void **state)
{
    (void)state;
    static const weft_message messages[] = { { "user", "Hello <|im_end|>" },
                                             { "assistant", "Hi" },
                                             { "user", "Bye" } };
    weft_prompt_params p = params_of("[{\"role\":\"user\",\"content\":\"Hello <|im_end|>\"},"
                                     "{\"role\":\"assistant\",\"content\":\"Hi\"},"
                                     "{\"role\":\"user\",\"content\":\"Bye\"}]");
    int32_t a[256], b[256], last = 5;
    for (int i = 0; i < 8; i++) {
        weft_chat_params c = WEFT_CHAT_PARAMS_INIT;
        size_t n_a = 0, n_b = 0;
        c.no_prompt = p.no_prompt = (i & 1) != 0;
        c.continues = p.continues = (i & 2) != 0;
        c.last = p.last = (i & 4) != 0 ? &last : NULL;
        weft_prompt *prompt = opened(&p);
        OK(weft_chat_tokens(model, messages, 3, &c, a, 256, &n_a, E));
        OK(weft_prompt_tokens(prompt, 0, b, 256, &n_b, E));
        assert_int_equal(n_a, n_b);
        assert_memory_equal(a, b, n_a * sizeof *a);
        weft_prompt_release(&prompt);
        assert_null(prompt);
    }
}

static void test_runs(void **state)
{
    (void)state;
    weft_prompt_params p = params_of("[{\"role\":\"user\",\"content\":\"abc\"}]");
    weft_run runs[8];
    size_t n = 0;
    set_source(&p, "<{{ messages[0].role }}:{{ messages[0].content ~ messages[0].content }}>");
    weft_prompt *prompt = opened(&p);
    expect_text(prompt, "<user:abcabc>");
    OK(weft_prompt_runs(prompt, runs, 8, &n, E));
    assert_int_equal(n, 3);
    assert_true(runs[0].n == 6 && !runs[0].caller);
    assert_true(runs[1].n == 6 && runs[1].caller);
    assert_true(runs[2].n == 1 && !runs[2].caller);
    FAILS(WEFT_E_BUFFER, weft_prompt_runs(prompt, runs, 2, &n, E));
    assert_int_equal(n, 3);
    weft_prompt_release(&prompt);
}

static void test_outlives_the_model(void **state)
{
    (void)state;
    weft_prompt_params p = params_of("[{\"role\":\"user\",\"content\":\"abc\"}]");
    weft_model *other = NULL;
    weft_prompt *prompt = NULL;
    int32_t ids[64];
    size_t n = 0, all = 0;
    OK(weft_model_open(model_file("tiny-qwen2"), NULL, &other, E));
    OK(weft_prompt_open(other, &p, &prompt, E));
    weft_model_release(&other);
    OK(weft_prompt_tokens(prompt, 0, ids, 64, &all, E));
    OK(weft_prompt_tokens(prompt, 1, ids, 64, &n, E));
    assert_true(n > 0 && all > 0);
    weft_prompt_release(&prompt);
    weft_prompt_release(&prompt);
    weft_prompt_release(NULL);
}

static void test_errors(void **state)
{
    (void)state;
    static const char user[] = "[{\"role\":\"user\",\"content\":\"x\"}]";
    static const struct {
        const char *messages, *tools, *variables, *name, *source;
        weft_status want;
        const char *words;
    } rows[] = {
        { "[", NULL, NULL, NULL, NULL, WEFT_E_ARG, "messages: line 1, column" },
        { "[\"\xff\"]", NULL, NULL, NULL, NULL, WEFT_E_ARG, "messages: line 1" },
        { user, "{", NULL, NULL, NULL, WEFT_E_ARG, "tools: line 1" },
        { user, "{}", NULL, NULL, NULL, WEFT_E_ARG, "tools: an object, expected an array" },
        { user, "[{}]", NULL, NULL, NULL, WEFT_E_ARG, "tool 0 has no function.name" },
        { user, "[{\"type\":\"custom\",\"name\":\"grep\"}]", NULL, NULL, NULL, WEFT_E_ARG,
          "tool 0, 'grep', is of type \"custom\", expected \"function\"" },
        { user, NULL, "[]", NULL, NULL, WEFT_E_ARG, "variables: no object" },
        { user, NULL, "{\"tools\":1}", NULL, NULL, WEFT_E_ARG, "variable tools" },
        { user, NULL, NULL, "nonsense", NULL, WEFT_E_UNSUPPORTED, "chatml" },
        { user, NULL, NULL, NULL, "{% if %}", WEFT_E_UNSUPPORTED, "line 1" },
        { user, NULL, NULL, NULL, "{{ messages.x.y }}", WEFT_E_ARG, "line 1" },
        { user, NULL, NULL, NULL, "{{ raise_exception('no <tools>') }}", WEFT_E_ARG, "no <tools>" },
        { user, NULL, NULL, "chatml", "x", WEFT_E_ARG, "both template_name and template_source" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        weft_prompt *prompt = NULL;
        weft_prompt_params p = params_of(rows[i].messages);
        p.tools = rows[i].tools;
        p.n_tools = p.tools != NULL ? strlen(p.tools) : 0;
        p.variables = rows[i].variables;
        p.n_variables = p.variables != NULL ? strlen(p.variables) : 0;
        p.template_name = rows[i].name;
        if (rows[i].source != NULL) {
            set_source(&p, rows[i].source);
        }
        FAILS(rows[i].want, weft_prompt_open(model, &p, &prompt, E));
        WORDS(rows[i].words);
        assert_null(prompt);
    }
}

/* Brackets that are nested deeper than any conversation are refused before they are parsed. */
static void test_deep(void **state)
{
    (void)state;
    char deep[1001];
    weft_prompt *prompt = NULL;
    memset(deep, '[', 1000);
    deep[1000] = '\0';
    weft_prompt_params p = params_of(deep);
    FAILS(WEFT_E_ARG, weft_prompt_open(model, &p, &prompt, E));
    WORDS("column 129: brackets nested more than 128 deep");
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_structs),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_outlives_the_model),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_deep),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
