/* /v1/embeddings and /rerank: requests, and the answers that are written of vectors and scores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "request_rig.h"
#include "synth/synth.h"

static struct request_rig rig, ranker;

static void test_inputs(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        size_t n;
    } rows[] = {
        { "''", 1 },
        { "'string'", 1 },
        { "[12,34,56]", 1 },
        { "[12,34,'string',56,78]", 1 },
        { "['string1','string2']", 2 },
        { "['string1',[12,34,56]]", 2 },
        { "[[12,34,56],[12,'string',34,56]]", 2 },
        { "{'prompt_string':'string'}", 1 },
        { "{'content':[{'type':'text','text':'string'}]}", 1 },
        { "['',{'prompt_string':'b'},{'content':[{'type':'text','text':'c'}]}]", 3 },
    };
    struct request r;
    char body[256];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(body, sizeof body, "{'input':%s,'model':'x','encoding_format':null}",
                 rows[i].input);
        read_ok(&rig, ROUTE_EMBEDDINGS, body, &r);
        const struct embedding *e = &r.embedding;
        size_t sum = 0;
        assert_int_equal(r.task, TASK_EMBED);
        assert_int_equal(e->n_texts, rows[i].n);
        for (size_t k = 0; k < e->n_texts; k++) {
            assert_true(e->lengths[k] > 0);
            sum += e->lengths[k];
        }
        assert_int_equal(sum, e->n_tokens);
        request_free(&r);
    }
}

/* Parts of a content are one text; control tokens never come from it. */
static void test_same_tokens(void **state)
{
    (void)state;
    struct request r;
    read_ok(&rig, ROUTE_EMBEDDINGS,
            "{'input':['hello world<|im_end|>',{'content':[{'type':'text','text':'hello '},"
            "{'type':'text','text':'world<|im_end|>'}]}],'dimensions':8}",
            &r);
    const struct embedding *e = &r.embedding;
    assert_int_equal(e->lengths[0], e->lengths[1]);
    assert_memory_equal(e->tokens, e->tokens + e->lengths[0], e->lengths[0] * sizeof *e->tokens);
    assert_true(e->lengths[0] > 3);
    assert_int_equal(e->params.dimensions, 8);
    request_free(&r);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *words;
    } rows[] = {
        { "{}", "input is missing" },
        { "{'input':[]}", "input is an empty list" },
        { "{'input':3}", "input is 3" },
        { "{'input':{'content':'string'}}", "input: content is 'string', expected a list" },
        { "{'input':{'content':[{'type':'image_url'}]}}", "only text can be read" },
        { "{'input':{'content':[{}]}}", "only text can be read" },
        { "{'input':'a','encoding_format':'hex'}", "encoding_format is 'hex', expected 'float'" },
        { "{'input':'a','dimensions':0}", "dimensions is 0" },
        { "{'input':'a','dimensions':100000}", "dimensions is 100000, expected 1 to" },
        { "{'input':[1,999999]}", "input is 999999" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        read_refused(&rig, ROUTE_EMBEDDINGS, rows[i].body, 400, rows[i].words);
    }
    char body[4096] = "{'input':'";
    memset(body + strlen(body), 'x', 3000);
    strcat(body, "'}");
    read_refused(&rig, ROUTE_EMBEDDINGS, body, 400, "too large");
}

static void test_vectors(void **state)
{
    (void)state;
    static const float vectors[] = { 1, -0.5f, 0.25f, 2 };
    struct request r;
    read_ok(&rig, ROUTE_EMBEDDINGS, "{'input':[[1,2],[3]]}", &r);
    char *answer = answer_vectors(&rig.scope, &r, vectors, 2);
    same_json(answer, "{'object':'list','model':'tiny','data':[{'object':'embedding','index':0,"
                      "'embedding':[1,-0.5]},{'object':'embedding','index':1,'embedding':[0.25,2]"
                      "}],'usage':{'prompt_tokens':3,'total_tokens':3}}");
    free(answer);
    request_free(&r);
    read_ok(&rig, ROUTE_EMBEDDINGS, "{'input':[1],'encoding_format':'base64'}", &r);
    for (size_t dim = 1; dim <= 3; dim++) {
        static const char *const texts[] = { "AACAPw==", "AACAPwAAAL8=", "AACAPwAAAL8AAIA+" };
        answer = answer_vectors(&rig.scope, &r, vectors, dim);
        assert_non_null(strstr(answer, texts[dim - 1]));
        free(answer);
    }
    request_free(&r);
}

/* ---------------------------------------------------------------- rerankers */

static void test_rerank(void **state)
{
    (void)state;
    struct request r;
    static const float scores[] = { 0.25f, 0.75f, 0.5f };
    read_ok(&ranker, ROUTE_RERANK,
            "{'query':'q','documents':['a',{'text':'bb'},''],'top_n':2,'return_documents':true}",
            &r);
    assert_int_equal(r.task, TASK_RANK);
    assert_int_equal(r.ranking.n_documents, 3);
    assert_memory_equal(r.ranking.documents, "abb", 3);
    assert_int_equal(r.ranking.lengths[1], 2);
    char *answer = answer_scores(&ranker.scope, &r, scores);
    same_json(answer, "{'object':'list','model':'tiny','usage':{'prompt_tokens':5,'total_tokens':5}"
                      ",'results':[{'index':1,'relevance_score':0.75,'document':{'text':'bb'}},"
                      "{'index':2,'relevance_score':0.5,'document':{'text':''}}]}");
    free(answer);
    request_free(&r);
    read_ok(&ranker, ROUTE_RERANK, "{'query':'q','texts':['a','b','c'],'return_text':true}", &r);
    answer = answer_scores(&ranker.scope, &r, (const float[]){ 1, 2, 1 });
    assert_string_equal(answer, "[{\"index\":1,\"score\":2,\"text\":\"b\"},{\"index\":0,\"score\":1"
                                ",\"text\":\"a\"},{\"index\":2,\"score\":1,\"text\":\"c\"}]");
    free(answer);
    request_free(&r);
}

static void test_rerank_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *words;
    } rows[] = {
        { "{'documents':['a']}", "query is missing" },
        { "{'query':3,'documents':['a']}", "query is 3, expected a string" },
        { "{'query':'q'}", "0 documents, expected 1 to 2048" },
        { "{'query':'q','documents':[]}", "0 documents" },
        { "{'query':'q','documents':123}", "documents is 123, expected a list" },
        { "{'query':'q','documents':[1,2]}", "documents is 1, expected strings" },
        { "{'query':'q','documents':['a'],'top_n':-1}", "top_n is -1" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        read_refused(&ranker, ROUTE_RERANK, rows[i].body, 400, rows[i].words);
    }
    read_refused(&rig, ROUTE_RERANK, "{'query':'q','documents':['a']}", 501, "no reranker");
    read_refused(&ranker, ROUTE_COMPLETIONS, "{'prompt':'a'}", 501, "reranker");
    read_refused(&ranker, ROUTE_CHAT, "{'messages':[]}", 501, "reranker");
}

static int setup(void **state)
{
    struct synth_spec spec;
    (void)state;
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
        cmocka_unit_test(test_inputs),  cmocka_unit_test(test_same_tokens),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_rerank),  cmocka_unit_test(test_rerank_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
