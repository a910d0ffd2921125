/* Private to request*.c: a request while it is read. */
#ifndef WEFT_SERVE_READING_H
#define WEFT_SERVE_READING_H

#include "base/mem.h"
#include "serve/field.h"
#include "serve/json_put.h"
#include "serve/style.h"

/* The fields that requests for a text have in common. */
struct form {
    weft_sampling sampling;
    int64_t seed;      /* -1 = a random one */
    int64_t n_predict; /* -1 = no limit */
    int64_t n_choices;
    int64_t ping;
    bool stream, ignore_end;
    json_t *stop, *bias, *samplers, *stream_options;
    json_t *grammar, *schema, *response_format; /* borrowed from the body, as all of these */
};

struct reading {
    const struct scope *scope;
    struct request *out;
    struct fault *fault;
    json_t *body; /* an object */
    struct form form;
};

/* One for each route. */
bool read_chat(struct reading *r);
bool read_template(struct reading *r);
bool read_completions(struct reading *r);
bool read_completion(struct reading *r);
bool read_tokenize(struct reading *r);
bool read_detokenize(struct reading *r);
bool read_embeddings(struct reading *r);
bool read_rerank(struct reading *r);

/* Reads the common fields into the form and into r->out, all but the grammar. */
bool read_options(struct reading *r);
bool read_stops(struct reading *r);
bool read_bias(struct reading *r);
/* Switches off what the list of samplers does not name. */
bool read_samplers(struct reading *r);

/* What the content must follow. */
struct format {
    json_t *schema; /* a reference of its own; NULL = none */
    bool strict;    /* a schema that a grammar cannot hold is refused */
};
/* Reads response_format and json_schema, and checks that `grammar` does not contradict them. */
bool read_format(struct reading *r, struct format *format);
/* Sets the grammar of a request without replies. */
bool read_grammar(struct reading *r);
/* Checks GBNF that a client wrote. */
bool check_grammar(struct reading *r, const char *gbnf, size_t n);

/* Appends the ids of a text. */
bool add_text_tokens(struct reading *r, const char *text, size_t n, unsigned flags,
                     struct tokens *out);
/* Appends an id that a client wrote; `name` is the field. */
bool add_token(struct reading *r, const json_t *id, const char *name, struct tokens *out);
/* Appends the ids of a prompt: a string, {"prompt_string": ...}, or a list of ids and strings.
 * `flags` are for the first text; later ones get no BOS. */
bool add_prompt(struct reading *r, const json_t *prompt, const char *name, unsigned flags,
                struct tokens *out);
/* Returns true for a list that is one prompt: one that contains a number. */
bool is_token_list(const json_t *list);
/* Makes the fault of a prompt that does not fit. */
bool check_context(struct reading *r, size_t n_prompt);
/* Appends the text of tokens, control tokens included. */
bool add_tokens_text(struct reading *r, const int32_t *tokens, size_t n, struct bytes *out);

/* Refuses a request for a text where the model cannot write any. */
bool check_generates(struct reading *r);
/* Copies text[n], with a NUL behind it. Returns NULL, with a fault, if there is not enough memory.
 */
char *copy_text(struct reading *r, const char *text, size_t n);
/* Ends a request whose answer is there; it owns the text. NULL: memory was out. */
bool answer_ready(struct reading *r, char *text);

#endif
