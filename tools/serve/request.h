/* A request, read and checked completely: everything that can be wrong with it is found here,
 * before anything is computed. A thread that prepares requests makes it; it does not change
 * afterwards. */
#ifndef WEFT_SERVE_REQUEST_H
#define WEFT_SERVE_REQUEST_H

#include "serve/core.h"
#include "serve/fault.h"

enum task {
    TASK_READY, /* the answer is there: tokenize, detokenize, apply-template */
    TASK_GENERATE,
    TASK_EMBED,
    TASK_RANK
};

struct token_list {
    int32_t *at;
    size_t n;
};

/* An answer that is generated. Choice i belongs to prompt i / n_choices. */
struct generation {
    struct token_list *prompts;
    size_t n_prompts, n_choices;
    weft_sampling sampling; /* its seed is that of choice 0; choice i has seed + i */
    weft_logit_bias *bias;
    char **stops;
    size_t n_stops;
    char *grammar; /* [n_grammar] GBNF; NULL = none, or that of the replies */
    size_t n_grammar;
    bool constrained;     /* the replies set a grammar */
    weft_reply **replies; /* [n_prompts * n_choices] for chat; otherwise NULL */
    int n_top;            /* log-probabilities of so many best tokens; -1 = none are wanted */
    bool echo_logprobs;   /* also those of the prompt */
    size_t n_max;         /* tokens of an answer; it may be 0 */
    double most_seconds;  /* of generating, 0 = no limit (t_max_predict_ms) */
};

struct embedding {
    int32_t *tokens; /* all texts one behind the other */
    size_t *lengths; /* [n_texts] in tokens */
    size_t n_texts, n_tokens;
    weft_embed_params params;
};

struct ranking {
    char *query, *documents; /* as in weft_rank() */
    size_t n_query;
    size_t *lengths;
    size_t n_documents;
};

/* How the answer is to look; only answer_*.c looks inside. */
struct style;

struct request {
    enum route route;
    enum task task;
    bool stream;
    bool progress; /* of its prompts is to be told */
    int ping;      /* as in struct sink */
    char *answer;  /* [n_answer] of TASK_READY */
    size_t n_answer;
    struct generation generation;
    struct embedding embedding;
    struct ranking ranking;
    struct style *style;
};

/* Reads body[n]. Returns false and fills *fault if it cannot be answered; *out is empty then. */
bool request_read(const struct scope *scope, enum route route, const char *body, size_t n,
                  struct request *out, struct fault *fault);
void request_free(struct request *request);

#endif
