/* Answers of /v1/chat/completions: whole and as streams, with reasoning, calls, several choices,
 * log-probabilities of text that is held back, and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "answer_rig.h"

static struct request_rig rig;

#define HI "'messages':[{'role':'user','content':'Hi'}]"
#define STREAM "'stream':true,"
#define TOOLS                                                                                      \
    "'tools':[{'type':'function','function':{'name':'f','parameters':{'type':'object'}}}],"
#define HEAD "'id':'chatcmpl-id','model':'tiny',"
#define USAGE(n, all)                                                                              \
    ",'usage':{'prompt_tokens':7,'completion_tokens':" n ",'total_tokens':" all                    \
    ",'prompt_tokens_details':{'cached_tokens':2}}"
#define CHUNK(index, delta, more)                                                                  \
    "{" HEAD "'object':'chat.completion.chunk','choices':[{'index':" index ",'delta':{" delta      \
    "}," more "}]}"
#define ROLE(index) CHUNK(index, "'role':'assistant','content':null", "'finish_reason':null")
#define TEXT(index, text) CHUNK(index, "'content':'" text "'", "'finish_reason':null")
#define THOUGHT(text) CHUNK("0", "'reasoning_content':'" text "'", "'finish_reason':null")
#define LAST(index, why) CHUNK(index, "", "'finish_reason':'" why "'")

static void open_chat(struct answer_rig *a, const char *fields)
{
    char body[1024];
    snprintf(body, sizeof body, "{%s" HI "}", fields);
    answer_rig_open(a, &rig, ROUTE_CHAT, body);
}

/* Expects a whole answer of one choice. */
static void choice_is(struct answer_rig *a, const char *choice, const char *finish)
{
    char want[2048], usage[128];
    snprintf(usage, sizeof usage,
             "'usage':{'prompt_tokens':7,'completion_tokens':%zu,'total_tokens':%zu,"
             "'prompt_tokens_details':{'cached_tokens':2}}",
             a->figures.n_generated, a->figures.n_generated + 7);
    snprintf(want, sizeof want,
             "{" HEAD "'object':'chat.completion','choices':[{'index':0,'finish_reason':'%s',%s}],"
             "%s}",
             finish, choice, usage);
    whole_is(a, want, finish);
}

/* ---------------------------------------------------------------- text */

static void test_whole(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, "");
    draw_bytes(&a, "Par\"is");
    draw_end(&a, 0, "");
    choice_is(&a, "'logprobs':null,'message':{'role':'assistant','content':'Par\\\"is'}", "stop");
    open_chat(&a, "");
    draw(&a, 0, "a", "a", WEFT_FINISH_LENGTH);
    choice_is(&a, "'logprobs':null,'message':{'role':'assistant','content':'a'}", "length");
    open_chat(&a, "");
    draw(&a, 0, NULL, "", WEFT_FINISH_GRAMMAR);
    choice_is(&a, "'logprobs':null,'message':{'role':'assistant','content':''}", "stop");
}

static void test_stream(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM);
    draw(&a, 0, "P", "", WEFT_RUNNING);
    draw(&a, 0, "a", "Pa", WEFT_RUNNING);
    draw_end(&a, 0, "!");
    struct outcome out = answer_rig_end(&a);
    assert_null(out.body);
    HEARD(&a.heard, ROLE("0"), TEXT("0", "Pa"), TEXT("0", "!"), LAST("0", "stop"), "[DONE]");
    answer_rig_close(&a);
}

static void test_usage(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM "'stream_options':{'include_usage':true},");
    draw(&a, 0, "a", "a", WEFT_FINISH_LENGTH);
    answer_rig_end(&a);
    HEARD(&a.heard, ROLE("0"), TEXT("0", "a"), LAST("0", "length"),
          "{" HEAD "'object':'chat.completion.chunk','choices':[]" USAGE("1", "8") "}", "[DONE]");
    answer_rig_close(&a);
}

/* Chunks of several choices come as they are drawn. */
static void test_choices(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM "'n':2,");
    draw(&a, 1, "x", "x", WEFT_RUNNING);
    draw(&a, 0, "a", "a", WEFT_FINISH_LENGTH);
    draw(&a, 1, "y", "y", WEFT_RUNNING);
    draw_end(&a, 1, "");
    struct outcome out = answer_rig_end(&a);
    assert_string_equal(out.finish, "length");
    HEARD(&a.heard, ROLE("0"), ROLE("1"), TEXT("1", "x"), TEXT("0", "a"), LAST("0", "length"),
          TEXT("1", "y"), LAST("1", "stop"), "[DONE]");
    answer_rig_close(&a);
}

static void test_progress(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM "'return_progress':true,");
    assert_true(answer_progress(a.answer, &a.figures, 5));
    const char *line =
        strstr(a.heard.text.data, "\"prompt_progress\":{\"cache\":2,\"processed\":5,");
    assert_non_null(line);
    assert_non_null(strstr(line, "\"total\":7}"));
    answer_rig_close(&a);
    open_chat(&a, STREAM);
    assert_true(answer_progress(a.answer, &a.figures, 5));
    assert_int_equal(a.heard.n_events, 1);
    answer_rig_close(&a);
}

static void test_timings(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, "");
    draw_bytes(&a, "abc");
    draw_end(&a, 0, "");
    struct outcome out = answer_rig_end(&a);
    char *want = quoted("'timings':{'cache_n':2,'prompt_n':5,'prompt_ms':1000,'prompt_per_token_ms'"
                        ":200,'prompt_per_second':5,'predicted_n':4,'predicted_ms':4000,"
                        "'predicted_per_token_ms':1333.33333,'predicted_per_second':0.75}");
    assert_non_null(strstr(out.body, want));
    free(want);
    answer_rig_close(&a);
}

/* ---------------------------------------------------------------- reasoning and calls */

static void test_reasoning(void **state)
{
    (void)state;
    struct answer_rig a;
    request_rig_template(&rig, thinking_template);
    open_chat(&a, "");
    draw_bytes(&a, "<think>\nHm.\n</think>\n\nYes");
    draw_end(&a, 0, "");
    choice_is(&a,
              "'logprobs':null,'message':{'role':'assistant','content':'Yes',"
              "'reasoning_content':'Hm.'}",
              "stop");
    open_chat(&a, "'reasoning_format':'none',");
    draw_bytes(&a, "<think>\nHm.\n</think>\n\nYes");
    draw_end(&a, 0, "");
    choice_is(&a,
              "'logprobs':null,'message':{'role':'assistant','content':"
              "'<think>\\nHm.\\n</think>\\n\\nYes'}",
              "stop");
    open_chat(&a, "'reasoning_format':'deepseek-legacy',");
    draw_bytes(&a, "<think>\nHm.\n</think>\n\nYes");
    draw_end(&a, 0, "");
    choice_is(&a,
              "'logprobs':null,'message':{'role':'assistant','content':"
              "'<think>Hm.</think>Yes','reasoning_content':'Hm.'}",
              "stop");
    open_chat(&a, STREAM);
    draw_bytes(&a, "<think>H");
    draw_end(&a, 0, "");
    answer_rig_end(&a);
    HEARD(&a.heard, ROLE("0"), THOUGHT("H"), LAST("0", "stop"), "[DONE]");
    answer_rig_close(&a);
    request_rig_template(&rig, plain_template);
}

#define A_CALL "Ok <tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1}}</tool_call>"

static const char *skip_to(const char *text, const char *what)
{
    const char *found = strstr(text, what);
    if (found == NULL) {
        fail_msg("%s\nis not in\n%s", what, text);
    }
    return found;
}

static void test_calls(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, TOOLS);
    draw_bytes(&a, A_CALL);
    draw_end(&a, 0, "");
    struct outcome out = answer_rig_end(&a);
    assert_string_equal(out.finish, "tool_calls");
    const char *calls = skip_to(out.body, "\"content\":\"Ok\",\"tool_calls\":[{\"id\":\"call_");
    skip_to(calls, "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
                   "\"{\\\"a\\\":1}\"}}]}}]");
    skip_to(out.body, "\"finish_reason\":\"tool_calls\"");
    answer_rig_close(&a);
}

/* What a limit or a stop string has cut is no call, and its markup is no text. */
static void test_torn_calls(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        weft_finish finish;
        const char *reason;
    } cases[] = { { A_CALL "\n<tool_c", WEFT_FINISH_LENGTH, "length" },
                  { A_CALL "\n<tool_c", WEFT_FINISH_STOP, "tool_calls" },
                  { "Ok <tool_call>{\"name\":\"f\",\"arguments\":{", WEFT_FINISH_STOP, "stop" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer_rig a;
        open_chat(&a, TOOLS);
        draw_bytes(&a, cases[i].text);
        draw(&a, 0, NULL, "", cases[i].finish);
        struct outcome out = answer_rig_end(&a);
        assert_string_equal(out.finish, cases[i].reason);
        skip_to(out.body, "\"content\":\"Ok\",\"tool_calls\":[{\"id\":\"call_");
        answer_rig_close(&a);
    }
}

static void test_calls_stream(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM TOOLS);
    draw_bytes(&a, A_CALL "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>");
    draw_end(&a, 0, "");
    answer_rig_end(&a);
    const char *at = skip_to(a.heard.text.data, "{\"content\":\"k\"}");
    at = skip_to(at, "{\"function\":{\"arguments\":\"\",\"name\":\"f\"},\"id\":\"call_");
    at = skip_to(at, "\"index\":0,\"type\":\"function\"}]}");
    at = skip_to(at, "{\"tool_calls\":[{\"function\":{\"arguments\":\"{\"},\"index\":0}]}");
    at = skip_to(at, "{\"function\":{\"arguments\":\"\",\"name\":\"f\"},\"id\":\"call_");
    at = skip_to(at, "\"index\":1,\"type\":\"function\"}]}");
    skip_to(at, "{\"delta\":{},\"finish_reason\":\"tool_calls\"");
    answer_rig_close(&a);
}

/* ---------------------------------------------------------------- log-probabilities */

#define ENTRY(token, bytes)                                                                        \
    "{'token':'" token "','logprob':-0.5,'bytes':[" bytes "],'top_logprobs':[]}"
#define WITH(text, entries)                                                                        \
    CHUNK("0", "'content':'" text "'", "'logprobs':{'content':[" entries "]},'finish_reason':null")

static void test_logprobs(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, "'logprobs':true,'top_logprobs':2,");
    draw_bytes(&a, "a");
    draw_end(&a, 0, "");
    choice_is(&a,
              "'logprobs':{'content':[{'token':'a','logprob':-0.5,'bytes':[97],'top_logprobs':["
              "{'token':'a','logprob':-0.5,'bytes':[97]},{'token':'z','logprob':-1,'bytes':[122]}]"
              "}]},'message':{'role':'assistant','content':'a'}",
              "stop");
}

/* Text that is held back comes with its own tokens, and a token never in two pieces. */
static void test_held(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM "'logprobs':true,'stop':'User',");
    draw(&a, 0, "U", "", WEFT_RUNNING);
    draw(&a, 0, "s", "", WEFT_RUNNING);
    draw(&a, 0, "x", "Usx", WEFT_RUNNING);
    draw(&a, 0, "bb", "b", WEFT_RUNNING); /* the library may hold back a part of a token */
    draw(&a, 0, "y", "by", WEFT_RUNNING);
    draw(&a, 0, "U", "", WEFT_RUNNING);
    draw(&a, 0, "s", "", WEFT_FINISH_STOP);
    answer_rig_end(&a);
    HEARD(&a.heard, ROLE("0"),
          WITH("Usx", ENTRY("U", "85") "," ENTRY("s", "115") "," ENTRY("x", "120")),
          WITH("bby", ENTRY("bb", "98,98") "," ENTRY("y", "121")), LAST("0", "stop"), "[DONE]");
    answer_rig_close(&a);
}

/* A stop string may end the text inside a token. */
static void test_cut_token(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM "'logprobs':true,'stop':'b',");
    draw(&a, 0, "bb", "b", WEFT_FINISH_STOP);
    answer_rig_end(&a);
    HEARD(&a.heard, ROLE("0"), WITH("b", ENTRY("b", "98")), LAST("0", "stop"), "[DONE]");
    answer_rig_close(&a);
}

/* The token that completes a character has its text, and all have their bytes. */
static void test_characters(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM "'logprobs':true,");
    draw(&a, 0, "\xc3", "", WEFT_RUNNING);
    draw(&a, 0, "\xa9", "\xc3\xa9", WEFT_RUNNING);
    draw(&a, 0, "\xff", "\xef\xbf\xbd", WEFT_RUNNING);
    draw(&a, 0, "\xc3", "", WEFT_RUNNING);
    draw_end(&a, 0, "\xef\xbf\xbd");
    answer_rig_end(&a);
    HEARD(&a.heard, ROLE("0"), WITH("\xc3\xa9", ENTRY("", "195") "," ENTRY("\xc3\xa9", "169")),
          WITH("\xef\xbf\xbd", ENTRY("\xef\xbf\xbd", "255")),
          WITH("\xef\xbf\xbd", ENTRY("\xef\xbf\xbd", "239,191,189")), LAST("0", "stop"), "[DONE]");
    answer_rig_close(&a);
}

/* Only tokens of the content are listed. */
static void test_logprobs_of_content(void **state)
{
    (void)state;
    struct answer_rig a;
    request_rig_template(&rig, thinking_template);
    open_chat(&a, "'logprobs':true," TOOLS);
    draw_bytes(&a, "<think>\na</think>\nab <tool_call>{\"name\":\"f\",\"arguments\":{}}"
                   "</tool_call>");
    draw_end(&a, 0, "");
    struct outcome out = answer_rig_end(&a);
    char *want = quoted("'logprobs':{'content':[" ENTRY("a", "97") "," ENTRY("b", "98") "]}");
    assert_non_null(strstr(out.body, want));
    assert_non_null(strstr(out.body, "\"content\":\"ab\""));
    free(want);
    answer_rig_close(&a);
    request_rig_template(&rig, plain_template);
}

/* The text of a control token stands in front of text that is held back. */
static void test_control_token(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM "'logprobs':true,'stop':'xyz',");
    draw(&a, 0, "a", "a", WEFT_RUNNING);
    draw(&a, 0, "x", "", WEFT_RUNNING);
    draw(&a, 0, "<|im_start|>", "<|im_start|>", WEFT_RUNNING);
    draw(&a, 0, "b", "xb", WEFT_RUNNING);
    draw_end(&a, 0, "");
    answer_rig_end(&a);
    HEARD(
        &a.heard, ROLE("0"), WITH("a", ENTRY("a", "97")),
        WITH("<|im_start|>", ENTRY("<|im_start|>", "60,124,105,109,95,115,116,97,114,116,124,62")),
        WITH("xb", ENTRY("x", "120") "," ENTRY("b", "98")), LAST("0", "stop"), "[DONE]");
    answer_rig_close(&a);
}

/* It may even stand inside the text of another token. */
static void test_control_token_inside(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM "'logprobs':true,'stop':'bx',");
    draw(&a, 0, "bb", "b", WEFT_RUNNING);
    draw(&a, 0, "<|im_start|>", "<|im_start|>", WEFT_RUNNING);
    draw(&a, 0, "c", "bc", WEFT_RUNNING);
    draw_end(&a, 0, "");
    answer_rig_end(&a);
    HEARD(&a.heard, ROLE("0"),
          WITH("b<|im_start|>", ENTRY("b", "98") "," ENTRY(
                                    "<|im_start|>", "60,124,105,109,95,115,116,97,114,116,124,62")),
          WITH("bc", ENTRY("b", "98") "," ENTRY("c", "99")), LAST("0", "stop"), "[DONE]");
    answer_rig_close(&a);
}

/* Bytes of a character that stand before a control token come behind it, as their text does; and a
 * character that nothing completes belongs to the token that has begun it. */
static void test_incomplete(void **state)
{
    (void)state;
    struct answer_rig a;
    open_chat(&a, STREAM "'logprobs':true,");
    draw(&a, 0, "\xe2", "", WEFT_RUNNING);
    draw(&a, 0, "<|im_start|>", "<|im_start|>", WEFT_RUNNING);
    draw(&a, 0, "\xe2", "\xef\xbf\xbd", WEFT_RUNNING);
    draw_end(&a, 0, "\xef\xbf\xbd");
    answer_rig_end(&a);
    HEARD(
        &a.heard, ROLE("0"),
        WITH("<|im_start|>", ENTRY("<|im_start|>", "60,124,105,109,95,115,116,97,114,116,124,62")),
        WITH("\xef\xbf\xbd", ENTRY("", "226") "," ENTRY("\xef\xbf\xbd", "226")),
        WITH("\xef\xbf\xbd", ENTRY("\xef\xbf\xbd", "239,191,189")), LAST("0", "stop"), "[DONE]");
    answer_rig_close(&a);
}

/* ---------------------------------------------------------------- errors */

static void test_fail(void **state)
{
    (void)state;
    struct answer_rig a;
    struct fault fault;
    struct outcome out = { 0 };
    fault_set(&fault, 503, "unavailable_error", "full");
    fault.retry_after = 3;
    open_chat(&a, "");
    draw_bytes(&a, "a");
    answer_fail(a.answer, &fault, &out);
    assert_true(out.status == 503 && out.retry_after == 3);
    assert_string_equal(out.finish, "error");
    same_json(out.body, "{'error':{'message':'full','type':'unavailable_error','code':503,"
                        "'param':null}}");
    answer_rig_close(&a);
    open_chat(&a, STREAM);
    answer_fail(a.answer, &fault, &out);
    assert_true(out.status == 200 && out.body == NULL);
    HEARD(&a.heard, ROLE("0"),
          "{'error':{'message':'full','type':'unavailable_error','code':503,'param':null}}");
    answer_rig_close(&a);
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        weft_status status;
        int http;
        const char *type;
    } rows[] = {
        { WEFT_E_ARG, 400, "invalid_request_error" },
        { WEFT_E_FORMAT, 400, "invalid_request_error" },
        { WEFT_E_UNSUPPORTED, 501, "not_supported_error" },
        { WEFT_E_KV_FULL, 503, "unavailable_error" },
        { WEFT_E_DEVICE_LOST, 503, "unavailable_error" },
        { WEFT_E_NOMEM, 500, "server_error" },
        { WEFT_E_INTERNAL, 500, "server_error" },
    };
    struct fault f;
    const weft_error err = { .message = "why \xff\n" };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_false(fault_library(&f, rows[i].status, &err));
        assert_int_equal(f.status, rows[i].http);
        assert_string_equal(f.type, rows[i].type);
    }
    fault_request(&f, "stop", "%s", err.message);
    char *text = fault_json(&f);
    same_json(text, "{'error':{'message':'why \xef\xbf\xbd\\n','type':'invalid_request_error',"
                    "'code':400,'param':'stop'}}");
    free(text);
    fault_context(&f, 9, 8);
    text = fault_json(&f);
    assert_non_null(strstr(text, "\"n_prompt_tokens\":9,\"n_ctx\":8}}"));
    assert_non_null(strstr(text, "request (9 tokens) exceeds the available context size"));
    free(text);
}

static int setup(void **state)
{
    (void)state;
    request_rig_open(&rig, model_file("tiny-qwen2"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    request_rig_close(&rig);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_timings),
        cmocka_unit_test(test_reasoning),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_calls_stream),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_torn_calls),
        cmocka_unit_test(test_cut_token),
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_logprobs_of_content),
        cmocka_unit_test(test_control_token),
        cmocka_unit_test(test_control_token_inside),
        cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
