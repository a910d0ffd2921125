/* The terminal: messages on standard error, the progress line, Ctrl-C, the clock. */
#ifndef WEFT_TERM_H
#define WEFT_TERM_H

#include <stdbool.h>
#include <stdint.h>

#include "weft.h"

/* What the process returns. */
enum {
    EXIT_OK = 0,
    EXIT_RUNTIME = 1,
    EXIT_USAGE = 2,
    EXIT_MODEL = 3,
    EXIT_MEMORY = 4,
    EXIT_GRAMMAR = 5, /* the grammar allowed no further token, and the text is not complete */
    EXIT_INTERRUPTED = 130
};

/* Before anything else: standard descriptors that are closed are filled, SIGPIPE is ignored, Ctrl-C
 * is caught. */
void term_open(void);

/* "weft: ..." on standard error; control characters are shown as '?'. Returns exit_code. */
__attribute__((format(printf, 2, 3))) int term_fail(int exit_code, const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void term_note(const char *fmt, ...);
/* A usage error of a sub-command: the message, and where to read more. Returns EXIT_USAGE. */
int term_usage(const char *command, const char *message);
/* The error of a library call. Returns the exit code that belongs to it. */
int term_status(weft_status status, const weft_error *err);

/* A write to `path` that failed with this errno: says so. After Ctrl-C an interrupted one is no
 * failure, and EXIT_INTERRUPTED. */
int term_write_failed(const char *path, int error);

/* Ends the line on standard error if standard output has left it open in the same file or pipe; on
 * a terminal that is the business of who wrote there. */
void term_new_line(void);

/* A line that is overwritten by the next one; only on a terminal, and only after
 * term_progress_on(). */
void term_progress_on(void);
__attribute__((format(printf, 1, 2))) void term_progress(const char *fmt, ...);
void term_progress_clear(void);

/* Between arm and disarm Ctrl-C sets a flag (a second one ends the process); outside it ends the
 * process at once, except in "line" mode, where it only interrupts the read. */
enum term_mode { TERM_KILL, TERM_FLAG_ONCE, TERM_FLAG };
void term_on_interrupt(enum term_mode mode);
bool term_interrupted(void);
/* Waits until standard input can be read (or has ended). False, with EINTR, if Ctrl-C was pressed
 * since the prompt, also before this call, or another signal came: read() alone would sleep on a
 * signal that has just been handled. */
bool term_wait_input(void);
/* Called from the signal handler at Ctrl-C, beside setting the flag; NULL = none. */
void term_interrupt_hook(void (*hook)(void *), void *arg);

double term_seconds(void); /* monotonic */
uint64_t term_peak_bytes(void);

#endif
