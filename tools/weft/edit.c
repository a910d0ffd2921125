/* Reads lines with libedit. Its prompt goes to standard output, which carries no data when both
 * ends are a terminal. */
#include "weft/edit.h"

#ifdef HAVE_LIBEDIT
#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "weft/paste.h"
#include "weft/term.h"

struct editor {
    EditLine *edit;
    History *history;
    const char *prompt;
    /* The file of the history; NULL = none. */
    char *file;
    bool was_empty;
};

enum { HISTORY_LINES = 1000 };

static char *prompt_of(EditLine *edit)
{
    struct editor *r = NULL;
    el_get(edit, EL_CLIENTDATA, &r);
    /* libedit does not write to the prompt. */
    return (char *)(uintptr_t)r->prompt;
}

/* While a line is edited the terminal is in libedit's mode. When the process ends or stops
 * (Ctrl-Z), the old mode must be back. */
static const int leaving[] = { SIGTSTP, SIGTERM, SIGHUP };
enum { N_LEAVING = sizeof leaving / sizeof *leaving };
static struct termios before_edit;
static struct sigaction default_action[N_LEAVING];
static volatile sig_atomic_t stopped;

static void on_leave(int signal_number)
{
    int error = errno;
    if (tcgetpgrp(STDIN_FILENO) == getpgrp()) {
        paste_bracket(false);
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before_edit);
    }
    /* The signal's default action happens when this handler returns, before read() returns. */
    stopped = 1;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    errno = error;
}

static void signals_catch(void)
{
    struct sigaction leave = { .sa_handler = on_leave };
    stopped = 0;
    for (int i = 0; i < N_LEAVING; i++) {
        sigaction(leaving[i], NULL, &default_action[i]);
        if (default_action[i].sa_handler != SIG_IGN) {
            sigaction(leaving[i], &leave, NULL);
        }
    }
}

static void signals_restore(void)
{
    for (int i = 0; i < N_LEAVING; i++) {
        sigaction(leaving[i], &default_action[i], NULL);
    }
}

/* Continues after a stop: sets libedit's mode again, and shows the line as it was. */
static void edit_resume(EditLine *edit)
{
    struct sigaction leave = { .sa_handler = on_leave };
    stopped = 0;
    if (default_action[0].sa_handler != SIG_IGN) {
        sigaction(SIGTSTP, &leave, NULL);
    }
    el_set(edit, EL_PREP_TERM, 0);
    el_set(edit, EL_PREP_TERM, 1);
    paste_bracket(true);
    el_set(edit, EL_REFRESH);
}

/* Reads the next byte of the terminal, like read(). */
static ssize_t read_byte(char *byte)
{
    return term_wait_input() ? read(STDIN_FILENO, byte, 1) : -1;
}

/* Reads a character. libedit's own reader tries again after a signal, but Ctrl-C has to end the
 * line. */
static int read_char(EditLine *edit, wchar_t *out)
{
    struct editor *r = NULL;
    mbstate_t state = { 0 };
    el_get(edit, EL_CLIENTDATA, &r);
    for (;;) {
        char byte;
        ssize_t n = read_byte(&byte);
        if (n == -1 && errno == EINTR) {
            if (stopped) {
                edit_resume(edit);
            }
            if (!term_interrupted()) {
                continue;
            }
            const LineInfo *line = el_line(edit);
            r->was_empty = line->lastchar == line->buffer && !paste_under_way();
            return -1;
        }
        if (n <= 0) {
            return (int)n;
        }
        bool inside = !mbsinit(&state);
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-1 && inside) {
            /* The bytes before this one are dropped, but not this one: a character may begin
             * here. */
            state = (mbstate_t){ 0 };
            used = mbrtowc(out, &byte, 1, &state);
        }
        if (used == (size_t)-1) {
            /* A byte that is not UTF-8 is left out; -1 would end the chat. */
            state = (mbstate_t){ 0 };
        } else if (used != (size_t)-2) {
            return 1;
        }
    }
}

static void history_open(struct editor *r)
{
    HistEvent event;
    const char *home = getenv("HOME");
    if (home == NULL || home[0] != '/' || asprintf(&r->file, "%s/.weft_history", home) < 0) {
        r->file = NULL;
        return;
    }
    /* The file is created here, so that others can never read it. */
    int fd = open(r->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1) {
        term_note("weft: no history: cannot open %s: %s", r->file, strerror(errno));
        free(r->file);
        r->file = NULL;
        return;
    }
    close(fd);
    history(r->history, &event, H_LOAD, r->file);
}

struct editor *editor_open(bool with_file)
{
    HistEvent event;
    struct editor *r =
        isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 ? calloc(1, sizeof *r) : NULL;
    if (r == NULL) {
        return NULL;
    }
    /* Bytes become characters; the C locale would refuse everything but ASCII. */
    if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
    r->edit = el_init("weft", stdin, stdout, stderr);
    if (r->edit == NULL) {
        free(r);
        return NULL;
    }
    el_set(r->edit, EL_CLIENTDATA, r);
    el_set(r->edit, EL_PROMPT, prompt_of);
    el_set(r->edit, EL_EDITOR, "emacs");
    el_set(r->edit, EL_GETCFN, read_char);
    paste_open(r->edit);
    r->history = history_init();
    if (r->history != NULL) {
        history(r->history, &event, H_SETSIZE, HISTORY_LINES);
        history(r->history, &event, H_SETUNIQUE, 1);
        el_set(r->edit, EL_HIST, history, r->history);
        if (with_file) {
            history_open(r);
        }
    }
    return r;
}

void editor_close(struct editor *r)
{
    HistEvent event;
    if (r == NULL) {
        return;
    }
    if (r->history != NULL) {
        if (r->file != NULL) {
            history(r->history, &event, H_SAVE, r->file);
        }
        history_end(r->history);
    }
    el_end(r->edit);
    free(r->file);
    free(r);
}

enum line_result editor_read(struct editor *r, const char *prompt, struct bytes *line)
{
    HistEvent event;
    int n = 0;
    r->prompt = prompt;
    r->was_empty = false;
    /* The window may have changed during the answer. */
    el_resize(r->edit);
    tcgetattr(STDIN_FILENO, &before_edit);
    signals_catch();
    paste_bracket(true);
    const char *typed = el_gets(r->edit, &n);
    paste_bracket(false);
    signals_restore();
    if (term_interrupted()) {
        el_reset(r->edit);
        puts("^C");
        return r->was_empty ? LINE_LEAVE : LINE_INTERRUPTED;
    }
    if (typed == NULL || n <= 0) {
        puts("");
        return LINE_END;
    }
    if (!text_add(line, typed, (size_t)n)) {
        term_fail(0, "not enough memory for the line");
        return LINE_NO_MEMORY;
    }
    if (r->history != NULL && typed[0] != '\n') {
        history(r->history, &event, H_ENTER, typed);
    }
    return LINE_OK;
}
#else
struct editor *editor_open(bool history)
{
    (void)history;
    return NULL;
}

void editor_close(struct editor *r) { (void)r; }

enum line_result editor_read(struct editor *r, const char *prompt, struct bytes *line)
{
    (void)r;
    (void)prompt;
    (void)line;
    return LINE_FAILED;
}
#endif
