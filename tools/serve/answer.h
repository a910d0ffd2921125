/* Writes the answer of a request while it is generated. One thread at a time uses an answer: the
 * one that calls core_drain(). */
#ifndef WEFT_SERVE_ANSWER_H
#define WEFT_SERVE_ANSWER_H

#include "serve/request.h"

struct answer;

/* A token that was drawn, and what is known with it. */
struct drawn {
    size_t choice;
    int32_t token; /* -1: the grammar allowed none, or none was to be drawn */
    /* [n_text] What weft_seq_text() gave behind it. For a request with replies, the text of a
     * control token that does not end the answer stands in its place. */
    const char *text;
    size_t n_text;
    const weft_logprob *logprobs; /* [n_logprobs] as from weft_seq_logprobs(); n = 0: none */
    size_t n_logprobs;
    weft_finish finish;         /* WEFT_RUNNING: the choice goes on */
    bool by_limit;              /* finished because n_max or most_seconds was reached */
    struct job_figures figures; /* of this choice */
};

/* The log-probabilities of a prompt: at[i * (1 + n_top)] is token i of the prompt itself, behind it
 * follow the best tokens at its place. Of token 0 nothing is known: its `token` is -1. */
struct prompt_logprobs {
    size_t prompt;
    const weft_logprob *at;
    size_t n, n_top;
};

/* `request`, `scope` and the sink outlive the answer. `id` is that of the request. Returns NULL if
 * there is not enough memory. */
struct answer *answer_open(const struct scope *scope, const struct request *request, const char *id,
                           const struct sink *sink, void *user);
void answer_close(struct answer *a);

/* These return false if there was not enough memory; the answer is to be failed then. */

/* The request was admitted; a stream begins. */
bool answer_begin(struct answer *a);
/* n_done of n tokens of all prompts are computed. Only streams that asked for it show it. */
bool answer_progress(struct answer *a, const struct job_figures *figures, size_t n_done);
bool answer_prompt(struct answer *a, const struct prompt_logprobs *p);
bool answer_drawn(struct answer *a, const struct drawn *d);
/* All choices have finished: gives the rest to the sink, but does not call its end(). *out gets the
 * status, the body (which lives as long as the answer) and `finish`. */
bool answer_end(struct answer *a, const struct job_figures *figures, struct outcome *out);
/* The request has failed. If a stream has begun, it gets an event with the error, otherwise *out
 * gets the error as body. Cannot fail. */
void answer_fail(struct answer *a, const struct fault *fault, struct outcome *out);

/* The whole answers of other tasks, to be freed with free(); NULL if there is not enough memory. */
char *answer_vectors(const struct scope *scope, const struct request *request, const float *vectors,
                     size_t dim);
char *answer_scores(const struct scope *scope, const struct request *request, const float *scores);

#endif
