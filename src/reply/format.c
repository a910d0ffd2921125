#include "reply/format.h"

#include <string.h>

/* The bars and blanks of DeepSeek's tokens are U+FF5C and U+2581. */
#define DS(x) "<\xef\xbd\x9ctool\xe2\x96\x81" x "\xef\xbd\x9c>"
#define DS_CALLS                                                                                   \
    DS("calls\xe2\x96\x81"                                                                         \
       "begin")
#define DS_CALLS_END                                                                               \
    DS("calls\xe2\x96\x81"                                                                         \
       "end")
#define DS_CALL                                                                                    \
    DS("call\xe2\x96\x81"                                                                          \
       "begin")
#define DS_CALL_END                                                                                \
    DS("call\xe2\x96\x81"                                                                          \
       "end")
#define DS_SEP DS("sep")

#define ARGUMENTS "\", \"arguments\": "

static const struct reply_format formats[] = {
    {
        .name = "seed",
        .marks = { { "<seed:tool_call>", "<parameter=" } },
        .heads = { "<seed:tool_call>%s<function=%n>%s%x" },
        .tails = { "%s</seed:tool_call>" },
        .tags = { "<parameter=", ">", "</parameter>", "</function>", false },
        .shape = { "<seed:tool_call>", "\n<function=", "<seed:tool_call>\n<function=", ">\n",
                   "\n</seed:tool_call>", "\n<seed:tool_call>\n<function=", "" },
    },
    {
        .name = "qwen-xml",
        .marks = { { "<function=", "<parameter=" } },
        .heads = { "<tool_call>%s<function=%n>%s%x", "<function=%n>%s%x", "<tool_call>%s%o" },
        .tails = { "%s</tool_call>" },
        .tags = { "<parameter=", ">", "</parameter>", "</function>", true },
        .shape = { "<function=", "", "<tool_call>\n<function=", ">\n", "\n</tool_call>",
                   "\n<tool_call>\n<function=", "" },
    },
    {
        .name = "functionary",
        .marks = { { "<function=", "</function>" }, { "<function=", "<|python_tag|>" } },
        .heads = { "<function=%n>%s%j" },
        .tails = { "%s</function>" },
        .shape = { "<function=", "", "<function=", ">", "</function>", "<function=", "" },
    },
    {
        .name = "minimax",
        .marks = { { "<minimax:tool_call>", "<invoke name=" } },
        .heads = { "<minimax:tool_call>%s<invoke name=\"%n\">%s%x" },
        .nexts = { "%s<invoke name=\"%n\">%s%x" },
        .tails = { "%s</minimax:tool_call>" },
        .tags = { "<parameter name=\"", "\">", "</parameter>", "</invoke>", false },
        .shape = { "<minimax:tool_call>", "\n<invoke name=\"",
                   "<minimax:tool_call>\n<invoke name=\"", "\">\n", "\n", "<invoke name=\"",
                   "</minimax:tool_call>" },
    },
    {
        .name = "glm",
        .marks = { { "<tool_call>", "<arg_key>" } },
        .heads = { "<tool_call>%s%n%s%x" },
        .tails = { 0 },
        .tags = { "<arg_key>", "</arg_key>%s<arg_value>", "</arg_value>", "</tool_call>", false },
        .shape = { "<tool_call>", "", "<tool_call>", "\n", "", "\n<tool_call>", "" },
    },
    {
        .name = "deepseek",
        .marks = { { DS_CALL, "```json" } },
        .heads = { DS_CALLS "%s" DS_CALL "function" DS_SEP "%n\n```json%s%j",
                   DS_CALL "function" DS_SEP "%n\n```json%s%j" },
        .nexts = { "%s" DS_CALL "function" DS_SEP "%n\n```json%s%j" },
        .tails = { "%s```", "%s" DS_CALL_END, "%s" DS_CALLS_END },
        .shape = { DS_CALLS, DS_CALL "function" DS_SEP, DS_CALLS DS_CALL "function" DS_SEP,
                   "\n```json\n", "\n```" DS_CALL_END, "\n" DS_CALL "function" DS_SEP,
                   DS_CALLS_END },
    },
    {
        .name = "deepseek-3.1",
        .marks = { { DS_CALL, DS_SEP } },
        .heads = { DS_CALLS "%s" DS_CALL "%n" DS_SEP "%s%j", DS_CALL "%n" DS_SEP "%s%j" },
        .nexts = { "%s" DS_CALL "%n" DS_SEP "%s%j" },
        .tails = { "%s" DS_CALL_END, "%s" DS_CALLS_END },
        .shape = { DS_CALLS, DS_CALL, DS_CALLS DS_CALL, DS_SEP, DS_CALL_END, DS_CALL,
                   DS_CALLS_END },
    },
    {
        .name = "mistral-args",
        .marks = { { "[TOOL_CALLS]", "[ARGS]" } },
        .heads = { "[TOOL_CALLS]%n[CALL_ID]%i[ARGS]%s%j", "[TOOL_CALLS]%n[ARGS]%s%j",
                   "[TOOL_CALLS]%s[%s%o" },
        .nexts = { "%s,%s%o" },
        .tails = { "%s]" },
        .shape = { "[TOOL_CALLS]", "", "[TOOL_CALLS]", "[ARGS]", "", "[TOOL_CALLS]", "" },
        .short_ids = true,
    },
    {
        .name = "mistral",
        .marks = { { "[TOOL_CALLS]" } },
        .heads = { "[TOOL_CALLS]%s[%s%o", "[TOOL_CALLS]%s%o" },
        .nexts = { "%s,%s%o" },
        .tails = { "%s]" },
        .shape = { "[TOOL_CALLS]", "[{\"name\": \"", "[TOOL_CALLS][{\"name\": \"", ARGUMENTS, "}",
                   ", {\"name\": \"", "]" },
        .short_ids = true,
    },
    {
        .name = "toolcall-list",
        .marks = { { "<TOOLCALL>" } },
        .heads = { "<TOOLCALL>%s[%s%o" },
        .nexts = { "%s,%s%o" },
        .tails = { "%s]", "%s</TOOLCALL>" },
        .shape = { "<TOOLCALL>", "[{\"name\": \"", "<TOOLCALL>[{\"name\": \"", ARGUMENTS, "}",
                   ", {\"name\": \"", "]</TOOLCALL>" },
    },
    {
        .name = "tool-calls-list",
        .marks = { { "<tool_calls>[" } },
        .heads = { "<tool_calls>%s[%s%o" },
        .nexts = { "%s,%s%o" },
        .tails = { "%s]", "%s</tool_calls>" },
        .shape = { "<tool_calls>", "[{\"name\": \"", "<tool_calls>[{\"name\": \"", ARGUMENTS, "}",
                   ", {\"name\": \"", "]</tool_calls>" },
    },
    {
        .name = "tool-calls-lines",
        .marks = { { "<tool_calls>", "</tool_calls>" } },
        .heads = { "<tool_calls>%s%o" },
        .nexts = { "%s%o" },
        .tails = { "%s</tool_calls>" },
        .shape = { "<tool_calls>", "\n{\"name\": \"", "<tool_calls>\n{\"name\": \"", ARGUMENTS,
                   "}\n", "{\"name\": \"", "</tool_calls>" },
    },
    {
        .name = "phi4-mini",
        .marks = { { "<|tool|>" }, { "functools[" } },
        .heads = { "functools%s[%s%o", "<|tool_call|>%s[%s%o", "<|tool_call|>%s%o" },
        .nexts = { "%s,%s%o" },
        .tails = { "%s]", "%s<|/tool_call|>" },
        .shape = { "functools[", "{\"name\": \"", "functools[{\"name\": \"", ARGUMENTS, "}",
                   ", {\"name\": \"", "]" },
    },
    {
        .name = "granite-list",
        .marks = { { "<|tool_call|>" } },
        .heads = { "<|tool_call|>%s[%s%o", "<|tool_call|>%s%o" },
        .nexts = { "%s,%s%o" },
        .tails = { "%s]" },
        .shape = { "<|tool_call|>", "[{\"name\": \"", "<|tool_call|>[{\"name\": \"", ARGUMENTS, "}",
                   ", {\"name\": \"", "]" },
    },
    {
        .name = "hermes",
        .marks = { { "<tool_call>", "</tool_call>", "<invoke" } },
        .heads = { "<tool_call>%s%o", "<tool_call>%s<function=%n>%s%x" },
        .tails = { "%s</tool_call>" },
        .tags = { "<parameter=", ">", "</parameter>", "</function>", true },
        .shape = { "<tool_call>", "\n{\"name\": \"", "<tool_call>\n{\"name\": \"", ARGUMENTS,
                   "}\n</tool_call>", "\n<tool_call>\n{\"name\": \"", "" },
    },
    {
        .name = "llama3",
        .marks = { { "ipython", "\"parameters\": " }, { "<|python_tag|>", "\"parameters\": " } },
        .heads = { "^%o", "<|python_tag|>%s%o", "<|python_tag|>%s%n.call(%k" },
        .nexts = { "%s;%s%o", "%s%o" },
        .shape = { "<|python_tag|>", "{\"name\": \"", "{\"name\": \"", "\", \"parameters\": ", "}",
                   NULL, "" },
        .names_free = true,
    },
    {
        .name = "json",
        .heads = { "{%s\"tool_call\"%s:%s%o" },
        .nexts = { "%s{%s\"tool_call\"%s:%s%o" },
        .tails = { "%s}" },
        .shape = { "{\"tool_call\":", " {\"name\": \"", "{\"tool_call\": {\"name\": \"", ARGUMENTS,
                   "}}", "\n{\"tool_call\": {\"name\": \"", "" },
        .own_text = true,
    },
};

static bool has(const char *source, size_t n, const char *text)
{
    return text != NULL && memmem(source, n, text, strlen(text)) != NULL;
}

static bool fits(const struct reply_format *f, const char *source, size_t n)
{
    for (size_t i = 0; i < sizeof f->marks / sizeof *f->marks && f->marks[i][0] != NULL; i++) {
        const char *const *marks = f->marks[i];
        bool also = marks[1] == NULL || has(source, n, marks[1]);
        if (also && has(source, n, marks[0]) && !has(source, n, marks[2])) {
            return true;
        }
    }
    return f->own_text;
}

const struct reply_format *reply_format_of(const char *source, size_t n)
{
    const struct reply_format *f = formats, *last = f + sizeof formats / sizeof *formats - 1;
    if (!has(source, n, "tools")) {
        return last; /* the model is never told about tools */
    }
    while (!fits(f, source, n)) {
        f++;
    }
    return f;
}

const struct reply_marks *reply_marks_of(const char *source, size_t n)
{
    static const struct reply_marks rows[] = {
        { "<seed:think>", "</seed:think>" },
        { "[THINK]", "[/THINK]" },
        { "<|inner_prefix|>", "<|inner_suffix|>" },
        { "<|START_THINKING|>", "<|END_THINKING|>" },
        { "<think>", "</think>" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (has(source, n, rows[i].open) && has(source, n, rows[i].close)) {
            return &rows[i];
        }
    }
    return NULL;
}
