/* What the server says about itself: models, props, slots and metrics. All functions return text
 * that is freed with free(), or NULL if there is not enough memory. While the model is being
 * loaded, /metrics is asked for too; the counters of the engine are 0 then. Only the thread that
 * submits jobs calls them.
 */
#ifndef WEFT_DESCRIBE_H
#define WEFT_DESCRIBE_H

#include "serve/core.h"
#include "serve/http_figures.h"

/* GET /v1/models: JSON, the list of OpenAI's API and that of Ollama's in one object. */
char *describe_models(struct core *core);
/* Returns true if `id` names the model. Unless the server is strict, any name does. */
bool describe_knows(struct core *core, const char *id);
/* GET /v1/models/{id}: JSON, one entry of the list, or NULL also if describe_knows() does not. */
char *describe_model(struct core *core, const char *id);
/* GET /props: JSON. It reads the chat template from the model's file. */
char *describe_props(struct core *core);
/* GET /slots: JSON, an entry for each request that can run at once. */
char *describe_slots(struct core *core);
/* GET /metrics: the text format of Prometheus, version 0.0.4. `http` may be NULL. */
char *describe_metrics(struct core *core, const struct http_figures *http);

/* Returns the model's name in answers: the alias, or else the name of the file. */
const char *describe_name(struct core *core);
/* Returns a scope that is complete, or NULL while the model is being loaded or has failed to. */
const struct scope *describe_scope(struct core *core);

#endif
