/* The transformer: one step of rows through all stages. */
#ifndef WEFT_FORWARD_H
#define WEFT_FORWARD_H

#include "backend.h"

/* Who wants to know of every stage: called before it, and after it has succeeded. */
struct watcher {
    void (*begin)(struct watcher *);
    weft_status (*end)(struct watcher *, struct backend *, enum stage, const struct step *,
                       size_t layer, weft_error *);
};

/* Runs one step on the backend. WEFT_E_CANCELLED, with err untouched, when all sequences of the
 * step were cancelled under way. */
weft_status forward(struct backend *b, const struct step *s, weft_error *err);

/* The stages one by one, also where the backend has a shorter way; for a backend that makes its
 * shorter way of them. */
weft_status forward_stages(struct backend *b, const struct step *s, weft_error *err);

#endif
