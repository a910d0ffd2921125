/* Answers of /v1/completions and /completion: whole and as streams, log-probabilities, echo, stop
 * strings, chosen fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "answer_rig.h"

static struct request_rig rig;

#define HEAD "'id':'cmpl-id','model':'tiny','object':'text_completion',"
#define USAGE(n, all)                                                                              \
    "'usage':{'prompt_tokens':7,'completion_tokens':" n ",'total_tokens':" all                     \
    ",'prompt_tokens_details':{'cached_tokens':2}}"
#define CHOICE(index, text, logprobs, why)                                                         \
    "{'index':" index ",'text':'" text "','logprobs':" logprobs ",'finish_reason':" why "}"
#define CHUNK(index, text, logprobs, why)                                                          \
    "{" HEAD "'choices':[" CHOICE(index, text, logprobs, why) "]}"

static void test_whole(void **state)
{
    (void)state;
    struct answer_rig a;
    answer_rig_open(&a, &rig, ROUTE_COMPLETIONS, "{'prompt':['a','b'],'n':2,'echo':true}");
    for (size_t i = 0; i < 4; i++) {
        draw(&a, i, "x", "x", i == 3 ? WEFT_FINISH_STOP : WEFT_FINISH_LENGTH);
    }
    whole_is(&a,
             "{" HEAD "'choices':[" CHOICE("0", "ax", "null", "'length'") "," CHOICE(
                 "1", "ax", "null",
                 "'length'") "," CHOICE("2", "bx", "null",
                                        "'length'") "," CHOICE("3", "bx", "null",
                                                               "'stop'") "]," USAGE("4", "11") "}",
             "length");
}

static void test_stream(void **state)
{
    (void)state;
    struct answer_rig a;
    answer_rig_open(&a, &rig, ROUTE_COMPLETIONS,
                    "{'prompt':'ab','echo':true,'stream':true,'stream_options':{'include_usage':"
                    "true}}");
    draw(&a, 0, "x", "x", WEFT_RUNNING);
    draw_end(&a, 0, "");
    answer_rig_end(&a);
    HEARD(&a.heard, CHUNK("0", "ab", "null", "null"), CHUNK("0", "x", "null", "null"),
          CHUNK("0", "", "null", "'stop'"), "{" HEAD "'choices':[]," USAGE("2", "9") "}", "[DONE]");
    answer_rig_close(&a);
}

#define LISTS(tokens, logprobs, tops, offsets)                                                     \
    "{'tokens':[" tokens "],'token_logprobs':[" logprobs "],'top_logprobs':[" tops                 \
    "],'text_offset':[" offsets "]}"

static void test_logprobs(void **state)
{
    (void)state;
    struct answer_rig a;
    answer_rig_open(&a, &rig, ROUTE_COMPLETIONS, "{'prompt':'q','logprobs':2}");
    draw(&a, 0, "\xc3", "", WEFT_RUNNING);
    draw(&a, 0, "\xa9", "\xc3\xa9", WEFT_RUNNING);
    draw(&a, 0, "b", "b", WEFT_FINISH_LENGTH);
    whole_is(&a,
             "{" HEAD "'choices':[" CHOICE(
                 "0",
                 "\xc3\xa9"
                 "b",
                 LISTS("'','\xc3\xa9','b'", "-0.5,-0.5,-0.5",
                       "{'bytes:\\\\xc3':-0.5,'z':-1},{'bytes:\\\\xa9':-0.5,'z':-1},"
                       "{'b':-0.5,'z':-1}",
                       "0,0,1"),
                 "'length'") "]," USAGE("3", "10") "}",
             "length");
    answer_rig_open(&a, &rig, ROUTE_COMPLETIONS, "{'prompt':'q','logprobs':0,'stream':true}");
    draw(&a, 0, "a", "a", WEFT_RUNNING);
    draw_end(&a, 0, "");
    answer_rig_end(&a);
    HEARD(&a.heard, CHUNK("0", "a", LISTS("'a'", "-0.5", "{'a':-0.5}", "0"), "null"),
          CHUNK("0", "", LISTS("", "", "", ""), "'stop'"), "[DONE]");
    answer_rig_close(&a);
}

/* The log-probabilities of the prompt come in front; of its first token nothing is known. */
static void test_echo(void **state)
{
    (void)state;
    struct answer_rig a;
    answer_rig_open(&a, &rig, ROUTE_COMPLETIONS,
                    "{'prompt':'q,','logprobs':1,'echo':true,'max_tokens':0}");
    const int32_t first = a.request.generation.prompts[0].at[0], second = token_of(&a, ",");
    assert_int_equal(a.request.generation.prompts[0].n, 2);
    const weft_logprob at[] = {
        { -1, 0 }, { first, -9 }, { second, -2 }, { token_of(&a, "z"), -1 }
    };
    const struct prompt_logprobs p = { .prompt = 0, .at = at, .n = 2, .n_top = 1 };
    assert_true(answer_prompt(a.answer, &p));
    draw(&a, 0, NULL, "", WEFT_FINISH_LENGTH);
    whole_is(&a,
             "{" HEAD "'choices':[" CHOICE(
                 "0", "q,", LISTS("'q',','", "null,-2", "null,{'z':-1,',':-2}", "0,1"),
                 "'length'") "]," USAGE("0", "7") "}",
             "length");
}

/* ---------------------------------------------------------------- /completion */

#define RESULT(index, content, tokens, stop, word, more)                                           \
    "{'index':" index ",'content':'" content "','tokens':[" tokens "],'stop':true,'model':'tiny'," \
    "'tokens_evaluated':7,'tokens_cached':2,'prompt':'q','truncated':false,'has_new_line':false,"  \
    "'stop_type':'" stop "','stopping_word':'" word "'," more "}"

static void test_native(void **state)
{
    (void)state;
    struct answer_rig a;
    char want[1024];
    answer_rig_open(&a, &rig, ROUTE_COMPLETION, "{'prompt':'q','return_tokens':true}");
    draw(&a, 0, "a", "a", WEFT_RUNNING);
    draw_end(&a, 0, "");
    snprintf(want, sizeof want, RESULT("0", "a", "%d,%d", "eos", "", "'tokens_predicted':2"),
             (int)token_of(&a, "a"), (int)token_of(&a, "<|im_end|>"));
    whole_is(&a, want, "stop");
}

static void test_native_list(void **state)
{
    (void)state;
    struct answer_rig a;
    answer_rig_open(&a, &rig, ROUTE_COMPLETION, "{'prompt':['q','q'],'stop':['yx','cx','bcx']}");
    draw(&a, 0, "a", "a", WEFT_RUNNING);
    draw(&a, 0, "b", "", WEFT_RUNNING);
    draw(&a, 0, "c", "", WEFT_RUNNING);
    draw(&a, 0, "x", "", WEFT_FINISH_STOP);
    draw(&a, 1, NULL, "", WEFT_FINISH_GRAMMAR);
    struct outcome out = answer_rig_end(&a);
    char *object = strdup(out.body + 1), *second = strstr(object, ",{\"index\":1,");
    assert_non_null(second);
    assert_true(out.body[0] == '[' && out.body[out.n_body - 1] == ']');
    *second = object[strlen(object) - 1] = '\0';
    same_json(object, RESULT("0", "a", "", "word", "bcx", "'tokens_predicted':4"));
    same_json(second + 1, RESULT("1", "", "", "none", "", "'tokens_predicted':4"));
    free(object);
    answer_rig_close(&a);
}

static void test_native_stream(void **state)
{
    (void)state;
    struct answer_rig a;
    char chunk[512], last[1024];
    answer_rig_open(&a, &rig, ROUTE_COMPLETION,
                    "{'prompt':'q','stream':true,'n_probs':1,'n_predict':3}");
    const int x = token_of(&a, "x"), y = token_of(&a, "y"), n = token_of(&a, "\n");
    draw(&a, 0, "x", "", WEFT_RUNNING);
    draw(&a, 0, "y", "xy", WEFT_RUNNING);
    draw(&a, 0, "\n", "\n", WEFT_FINISH_LENGTH);
    answer_rig_end(&a);
#define PROB(id, token, byte)                                                                      \
    "{'id':" id ",'token':'" token "','logprob':-0.5,'bytes':[" byte "],'top_logprobs':[{'id':" id \
    ",'token':'" token "','logprob':-0.5,'bytes':[" byte "]}]}"
    char second[512];
    snprintf(chunk, sizeof chunk,
             "{'index':0,'content':'xy','tokens':[%d,%d],'stop':false,'tokens_predicted':2,"
             "'tokens_evaluated':7,'completion_probabilities':[" PROB("%d", "x", "120") "," PROB(
                 "%d", "y", "121") "]}",
             x, y, x, x, y, y);
    snprintf(second, sizeof second,
             "{'index':0,'content':'\\n','tokens':[%d],'stop':false,'tokens_predicted':3,"
             "'tokens_evaluated':7,'completion_probabilities':[" PROB("%d", "\\n", "10") "]}",
             n, n, n);
    snprintf(last, sizeof last,
             "{'index':0,'content':'','tokens':[],'stop':true,'model':'tiny',"
             "'tokens_evaluated':7,'tokens_cached':2,'prompt':'q','truncated':false,"
             "'has_new_line':true,'stop_type':'limit','stopping_word':'','tokens_predicted':3}");
    HEARD(&a.heard, chunk, second, last);
    answer_rig_close(&a);
}

static void test_truncated(void **state)
{
    (void)state;
    struct answer_rig a;
    answer_rig_open(&a, &rig, ROUTE_COMPLETION, "{'prompt':'q'}");
    draw(&a, 0, "a", "a", WEFT_FINISH_LENGTH);
    struct outcome out = answer_rig_end(&a);
    assert_non_null(strstr(out.body, "\"truncated\":true"));
    answer_rig_close(&a);
}

static void test_response_fields(void **state)
{
    (void)state;
    struct answer_rig a;
    answer_rig_open(&a, &rig, ROUTE_COMPLETION,
                    "{'prompt':'q','n_predict':3,'response_fields':['content','nothing',"
                    "'generation_settings/n_predict','prompt','content/x']}");
    draw(&a, 0, "a", "a", WEFT_FINISH_STOP);
    struct outcome out = answer_rig_end(&a);
    assert_string_equal(out.body, "{\"content\":\"a\",\"generation_settings/n_predict\":3,"
                                  "\"prompt\":\"q\"}");
    answer_rig_close(&a);
}

/* Streams that asked for it show the progress of the prompt, and timings with each piece. */
static void test_progress(void **state)
{
    (void)state;
    static const char body[] =
        "{'prompt':'q','stream':true,'return_progress':true,'timings_per_token':true}";
    for (int route = ROUTE_COMPLETIONS; route <= ROUTE_COMPLETION; route++) {
        struct answer_rig a;
        answer_rig_open(&a, &rig, (enum route)route, body);
        assert_true(answer_progress(a.answer, &a.figures, 5));
        assert_non_null(strstr(a.heard.text.data, "{\"cache\":2,\"processed\":5,\"time_ms\":"));
        draw(&a, 0, "a", "a", WEFT_RUNNING);
        assert_int_equal(a.heard.n_events, 2);
        answer_rig_close(&a);
    }
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
        cmocka_unit_test(test_whole),           cmocka_unit_test(test_stream),
        cmocka_unit_test(test_logprobs),        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_native),          cmocka_unit_test(test_native_list),
        cmocka_unit_test(test_native_stream),   cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_response_fields), cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
