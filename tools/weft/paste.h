/* Bracketed paste: a terminal that knows it marks what is pasted, so that a text of several lines
 * is put into the line that is edited, where the lines of a text that is typed would be sent. */
#ifndef WEFT_PASTE_H
#define WEFT_PASTE_H

#ifdef HAVE_LIBEDIT
#include <histedit.h>
#include <stdbool.h>

void paste_open(EditLine *edit);
/* Asks the terminal for the marks, or for none. May be called in a signal handler. */
void paste_bracket(bool on);
/* Whether a text is coming in that is not in the line yet. */
bool paste_under_way(void);
#endif

#endif
