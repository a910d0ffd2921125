/* Generation, for `run` and `chat`: it steps the engine until every text has ended, and counts what
 * the closing line reports. */
#ifndef WEFT_GENERATE_H
#define WEFT_GENERATE_H

#include "weft/logits_log.h"
#include "weft/session.h"

enum text_end {
    TEXT_RUNNING,
    TEXT_END,
    TEXT_STOP,
    TEXT_LENGTH,
    /* The grammar allows nothing more. */
    TEXT_GRAMMAR,
    TEXT_LIMIT,
    TEXT_INTERRUPTED,
    TEXT_FAILED
};
extern const char *const text_end_name[];

struct generated {
    weft_seq *seq;
    struct bytes text; /* all text so far, as it is to be shown */
    /* A line of JSON for every token drawn, if they are wanted. */
    struct bytes logprobs;
    struct ids ids; /* every token drawn, the one that ended the text included */
    enum text_end end;
    size_t number; /* its number among the texts of a run */
};

struct generate_params {
    const weft_model *model;
    int64_t limit; /* most tokens of each text; -1 = no limit */
    bool special;  /* control tokens are shown as text */
    /* The first text goes to standard output as it is generated. */
    bool stream;
    /* Log-probabilities are switched on in all sequences. */
    bool logprobs;
    /* Gets the logits of every draw; NULL = none. */
    struct logits_log *log;
};

struct figures {
    /* Tokens of loaded states that did not have to be computed again. */
    size_t n_state;
    size_t n_prompt, n_generated,
        /* n_first: tokens that came with a prompt, not from a decode step. */
        n_first;
    /* The caller sets it: the time when the first prompt was handed in. */
    double started;
    double prefill_s, first_s, decode_s;
};

/* Opens a sequence for one text, with the sampling, the stop strings, the log-probabilities and the
 * grammar that the options ask for. */
int generated_open(struct generated *g, weft_engine *engine, const struct options *o);
void generated_free(struct generated *g);
/* Forgets the text and the ids but keeps the sequence. */
void generated_clear(struct generated *g);

/* Computes the waiting tokens of texts[n] and draws until each text has ended; adds to *f. Ctrl-C
 * ends all texts and is not an error. After an error, texts[i].text holds all of the text so
 * far. */
int generate(weft_engine *engine, struct generated *texts, size_t n,
             const struct generate_params *p, struct figures *f);

/* FNV-1a with 32 bits over ids as little-endian int32; start with IDS_HASH_START. */
#define IDS_HASH_START 0x811c9dc5u
uint32_t ids_hash(uint32_t hash, const int32_t *ids, size_t n);

/* Prints the closing line on standard error: the figures, the sampling that was not the user's
 * choice, and last `end` and `hash`. */
void figures_print(const struct figures *f, const struct options *o, const char *end,
                   uint32_t hash);

#endif
