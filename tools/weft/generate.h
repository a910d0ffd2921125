/* Generation, for `run` and `chat`: steps the engine until every text has ended, and keeps the
 * figures of the closing line. */
#ifndef WEFT_GENERATE_H
#define WEFT_GENERATE_H

#include "weft/logits_log.h"
#include "weft/session.h"

enum text_end {
    TEXT_RUNNING,
    TEXT_END,
    TEXT_STOP,
    TEXT_LENGTH,
    TEXT_GRAMMAR, /* it allows nothing more */
    TEXT_LIMIT,
    TEXT_INTERRUPTED,
    TEXT_FAILED
};
extern const char *const text_end_name[];

struct generated {
    weft_seq *seq;
    struct bytes text;     /* all text so far, as it is to be shown */
    struct bytes logprobs; /* a line of JSON for every token drawn, if they are wanted */
    struct ids ids;        /* every token drawn, the one that ended the text included */
    enum text_end end;
    size_t number; /* among the texts of a run */
};

struct generate_params {
    const weft_model *model;
    int64_t limit;          /* most tokens of each text; -1 = none */
    bool special;           /* control tokens as text */
    bool stream;            /* the first text goes to standard output as it comes */
    bool logprobs;          /* they were switched on in all sequences */
    struct logits_log *log; /* gets the logits of every draw; NULL = none */
};

struct figures {
    size_t n_state; /* tokens of loaded states that did not have to be computed again */
    size_t n_prompt, n_generated,
        n_first;    /* n_first: tokens that came with a prompt, not from a decode step */
    double started; /* set by the caller: when the first prompt was handed in */
    double prefill_s, first_s, decode_s;
};

/* Opens what is needed for one text; stops and sampling come from the options. */
int generated_open(struct generated *g, weft_engine *engine, const struct options *o);
void generated_free(struct generated *g);
/* Forgets text and ids, keeps the sequence. */
void generated_clear(struct generated *g);

/* Computes what waits in texts[n] and draws until each has ended; adds to *f. Ctrl-C ends all of
 * them and is no error. On an error the text so far is complete in texts[i].text. */
int generate(weft_engine *engine, struct generated *texts, size_t n,
             const struct generate_params *p, struct figures *f);

/* FNV-1a, 32 bits, over ids as little-endian int32; start with IDS_HASH_START. */
#define IDS_HASH_START 0x811c9dc5u
uint32_t ids_hash(uint32_t hash, const int32_t *ids, size_t n);

/* The closing line on standard error: the figures, what of the sampling was not the user's choice,
 * and last `end` and `hash`. */
void figures_print(const struct figures *f, const struct options *o, const char *end,
                   uint32_t hash);

#endif
