/* What `run`, `chat` and `tokenize` do alike: open the model and the engine the options describe,
 * turn text into ids and ids into text. Functions print what fails and return the exit code. */
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
/* Options of sampling that were not given become what the model's file recommends. */
int session_sampling(const struct session *s, struct options *o);
/* n_kv 0: as the options say. */
int session_engine(struct session *s, const struct options *o, size_t n_kv);
void session_close(struct session *s);
/* EXIT_USAGE when more context is asked for than the model was trained for. */
int session_check_ctx(const struct session *s, const struct options *o);
/* The context length the engine will have, before it is there. */
size_t session_n_ctx(const struct session *s, const struct options *o);

bool ids_add(struct ids *ids, int32_t id);
bool ids_reserve(struct ids *ids, size_t cap); /* room for cap ids in all */
/* Adds the id that is written in `word`. */
int ids_parse(const char *word, struct ids *ids);
/* Adds the ids in a file, which stand between white space; "-" is standard input. */
int ids_read(const char *path, struct ids *ids);
int session_tokenize(const struct session *s, const char *text, size_t n, unsigned flags,
                     struct ids *out);
int session_chat_tokens(const struct session *s, const weft_message *messages, size_t n,
                        const weft_chat_params *params, struct ids *out);
/* A saved state into the sequence, and the sequence as one into a file. */
/* Says on standard error what the chat template leaves out, unless one was chosen. */
void session_chat_remark(const struct session *s, const struct options *o);
int session_load_state(weft_seq *seq, const char *path);
int session_save_state(weft_seq *seq, const char *path);
/* The last token of a sequence that is not empty. */
int session_last(weft_seq *seq, int32_t *last);
/* Appends the bytes of the ids. */
int session_detokenize(const weft_model *model, const int32_t *ids, size_t n, unsigned flags,
                       struct bytes *out);

#endif
