/* Shared by `run`, `chat`, `tokenize` and others: opens the model and the engine that the options
 * describe, and turns text into ids and ids into text. The functions print errors and return the
 * exit code. */
#ifndef WEFT_SESSION_H
#define WEFT_SESSION_H

#include "weft.h"
#include "weft/io.h"
#include "weft/options.h"

struct session {
    weft_model *model;
    weft_engine *engine;
    weft_model_info info;
    bool quiet;
    weft_trace_fn trace; /* for session_engine(); NULL = none */
    void *trace_user;
    double upload_started, upload_shown; /* term_seconds(); 0 = not yet */
};

struct ids {
    int32_t *at;
    size_t n, cap;
};

int session_model(struct session *s, const struct options *o, bool vocab_only);
/* Sets the sampling options that were not given to what the model's file recommends. */
int session_sampling(const struct session *s, struct options *o);
/* n_kv 0 means the number of the options. */
int session_engine(struct session *s, const struct options *o, size_t n_kv);
void session_close(struct session *s);
/* Returns EXIT_USAGE if the options ask for a longer context than the model has. */
int session_check_ctx(const struct session *s, const struct options *o);
/* Returns the context length that the engine will have, before the engine exists. */
size_t session_n_ctx(const struct session *s, const struct options *o);

bool ids_add(struct ids *ids, int32_t id);
/* Makes room for cap ids in all. */
bool ids_reserve(struct ids *ids, size_t cap);
/* Adds the id that is written in `word`. */
int ids_parse(const char *word, struct ids *ids);
/* Adds the ids in a file, which are separated by white space; "-" is standard input. */
int ids_read(const char *path, struct ids *ids);
int session_tokenize(const struct session *s, const char *text, size_t n, unsigned flags,
                     struct ids *out);
/* These load a saved state into the sequence, and save the sequence as one. */
int session_load_state(weft_seq *seq, const char *path);
int session_save_state(weft_seq *seq, const char *path);
/* Gets the last token of a sequence that is not empty. */
int session_last(weft_seq *seq, int32_t *last);
/* Appends the bytes of the ids. */
int session_detokenize(const weft_model *model, const int32_t *ids, size_t n, unsigned flags,
                       struct bytes *out);

#endif
