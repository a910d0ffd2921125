/* Every form of tool calls: calls, several calls, content around them, and what looks like a call
 * and is none, however the text is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reply_rig.h"

#define HERMES "tools<tool_call></tool_call>"
#define XML "tools<function=<parameter="
#define LLAMA "tools ipython\"parameters\": "

static void test_hermes(void **state)
{
    (void)state;
    static const struct reply_case cases[] = {
        { .source = HERMES, .text = "", .events = "" },
        { .source = HERMES, .text = " Hi \xc3\xa9\n", .events = "c( Hi \xc3\xa9\n)" },
        { .source = HERMES,
          .text = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"a\"}}\n</tool_call>",
          .events = "f{\"s\": \"a\"}" },
        { .source = HERMES,
          .text = "So.\n\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>\n"
                  "{\"name\": \"get_time\", \"arguments\": {\"z\": [1, 2.5e3, {}]}}\n"
                  "</tool_call>\n",
          .events = "c(So.)f{}get_time{\"z\": [1, 2.5e3, {}]}" },
        { .source = HERMES,
          .text = "<tool_call>{\"arguments\":{\"s\":1}, \"id\": 7, \"name\":\"f\"}</tool_call>",
          .events = "f{\"s\":1}" },
        { .source = HERMES,
          .text = "<tool_call>{\"name\":\"f\",\"arguments\":{},\"id\":\"x\"}</tool_call> Done.",
          .events = "f{}c( Done.)" },
        { .source = HERMES,
          .text = "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
          .events = "c(<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>)" },
        { .source = HERMES,
          .text = "a <tool_call> b <tool_call>{\"name\": 3} </tool_call> <tool_cal",
          .events = "c(a <tool_call> b <tool_call>{\"name\": 3} </tool_call> <tool_cal)" },
        { .source = HERMES,
          .text = "<tool_call><tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
          .events = "c(<tool_call>)f{}" },
        { .source = HERMES,
          .text = "<tool_call>{\"name\": \"f\", \"arguments\": \"x\"}",
          .events = "c(<tool_call>{\"name\": \"f\", \"arguments\": \"x\"})" },
        { .source = HERMES,
          .text = "<tool_call>{\"name\": \"get_time\"}</tool_call>",
          .events = "get_time{}" },
        /* a tool call without its end, and with another text in its place */
        { .source = HERMES,
          .text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"n\": 1}}",
          .events = "f{\"n\": 1}" },
        { .source = HERMES,
          .text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"n\": 1}}</tool_c",
          .events = "f{\"n\": 1}" },
        { .source = HERMES,
          .text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"n\": 1} x",
          .events = "f{\"n\": 1}c( x)" },
        /* the arguments break, or the answer does */
        { .source = HERMES,
          .text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"n\": 1,}} rest",
          .events = "f{\"n\": 1,!c(}} rest)" },
        { .source = HERMES,
          .text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"s\": \"\\x\"}",
          .events = "f{\"s\": \"!c(\\x\"})" },
        { .source = HERMES,
          .text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"s\": \"ab",
          .events = "f{\"s\": \"ab!" },
        { .source = HERMES,
          .text = "<tool_call>{\"name\": \"f\", \"argum",
          .events = "c(<tool_call>{\"name\": \"f\", \"argum)" },
        { .source = HERMES,
          .text = "<tool_call>\n<function=f>\n<parameter=s>\nx\n</parameter>\n</function>\n"
                  "</tool_call>",
          .events = "f{\"s\": \"x\"}" },
        { .source = HERMES,
          .params = { .choice = WEFT_TOOLS_NONE },
          .text = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
          .events = "c(<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>)" },
        { .source = HERMES,
          .tools = "[]",
          .text = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
          .events = "c(<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>)" },
        { .source = HERMES,
          .params = { .choice = WEFT_TOOLS_NAMED, .choice_name = "get_time" },
          .text = "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>"
                  "<tool_call>{\"name\":\"get_time\",\"arguments\":{}}</tool_call>",
          .events = "c(<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>)get_time{}" },
        { .source = HERMES,
          .params = { .no_parallel = true },
          .text = "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>"
                  "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
          .events = "f{}c(<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>)" },
    };
    CHECK(cases);
}

/* Slips inside strings of the arguments come out as JSON. */
static void test_strings(void **state)
{
    (void)state;
#define CALL(inside) "<tool_call>{\"name\":\"f\",\"arguments\":{\"s\":\"" inside "\"}}"
#define GIVES(inside) "f{\"s\":\"" inside "\"}"
    static const struct reply_case cases[] = {
        { .source = HERMES, .text = CALL("a\nb\t\x01"), .events = GIVES("a\\nb\\t\\u0001") },
        { .source = HERMES,
          .text = CALL("\\n\\\"\\\\\\/\\u00e9"),
          .events = GIVES("\\n\\\"\\\\\\/\\u00e9") },
        { .source = HERMES, .text = CALL("it\\'s"), .events = GIVES("it's") },
        { .source = HERMES, .text = CALL("\\ud83d\\ude00"), .events = GIVES("\\ud83d\\ude00") },
        { .source = HERMES, .text = CALL("\\ud83dx"), .events = GIVES("\\ufffdx") },
        { .source = HERMES, .text = CALL("\\ud83d\\n"), .events = GIVES("\\ufffd\\n") },
        { .source = HERMES, .text = CALL("\\ud83d"), .events = GIVES("\\ufffd") },
        { .source = HERMES,
          .text = CALL("\\ud83d\\ud83d\\ude00\\ude00"),
          .events = GIVES("\\ufffd\\ud83d\\ude00\\ufffd") },
        { .source = HERMES,
          .text = CALL("\xe4\xb8\xad\xf0\x9f\x98\x80"),
          .events = GIVES("\xe4\xb8\xad\xf0\x9f\x98\x80") },
        { .source = HERMES,
          .text = CALL("\xe4\xb8x\xff\xc3"),
          .events = GIVES("\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd") },
    };
    CHECK(cases);
}

static void test_xml(void **state)
{
    (void)state;
    static const struct reply_case cases[] = {
        { .source = XML,
          .text = "<tool_call>\n<function=f>\n<parameter=s>\na \"b\"\n<c>\n</parameter>\n"
                  "<parameter=n>\n12\n</parameter>\n</function>\n</tool_call>",
          .events = "f{\"s\": \"a \\\"b\\\"\\n<c>\", \"n\": 12}" },
        { .source = XML,
          .text = "Look:\n<function=f>\n<parameter=b>True</parameter><parameter=o>\n{\"k\": [1]}\n"
                  "</parameter>\n</function>\nBye",
          .events = "c(Look:)f{\"b\": true, \"o\": {\"k\": [1]}}c(\nBye)" },
        { .source = XML,
          .text = "<function=f><parameter=n>many</parameter><parameter=x>7</parameter>"
                  "<parameter=q>null</parameter><parameter=other>[1,</parameter></function>",
          .events = "f{\"n\": \"many\", \"x\": 7, \"q\": null, \"other\": \"[1,\"}" },
        { .source = XML,
          .text = "<function=f><parameter=q>12</parameter><parameter=x> a\n</parameter>"
                  "<parameter=s>\n\n\n</parameter></function>",
          .events = "f{\"q\": \"12\", \"x\": \" a\", \"s\": \"\\n\"}" },
        { .source = XML,
          .text = "<function=get_time>\n</function>\n<function=get_time></function>",
          .events = "get_time{}get_time{}" },
        { .source = XML,
          .params = { .choice = WEFT_TOOLS_NAMED, .choice_name = "f" },
          .text = "<function=get_time>\n</function>\n<function=f></function>",
          .events = "c(<function=get_time>\n</function>)f{}" },
        { .source = XML,
          .text = "<function=get_time> is a function; <function=g>\n</function>",
          .events = "c(<function=get_time> is a function; <function=g>\n</function>)" },
        { .source = XML,
          .text = "<function=f>\n<parameter=s>\nab</par \xc3\xa9\n</paramete",
          .events = "f{\"s\": \"ab</par \xc3\xa9\\n</paramete!" },
        { .source = XML, .text = "<function=f>\n<parameter=n>\n12", .events = "f{\"n\": !" },
        { .source = XML,
          .text = "<function=f>\n<parameter=n>\n12\n</parameter>\nOh",
          .events = "f{\"n\": 12!c(\nOh)" },
        { .source = XML,
          .text = "<function=f>\n<parameter=n\n12\n</parameter>",
          .events = "f{!c(<parameter=n\n12\n</parameter>)" },
        { .source = XML,
          .text = "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
          .events = "f{}" },
        { .source = "tools<seed:tool_call><parameter=",
          .text = "<seed:tool_call>\n<function=f>\n<parameter=s>a\n</parameter>\n"
                  "<parameter=n>1</parameter>\n</function>\n</seed:tool_call>",
          .events = "f{\"s\": \"a\\n\", \"n\": 1}" },
        { .source = "tools<minimax:tool_call><invoke name=",
          .text = "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"s\">a</parameter>\n"
                  "</invoke>\n<invoke name=\"get_time\">\n</invoke>\n</minimax:tool_call>",
          .events = "f{\"s\": \"a\"}get_time{}" },
        { .source = "tools<tool_call><arg_key>",
          .text = "\n<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>a</arg_value>\n"
                  "<arg_key>n</arg_key><arg_value>1</arg_value></tool_call>\n"
                  "<tool_call>get_time</tool_call>",
          .events = "f{\"s\": \"a\", \"n\": 1}get_time{}" },
        { .source = "tools<function=</function>",
          .text = "<function=f>{\"s\": \"</function>\"}</function><function=get_time>{}</function>",
          .events = "f{\"s\": \"</function>\"}get_time{}" },
    };
    CHECK(cases);
}

static void test_llama(void **state)
{
    (void)state;
    static const struct reply_case cases[] = {
        { .source = LLAMA,
          .text = "{\"name\": \"f\", \"parameters\": {\"s\": \"a\"}}",
          .events = "f{\"s\": \"a\"}" },
        { .source = LLAMA,
          .text = "\n<|python_tag|>{\"name\": \"f\", \"parameters\": {}}",
          .events = "f{}" },
        { .source = LLAMA,
          .text = "{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"n\": 1}}; "
                  "{\"name\": \"get_time\", \"parameters\": {}}\n"
                  "{\"name\": \"get_time\", \"parameters\": {}}",
          .events = "f{\"n\": 1}get_time{}get_time{}" },
        { .source = LLAMA,
          .text = "<|python_tag|>f.call(s=\"a\\nb\", n=12, o={\"k\": [1, 2]})",
          .events = "f{\"s\": \"a\\nb\", \"n\": 12, \"o\": {\"k\": [1, 2]}}" },
        { .source = LLAMA, .text = "<|python_tag|>get_time.call()", .events = "get_time{}" },
        { .source = LLAMA, .text = "<|python_tag|>f.call(s=a) b", .events = "f{\"s\": !c(a) b)" },
        { .source = LLAMA,
          .text = "<|python_tag|>f.call(s=\"a\" n=1)",
          .events = "f{\"s\": \"a\"!c( n=1))" },
        { .source = LLAMA,
          .text = "<|python_tag|>print(1)",
          .events = "c(<|python_tag|>print(1))" },
        { .source = LLAMA,
          .text = "Say {\"name\": \"f\", \"parameters\": {}}",
          .events = "c(Say {\"name\": \"f\", \"parameters\": {}})" },
        { .source = LLAMA,
          .text = "{\"name\": \"Alice\", \"age\": 3}",
          .events = "c({\"name\": \"Alice\", \"age\": 3})" },
    };
    CHECK(cases);
}

static void test_mistral(void **state)
{
    (void)state;
    static const struct reply_case cases[] = {
        { .source = "tools[TOOL_CALLS]",
          .text =
              "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"n\": 1}, \"id\": \"abcdefghi\"},"
              " {\"name\": \"get_time\", \"arguments\": {}}]",
          .events = "f{\"n\": 1}get_time{}" },
        { .source = "tools[TOOL_CALLS]",
          .text = "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\"}]",
          .events = "f{}c(, {\"name\": \"g\"}])" },
        { .source = "tools[TOOL_CALLS][ARGS]",
          .text = "Hm.[TOOL_CALLS]f[ARGS]{\"n\": 1}[TOOL_CALLS]get_time[CALL_ID]abc123def[ARGS]{}",
          .events = "c(Hm.)f{\"n\": 1}get_time{}" },
        { .source = "tools[TOOL_CALLS][ARGS]",
          .text = "[TOOL_CALLS]g[ARGS]{\"n\": 1}",
          .events = "c([TOOL_CALLS]g[ARGS]{\"n\": 1})" },
        { .source = "tools[TOOL_CALLS][ARGS]",
          .text = "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}]",
          .events = "f{}" },
    };
    CHECK(cases);
}

#define DS(x) "<\xef\xbd\x9ctool\xe2\x96\x81" x "\xef\xbd\x9c>"
#define CALLS                                                                                      \
    DS("calls\xe2\x96\x81"                                                                         \
       "begin")
#define ONE                                                                                        \
    DS("call\xe2\x96\x81"                                                                          \
       "begin")
#define ONE_END                                                                                    \
    DS("call\xe2\x96\x81"                                                                          \
       "end")
#define CALLS_END                                                                                  \
    DS("calls\xe2\x96\x81"                                                                         \
       "end")

static void test_lists(void **state)
{
    (void)state;
    static const struct reply_case cases[] = {
        { .source = "tools<|tool|>",
          .text = "functools[{\"name\": \"f\", \"arguments\": {\"n\": 1}},"
                  "{\"name\": \"get_time\", \"arguments\": {}}]",
          .events = "f{\"n\": 1}get_time{}" },
        { .source = "tools<|tool|>",
          .text = "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]<|/tool_call|>\nOK",
          .events = "f{}c(\nOK)" },
        { .source = "tools<|tool|>",
          .text = "functools are nice",
          .events = "c(functools are nice)" },
        { .source = "tools<|tool_call|>",
          .text = "<|tool_call|> [{\"name\": \"f\", \"arguments\": {}}]",
          .events = "f{}" },
        { .source = "tools<TOOLCALL>",
          .text = "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"f\", "
                  "\"arguments\": {\"n\": 2}}]</TOOLCALL>",
          .events = "f{}f{\"n\": 2}" },
        { .source = "tools<tool_calls>[",
          .text = "<tool_calls>[{\"name\": \"f\", \"arguments\": {}, \"id\": 1}]</tool_calls>",
          .events = "f{}" },
        { .source = "tools<tool_calls></tool_calls>",
          .text = "<tool_calls>\n{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"get_time\", "
                  "\"arguments\": {}}\n</tool_calls>",
          .events = "f{}get_time{}" },
        { .source = "tools" ONE "```json",
          .text = CALLS ONE
          "function" DS("sep") "f\n```json\n{\"n\": 1}\n```" ONE_END "\n" ONE
                               "function" DS("sep") "get_time\n```json\n{}\n```" ONE_END CALLS_END,
          .events = "f{\"n\": 1}get_time{}" },
        { .source = "tools" ONE DS("sep"),
          .text = "a" CALLS ONE "f" DS("sep") "{\"n\": 1}" ONE_END ONE
                                              "get_time" DS("sep") "{}" ONE_END CALLS_END,
          .events = "c(a)f{\"n\": 1}get_time{}" },
        { .source = "",
          .text = "{\"tool_call\": {\"name\": \"f\", \"arguments\": {\"n\": 1}}}\n",
          .events = "f{\"n\": 1}" },
        { .source = "",
          .text = "{\"tool_call\": 3} {\"a\":{\"tool_call\":",
          .events = "c({\"tool_call\": 3} {\"a\":{\"tool_call\":)" },
    };
    CHECK(cases);
}

#define THINK "<think></think>" HERMES

static void test_reasoning(void **state)
{
    (void)state;
    static const struct reply_case cases[] = {
        { .source = THINK,
          .text = "<think>\nHm, so.\n</think>\n\nYes.",
          .events = "r(Hm, so.)c(Yes.)" },
        { .source = THINK,
          .opening = "<|im_start|>assistant\n<think>\n",
          .text = "Hm, \xc3\xa9 so.\n</think>\n\nYes.\n",
          .events = "r(Hm, \xc3\xa9 so.)c(Yes.\n)" },
        { .source = THINK,
          .opening = "<think>\n\n</think>\n\n",
          .text = "Yes </think> no.",
          .events = "c(Yes </think> no.)" },
        { .source = THINK,
          .opening = "<think>",
          .text = "Hm  \n <tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call> \n",
          .events = "r(Hm  \n <tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>)" },
        { .source = THINK,
          .opening = "<think>",
          .text = "Hm\n</think>\n\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
          .events = "r(Hm)f{}" },
        { .source = THINK, .opening = "<think>", .text = "Hm</thin", .events = "r(Hm</thin)" },
        { .source = THINK, .text = "\n<think></think>\n", .events = "" },
        { .source = THINK, .text = "A <think>b</think> c", .events = "c(A <think>b</think> c)" },
        { .source = THINK,
          .text = "<think>a</think>b<think>c</think>",
          .events = "r(a)c(b<think>c</think>)" },
        { .source = THINK, .text = " <thin", .events = "c( <thin)" },
        { .source = THINK, .text = "\n \n", .events = "c(\n \n)" },
        { .source = THINK,
          .params = { .keep_reasoning = true },
          .text = "<think>\na \n</think>\n\nb",
          .events = "c(<think>\na \n</think>\n\nb)" },
        { .source = THINK,
          .opening = "<think>",
          .params = { .keep_reasoning = true },
          .text = "\na</think>\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
          .events = "c(\na</think>)f{}" },
        { .source = THINK,
          .opening = "<think>",
          .params = { .choice = WEFT_TOOLS_NONE },
          .text = "a </think> b ",
          .events = "r(a)c(b )" },
        { .source = "tools[THINK][/THINK]", .text = "[THINK]a[/THINK]b", .events = "r(a)c(b)" },
        { .source = "tools<seed:think></seed:think>",
          .text = "<seed:think>a</seed:think>b",
          .events = "r(a)c(b)" },
        { .source = HERMES, .text = "<think>a</think>b", .events = "c(<think>a</think>b)" },
    };
    CHECK(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hermes),    cmocka_unit_test(test_strings),
        cmocka_unit_test(test_xml),       cmocka_unit_test(test_llama),
        cmocka_unit_test(test_mistral),   cmocka_unit_test(test_lists),
        cmocka_unit_test(test_reasoning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
