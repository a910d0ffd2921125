/* How the answer of a request is to look: requests are read into it, answers are written by it. */
#ifndef WEFT_SERVE_STYLE_H
#define WEFT_SERVE_STYLE_H

#include "serve/request.h"

struct style {
    bool include_usage, timings_per_token, return_progress;
    bool both_reasonings; /* the reasoning stands in the content too */
    /* Of completions and of /completion. */
    bool echo, return_tokens;
    bool many;      /* /completion: there were several prompts, so the answer is a list */
    char **prompts; /* [n_prompts] the texts of the prompts; NULL = nobody shows them */
    size_t n_prompts;
    char *settings; /* JSON: generation_settings of /completion */
    char **fields;  /* [n_fields] response_fields of /completion */
    size_t n_fields;
    /* Of embeddings and of /rerank. */
    bool base64;
    bool plain;      /* the list of results alone, as TEI writes it */
    bool documents;  /* with the texts of the documents */
    size_t top_n;    /* results */
    size_t n_tokens; /* of all texts */
};

#endif
