/* Finds the lines that are nearest in meaning: every line of standard input becomes a vector, and
 * the line whose product with the vector of the question is largest is printed first.
 *
 *   search model.gguf 'the capital of France' < lines.txt        cc search.c -lweft */
#include "example.h"

enum { MAX_LINES = 256 };

struct line {
    char text[256];
    float score;
};

static int by_score(const void *a, const void *b)
{
    float x = ((const struct line *)a)->score, y = ((const struct line *)b)->score;
    return (x < y) - (x > y);
}

int main(int argc, char **argv)
{
    static struct line lines[MAX_LINES];
    static int32_t tokens[MAX_LINES * MAX_TOKENS];
    size_t lengths[MAX_LINES], n = 1, n_tokens = 0;
    weft_model *model;
    weft_engine *engine;
    weft_model_info info = { .size = sizeof info };
    CHECK(weft_model_open(argc > 1 ? argv[1] : "model.gguf", NULL, &model, &err));
    CHECK(weft_engine_open(model, NULL, &engine, &err));
    CHECK(weft_model_get_info(model, &info, &err));
    /* the first line is the question */
    snprintf(lines[0].text, sizeof lines[0].text, "%s",
             argc > 2 ? argv[2] : "the capital of France");
    while (n < MAX_LINES && fgets(lines[n].text, sizeof lines[n].text, stdin) != NULL)
        n++;
    for (size_t i = 0; i < n; n_tokens += lengths[i++])
        CHECK(weft_tokenize(model, lines[i].text, strlen(lines[i].text),
                            WEFT_TOKENIZE_BOS | WEFT_TOKENIZE_EOS, tokens + n_tokens, MAX_TOKENS,
                            &lengths[i], &err));
    float *vectors = calloc(n * info.dim, sizeof *vectors);
    if (vectors == NULL)
        return 1;
    CHECK(weft_embed_texts(engine, tokens, lengths, n, NULL, vectors, n * info.dim, NULL, &err));
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < info.dim; j++)
            lines[i].score += vectors[j] * vectors[i * info.dim + j];
    qsort(lines + 1, n - 1, sizeof lines[0], by_score);
    for (size_t i = 1; i < n; i++)
        printf("%.4f %s", lines[i].score, lines[i].text);
    free(vectors);
    weft_engine_release(&engine);
    weft_model_release(&model);
}
