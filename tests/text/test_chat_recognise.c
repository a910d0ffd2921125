/* Which built-in chat template a model's Jinja source is: the publishers' sources (tests/data/chat)
 * and those of the demo models are recognised, however they are spelt; look-alikes that would be
 * rendered wrong are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/slowed.h"
#include "text/chat.h"

#ifdef SLOWED
#define SLOWER 10
#else
#define SLOWER 1
#endif

static const char *const fixtures[][2] = {
    { "chatml-openhermes", "chatml" },
    { "qwen2-instruct", "qwen2" },
    { "qwen2.5-instruct", "qwen2.5" },
    { "smollm2-instruct", "smollm2" },
    { "qwen3", "chatml" },
    { "phi-3-mini-4k-instruct", "phi3" },
    { "phi-3-medium-128k-instruct", "phi3" },
    { "phi-3.5-mini-instruct", "phi3" },
    { "phi-4-mini-instruct", "phi4-mini" },
    { "phi-4", "phi4" },
    { "llama-2-chat", "llama2" },
    { "llama-3-instruct", "llama3" },
    { "llama-3.1-instruct-excerpt", "llama3" },
    { "llama-3.2-instruct-excerpt", "llama3" },
    { "mistral-7b-instruct-v0.1-first", "mistral-v0" },
    { "mistral-7b-instruct-v0.2-first", "mistral-v0" },
    { "mistral-7b-instruct-v0.1", "mistral-v1" },
    { "mistral-7b-instruct-v0.3", "mistral-v3" },
    { "mistral-nemo-instruct", "mistral-v3-tekken" },
    { "zephyr-7b-beta", "zephyr" },
    { "tinyllama-1.1b-chat-v1.0", "zephyr" },
    { "vicuna-13b-1.1", "vicuna" },
};

enum { N_FIXTURES = sizeof fixtures / sizeof fixtures[0] };

static char *read_fixture(const char *name, size_t *n)
{
    char path[128];
    snprintf(path, sizeof path, "tests/data/chat/%s.jinja", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = malloc(1 << 16);
    assert_non_null(text);
    *n = fread(text, 1, 1 << 16, f);
    fclose(f);
    assert_true(*n > 0 && *n < 1 << 16);
    return text;
}

static void expect_name(const char *text, size_t n, const char *want)
{
    const struct chat_template *c = chat_recognise(text, n);
    if (want == NULL) {
        assert_null(c);
    } else {
        assert_non_null(c);
        assert_string_equal(chat_name(c), want);
    }
}

/* The sources whose rendering was compared are exact, whatever their white space, and no others: an
 * x more makes another source. */
static void test_exact_sources(void **state)
{
    (void)state;
    static const char *const others[] = {
        "phi-3-medium-128k-instruct",     "qwen3",
        "llama-3.1-instruct-excerpt",     "llama-3.2-instruct-excerpt",
        "mistral-7b-instruct-v0.1-first", "mistral-7b-instruct-v0.3",
        "mistral-nemo-instruct"
    };
    for (size_t i = 0; i < N_FIXTURES; i++) {
        size_t n;
        char *text = read_fixture(fixtures[i][0], &n);
        bool want = true;
        for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
            want = want && strcmp(fixtures[i][0], others[k]) != 0;
        }
        if (chat_exact(text, n) != want) {
            fail_msg("%s: expected to be %s", fixtures[i][0], want ? "exact" : "another");
        }
        text[n] = '\n';
        assert_int_equal(chat_exact(text, n + 1), want);
        text[n] = 'x';
        assert_false(chat_exact(text, n + 1));
        free(text);
    }
    assert_false(chat_exact("", 0));
}

static void test_publishers_sources_are_recognised(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FIXTURES; i++) {
        size_t n;
        char *text = read_fixture(fixtures[i][0], &n);
        expect_name(text, n, fixtures[i][1]);
        free(text);
    }
}

/* With other blanks and quotes, or with \n for a line break, a template is still the same. */
static void test_spelling_does_not_matter(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "{{\"<|user|>\\n\"+message['content']+eos_token}}\n{{'<|assistant|>'}}", "zephyr" },
        { "{{ '<|user|>\n'  +  message[\"content\"] + eos_token + '\n' }}{{ '<|assistant|>' }}",
          "zephyr" },
        { "'<|'+message['role']+'|>'+'\n'+message['content']+'<|end|>'", "phi3" },
        { "\"<|\" + message[\"role\"] + \"|>\" + message[\"content\"] + \"<|end|>\"", "phi4-mini" },
        { "{{ \"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n\" }}", "qwen2" },
        { "{{ \"<|im_start|>system\nYou are a pirate.<|im_end|>\n\" }}", "chatml" },
        { "<|start_header_id|>\" + role + \"<|end_header_id|>\n\n\" + content + \"<|eot_id|>",
          "llama3" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_name(rows[i].text, strlen(rows[i].text), rows[i].want);
    }
}

/* Sources that share marks with a built-in template, but would be rendered wrong by it. */
static void test_others_are_not_recognised(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "{{ messages }}",
        "<|im_start|>' + message['role'] + '\n' + message['content'] + '</s>",
        "<|im_start|>User: {{ content }}<end_of_utterance>",
        "<|im_start|>system<|im_sep|>You are Phi, a language model<|im_end|>",
        "[SYSTEM_PROMPT]{{ system }}[/SYSTEM_PROMPT][INST]{{ content }}[/INST]",
        "'<<SYS>>\n' + system + '[INST] ' + content + ' [/INST]' }}{{ ' ' + content + eos_token",
        "[INST] {{ content }} [RESP]",
        "<|start_header_id|>GPT4 Correct User<|end_header_id|>\n\n{{ content }}<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n{{ content }}<|eot_id|>",
        "[gMASK]<sop><|user|>\n{{ content }}<|assistant|>",
        "{{ '<|user|>' + message['content'] + eos_token }}{{ '<|assistant|>' }}",
        "{{ 'USER: ' + message['content'] + ' ' }}{{ 'ASSISTANT:' }}",
        "GPT4 Correct User: {{ content }}<|end_of_turn|>",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_name(rows[i], strlen(rows[i]), NULL);
    }
    /* Longer than what is looked at; every byte begins like a mark, but nothing is one. */
    char *large = calloc(1, 1 << 20);
    assert_non_null(large);
    memset(large, '<', 1 << 20);
    expect_name(large, 1 << 20, NULL);
    free(large);
}

static void test_names(void **state)
{
    (void)state;
    size_t n = 0;
    for (; chat_at(n) != NULL; n++) {
        const char *name = chat_name(chat_at(n));
        assert_string_equal(weft_chat_template_name(n), name);
        assert_ptr_equal(chat_find(name), chat_at(n));
    }
    assert_true(n >= 14);
    assert_null(weft_chat_template_name(n));
    assert_null(weft_chat_template_name(SIZE_MAX));
    assert_null(chat_find("chatm"));
    assert_null(chat_find(""));
}

/* Half-begun marks of every kind, many times over, do not slow the search down: 1 MiB takes at most
 * 50 ms, like any other hostile key of a file. */
static void test_hostile_sources(void **state)
{
    (void)state;
    static const char *const parts[] = { "' ", "<|user|>  ", "{{'[INST]'+  ",
                                         "<|im_start|>system\\",
                                         "bos_token + '[INST]' + content.strip() + ' " };
    enum { LONG = 1 << 20 };
    char *text = malloc(LONG);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t n = strlen(parts[i]);
        for (size_t k = 0; k < LONG; k++) {
            text[k] = parts[i][k % n];
        }
        clock_t start = clock();
        expect_name(text, LONG, NULL);
        assert_true(clock() - start < CLOCKS_PER_SEC / 20 * SLOWER);
    }
    free(text);
}

static void test_demo_models_are_recognised(void **state)
{
    (void)state;
    static const char *const rows[][2] = { { "models/weft-demo-qwen2.gguf", "qwen2.5" },
                                           { "models/weft-demo-phi3.gguf", "phi3" } };
    for (size_t i = 0; i < 2; i++) {
        struct gguf *g = NULL;
        struct gguf_str text = { 0 };
        weft_error err;
        assert_int_equal(gguf_open(rows[i][0], true, &g, &err), WEFT_OK);
        assert_int_equal(gguf_get_str(g, "tokenizer.chat_template", &text, &err), WEFT_OK);
        expect_name(text.s, text.n, rows[i][1]);
        gguf_close(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publishers_sources_are_recognised),
        cmocka_unit_test(test_exact_sources),
        cmocka_unit_test(test_spelling_does_not_matter),
        cmocka_unit_test(test_others_are_not_recognised),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_hostile_sources),
        cmocka_unit_test(test_demo_models_are_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
