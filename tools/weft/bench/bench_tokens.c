/* The tokens that weft bench computes. Random tokens are enough: the time of a step does not depend
 * on them. */
#include "weft/bench/bench.h"
#include "weft/term.h"

/* SplitMix64 */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Control tokens have no text. */
static bool is_ordinary(const weft_model *model, int32_t id)
{
    size_t n = 0;
    (void)weft_detokenize(model, &id, 1, 0, NULL, 0, &n, NULL);
    return n > 0 && !weft_token_is_end(model, id);
}

static int random_tokens(const struct bench *b, uint64_t seed, size_t n, int32_t *dst)
{
    size_t tries = 1000 + 100 * n, done = 0;
    uint64_t state = seed;
    for (; done < n && tries > 0; tries--) {
        int32_t id = (int32_t)(draw(&state) % b->session.info.n_vocab);
        if (is_ordinary(b->session.model, id)) {
            dst[done++] = id;
        }
    }
    return done == n ? EXIT_OK
                     : term_fail(EXIT_MODEL,
                                 "%s: nearly all tokens of the vocabulary are control tokens; "
                                 "name some to compute with --prompt-ids",
                                 b->path);
}

int bench_tokens(const struct bench *b, size_t seq, size_t n, int32_t *dst)
{
    if (b->o->bench.prompt_ids == NULL) {
        return random_tokens(b, seq + 1, n, dst);
    }
    if (b->prompt.n < n) {
        return term_fail(EXIT_USAGE, "%s holds %zu ids, and a row needs %zu; give it more",
                         b->o->bench.prompt_ids, b->prompt.n, n);
    }
    for (size_t i = 0; i < n; i++) {
        dst[i] = b->prompt.at[i];
    }
    return EXIT_OK;
}
