/* Private to answer*.c: the state of an answer, and the shapes in which routes write it. */
#ifndef WEFT_SERVE_ANSWER_PARTS_H
#define WEFT_SERVE_ANSWER_PARTS_H

#include "serve/answer.h"
#include "serve/json_put.h"
#include "serve/style.h"
#include "serve/trail.h"

enum { N_LISTS = 4 };

/* One of the texts that a request asks for. */
struct choice {
    size_t index;
    weft_reply *reply; /* the request's; NULL = the text is the content */
    struct trail trail;
    /* Of an answer that is given as a whole. */
    struct bytes content, reasoning;
    struct json_put calls;  /* the items of tool_calls, the last one up to its arguments */
    struct bytes arguments; /* of the last call */
    size_t n_calls;
    bool call_is_cut;  /* the last call has no end, so its arguments are no JSON */
    bool ending;       /* what was held back comes out */
    bool in_reasoning; /* the content has the marker that opens reasoning */
    /* Log-probabilities that were not given yet, as the items of up to four lists. */
    struct json_put lists[N_LISTS];
    size_t n_characters; /* of the text so far; places in it are counted in characters */
    /* Of /completion. */
    struct tokens tokens; /* not given yet */
    struct bytes tail;    /* the last bytes, in which the stop string stands */
    const char *stop;     /* the stop string that was found, or "" */
    bool has_line;

    bool done;
    weft_finish finish;
    struct job_figures figures;
};

enum part { PART_CONTENT, PART_REASONING };

/* How a route writes its answers. All write to a->out. */
struct shape {
    const char *prefix; /* of the id */
    /* Writes a token with its log-probabilities to c->lists. text[n] is its part of the content,
     * bytes[n_bytes] are its own. */
    void (*token)(struct answer *a, struct choice *c, const weft_logprob *logprobs,
                  size_t n_logprobs, const struct bytes *bytes, const char *text, size_t n);
    /* The events of a stream. */
    void (*first)(struct answer *a, struct choice *c); /* may be NULL */
    void (*delta)(struct answer *a, struct choice *c, enum part part, const char *text, size_t n);
    void (*call)(struct answer *a, struct choice *c, const weft_reply_event *e);
    void (*last)(struct answer *a, struct choice *c);
    void (*usage)(struct answer *a, const struct job_figures *f);
    void (*progress)(struct answer *a, const struct job_figures *f, size_t n_done);
    /* The whole answer. */
    void (*whole)(struct answer *a, const struct job_figures *f);
    bool ends_with_done; /* a stream ends with [DONE] */
};
extern const struct shape shape_chat, shape_completions, shape_completion;

struct answer {
    const struct scope *scope;
    const struct request *request;
    const struct style *style;
    const struct shape *shape;
    const struct sink *sink;
    void *user;
    char id[JOB_ID_MAX + 16];
    long long created;
    bool begun;          /* a stream has begun */
    bool failed;         /* memory was out */
    struct json_put out; /* what is being written */
    struct bytes piece;  /* for bytes of a token */
    struct choice *choices;
    size_t n_choices;
};

/* Gives a->out to the sink as an event, and empties it. */
void answer_event(struct answer *a);
/* Gives a part of the text: as a delta, or to the whole answer. */
void answer_text(struct answer *a, struct choice *c, enum part part, const char *text, size_t n);
/* Takes content that has come from place `from` of the text; it is given with its tokens. */
void answer_content(struct answer *a, struct choice *c, const char *text, size_t n, size_t from);
/* Writes a token with its log-probabilities, as the route does. */
void answer_token(struct answer *a, struct choice *c, const weft_logprob *logprobs,
                  size_t n_logprobs, const struct bytes *bytes, const char *text, size_t n);
/* Gives all content that waits for its tokens. */
void answer_flush(struct answer *a, struct choice *c);
/* Adds text to the reply, and gives its events; the last time with `ends`. */
void answer_reply(struct answer *a, struct choice *c, const char *text, size_t n, bool ends);
/* Adds a token, and text, to the trail. */
void answer_trail(struct answer *a, struct choice *c, const struct drawn *d);
bool answer_wants_logprobs(const struct answer *a);

/* Names as OpenAI's API has them: "stop", "length", "tool_calls". */
const char *finish_name(const struct choice *c);
/* "id", "object", "created", "model", "system_fingerprint" of an answer. */
void put_head(struct answer *a, const char *object);
void put_usage(struct json_put *p, const struct job_figures *f);
void put_timings(struct json_put *p, const struct job_figures *f);
void put_progress(struct json_put *p, const struct job_figures *f, size_t n_done);
/* Appends what was written elsewhere, and empties it. */
void put_list(struct json_put *p, struct json_put *from);
/* Appends a token of logprobs.content: {"token", "logprob", "bytes", "top_logprobs"}; with the id
 * in front where `ids` is true. */
void put_logprob(struct answer *a, struct json_put *p, const weft_logprob *logprobs,
                 size_t n_logprobs, const struct bytes *bytes, const char *text, size_t n,
                 bool ids);

#endif
