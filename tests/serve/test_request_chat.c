/* /v1/chat/completions and /apply-template: what is read, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "request_rig.h"

static struct request_rig rig;

#define HI "'messages':[{'role':'user','content':'Hi'}]"
#define TOOLS                                                                                      \
    "'tools':[{'type':'function','function':{'name':'f','parameters':{'type':'object'}}},"         \
    "{'type':'web_search'}]"

static void read_chat_body(const char *fields, struct request *out)
{
    char body[2048];
    snprintf(body, sizeof body, "{" HI "%s%s}", fields[0] != '\0' ? "," : "", fields);
    read_ok(&rig, ROUTE_CHAT, body, out);
}

/* Compares the prompt that a conversation gives. */
static void prompt_is(const char *body, const char *prompt)
{
    char want[512];
    snprintf(want, sizeof want, "{'prompt':'%s'}", prompt);
    read_ready(&rig, ROUTE_TEMPLATE, body, want);
}

/* ---------------------------------------------------------------- what is read */

static void test_defaults(void **state)
{
    (void)state;
    struct request out, other;
    read_chat_body("", &out);
    const struct generation *g = &out.generation;
    assert_int_equal(out.task, TASK_GENERATE);
    assert_false(out.stream);
    assert_int_equal(out.ping, 0);
    assert_true(g->n_prompts == 1 && g->n_choices == 1 && g->prompts[0].n > 0);
    assert_true(g->n_top == -1 && g->n_max == SIZE_MAX && g->n_stops == 0 && g->grammar == NULL);
    assert_non_null(g->replies[0]);
    assert_true(g->sampling.temperature == 0.8f && g->sampling.top_k == 40);
    read_chat_body("", &other);
    assert_true(g->sampling.seed != other.generation.sampling.seed);
    request_free(&other);
    request_free(&out);
    request_free(&out);
}

static void test_sampling(void **state)
{
    (void)state;
    struct request out;
    read_chat_body("'temperature':0,'top_k':-1,'top_p':0,'min_p':0.5,'typical_p':1,"
                   "'repeat_penalty':1.5,'repeat_last_n':-1,'frequency_penalty':-2,"
                   "'presence_penalty':2,'seed':7,'ignore_eos':true,'n':3",
                   &out);
    const weft_sampling *s = &out.generation.sampling;
    assert_true(s->temperature == 0 && s->top_k == 0 && s->top_p > 0 && s->top_p < 1e-30f);
    assert_true(s->min_p == 0.5f && s->repeat_penalty == 1.5f && s->repeat_last_n == -1);
    assert_true(s->frequency_penalty == -2 && s->presence_penalty == 2 && s->ignore_end);
    assert_int_equal(s->seed, 7);
    assert_int_equal(out.generation.n_choices, 3);
    assert_non_null(out.generation.replies[2]);
    request_free(&out);
    read_chat_body("'repeat_last_n':0,'repeat_penalty':2,'seed':null,'temperature':null", &out);
    assert_true(out.generation.sampling.repeat_penalty == 1);
    assert_true(out.generation.sampling.temperature == 0.8f);
    request_free(&out);
}

static void test_samplers(void **state)
{
    (void)state;
    struct request out;
    read_chat_body("'samplers':['top_k','temperature'],'repeat_penalty':2,'top_k':5", &out);
    const weft_sampling *s = &out.generation.sampling;
    assert_true(s->top_k == 5 && s->top_p == 1 && s->min_p == 0 && s->repeat_penalty == 1);
    request_free(&out);
    read_chat_body("'samplers':'edskypmxt','top_p':0.5", &out);
    assert_true(s->top_k == 40 && s->top_p == 0.5f && s->min_p == 0.05f);
    request_free(&out);
    read_chat_body("'samplers':'pm','temperature':3", &out);
    assert_true(s->temperature == 1 && s->top_k == 0);
    request_free(&out);
}

static void test_limits(void **state)
{
    (void)state;
    struct request out;
    static const struct {
        const char *fields;
        size_t n_max;
    } rows[] = {
        { "'max_tokens':5", 5 },
        { "'max_completion_tokens':6,'max_tokens':null", 6 },
        { "'n_predict':-1", SIZE_MAX },
        { "'n_predict':7.0", 7 },
        { "'max_tokens':0", 0 },
        { "'stream_options':{'include_usage':true},'stream':true,'max_tokens':1", 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        read_chat_body(rows[i].fields, &out);
        assert_int_equal(out.generation.n_max, rows[i].n_max);
        request_free(&out);
    }
    rig.scope.n_predict = 3;
    read_chat_body("'max_tokens':5", &out);
    assert_int_equal(out.generation.n_max, 3);
    request_free(&out);
    rig.scope.n_predict = SIZE_MAX;
}

static void test_lists(void **state)
{
    (void)state;
    struct request out;
    read_chat_body("'stop':'x','logit_bias':{'5':-100,'7':false,'5 ':1}", &out);
    const struct generation *g = &out.generation;
    assert_int_equal(g->n_stops, 1);
    assert_string_equal(g->stops[0], "x");
    assert_true(g->sampling.n_bias >= 3 && g->sampling.bias == g->bias);
    assert_true(g->bias[0].token == 5 && g->bias[0].bias == -100);
    assert_true(g->bias[1].token == 7 && isinf(g->bias[1].bias));
    request_free(&out);
    read_chat_body("'stop':['a','','bc'],'logit_bias':[[5,1],['a',false],[5,2.5]]", &out);
    assert_int_equal(g->n_stops, 2);
    assert_string_equal(g->stops[1], "bc");
    assert_int_equal(g->sampling.n_bias, 2);
    assert_true(g->bias[0].bias == 2.5f);
    request_free(&out);
}

static void test_logprobs(void **state)
{
    (void)state;
    struct request out;
    read_chat_body("'logprobs':true", &out);
    assert_int_equal(out.generation.n_top, 0);
    request_free(&out);
    read_chat_body("'logprobs':true,'top_logprobs':20,'sse_ping_interval':-1", &out);
    assert_int_equal(out.generation.n_top, 20);
    assert_int_equal(out.ping, -1);
    request_free(&out);
    read_chat_body("'logprobs':false", &out);
    assert_int_equal(out.generation.n_top, -1);
    request_free(&out);
}

/* Every field of other servers that asks for nothing, and fields of which nobody has heard. */
static void test_accepted(void **state)
{
    (void)state;
    struct request out;
    static const char *const rows[] = {
        "'mirostat':0,'xtc_probability':0.0,'dry_multiplier':0,'top_n_sigma':-1,'min_keep':0",
        "'dynatemp_range':0,'adaptive_target':-1,'lora':[],'n_indent':0,'grammar_lazy':false",
        "'user':'me','metadata':{},'store':false,'service_tier':'auto','prompt_cache_key':'k',"
        "'cache_prompt':true,'id_slot':0,'model':'gpt-4o','nobody':[1,{}]",
        "'grammar':'','tools':[],'tool_choice':'auto','stop':[],'logit_bias':{}",
        "'response_format':{'type':'text'},'parallel_tool_calls':true",
        "'tool_choice':'none'," TOOLS,
        "'tool_choice':'required'," TOOLS,
        "'tool_choice':{'type':'function','function':{'name':'f'}}," TOOLS,
        "'tool_choice':{'type':'function','name':'f'},'parallel_tool_calls':false," TOOLS,
        "'response_format':{'type':'json_object'}",
        "'response_format':{'type':'json_object','schema':{'const':'42'}}",
        "'response_format':{'type':'json_schema','json_schema':{'name':'x','schema':{'type':["
        "'object','null'],'properties':{'a':{'type':'integer'}}},'strict':true}}",
        "'response_format':{'type':'json_schema','json_schema':{'schema':{'maxLength':100000}}}",
        "'json_schema':{}",
        "'grammar':'root ::= [a-z]+'",
        "'reasoning_format':'deepseek-legacy','timings_per_token':true,'return_progress':true",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        read_chat_body(rows[i], &out);
        request_free(&out);
    }
}

static void test_prompts(void **state)
{
    (void)state;
    prompt_is("{" HI "}", "<user>Hi<assistant>");
    prompt_is("{" HI ",'add_generation_prompt':false}", "<user>Hi");
    prompt_is("{" HI ",'reasoning_effort':'none'}", "<user>Hi(none)[False]<assistant>");
    prompt_is("{" HI
              ",'reasoning_effort':'high','chat_template_kwargs':{'reasoning_effort':'low'}}",
              "<user>Hi(low)<assistant>");
    prompt_is("{'messages':[{'role':'user','content':[{'type':'text','text':'a'},{'type':'text',"
              "'text':'b'}]},{'role':'assistant','content':'Wh'}]}",
              "<user>a\\nb<assistant>Wh");
    /* An empty message of the assistant opens its turn, as no message does. */
    struct request with, without;
    read_ok(&rig, ROUTE_CHAT, "{" HI "}", &without);
    read_ok(&rig, ROUTE_CHAT,
            "\xef\xbb\xbf{'messages':[{'role':'user','content':'Hi'},{'role':'assistant','content':"
            "''}]}",
            &with);
    assert_int_equal(with.generation.prompts[0].n, without.generation.prompts[0].n);
    assert_memory_equal(with.generation.prompts[0].at, without.generation.prompts[0].at,
                        with.generation.prompts[0].n * sizeof(int32_t));
    request_free(&with);
    request_free(&without);
    prompt_is("{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'Wh'}],"
              "'continue_final_message':true,'add_generation_prompt':false}",
              "<user>a<assistant>Wh");
    prompt_is("{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'Wh'}],"
              "'continue_final_message':false}",
              "<user>a<assistant>Wh<assistant>");
    rig.scope.template_vars = "{\"enable_thinking\":true,\"reasoning_effort\":\"low\"}";
    prompt_is("{" HI ",'chat_template_kwargs':{'enable_thinking':false}}",
              "<user>Hi(low)[False]<assistant>");
    rig.scope.template_vars = NULL;
}

/* ---------------------------------------------------------------- what is refused */

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *words;
    } rows[] = {
        { "'temperature':'hot'", "temperature is 'hot', expected a number from 0 to 100" },
        { "'temperature':-0.5", "temperature is -0.5, expected a number from 0 to 100" },
        { "'seed':1.5", "seed is 1.5, expected an integer of 64 bits" },
        { "'top_p':1.5", "top_p is 1.5, expected a number from 0 to 1" },
        { "'top_k':0.5", "top_k is 0.5, expected an integer from -1 to 2147483647" },
        { "'n':9", "n is 9, expected an integer from 1 to 8" },
        { "'n':0", "n is 0" },
        { "'max_tokens':-2", "max_tokens is -2, expected an integer from -1" },
        { "'max_completion_tokens':[]", "max_completion_tokens is a list, expected an integer" },
        { "'stream':'yes'", "stream is 'yes', expected true or false" },
        { "'stream_options':{'include_usage':1}", "stream_options.include_usage is 1" },
        { "'stream_options':true", "stream_options is true, expected an object" },
        { "'seed':'x'", "seed is 'x', expected an integer" },
        { "'stop':3", "stop is 3, expected a string or a list of strings" },
        { "'stop':[1]", "stop is 1" },
        { "'stop':['a','b','c','d','e','f','g','h','i','j','k','l','m','n','o','p','q']",
          "more than 16 stop strings" },
        { "'logit_bias':3", "logit_bias is 3, expected an object, or a list of pairs" },
        { "'logit_bias':[[1]]", "logit_bias is a list, expected pairs" },
        { "'logit_bias':[[1,true]]", "logit_bias is true, expected a number" },
        { "'logit_bias':{'999999':1}", "logit_bias is 999999, expected ids of tokens, 0 to" },
        { "'logit_bias':[[-1,1]]", "logit_bias is -1" },
        { "'logit_bias':[[{},1]]", "logit_bias is an object" },
        { "'samplers':3", "samplers is 3" },
        { "'samplers':[3]", "samplers is 3, expected a name" },
        { "'mirostat':2", "mirostat is 2, expected what leaves it off" },
        { "'xtc_probability':0.5", "xtc_probability is 0.5" },
        { "'dry_multiplier':true", "dry_multiplier is true" },
        { "'top_n_sigma':1", "top_n_sigma is 1" },
        { "'lora':[{'id':0}]", "lora is a list" },
        { "'top_logprobs':3", "top_logprobs is given, but logprobs is not true" },
        { "'logprobs':true,'top_logprobs':21", "top_logprobs is 21, expected an integer from 0" },
        { "'logprobs':3", "logprobs is 3, expected true or false" },
        { "'tools':{}", "tools is an object, expected a list" },
        { "'tools':[{'type':'function'}]", "tool 0 has no function.name" },
        { "'tools':[{'function':{'name':'a b'}}]", "a tool has the name 'a b', expected 1 to 64" },
        { "'tools':[{'function':{'name':'f'}},{'function':{'name':'g'}},{'function':{'name':'f'}}]",
          "two tools have the name 'f', expected one" },
        { "'tool_choice':'sometimes'", "tool_choice is 'sometimes', expected 'auto', 'none' or" },
        { "'tool_choice':3", "tool_choice is 3" },
        { "'tool_choice':{'type':'allowed_tools'}," TOOLS, "an object without a" },
        { "'tool_choice':'required'", "a call is required, but there are no tools" },
        { "'tool_choice':{'function':{'name':'g'}}," TOOLS, "no tool has the name" },
        { "'response_format':{}", "response_format.type is missing" },
        { "'response_format':{'type':'sound'}", "response_format.type is 'sound'" },
        { "'response_format':{'type':'json_schema'}", "json_schema.schema is missing" },
        { "'response_format':{'type':'json_object','schema':123}", "schema is 123" },
        { "'response_format':{'type':'json_object','schema':{'type':123}}", "type is 123" },
        { "'response_format':{'type':'json_object','schema':{'type':'hiccup'}}", "'hiccup'" },
        { "'json_schema':{'properties':{'a':{'anyOf':[{'type':[]}]}}}", "schema: type is a list" },
        { "'json_schema':{'properties':{'a':3}}", "schema is 3" },
        { "'json_schema':{},'response_format':{'type':'json_object'}", "both response_format" },
        { "'json_schema':{},'grammar':'root ::= x'", "both a grammar and a schema" },
        { "'grammar':'root ::= this is (not valid GBNF'", "line 1" },
        { "'grammar':'root ::= [a]'," TOOLS, "both a grammar and tools" },
        { "'grammar':3", "grammar is 3, expected a string" },
        { "'response_format':{'type':'json_schema','json_schema':{'strict':true,'schema':{"
          "'type':'string','pattern':'(?=a)'}}}",
          "schema" },
        { "'reasoning_format':'some'", "reasoning_format is 'some', expected 'auto', 'none'" },
        { "'reasoning_effort':1", "reasoning_effort is 1, expected a string" },
        { "'chat_template_kwargs':[]", "chat_template_kwargs is a list, expected an object" },
        { "'chat_template_kwargs':{'tools':1}", "variable tools" },
        { "'continue_final_message':true", "the last message is no text of the assistant" },
        { "'continue_final_message':true,'add_generation_prompt':true", "both add_generation" },
        { "'sse_ping_interval':-2", "sse_ping_interval is -2" },
    };
    char body[2048];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(body, sizeof body, "{" HI ",%s}", rows[i].fields);
        read_refused(&rig, ROUTE_CHAT, body, 400, rows[i].words);
    }
}

static void test_messages_refused(void **state)
{
    (void)state;
    static const struct {
        const char *messages, *words;
    } rows[] = {
        { "null", "messages is missing" },
        { "'string'", "messages is 'string', expected a list" },
        { "[]", "messages is empty" },
        { "[123]", "message 0 is a number, expected an object" },
        { "[{}]", "message 0: role is missing" },
        { "[{'role':123}]", "message 0: role is a number" },
        { "[{'role':'king','content':'a'}]", "message 0 has the role" },
        { "[{'role':'system','content':123}]", "message 0: content is a number" },
        { "[{'role':'user','content':'a'},{}]", "message 1: role is missing" },
        { "[{'role':'user','content':[{'type':'image_url','image_url':{'url':'x'}}]}]",
          "only text can be read" },
        { "[{'role':'user','content':[{'type':'input_audio'}]}]", "only text can be read" },
        { "[{'role':'user','content':'a'},{'role':'assistant','content':'b'},{'role':'assistant',"
          "'content':'c'}]",
          "two messages of the assistant are the last ones" },
    };
    char body[1024];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(body, sizeof body, "{'messages':%s}", rows[i].messages);
        read_refused(&rig, ROUTE_CHAT, body, 400, rows[i].words);
    }
}

/* Lists that are too long are refused before anything is made of them. */
static void test_too_many(void **state)
{
    (void)state;
    enum { ROOM = 1 << 18 };
    char *body = malloc(ROOM), *at = body;
    assert_non_null(body);
    at += sprintf(body, "{" HI ",'tools':[{}");
    for (int i = 0; i < 256; i++) {
        at += sprintf(at, ",{}");
    }
    strcpy(at, "]}");
    read_refused(&rig, ROUTE_CHAT, body, 400, "257 tools, expected at most 256");
    at = body + sprintf(body, "{'messages':[{}");
    for (int i = 0; i < 4096; i++) {
        at += sprintf(at, ",{}");
    }
    strcpy(at, "]}");
    read_refused(&rig, ROUTE_CHAT, body, 400, "4097 messages, expected at most 4096");
    at = body + sprintf(body, "{" HI ",'logit_bias':[[0,1]");
    for (int i = 1; i < 1025; i++) {
        at += sprintf(at, ",[%d,1]", i % 640);
    }
    strcpy(at, "],'stop':'");
    at += strlen(at);
    memset(at, 'x', 257);
    strcpy(at + 257, "'}");
    read_refused(&rig, ROUTE_CHAT, body, 400, "a stop string has 257 bytes, expected at most 256");
    free(body);
}

static void test_bodies_refused(void **state)
{
    (void)state;
    read_refused(&rig, ROUTE_CHAT, "", 400, "body: line 1");
    read_refused(&rig, ROUTE_CHAT, "[]", 400, "body is a list, expected an object");
    read_refused(&rig, ROUTE_CHAT, "{'a':\xff}", 400, "body: line 1");
    read_refused(&rig, ROUTE_CHAT, "{'a':'\\ud800'}", 400, "body: line 1");
    char deep[256] = "{'a':";
    memset(deep + strlen(deep), '[', 64);
    read_refused(&rig, ROUTE_CHAT, deep, 400, "64");
}

static void test_context(void **state)
{
    (void)state;
    char body[8192] = "{'messages':[{'role':'user','content':'";
    struct fault fault;
    struct request out;
    memset(body + strlen(body), 'x', 4000);
    strcat(body, "'}]}");
    read_refused(&rig, ROUTE_CHAT, body, 400, "exceeds the available context size (256 tokens)");
    char *text = quoted(body);
    assert_false(request_read(&rig.scope, ROUTE_CHAT, text, strlen(text), &out, &fault));
    free(text);
    assert_string_equal(fault.type, "exceed_context_size_error");
    assert_true(fault.n_prompt > 256 && fault.n_ctx == 256);
    assert_null(out.style);
}

static void test_models(void **state)
{
    (void)state;
    struct request out;
    rig.scope.strict_model = true;
    read_chat_body("'model':'tiny'", &out);
    request_free(&out);
    read_refused(&rig, ROUTE_CHAT, "{" HI ",'model':'gpt-4o'}", 404,
                 "the model 'gpt-4o' does not exist, expected 'tiny'");
    read_refused(&rig, ROUTE_CHAT, "{" HI ",'model':4}", 400, "model is 4, expected a string");
    rig.scope.strict_model = false;
    rig.scope.embeddings_only = true;
    read_refused(&rig, ROUTE_CHAT, "{" HI "}", 501, "embeddings only");
    rig.scope.embeddings_only = false;
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
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_samplers), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_lists),    cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_accepted), cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_messages_refused),
        cmocka_unit_test(test_too_many), cmocka_unit_test(test_bodies_refused),
        cmocka_unit_test(test_context),  cmocka_unit_test(test_models),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
