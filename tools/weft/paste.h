/* Bracketed paste: a terminal that supports it marks pasted text. So a pasted text of several lines
 * is put into the line that is being edited, while the lines of a typed text are sent one by
 * one. */
#ifndef WEFT_PASTE_H
#define WEFT_PASTE_H

#ifdef HAVE_LIBEDIT
#include <histedit.h>
#include <stdbool.h>

void paste_open(EditLine *edit);
/* Asks the terminal to send the marks, or not to. May be called in a signal handler. */
void paste_bracket(bool on);
/* Returns true while a text arrives that is not in the line yet. */
bool paste_under_way(void);
#endif

#endif
