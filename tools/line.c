/* The line reader of `weft chat`. libedit is used when both ends are a terminal; its prompt goes to
 * standard output, which is nobody's data then. */
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "term.h"

#ifdef HAVE_LIBEDIT
#include <histedit.h>
#include <termios.h>
#include <wchar.h>
#endif

struct line_reader {
    struct buf line;
    bool ended;
    char input[4096]; /* plain reading: bytes read and not yet given out */
    size_t at, n_input;
#ifdef HAVE_LIBEDIT
    EditLine *edit;
    History *history;
    const char *prompt;
    char *file; /* of the history; NULL: none */
    bool was_empty;
#endif
};

/* Waits until standard input can be read (or has ended). False, with EINTR, if Ctrl-C was pressed
 * since the prompt, also before this call, or another signal came: read() alone would sleep on a
 * signal that has just been handled. */
static bool wait_for_input(void)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    int n = -1;
    errno = EINTR;
    if (!term_interrupted()) {
        n = ppoll(&input, 1, NULL, &before);
    }
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return n != -1 || error != EINTR;
}

#ifdef HAVE_LIBEDIT
enum { HISTORY_LINES = 1000 };

static char *prompt_of(EditLine *edit)
{
    struct line_reader *r = NULL;
    el_get(edit, EL_CLIENTDATA, &r);
    /* libedit does not write to it */
    return (char *)(uintptr_t)r->prompt;
}

/* While a line is edited the terminal is in libedit's mode, which must outlive neither the process
 * nor a stop (Ctrl-Z). */
static const int leaving[] = { SIGTSTP, SIGTERM, SIGHUP };
enum { N_LEAVING = sizeof leaving / sizeof *leaving };
static struct termios before_edit;
static struct sigaction default_action[N_LEAVING];
static volatile sig_atomic_t stopped;

static void on_leave(int signal_number)
{
    int error = errno;
    if (tcgetpgrp(STDIN_FILENO) == getpgrp()) {
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before_edit);
    }
    /* what the signal does by default happens when this handler returns, before read() does */
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

/* Back after a stop: libedit's mode again, and the line as it was. */
static void edit_resume(EditLine *edit)
{
    struct sigaction leave = { .sa_handler = on_leave };
    stopped = 0;
    if (default_action[0].sa_handler != SIG_IGN) {
        sigaction(SIGTSTP, &leave, NULL);
    }
    el_set(edit, EL_PREP_TERM, 0);
    el_set(edit, EL_PREP_TERM, 1);
    el_set(edit, EL_REFRESH);
}

/* The next byte of the terminal: as read(). */
static ssize_t read_byte(char *byte) { return wait_for_input() ? read(STDIN_FILENO, byte, 1) : -1; }

/* libedit's own reader tries again after a signal; Ctrl-C has to end the line. */
static int read_char(EditLine *edit, wchar_t *out)
{
    struct line_reader *r = NULL;
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
            r->was_empty = line->lastchar == line->buffer;
            return -1;
        }
        if (n <= 0) {
            return (int)n;
        }
        bool inside = !mbsinit(&state);
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-1 && inside) {
            /* what came before it is left out, not this byte: a character may begin here */
            state = (mbstate_t){ 0 };
            used = mbrtowc(out, &byte, 1, &state);
        }
        if (used == (size_t)-1) {
            /* a byte that is no UTF-8 is left out; -1 would end the chat */
            state = (mbstate_t){ 0 };
        } else if (used != (size_t)-2) {
            return 1;
        }
    }
}

static void history_open(struct line_reader *r)
{
    HistEvent event;
    const char *home = getenv("HOME");
    if (home == NULL || home[0] != '/' || asprintf(&r->file, "%s/.weft_history", home) < 0) {
        r->file = NULL;
        return;
    }
    /* created here, so that it is never readable by others */
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

static void edit_open(struct line_reader *r, bool with_file)
{
    HistEvent event;
    if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1) {
        return;
    }
    /* bytes to characters; the C locale would refuse all that is not ASCII */
    if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
    r->edit = el_init("weft", stdin, stdout, stderr);
    if (r->edit == NULL) {
        return;
    }
    el_set(r->edit, EL_CLIENTDATA, r);
    el_set(r->edit, EL_PROMPT, prompt_of);
    el_set(r->edit, EL_EDITOR, "emacs");
    el_set(r->edit, EL_GETCFN, read_char);
    r->history = history_init();
    if (r->history != NULL) {
        history(r->history, &event, H_SETSIZE, HISTORY_LINES);
        history(r->history, &event, H_SETUNIQUE, 1);
        el_set(r->edit, EL_HIST, history, r->history);
        if (with_file) {
            history_open(r);
        }
    }
}

static void edit_close(struct line_reader *r)
{
    HistEvent event;
    if (r->history != NULL) {
        if (r->file != NULL) {
            history(r->history, &event, H_SAVE, r->file);
        }
        history_end(r->history);
    }
    if (r->edit != NULL) {
        el_end(r->edit);
    }
    free(r->file);
}

static enum line_result edit_read(struct line_reader *r, const char *prompt)
{
    HistEvent event;
    int n = 0;
    r->prompt = prompt;
    r->was_empty = false;
    /* the window may have changed during the answer */
    el_resize(r->edit);
    tcgetattr(STDIN_FILENO, &before_edit);
    signals_catch();
    const char *line = el_gets(r->edit, &n);
    signals_restore();
    if (term_interrupted()) {
        el_reset(r->edit);
        puts("^C");
        return r->was_empty ? LINE_LEAVE : LINE_INTERRUPTED;
    }
    if (line == NULL || n <= 0) {
        puts("");
        return LINE_END;
    }
    if (!buf_add(&r->line, line, (size_t)n)) {
        term_fail(0, "not enough memory for the line");
        return LINE_FAILED;
    }
    if (r->history != NULL && line[0] != '\n') {
        history(r->history, &event, H_ENTER, line);
    }
    return LINE_OK;
}
#endif

struct line_reader *line_open(bool history)
{
    struct line_reader *r = calloc(1, sizeof *r);
    (void)history;
#ifdef HAVE_LIBEDIT
    if (r != NULL) {
        edit_open(r, history);
    }
#endif
    return r;
}

void line_close(struct line_reader *r)
{
    if (r == NULL) {
        return;
    }
#ifdef HAVE_LIBEDIT
    edit_close(r);
#endif
    buf_free(&r->line);
    free(r);
}

/* The next bytes of standard input; LINE_OK if there are some. */
static enum line_result refill(struct line_reader *r)
{
    ssize_t n;
    do {
        n = wait_for_input() ? read(STDIN_FILENO, r->input, sizeof r->input) : -1;
    } while (n == -1 && errno == EINTR && !term_interrupted());
    if (n == -1 && errno == EINTR) {
        return LINE_LEAVE;
    }
    if (n == -1) {
        term_fail(0, "cannot read standard input: %s", strerror(errno));
        return LINE_FAILED;
    }
    r->at = 0;
    r->n_input = (size_t)n;
    return n == 0 ? LINE_END : LINE_OK;
}

static enum line_result plain_read(struct line_reader *r, const char *prompt)
{
    if (isatty(STDIN_FILENO) == 1) {
        fputs(prompt, stderr);
        fflush(stderr);
    }
    while (!r->ended) {
        if (r->at == r->n_input) {
            enum line_result got = refill(r);
            r->ended = got == LINE_END;
            /* a last line without a newline counts */
            if (got == LINE_END && r->line.n > 0) {
                return LINE_OK;
            }
            if (got != LINE_OK) {
                return got;
            }
        }
        const char *start = r->input + r->at;
        const char *newline = memchr(start, '\n', r->n_input - r->at);
        size_t n = newline != NULL ? (size_t)(newline - start) + 1 : r->n_input - r->at;
        if (!buf_add(&r->line, start, n)) {
            term_fail(0, "not enough memory for the line");
            return LINE_FAILED;
        }
        r->at += n;
        if (io_check("a line of standard input", r->line.n, &io_text) != EXIT_OK) {
            return LINE_FAILED;
        }
        if (newline != NULL) {
            return LINE_OK;
        }
    }
    return LINE_END;
}

enum line_result line_read(struct line_reader *r, const char *prompt, const char **text, size_t *n)
{
    enum line_result got;
    r->line.n = 0;
    term_on_interrupt(TERM_FLAG);
#ifdef HAVE_LIBEDIT
    got = r->edit != NULL ? edit_read(r, prompt) : plain_read(r, prompt);
#else
    got = plain_read(r, prompt);
#endif
    term_on_interrupt(TERM_KILL);
    if (got != LINE_OK) {
        return got;
    }
    if (r->line.n > 0 && r->line.data[r->line.n - 1] == '\n') {
        r->line.data[--r->line.n] = '\0';
    }
    if (r->line.n > 0 && r->line.data[r->line.n - 1] == '\r') {
        r->line.data[--r->line.n] = '\0';
    }
    *text = r->line.n > 0 ? r->line.data : "";
    *n = r->line.n;
    return LINE_OK;
}
