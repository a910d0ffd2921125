/* Many texts at once: every line of standard input is a prompt, and each gets its continuation. All
 * texts are in the engine together; every step computes whatever waits, prompts and generated
 * tokens alike.
 *
 *   many model.gguf < prompts.txt        cc many.c -lweft */
#include "example.h"

enum { MAX_TEXTS = 64, N_NEW = 24 };

int main(int argc, char **argv)
{
    weft_model *model;
    weft_engine *engine;
    weft_seq *seqs[MAX_TEXTS];
    char prompts[MAX_TEXTS][256], text[256];
    size_t n = 0, running, bytes;
    int32_t token;
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    greedy.temperature = 0;
    params.n_ctx = 512;
    params.n_kv = MAX_TEXTS * 512;
    CHECK(weft_model_open(argc > 1 ? argv[1] : "model.gguf", NULL, &model, &err));
    CHECK(weft_engine_open(model, &params, &engine, &err));
    while (n < MAX_TEXTS && fgets(prompts[n], sizeof prompts[n], stdin) != NULL) {
        prompts[n][strcspn(prompts[n], "\n")] = '\0';
        seqs[n] = read_text(model, engine, &greedy, prompts[n]);
        n++;
    }
    for (int i = 0; i < N_NEW; i++) {
        do { /* a long prompt takes several steps */
            CHECK(weft_engine_step(engine, NULL, &err));
            running = 0;
            for (size_t s = 0; s < n; s++) {
                running += weft_seq_finish(seqs[s]) == WEFT_RUNNING ? weft_seq_pending(seqs[s]) : 0;
            }
        } while (running > 0);
        for (size_t s = 0; s < n; s++) {
            if (weft_seq_finish(seqs[s]) == WEFT_RUNNING) {
                CHECK(weft_seq_next(seqs[s], &token, &err));
            }
        }
    }
    for (size_t s = 0; s < n; s++) {
        CHECK(weft_seq_text(seqs[s], text, sizeof text, &bytes, &err));
        printf("%s%.*s\n", prompts[s], (int)bytes, text);
        weft_seq_release(&seqs[s]);
    }
    weft_engine_release(&engine);
    weft_model_release(&model);
}
