/* /v1/completions, /completion, /tokenize and /detokenize. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "request_rig.h"
#include "serve/settings.h"
#include "serve/style.h"
#include "synth/synth.h"

static struct request_rig rig;

/* Expects the ids of prompt i. */
static void ids_are(const struct request *r, size_t i, const int32_t *ids, size_t n)
{
    const struct token_list *prompt = &r->generation.prompts[i];
    assert_int_equal(prompt->n, n);
    assert_memory_equal(prompt->at, ids, n * sizeof *ids);
}

static size_t ids_of(const char *text, int32_t *ids, size_t cap)
{
    size_t n = 0;
    OK(weft_tokenize(rig.rig.model, text, strlen(text), WEFT_TOKENIZE_BOS | WEFT_TOKENIZE_SPECIAL,
                     ids, cap, &n, E));
    return n;
}

static void test_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *prompt;
        size_t n;
    } rows[] = {
        { "'Hi'", 1 },
        { "['Hi']", 1 },
        { "['Hi','Hi','Hi']", 3 },
        { "[1,2,3]", 1 },
        { "[[1,2,3],[4]]", 2 },
        { "[1,'Hi',2]", 1 },
        { "['Hi',[1,'Hi']]", 2 },
        { "{'prompt_string':'Hi'}", 1 },
        { "[{'prompt_string':'Hi'},[1]]", 2 },
        { "''", 1 },
    };
    struct request r;
    char body[128];
    for (int route = ROUTE_COMPLETIONS; route <= ROUTE_COMPLETION; route++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            snprintf(body, sizeof body, "{'prompt':%s,'n':2}", rows[i].prompt);
            read_ok(&rig, (enum route)route, body, &r);
            assert_int_equal(r.task, TASK_GENERATE);
            assert_int_equal(r.generation.n_prompts, rows[i].n);
            assert_int_equal(r.generation.n_choices, 2);
            assert_null(r.generation.replies);
            request_free(&r);
        }
    }
}

static void test_ids(void **state)
{
    (void)state;
    struct request r;
    int32_t ids[16];
    size_t n = ids_of("Hi<|im_end|>", ids, 14);
    read_ok(&rig, ROUTE_COMPLETIONS, "{'prompt':['Hi<|im_end|>',[3,1]]}", &r);
    ids_are(&r, 0, ids, n);
    ids_are(&r, 1, (const int32_t[]){ 3, 1 }, 2);
    request_free(&r);
    memmove(ids + 1, ids, n * sizeof *ids);
    ids[0] = 9;
    ids[n + 1] = 7;
    read_ok(&rig, ROUTE_COMPLETION, "{'prompt':[9,'Hi<|im_end|>',7]}", &r);
    ids_are(&r, 0, ids, n + 2);
    request_free(&r);
}

static void test_empty(void **state)
{
    (void)state;
    struct request r;
    const int32_t first = rig.scope.info.bos >= 0 ? rig.scope.info.bos : rig.scope.info.eos;
    read_ok(&rig, ROUTE_COMPLETIONS, "{'prompt':''}", &r);
    ids_are(&r, 0, &first, 1);
    request_free(&r);
}

static void test_completions(void **state)
{
    (void)state;
    struct request r;
    const struct generation *g = &r.generation;
    read_ok(&rig, ROUTE_COMPLETIONS,
            "{'prompt':['ab',[5]],'echo':true,'best_of':1,'suffix':'','max_tokens':0}", &r);
    assert_true(r.style->echo && !g->echo_logprobs && g->n_top == -1 && g->n_max == 0);
    assert_string_equal(r.style->prompts[0], "ab");
    assert_int_equal(r.style->n_prompts, 2);
    request_free(&r);
    read_ok(&rig, ROUTE_COMPLETIONS, "{'prompt':'ab','echo':true,'logprobs':0}", &r);
    assert_true(g->echo_logprobs && g->n_top == 0);
    request_free(&r);
    read_ok(&rig, ROUTE_COMPLETIONS, "{'prompt':'ab','logprobs':5,'json_schema':{'type':'null'}}",
            &r);
    assert_true(!g->echo_logprobs && g->n_top == 5 && g->n_grammar > 0);
    request_free(&r);
}

static void test_completion(void **state)
{
    (void)state;
    struct request r;
    const struct generation *g = &r.generation;
    read_ok(&rig, ROUTE_COMPLETION,
            "{'prompt':'ab','n_probs':10,'t_max_predict_ms':1500,'return_tokens':true,'stream':"
            "true,'response_fields':['content','generation_settings/n_predict'],'n_predict':4,"
            "'ignore_eos':true,'stop':['x'],'grammar':'root ::= [a-z]'}",
            &r);
    assert_true(g->n_top == 10 && g->most_seconds == 1.5 && g->n_max == 4 && r.stream);
    assert_string_equal(g->grammar, "root ::= [a-z]");
    assert_true(r.style->return_tokens && !r.style->many && r.style->n_fields == 2);
    assert_string_equal(r.style->prompts[0], "ab");
    assert_non_null(strstr(r.style->settings, "\"n_predict\":4"));
    assert_non_null(strstr(r.style->settings, "{\"bias\":null"));
    assert_non_null(strstr(r.style->settings, "\"stop\":[\"x\"]"));
    assert_non_null(strstr(r.style->settings, "\"adaptive_target\""));
    json_t *settings = json_loads(r.style->settings, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(settings);
    json_decref(settings);
    request_free(&r);
    read_ok(&rig, ROUTE_COMPLETION, "{'prompt':['a','b'],'n_probs':0,'t_max_predict_ms':-1}", &r);
    assert_true(g->n_top == -1 && g->most_seconds == 0 && r.style->many);
    request_free(&r);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        enum route route;
        const char *body, *words;
    } rows[] = {
        { ROUTE_COMPLETIONS, "{}", "prompt is missing" },
        { ROUTE_COMPLETIONS, "{'prompt':[]}", "prompt is an empty list" },
        { ROUTE_COMPLETIONS, "{'prompt':3}", "prompt is 3, expected a string, or a list" },
        { ROUTE_COMPLETIONS, "{'prompt':[true]}", "prompt is true" },
        { ROUTE_COMPLETIONS, "{'prompt':[1,true]}", "prompt is true, expected ids of tokens" },
        { ROUTE_COMPLETIONS, "{'prompt':[1,-1]}", "prompt is -1, expected ids of tokens, 0 to" },
        { ROUTE_COMPLETIONS, "{'prompt':[99999999999]}", "prompt is 99999999999" },
        { ROUTE_COMPLETIONS, "{'prompt':'a','suffix':'b'}", "suffix is given" },
        { ROUTE_COMPLETIONS, "{'prompt':'a','best_of':2}", "best_of is 2, expected n (1)" },
        { ROUTE_COMPLETIONS, "{'prompt':'a','logprobs':6}", "logprobs is 6, expected an integer" },
        { ROUTE_COMPLETIONS, "{'prompt':'a','logprobs':true}", "logprobs is true" },
        { ROUTE_COMPLETIONS, "{'prompt':'a','echo':1}", "echo is 1, expected true or false" },
        { ROUTE_COMPLETION, "{'prompt':{'prompt_string':'a','multimodal_data':['x']}}",
          "only text can be read" },
        { ROUTE_COMPLETION, "{'prompt':'a','n_probs':65}", "n_probs is 65" },
        { ROUTE_COMPLETION, "{'prompt':'a','response_fields':[1]}", "response_fields is 1" },
        { ROUTE_COMPLETION, "{'prompt':'a','response_fields':'x'}", "response_fields is 'x'" },
        { ROUTE_COMPLETION, "{'prompt':'a','grammar':'root = x'}", "line 1" },
        { ROUTE_COMPLETION, "{'prompt':'a','json_schema':{'type':7}}", "type is 7" },
        { ROUTE_COMPLETION, "{'prompt':'a','post_sampling_probs':true}", "post_sampling_probs" },
        { ROUTE_TOKENIZE, "{}", "content is missing" },
        { ROUTE_TOKENIZE, "{'prompt':3}", "prompt is 3" },
        { ROUTE_TOKENIZE, "{'content':'a','with_pieces':2}", "with_pieces is 2" },
        { ROUTE_DETOKENIZE, "{}", "tokens is missing, expected a list of ids" },
        { ROUTE_DETOKENIZE, "{'tokens':[1,'a']}", "tokens is 'a', expected ids of tokens" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        read_refused(&rig, rows[i].route, rows[i].body, 400, rows[i].words);
    }
}

static void test_many_prompts(void **state)
{
    (void)state;
    char body[1024] = "{'prompt':['a'";
    for (int i = 0; i < 64; i++) {
        strcat(body, ",'a'");
    }
    strcat(body, "]}");
    read_refused(&rig, ROUTE_COMPLETIONS, body, 400, "65 prompts, expected at most 64");
}

/* A prompt that fills the context leaves no room for an answer, but may be scored. */
static void test_context(void **state)
{
    (void)state;
    char body[1024] = "{'max_tokens':0,'prompt':[1";
    struct request r;
    for (int i = 1; i < 256; i++) {
        strcat(body, ",1");
    }
    strcat(body, "]}");
    read_ok(&rig, ROUTE_COMPLETIONS, body, &r);
    request_free(&r);
    body[strlen("{'max_tokens':")] = '1';
    read_refused(&rig, ROUTE_COMPLETIONS, body, 400,
                 "request (256 tokens) exceeds the available context size (256 tokens)");
}

static void test_tokenize(void **state)
{
    (void)state;
    int32_t ids[8];
    char want[256], body[256];
    assert_int_equal(ids_of("a", ids, 8), 1);
    snprintf(want, sizeof want, "{'tokens':[%d]}", ids[0]);
    read_ready(&rig, ROUTE_TOKENIZE, "{'content':'a'}", want);
    read_ready(&rig, ROUTE_TOKENIZE, "{'content':''}", "{'tokens':[]}");
    snprintf(want, sizeof want, "{'tokens':[{'id':%d,'piece':'a'}]}", ids[0]);
    read_ready(&rig, ROUTE_TOKENIZE, "{'content':'a','with_pieces':true}", want);
    snprintf(want, sizeof want, "{'tokens':[%d],'count':1,'max_model_len':256}", ids[0]);
    read_ready(&rig, ROUTE_TOKENIZE, "{'prompt':'a'}", want);
    assert_int_equal(ids_of("\xc3", ids, 8), 1);
    snprintf(body, sizeof body, "{'content':[%d],'with_pieces':true}", ids[0]);
    snprintf(want, sizeof want, "{'tokens':[{'id':%d,'piece':[195]}]}", ids[0]);
    read_ready(&rig, ROUTE_TOKENIZE, body, want);
    assert_true(ids_of("<|im_end|>", ids, 8) == 1);
    snprintf(body, sizeof body, "{'tokens':[%d]}", ids[0]);
    read_ready(&rig, ROUTE_DETOKENIZE, body, "{'content':'<|im_end|>','prompt':'<|im_end|>'}");
    snprintf(want, sizeof want, "{'tokens':[%d]}", ids[0]);
    read_ready(&rig, ROUTE_TOKENIZE, "{'content':'<|im_end|>'}", want);
    read_ready(&rig, ROUTE_DETOKENIZE, "{'tokens':[]}", "{'content':'','prompt':''}");
}

static void test_settings(void **state)
{
    (void)state;
    char *text = settings_json(&rig.scope, NULL);
    assert_non_null(text);
    json_t *settings = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(settings);
    assert_int_equal(json_integer_value(json_object_get(settings, "seed")), -1);
    assert_int_equal(json_integer_value(json_object_get(settings, "n_predict")), -1);
    assert_int_equal(json_integer_value(json_object_get(settings, "top_k")), 40);
    json_decref(settings);
    free(text);
}

/* The command line wins over the file, which wins over the defaults. */
static void test_scope(void **state)
{
    (void)state;
    static const char *const keys[] = { "general.sampling.temp=f32:0.25",
                                        "general.sampling.top_k=i32:7" };
    struct synth_spec spec;
    assert_true(synth_preset("tiny-qwen2", &spec));
    spec.keys = keys;
    spec.n_keys = 2;
    struct request_rig other;
    request_rig_open(&other, model_file_of(&spec));
    struct scope *s = &other.scope;
    assert_true(s->sampling.temperature == 0.25f && s->sampling.top_k == 7);
    assert_true(s->n_ctx == 256 && s->created > 0);
    scope_free(s);
    s->sampling.top_k = 3;
    s->sampling_given = WEFT_SAMPLING_TOP_K;
    s->n_sequences = 64;
    assert_true(scope_complete(s));
    assert_true(s->sampling.temperature == 0.25f && s->sampling.top_k == 3 && s->n_ctx == 64);
    size_t n_control = 0;
    for (size_t i = 0; i < s->info.n_vocab; i++) {
        n_control += s->is_control[i];
    }
    assert_int_equal(n_control, 3);
    scope_free(s);
    s->ignore_file_sampling = true;
    s->sampling_given = 0;
    assert_true(scope_complete(s));
    assert_true(s->sampling.temperature == 0.8f && s->sampling.top_k == 40);
    request_rig_close(&other);
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
        cmocka_unit_test(test_shapes),       cmocka_unit_test(test_ids),
        cmocka_unit_test(test_empty),        cmocka_unit_test(test_completions),
        cmocka_unit_test(test_completion),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many_prompts), cmocka_unit_test(test_context),
        cmocka_unit_test(test_tokenize),     cmocka_unit_test(test_settings),
        cmocka_unit_test(test_scope),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
