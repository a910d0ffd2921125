/* The terminal: messages on standard error, the progress line, Ctrl-C, the clock. */
#ifndef WEFT_TERM_H
#define WEFT_TERM_H

#include <stdbool.h>
#include <stdint.h>

#include "weft.h"

/* The exit codes of the process. */
enum {
    EXIT_OK = 0,
    EXIT_RUNTIME = 1,
    EXIT_USAGE = 2,
    EXIT_MODEL = 3,
    EXIT_MEMORY = 4,
    /* The grammar allowed no further token, and the text is not complete. */
    EXIT_GRAMMAR = 5,
    EXIT_INTERRUPTED = 130
};

/* Call it before anything else. It fills standard descriptors that are closed, ignores SIGPIPE, and
 * catches Ctrl-C and SIGBUS, which comes if a mapped file was cut. */
void term_open(void);

/* Prints "weft: ..." on standard error, with control characters as '?'. Returns exit_code. */
__attribute__((format(printf, 2, 3))) int term_fail(int exit_code, const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void term_note(const char *fmt, ...);
/* Reports a usage error of a sub-command, and where to read more. Returns EXIT_USAGE. */
int term_usage(const char *command, const char *message);
/* Reports the error of a library call. Returns the exit code that belongs to it. */
int term_status(weft_status status, const weft_error *err);

/* Reports that a write to `path` failed with this errno. A write that Ctrl-C has interrupted is not
 * reported, and the result is EXIT_INTERRUPTED. */
int term_write_failed(const char *path, int error);

/* Ends the line on standard error if standard output goes to the same file or pipe and has left a
 * line open. On a terminal the writer of the line does that. */
void term_new_line(void);

/* A line that the next one overwrites. It is only shown on a terminal, and only after
 * term_progress_on(). */
void term_progress_on(void);
__attribute__((format(printf, 1, 2))) void term_progress(const char *fmt, ...);
void term_progress_clear(void);

/* Says what Ctrl-C does. TERM_KILL: it ends the process. TERM_FLAG_ONCE: it sets a flag, and a
 * second Ctrl-C ends the process. TERM_FLAG: it only sets the flag, and interrupts a read. */
enum term_mode { TERM_KILL, TERM_FLAG_ONCE, TERM_FLAG };
void term_on_interrupt(enum term_mode mode);
bool term_interrupted(void);
/* Waits until standard input can be read or has ended. Returns false, with EINTR, if Ctrl-C was
 * pressed since the prompt, even before this call, or if another signal came: read() alone would
 * keep sleeping after a signal that has just been handled. */
bool term_wait_input(void);
/* Called from the signal handler at Ctrl-C, after the flag is set; NULL = none. */
void term_interrupt_hook(void (*hook)(void *), void *arg);

double term_seconds(void); /* monotonic */
uint64_t term_peak_bytes(void);

#endif
