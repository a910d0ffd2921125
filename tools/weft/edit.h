/* Edits a line on a terminal, with a history. */
#ifndef WEFT_EDIT_H
#define WEFT_EDIT_H

#include "weft/io.h"
#include "weft/line.h"

struct editor;

/* Returns NULL if standard input or output is not a terminal, if the build has no libedit, or if
 * memory is out. */
struct editor *editor_open(bool history);
void editor_close(struct editor *r);
/* Appends a line with its newline. */
enum line_result editor_read(struct editor *r, const char *prompt, struct bytes *line);

#endif
