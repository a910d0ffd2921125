/* Shared by the files of the synthetic model writer. */
#ifndef SYNTH_PARTS_H
#define SYNTH_PARTS_H

#include "format/quant.h"
#include "synth/synth.h"
#include "synth/writer.h"

/* A seeded generator (splitmix64): the whole state is one number. */
static inline uint64_t rng_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Returns a nearly standard normal number: a sum of four uniform numbers, with the same bits on
 * every machine. */
float rng_normal(uint64_t *state);

/* Returns true for the architecture and for the text part of its vision models. */
bool of_family(const struct synth_spec *s, const char *arch);

/* A model, as its keys describe it. */
struct shape {
    const struct synth_spec *spec;
    size_t head_dim, n_rot;
    uint32_t file_type; /* general.file_type */
};

/* Writes the keys of the model and of its architecture, but not those of its tokenizer. */
void keys_write(const struct shape *p, struct gguf_writer *w);

/* Writes the tokenizer.* keys. Returns WEFT_E_ARG if n_vocab is too small. */
weft_status vocab_write(const struct synth_spec *spec, struct gguf_writer *w, weft_error *err);

/* Adds the key "NAME=TYPE:VALUE", and replaces a key of that name. WEFT_E_ARG names what is
 * wrong. */
weft_status key_write(const char *text, struct gguf_writer *w, weft_error *err);

/* Blocks of random weights, made once per type and scale and then written as often as needed. */
struct pool {
    const struct quant_type *type;
    float scale; /* standard deviation of the weights */
    uint8_t *data;
    size_t n_blocks;
};

struct pools {
    float *normal; /* [n_elements] */
    size_t n_elements;
    struct pool *pool;
    size_t n, cap;
    uint64_t seed;
};

weft_status pools_init(struct pools *p, size_t n_elements, uint64_t seed, weft_error *err);
void pools_free(struct pools *p);
/* *out lives until the next call. */
weft_status pools_get(struct pools *p, const struct quant_type *type, float scale,
                      const struct pool **out, weft_error *err);

#endif
