/* The lines of a batch, in the format of OpenAI's batch files. */
#ifndef WEFT_BATCH_LINE_H
#define WEFT_BATCH_LINE_H

#include <jansson.h>

#include "base/mem.h"
#include "serve/core.h"

/* A line of the input: what it asks for, or why it cannot be answered. It starts as zeros but for
 * `number`. */
struct batch_line {
    uint64_t number;   /* from 1 */
    json_t *custom_id; /* a string; NULL if the line has none */
    enum route route;
    char *body;       /* JSON of the request, which does not ask for a stream */
    const char *code; /* static; NULL = the line can be answered */
    char message[256];
};

/* Reads text[n]. Returns false if there is not enough memory. */
bool batch_line_read(struct batch_line *line, const char *text, size_t n);
/* Makes it a line that is too long. */
void batch_line_refuse_long(struct batch_line *line);
void batch_line_free(struct batch_line *line);

/* Writes the id that the request has in answers and in the output, "batch_req_7". */
enum { BATCH_ID_MAX = 40 };
void batch_line_id(const struct batch_line *line, char dst[BATCH_ID_MAX]);
/* Appends the line of the output: an outcome, or why there is none. Returns false if there is not
 * enough memory. */
bool batch_line_answer(const struct batch_line *line, const struct outcome *outcome,
                       struct bytes *out);
bool batch_line_fault(const struct batch_line *line, struct bytes *out);

/* Every line of an output begins like this. */
#define BATCH_LINE_BEGIN "{\"id\":\"batch_req_"

#endif
