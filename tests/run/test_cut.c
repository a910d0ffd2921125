/* The file of an open model is cut. Whatever lies in memory goes on working; a call that would
 * touch the file returns WEFT_E_IO and changes nothing; nothing dies of SIGBUS. A model that was
 * read does not notice. Includes only weft.h of the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/scratch.h"

enum { DIM = 512 };

static const int32_t few[] = { 300, 301, 302 };

/* Everything that is open when the model's file is cut. */
struct cut {
    bool mapped;
    weft_file *file;
    weft_model *model;
    weft_engine *engine;
    weft_seq *ready, *waiting;
    uint8_t state[1 << 16];
    size_t n_state;
    char state_file[256];
};

static void cut_open(struct cut *c, const char *model, bool mapped)
{
    *c = (struct cut){ .mapped = mapped };
    const weft_model_params mp = { .size = sizeof mp, .no_mmap = !mapped };
    const weft_engine_params ep = { .size = sizeof ep, .device = "cpu", .n_threads = 1 };
    OK(weft_file_open(model, &c->file, E));
    OK(weft_model_open(model, &mp, &c->model, E));
    OK(weft_engine_open(c->model, &ep, &c->engine, E));
    struct rig r = { .model = c->model, .engine = c->engine };
    c->ready = rig_fed(&r, few, 3);
    OK(weft_seq_save(c->ready, c->state, sizeof c->state, &c->n_state, E));
    snprintf(c->state_file, sizeof c->state_file, "%s", scratch_path("cut-state"));
    OK(weft_seq_save_file(c->ready, c->state_file, E));
    c->waiting = rig_seq(&r, NULL);
    OK(weft_seq_append(c->waiting, few, 3, E));
}

static void cut_close(struct cut *c)
{
    weft_seq_release(&c->ready);
    weft_seq_release(&c->waiting);
    weft_engine_release(&c->engine);
    weft_model_release(&c->model);
    weft_file_release(&c->file);
}

/* Uses things that no longer lie in the file. */
static void use_copies(struct cut *c)
{
    static const char grammar[] = "root ::= [a-z]*";
    const weft_message hello = { "user", "Hello" };
    weft_model_info mi = { .size = sizeof mi };
    weft_engine_info ei = { .size = sizeof ei };
    weft_engine_stats es = { .size = sizeof es };
    weft_key_info key;
    weft_tensor_info tensor;
    weft_seq *copy = NULL, *fresh = NULL;
    int32_t ids[64], token;
    char text[256];
    size_t n;
    OK(weft_file_key(c->file, 0, &key, E));
    OK(weft_file_tensor(c->file, 0, &tensor, E));
    OK(weft_model_get_info(c->model, &mi, E));
    OK(weft_tokenize(c->model, "the world", 9, WEFT_TOKENIZE_SPECIAL, ids, 64, &n, E));
    OK(weft_detokenize(c->model, ids, n, 0, text, sizeof text, NULL, E));
    OK(weft_token_text(c->model, 300, text, sizeof text, NULL, E));
    OK(weft_chat_tokens(c->model, &hello, 1, NULL, ids, 64, NULL, E));
    OK(weft_engine_get_info(c->engine, &ei, E));
    OK(weft_engine_get_stats(c->engine, &es, E));
    OK(weft_seq_open(c->engine, NULL, &fresh, E));
    OK(weft_seq_fork(c->ready, &copy, E));
    OK(weft_seq_set_grammar(copy, grammar, sizeof grammar - 1, E));
    OK(weft_seq_set_logprobs(copy, 3, E));
    OK(weft_seq_next(copy, &token, E));
    OK(weft_seq_text(copy, text, sizeof text, NULL, E));
    OK(weft_seq_append(fresh, few, 3, E));
    OK(weft_seq_rewind(copy, 1, E));
    weft_seq_release(&fresh);
    weft_seq_release(&copy);
}

/* A call that touches the file says that the file was cut, and changes nothing. */
static void use_file(struct cut *c)
{
    const weft_status want = c->mapped ? WEFT_E_IO : WEFT_OK;
    static float vector[DIM], logits[4096];
    weft_limits limits = { .size = sizeof limits };
    weft_sampling sampling = WEFT_SAMPLING_INIT;
    weft_engine *second = NULL;
    char text[256];
    size_t n_pending = weft_seq_pending(c->waiting);
#define TOUCH(call) rig_expect(call, want, #call, __FILE__, __LINE__)
    FAILS(WEFT_E_IO, weft_file_value(c->file, 0, 0, text, sizeof text, NULL, E));
    TOUCH(weft_model_get_sampling(c->model, &sampling, NULL, E));
    TOUCH(weft_engine_open(c->model, NULL, &second, E));
    TOUCH(weft_engine_step(c->engine, NULL, E));
    assert_int_equal(weft_seq_pending(c->waiting), c->mapped ? n_pending : 0);
    TOUCH(weft_embed(c->engine, few, 3, NULL, vector, DIM, NULL, E));
    TOUCH(weft_embed_texts(c->engine, few, (const size_t[]){ 3 }, 1, NULL, vector, DIM, NULL, E));
    TOUCH(weft_seq_save(c->ready, c->state, sizeof c->state, NULL, E));
    TOUCH(weft_seq_save_file(c->ready, c->state_file, E));
    TOUCH(weft_seq_load(c->ready, c->state, c->n_state, E));
    TOUCH(weft_seq_load_file(c->ready, c->state_file, E));
    assert_int_equal(weft_seq_len(c->ready), 3);
    if (c->mapped) {
        TOUCH(weft_engine_measure(c->engine, &limits, E));
        OK(weft_seq_logits(c->ready, logits, 4096, NULL, E));
    }
    weft_engine_release(&second);
}

/* The file is cut at any length, for a mapped and for a read model; nothing touches the part that
 * is gone. */
static void test_cut(void **state)
{
    (void)state;
    static const double parts[] = { 0.999, 0.5, 0.01, 0 };
    struct cut *c = calloc(1, sizeof *c);
    struct stat st;
    const char *whole = model_file("tiny-qwen2");
    assert_int_equal(stat(whole, &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size);
    FILE *f = fopen(whole, "rb");
    assert_int_equal(fread(bytes, 1, (size_t)st.st_size, f), st.st_size);
    fclose(f);
    for (size_t i = 0; i < 8; i++) {
        char model[256];
        snprintf(model, sizeof model, "%s", scratch_write("cut.gguf", bytes, (size_t)st.st_size));
        cut_open(c, model, i % 2 == 0);
        assert_int_equal(truncate(model, (off_t)(parts[i / 2] * (double)st.st_size)), 0);
        use_copies(c);
        use_file(c);
        cut_close(c);
        weft_model *none = NULL;
        weft_status status = weft_model_open(model, NULL, &none, E);
        assert_true(status == WEFT_E_FORMAT || status == WEFT_E_IO);
    }
    free(bytes);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cut) };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
