/* The settings of a request as llama-server shows them: generation_settings of /completion, and
 * the defaults of /props. */
#ifndef WEFT_SERVE_SETTINGS_H
#define WEFT_SERVE_SETTINGS_H

#include "serve/request.h"

/* Returns the object as text, to be freed with free(); NULL if there is not enough memory. With
 * request = NULL it has the values that a request starts from. */
char *settings_json(const struct scope *scope, const struct request *request);

#endif
