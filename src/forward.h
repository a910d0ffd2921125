/* The transformer: one step of rows goes through all stages. */
#ifndef WEFT_FORWARD_H
#define WEFT_FORWARD_H

#include "backend.h"

/* A watcher is called before every stage, and again after the stage has succeeded. */
struct watcher {
    void (*begin)(struct watcher *);
    weft_status (*end)(struct watcher *, struct backend *, enum stage, const struct step *,
                       size_t layer, weft_error *);
};

/* Runs one step on the backend. Returns WEFT_E_CANCELLED, with err untouched, if all sequences of
 * the step were cancelled meanwhile. */
weft_status forward(struct backend *b, const struct step *s, weft_error *err);

/* Runs the stages one by one, even if the backend has a shorter way. A backend builds its shorter
 * way from this. */
weft_status forward_stages(struct backend *b, const struct step *s, weft_error *err);

#endif
