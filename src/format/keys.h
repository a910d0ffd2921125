/* What Weft makes of every metadata key that is known in the field. A key that changes what a model
 * computes is either obeyed, or its file is refused, so that no number of a file is ignored in
 * silence. */
#ifndef WEFT_KEYS_H
#define WEFT_KEYS_H

#include "base/error.h"
#include "base/log.h"
#include "format/gguf.h"

/* Which values of a WEFT_KEY_REFUSED key change nothing. */
enum key_test {
    KEY_NUMBER, /* a number, or an array of them: each is `low` or `high`; a bool is 0 or 1 */
    KEY_EMPTY,  /* an array or a text: without elements */
    KEY_SILU,   /* the name of the activation that Weft computes */
    KEY_DIM,    /* these: the number that the model has anyway, or 0 */
    KEY_HEAD_DIM,
    KEY_N_ROT,
    KEY_ROPE_BASE,
    KEY_SCALE,  /* 1 / sqrt(head_dim) */
    KEY_PATTERN /* every layer has the window: 0, or an array of true */
};

struct key_rule {
    /* ".suffix" follows the architecture's name; one * stands for any text */
    const char *name;
    weft_key_use use;
    /* of a WEFT_KEY_REFUSED key */
    enum key_test test;
    double low, high;
    bool windowed;    /* says nothing where the model has no sliding window */
    bool drawn;       /* says nothing where only the vocabulary is opened */
    const char *what; /* what another value asks for */
};

const struct key_rule *keys_at(size_t i); /* NULL past the last */
/* The rule of a key of this file, whose architecture is the prefix of its own keys; NULL if the key
 * is not in the table. */
const struct key_rule *keys_find(const struct gguf *g, const char *key);
weft_key_use keys_use(const struct gguf *g, const char *key);

/* What a model has anyway, and some refused keys may say again. */
struct key_facts {
    size_t dim, head_dim, n_rot;
    size_t window; /* sliding; 0 = none */
    float rope_base;
};

/* WEFT_E_UNSUPPORTED names a key whose value changes what is computed and is not obeyed,
 * WEFT_E_FORMAT one of another type. `facts` NULL: the vocabulary alone is opened, and only the
 * keys of its tokenizer count. */
weft_status keys_check(const struct gguf *g, const struct key_facts *facts, weft_error *err);
/* Warns in one line of the architecture's keys that are not in the table: they may be
 * hyper-parameters. */
void keys_log(const struct gguf *g, const struct log *log);

#endif
