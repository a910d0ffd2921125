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

static void embed(const weft_model *m, weft_engine *e, const char *text, float *vector, size_t dim)
{
    int32_t tokens[MAX_TOKENS];
    size_t n;
    CHECK(weft_tokenize(m, text, strlen(text), WEFT_TOKENIZE_BOS | WEFT_TOKENIZE_EOS, tokens, MAX_TOKENS, &n, &err));
    CHECK(weft_embed(e, tokens, n, NULL, vector, dim, NULL, &err));
}

int main(int argc, char **argv)
{
    static struct line lines[MAX_LINES];
    weft_model *model;
    weft_engine *engine;
    weft_model_info info = { .size = sizeof info };
    size_t n = 0;
    CHECK(weft_model_open(argc > 1 ? argv[1] : "model.gguf", NULL, &model, &err));
    CHECK(weft_engine_open(model, NULL, &engine, &err));
    CHECK(weft_model_get_info(model, &info, &err));
    float *question = calloc(info.dim, sizeof *question),
          *vector = calloc(info.dim, sizeof *vector);
    if (question == NULL || vector == NULL)
        return 1;
    embed(model, engine, argc > 2 ? argv[2] : "the capital of France", question, info.dim);
    for (; n < MAX_LINES && fgets(lines[n].text, sizeof lines[n].text, stdin) != NULL; n++) {
        embed(model, engine, lines[n].text, vector, info.dim);
        for (size_t i = 0; i < info.dim; i++)
            lines[n].score += question[i] * vector[i];
    }
    qsort(lines, n, sizeof lines[0], by_score);
    for (size_t i = 0; i < n; i++)
        printf("%.4f %s", lines[i].score, lines[i].text);
    free(question);
    free(vector);
    weft_engine_release(&engine);
    weft_model_release(&model);
}
