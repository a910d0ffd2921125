/* What requests are read against and answers are written with: the model, and the limits and
 * settings of the server. It does not change while requests run; any thread may read it. */
#ifndef WEFT_SERVE_SCOPE_H
#define WEFT_SERVE_SCOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft.h"

enum reasoning_format {
    REASONING_AUTO,  /* reasoning_content, beside the content */
    REASONING_NONE,  /* in the content, with its markers */
    REASONING_LEGACY /* both */
};

struct scope {
    /* From the command line. */
    const char *alias;           /* name of the model in answers; NULL = the name of the file */
    const char *path;            /* of the model's file */
    bool strict_model;           /* 404 for a request that names another model */
    const char *template_name;   /* as in weft_prompt_params; NULL = the file's template */
    const char *template_source; /* [n_template_source] */
    size_t n_template_source;
    const char *template_vars; /* JSON, an object; NULL = none. Those of a request win. */
    enum reasoning_format reasoning;
    weft_pooling pooling;
    weft_sampling sampling;  /* what a request starts from */
    unsigned sampling_given; /* WEFT_SAMPLING_*: the fields that the command line sets */
    bool ignore_file_sampling;
    size_t n_predict; /* the most tokens of an answer; SIZE_MAX = no limit */
    bool embeddings_only;
    size_t n_sequences;  /* a request may use 1/n_sequences of the context; 0 = all of it */
    bool slots, metrics; /* these routes are on */

    /* Set by the core when the model has been opened. */
    weft_model *model;
    weft_engine *engine;
    weft_model_info info;
    weft_engine_info engine_info;
    size_t n_ctx;        /* tokens that one sequence may have */
    size_t n_parallel;   /* requests that run at once */
    uint8_t *is_control; /* [n_vocab] 1 = a control token: it has no text in weft_seq_text() */
    int64_t created;     /* seconds since 1970 when the model was ready */
};

/* Limits of requests. */
enum {
    MAX_BODY = 16 << 20, /* whoever submits requests may set another limit */
    MAX_JSON_DEPTH = 64,
    MAX_MESSAGES = 4096,
    MAX_TOOLS = 256,
    MAX_TOOL_NAME = 64,
    MAX_CHOICES = 8,
    MAX_PROMPTS = 64,
    MAX_INPUTS = 2048, /* of an embeddings request */
    MAX_STOPS = 16,
    MAX_STOP_BYTES = 256,
    MAX_BIAS = 1024,
    MAX_TOP_LOGPROBS = 20
};

/* Without an alias, the name of the file is one. */
void scope_set_name(struct scope *scope);
/* Fills in what the model says; model, engine and both infos are set. Returns false if there is not
 * enough memory. */
bool scope_complete(struct scope *scope);
void scope_free(struct scope *scope);

#endif
