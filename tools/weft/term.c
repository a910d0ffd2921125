/* Standard error, signals and the clock. The state here belongs to the process: it has one terminal
 * and one Ctrl-C. */
#include "weft/term.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

static volatile sig_atomic_t interrupts;
static volatile sig_atomic_t mode_now = TERM_KILL;
static void (*volatile interrupt_hook)(void *);
static void *volatile interrupt_arg;
static bool progress_wanted, progress_shown;

/* One Ctrl-C may reach us twice: timeout(1) signals its child and then the child's group. A second
 * signal within this time counts as the same one. */
#define SAME_INTERRUPT_SECONDS 0.25

static void on_sigint(int signal_number)
{
    static double first;
    double now = term_seconds();
    (void)signal_number;
    if (interrupts == 0) {
        first = now;
    } else if (now - first < SAME_INTERRUPT_SECONDS) {
        return;
    }
    interrupts = interrupts < 2 ? interrupts + 1 : 2;
    if (mode_now == TERM_KILL || (mode_now == TERM_FLAG_ONCE && interrupts > 1)) {
        _exit(EXIT_INTERRUPTED);
    }
    if (interrupt_hook != NULL) {
        interrupt_hook(interrupt_arg);
    }
}

/* Before each step the library checks that a mapped model is still whole; during a step nobody can
 * check. */
static void on_sigbus(int signal_number)
{
    static const char text[] = "weft: the model file has shrunk while it was in use; --no-mmap "
                               "reads it into memory first\n";
    (void)signal_number;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(EXIT_RUNTIME);
}

void term_open(void)
{
    /* A file that is opened later must not become one of the standard descriptors by chance.
     * Standard output is opened for reading only, so that writing to it fails, as it should;
     * standard error swallows what is written to it. */
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1) {
            (void)!open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY);
        }
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGBUS, on_sigbus);
    struct sigaction old, new = { .sa_handler = on_sigint };
    /* Without SA_RESTART a read that waits for the user returns. */
    if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
        sigaction(SIGINT, &new, NULL);
    }
}

void term_on_interrupt(enum term_mode mode)
{
    interrupts = 0;
    mode_now = (sig_atomic_t)mode;
}

void term_interrupt_hook(void (*hook)(void *), void *arg)
{
    interrupt_hook = NULL;
    interrupt_arg = arg;
    interrupt_hook = hook;
}

bool term_interrupted(void) { return interrupts != 0; }

static void print_line(const char *fmt, va_list ap)
{
    char line[1024];
    vsnprintf(line, sizeof line, fmt, ap);
    utf8_printable(line, '\n');
    term_progress_clear();
    fprintf(stderr, "%s\n", line);
}

int term_fail(int exit_code, const char *fmt, ...)
{
    char prefixed[256];
    va_list ap;
    snprintf(prefixed, sizeof prefixed, "weft: %s", fmt);
    va_start(ap, fmt);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    print_line(prefixed, ap);
#pragma GCC diagnostic pop
    va_end(ap);
    return exit_code;
}

void term_note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_line(fmt, ap);
    va_end(ap);
}

void term_new_line(void)
{
    struct stat out, log;
    if (isatty(STDOUT_FILENO) != 1 && fstat(STDOUT_FILENO, &out) == 0 &&
        fstat(STDERR_FILENO, &log) == 0 && out.st_dev == log.st_dev && out.st_ino == log.st_ino) {
        fputc('\n', stderr);
    }
}

int term_usage(const char *command, const char *message)
{
    term_note("weft %s: %s\ntry: weft help %s", command, message, command);
    return EXIT_USAGE;
}

int term_write_failed(const char *path, int error)
{
    if (error == EINTR && term_interrupted()) {
        return EXIT_INTERRUPTED;
    }
    return term_fail(EXIT_RUNTIME, "%s: cannot be written: %s", path, strerror(error));
}

int term_status(weft_status status, const weft_error *err)
{
    term_fail(0, "%s", err->message[0] != '\0' ? err->message : weft_status_name(status));
    if (status == WEFT_E_KV_FULL) {
        term_note("weft: --kv sets the size of the KV pool");
    }
    if (status == WEFT_E_CTX_FULL) {
        term_note("weft: -c sets n_ctx, the context");
    }
    switch (status) {
    case WEFT_OK: return EXIT_OK;
    case WEFT_E_ARG: return EXIT_USAGE;
    case WEFT_E_FORMAT:
    case WEFT_E_UNSUPPORTED: return EXIT_MODEL;
    case WEFT_E_NOMEM:
    case WEFT_E_DEVMEM:
    case WEFT_E_KV_FULL: return EXIT_MEMORY;
    case WEFT_E_CANCELLED: return EXIT_INTERRUPTED;
    default: return EXIT_RUNTIME;
    }
}

bool term_wait_input(void)
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

void term_progress_on(void) { progress_wanted = isatty(STDERR_FILENO) == 1; }

void term_progress(const char *fmt, ...)
{
    char line[160];
    va_list ap;
    if (!progress_wanted) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    utf8_printable(line, '\0');
    /* A line that wraps cannot be overwritten. */
    struct winsize size = { 0 };
    int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
    fprintf(stderr, "\r\033[K%.*s", width - 1, line);
    fflush(stderr);
    progress_shown = true;
}

void term_progress_clear(void)
{
    if (progress_shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        progress_shown = false;
    }
}

double term_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Reads VmHWM. ru_maxrss is only the fallback: it is inherited from the program that started this
 * one if that was larger. */
uint64_t term_peak_bytes(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && kib == 0 && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kib = strtoull(line + 6, NULL, 10);
        }
    }
    if (status != NULL) {
        fclose(status);
    }
    struct rusage usage;
    if (kib > 0) {
        return kib * 1024;
    }
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}
