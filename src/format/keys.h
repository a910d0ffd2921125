/* What Weft does with every metadata key that is known in the field. If a key changes what a model
 * computes, Weft either obeys it or refuses the file, so that no number of a file is silently
 * ignored. */
#ifndef WEFT_KEYS_H
#define WEFT_KEYS_H

#include "base/error.h"
#include "base/log.h"
#include "format/gguf.h"

/* How the value of a WEFT_KEY_REFUSED key is tested: the values that pass change nothing. */
enum key_test {
    /* A number, or an array of numbers: each is `low` or `high`; a bool is 0 or 1. */
    KEY_NUMBER,
    KEY_EMPTY, /* an array or a text without elements */
    KEY_SILU,  /* the name of the activation that Weft computes */
    /* KEY_DIM to KEY_SCALE: the number that the model has anyway, or 0. */
    KEY_DIM,
    KEY_HEAD_DIM,
    KEY_N_ROT,
    KEY_ROPE_BASE,
    KEY_SCALE, /* 1 / sqrt(head_dim) */
    /* Every layer has the window: 0, or an array of true. */
    KEY_PATTERN,
    KEY_SECTIONS,   /* an array, 0 from the fourth number on */
    KEY_YARN_FACTOR /* 1, or the factor that YaRN computes */
};

struct key_rule {
    /* ".suffix" follows the architecture's name; one * stands for any text. */
    const char *name;
    weft_key_use use;
    /* How a WEFT_KEY_REFUSED key is tested. */
    enum key_test test;
    double low, high;
    /* The key has no meaning if the model has no sliding window. */
    bool windowed;
    /* The key has no meaning without YaRN. */
    bool of_yarn;
    /* The key has no meaning if only the vocabulary is opened. */
    bool drawn;
    /* What another value would ask for. */
    const char *what;
};

/* Returns NULL past the last. */
const struct key_rule *keys_at(size_t i);
/* Returns the rule of a key of this file, or NULL if the key is not in the table. The file's own
 * keys begin with its architecture. */
const struct key_rule *keys_find(const struct gguf *g, const char *key);
weft_key_use keys_use(const struct gguf *g, const char *key);

/* Numbers that the model has anyway, and that some refused keys may repeat. */
struct key_facts {
    size_t dim, head_dim, n_rot;
    size_t window; /* the sliding window; 0 = none */
    float rope_base;
    float yarn_factor; /* of sine and cosine; 0 = no YaRN */
};

/* Returns WEFT_E_UNSUPPORTED and names the key if a key's value changes what is computed and is not
 * obeyed, and WEFT_E_FORMAT if a key has the wrong type. If `facts` is NULL, only the vocabulary is
 * opened, and only the keys of its tokenizer count. */
weft_status keys_check(const struct gguf *g, const struct key_facts *facts, weft_error *err);
/* Warns in one line of the architecture's keys that are not in the table: they may be
 * hyper-parameters. */
void keys_log(const struct gguf *g, const struct log *log);

#endif
