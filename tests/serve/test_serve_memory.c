/* Requests and answers: every allocation fails once. A request is then refused with status 500 and
 * leaves nothing behind; an answer says that it has failed, and can still be failed in words. The
 * program is linked with --wrap for the allocator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "answer_rig.h"
#include "support/failing.h"
#include "synth/synth.h"

static struct request_rig rig, ranker;

static const struct {
    enum route route;
    const char *body;
} requests[] = {
    { ROUTE_CHAT,
      "{'messages':[{'role':'user','content':'Hi'}],'tools':[{'type':'function','function':"
      "{'name':'f','parameters':{'type':'object','properties':{'a':{'type':'integer'}}}}}],'stop':"
      "['a','b'],'logit_bias':{'1':2,'x':false},'n':2,'reasoning_effort':'none',"
      "'chat_template_kwargs':{'a':1},'logprobs':true}" },
    { ROUTE_CHAT, "{'messages':[{'role':'user','content':'Hi'}],'response_format':{'type':"
                  "'json_schema','json_schema':{'strict':true,'schema':{'type':'integer'}}}}" },
    { ROUTE_CHAT, "{'messages':[{'role':'user','content':'Hi'}],'grammar':'root ::= [a-z]'}" },
    { ROUTE_TEMPLATE, "{'messages':[{'role':'user','content':'Hi'}]}" },
    { ROUTE_COMPLETIONS, "{'prompt':['Hi',[1,2]],'echo':true,'json_schema':{},'stop':'x'}" },
    { ROUTE_COMPLETION,
      "{'prompt':'Hi','response_fields':['content'],'grammar':'root ::= [a-z]'}" },
    { ROUTE_TOKENIZE, "{'content':'Hi','with_pieces':true}" },
    { ROUTE_DETOKENIZE, "{'tokens':[1,2,3]}" },
    { ROUTE_EMBEDDINGS, "{'input':['Hi',[1],{'content':[{'type':'text','text':'a'}]}]}" },
    { ROUTE_RERANK, "{'query':'q','documents':['a','b']}" },
};

static void fail_request(enum route route, const char *text)
{
    const struct scope *scope = route == ROUTE_RERANK ? &ranker.scope : &rig.scope;
    bool ok = false;
    struct request out;
    struct fault fault;
    /* The engine keeps what its first grammar needs. */
    if (request_read(scope, route, text, strlen(text), &out, &fault)) {
        request_free(&out);
    }
    for (long k = 1; !ok; k++) {
        const long live = n_live;
        countdown = k;
        ok = request_read(scope, route, text, strlen(text), &out, &fault);
        if (ok != (countdown > 0)) {
            fail_msg("%s: nobody noticed that allocation %ld failed", text, k);
        }
        countdown = -1;
        if (!ok) {
            assert_int_equal(fault.status, 500);
            assert_string_equal(fault.type, "server_error");
        } else {
            request_free(&out);
        }
        if (n_live != live) {
            fail_msg("%s: allocation %ld leaves %ld blocks", text, k, n_live - live);
        }
        assert_true(k < 20000);
    }
}

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        char *text = quoted(requests[i].body);
        fail_request(requests[i].route, text);
        free(text);
    }
}

/* ---------------------------------------------------------------- answers */

static void ignore_event(void *user, const char *name, const char *data, size_t n)
{
    (void)user;
    (void)name;
    assert_true(n > 0 && data != NULL);
}
static const struct sink ignoring = { .event = ignore_event };

/* A token that is one byte of a text. */
static bool draw_one(const struct request *r, struct answer *a, char byte, bool last)
{
    int32_t id = 0;
    size_t n = 0;
    const char *text = &byte;
    countdown = countdown > 0 ? -countdown - 1 : countdown; /* the test's own call does not count */
    weft_tokenize(rig.rig.model, text, 1, 0, &id, 1, &n, NULL);
    countdown = countdown < -1 ? -countdown - 1 : countdown;
    const weft_logprob logprobs[2] = { { id, -1 }, { id, -1 } };
    const struct drawn d = { .token = id,
                             .text = text,
                             .n_text = 1,
                             .logprobs = logprobs,
                             .n_logprobs = r->generation.n_top < 0 ? 0 : 2,
                             .finish = last ? WEFT_FINISH_STOP : WEFT_RUNNING };
    return answer_drawn(a, &d);
}

/* Returns false if memory was out. */
static bool run(const struct request *r, struct answer *a, struct outcome *out)
{
    static const char text[] =
        "<think>a</think>b <tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1}}</tool_call>";
    const struct job_figures figures = { .n_prompt = 1 };
    bool ok = answer_begin(a) && answer_progress(a, &figures, 1);
    if (ok && r->generation.echo_logprobs) {
        const weft_logprob at[2] = { { -1, 0 }, { -1, 0 } };
        const struct prompt_logprobs p = { .at = at, .n = 1, .n_top = 1 };
        ok = answer_prompt(a, &p);
    }
    for (size_t i = 0; ok && i < sizeof text - 1; i++) {
        ok = draw_one(r, a, text[i], i == sizeof text - 2);
    }
    return ok && answer_end(a, &figures, out);
}

static void fail_answer(enum route route, const char *body)
{
    bool ok = false;
    for (long k = 1; !ok; k++) {
        struct request r;
        struct outcome out = { 0 };
        struct fault fault;
        read_ok(&rig, route, body, &r);
        const long live = n_live;
        countdown = k;
        struct answer *a = answer_open(&rig.scope, &r, "id", &ignoring, NULL);
        ok = a != NULL && run(&r, a, &out);
        if (ok != (countdown > 0)) {
            fail_msg("%s: nobody noticed that allocation %ld failed", body, k);
        }
        countdown = -1;
        if (!ok && a != NULL) {
            fault_memory(&fault);
            countdown = k % 2 == 0 ? 1 : -1; /* there is no memory for the words either */
            answer_fail(a, &fault, &out);
            countdown = -1;
            assert_true(r.stream ? out.body == NULL || out.status == 500 : out.status == 500);
        }
        answer_close(a);
        request_free(&r);
        assert_true(n_live <= live);
        assert_true(k < 20000);
    }
}

static void test_answers(void **state)
{
    (void)state;
    static const char *const fields[] = { "", ",'stream':true" };
    char body[512];
    request_rig_template(&rig, thinking_template);
    for (size_t i = 0; i < 2; i++) {
        snprintf(body, sizeof body,
                 "{'messages':[{'role':'user','content':'Hi'}],'logprobs':true,'top_logprobs':1,"
                 "'return_progress':true,'stream_options':{'include_usage':true},'tools':[{'type':"
                 "'function','function':{'name':'f'}}]%s}",
                 fields[i]);
        fail_answer(ROUTE_CHAT, body);
        snprintf(body, sizeof body, "{'prompt':'a','logprobs':1,'echo':true%s}", fields[i]);
        fail_answer(ROUTE_COMPLETIONS, body);
        snprintf(body, sizeof body,
                 "{'prompt':'a','n_probs':1,'stop':'zz','response_fields':['content','tokens']%s}",
                 fields[i]);
        fail_answer(ROUTE_COMPLETION, body);
    }
}

static void test_vectors(void **state)
{
    (void)state;
    static const float numbers[] = { 1, 2, 3, 4 };
    struct request embed, rank;
    read_ok(&rig, ROUTE_EMBEDDINGS, "{'input':['a'],'encoding_format':'base64'}", &embed);
    read_ok(&ranker, ROUTE_RERANK, "{'query':'q','documents':['a','b']}", &rank);
    char *a = NULL, *b = NULL;
    for (long k = 1; a == NULL || b == NULL; k++) {
        const long live = n_live;
        countdown = k;
        a = answer_vectors(&rig.scope, &embed, numbers, 4);
        countdown = k;
        b = answer_scores(&ranker.scope, &rank, numbers);
        countdown = -1;
        assert_int_equal(n_live, live + (a != NULL) + (b != NULL));
        if (a == NULL || b == NULL) {
            free(a);
            free(b);
            a = b = NULL;
        }
    }
    free(a);
    free(b);
    request_free(&embed);
    request_free(&rank);
}

static int setup(void **state)
{
    struct synth_spec spec;
    (void)state;
    countdown = -1;
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    request_rig_open(&rig, model_file("tiny-qwen2"));
    assert_true(synth_preset("tiny-qwen3", &spec));
    spec.n_labels = 2;
    request_rig_open(&ranker, model_file_of(&spec));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    request_rig_close(&rig);
    request_rig_close(&ranker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
