/* Shows an answer while it is generated, through the model's chat template, until the model ends it
 * or a stop string appears. The output is always whole characters, and never a part of a stop
 * string.
 *
 *   stream model.gguf 'What is the capital of France?' '.'        cc stream.c -lweft */
#include "example.h"

int main(int argc, char **argv)
{
    static const char *const ends[] = { "running", "the model ended", "a stop string",
                                        "the context is full" };
    const weft_message question = { "user", argc > 2 ? argv[2] : "What is the capital of France?" };
    const char *stop = argc > 3 ? argv[3] : "\n\n";
    weft_model *model;
    weft_engine *engine;
    weft_seq *seq;
    int32_t tokens[MAX_TOKENS], token;
    char text[512];
    size_t n;
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    greedy.temperature = 0;
    CHECK(weft_model_open(argc > 1 ? argv[1] : "model.gguf", NULL, &model, &err));
    CHECK(weft_engine_open(model, NULL, &engine, &err));
    CHECK(weft_seq_open(engine, &greedy, &seq, &err));
    CHECK(weft_chat_tokens(model, &question, 1, NULL, tokens, MAX_TOKENS, &n, &err));
    CHECK(weft_seq_append(seq, tokens, n, &err));
    CHECK(weft_seq_set_stops(seq, &stop, 1, &err));
    while (weft_seq_finish(seq) == WEFT_RUNNING) {
        size_t ready;
        CHECK(weft_engine_step(engine, &ready, &err));
        if (ready > 0) {
            CHECK(weft_seq_next(seq, &token, &err));
            CHECK(weft_seq_text(seq, text, sizeof text, &n, &err));
            fwrite(text, 1, n, stdout);
            fflush(stdout);
        }
    }
    printf("\n(%s)\n", ends[weft_seq_finish(seq)]);
    weft_seq_release(&seq);
    weft_engine_release(&engine);
    weft_model_release(&model);
}
