/* The struct behind the public handle of a model. */
#ifndef WEFT_MODEL_API_H
#define WEFT_MODEL_API_H

#include <stdatomic.h>

#include "base/log.h"
#include "chat/template.h"
#include "model.h"
#include "run/api.h"

struct weft_model {
    uint32_t magic;
    atomic_size_t refs;
    struct model *model;
    struct log log;
    _Atomic uint64_t fingerprint; /* of fingerprint.h; 0 = not yet computed */
    /* The file's templates: the usual one, and one for conversations with tools. NULL: the file has
     * none, or it cannot be used; no_chat says why the first is NULL. */
    struct chat_template *chat, *chat_tools;
    weft_error no_chat;
};

weft_status model_check(const weft_model *m, weft_error *err);
void model_retain(struct weft_model *m);

/* Opens the templates of the file; one that cannot be used is no error of the model. */
weft_status model_open_chat(struct weft_model *m, weft_error *err);

#endif
