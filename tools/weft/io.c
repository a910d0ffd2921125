/* Reading, writing and escaping bytes. Everything here keeps NUL bytes and invalid UTF-8 as they
 * are unless it says otherwise. */
#include "weft/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "weft/term.h"

/* The limits of a text and of a grammar are those of the library. */
const struct io_limit io_text = { "a text", 256u << 20, "divide it" },
                      io_ids = { "a list of ids", 256u << 20, "divide it" },
                      io_grammar = { "a grammar", 1u << 20, "write it shorter" },
                      io_schema = { "a JSON schema", 16u << 20, "write it shorter" },
                      io_template = { "a chat template", 1u << 20, "write it shorter" },
                      io_messages = { "a list of messages or tools", 256u << 20, "divide it" };

int io_check(const char *name, size_t n, const struct io_limit *limit)
{
    return n <= limit->max
               ? EXIT_OK
               : term_fail(EXIT_USAGE, "%s has more than %zu MiB, the most that %s may have; %s",
                           name, limit->max >> 20, limit->what, limit->remedy);
}

int io_read(const char *path, const struct io_limit *limit, struct bytes *out)
{
    size_t before = out->n;
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return term_fail(EXIT_RUNTIME, "cannot open %s: %s", name, strerror(errno));
    }
    int code = EXIT_OK;
    while (code == EXIT_OK) {
        if (!text_reserve(out, 65536)) {
            code = term_fail(EXIT_MEMORY, "not enough memory for %s: %zu bytes read so far", name,
                             out->n);
            break;
        }
        ssize_t got = read(fd, out->data + out->n, 65536);
        if (got == 0) {
            break;
        }
        if (got == -1 && errno != EINTR) {
            code = term_fail(EXIT_RUNTIME, "cannot read %s: %s", name, strerror(errno));
            break;
        }
        out->n += got > 0 ? (size_t)got : 0;
        code = io_check(name, out->n - before, limit);
    }
    if (out->data != NULL) {
        out->data[out->n] = '\0';
    }
    if (!is_stdin) {
        close(fd);
    }
    return code;
}

int io_read_text(const char *path, const struct io_limit *limit, struct bytes *out)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t before = out->n, n = sizeof mark - 1;
    int code = io_read(path, limit, out);
    if (out->n - before >= n && memcmp(out->data + before, mark, n) == 0) {
        out->n -= n;
        memmove(out->data + before, out->data + before + n, out->n - before + 1);
    }
    return code;
}

static bool write_has_failed;

bool io_failed(void) { return write_has_failed; }

/* Reports a failed write. If the reader has gone, nothing is printed. */
static int write_failed(int error)
{
    write_has_failed = true;
    if (error == EPIPE) {
        return EXIT_RUNTIME;
    }
    return term_fail(EXIT_RUNTIME, "cannot write to standard output: %s",
                     error == EBADF ? "it is closed" : strerror(error));
}

int io_write(const char *data, size_t n)
{
    while (n > 0) {
        ssize_t done = write(STDOUT_FILENO, data, n);
        if (done == -1 && errno == EAGAIN) {
            /* Standard output may be a non-blocking pipe that another process shares. */
            struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
            poll(&p, 1, -1);
        } else if (done == 0 || (done == -1 && errno != EINTR)) {
            return write_failed(done == 0 ? EIO : errno);
        }
        data += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return EXIT_OK;
}

int io_flush(void)
{
    errno = 0;
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0 || failed) {
        return write_failed(errno != 0 ? errno : EPIPE);
    }
    return EXIT_OK;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Reads one escape at text[0] == '\\'. Returns the number of characters that it takes, 0 if it is
 * not an escape. */
static size_t escape_at(const char *text, char *byte)
{
    static const char names[] = "ntr\\\"'", bytes[] = "\n\t\r\\\"'";
    const char *found = text[1] != '\0' ? strchr(names, text[1]) : NULL;
    if (found != NULL) {
        *byte = bytes[found - names];
        return 2;
    }
    if (text[1] == 'x' && hex_value(text[2]) >= 0 && hex_value(text[3]) >= 0) {
        *byte = (char)(hex_value(text[2]) * 16 + hex_value(text[3]));
        return 4;
    }
    return 0;
}

bool io_unescape(const char *text, struct bytes *out)
{
    while (*text != '\0') {
        char byte = *text;
        size_t used = byte == '\\' ? escape_at(text, &byte) : 0;
        if (!text_add(out, &byte, 1)) {
            return false;
        }
        text += used > 0 ? used : 1;
    }
    return true;
}

size_t io_whole(const char *text, size_t n) { return n - utf8_partial(text, n); }

bool io_utf8(const char *text, size_t n, struct bytes *out, size_t *bad)
{
    *bad = 0;
    for (size_t i = 0; i < n;) {
        size_t len;
        bool valid = utf8_next(text + i, n - i, &len) == UTF8_CHAR;
        bool ok = valid ? text_add(out, text + i, len) : text_add(out, "\xef\xbf\xbd", 3);
        if (!ok) {
            return false;
        }
        *bad += !valid;
        i += len;
    }
    return true;
}

bool io_escape(const char *text, size_t n, char quote, struct bytes *out)
{
    static const char named[] = "\n\t\r\\", names[] = "ntr\\";
    for (size_t i = 0; i < n;) {
        const unsigned char *s = (const unsigned char *)text + i;
        const char *name = *s != '\0' ? strchr(named, (char)*s) : NULL;
        size_t len;
        bool valid = utf8_next(text + i, n - i, &len) == UTF8_CHAR;
        /* C1 controls (U+0080..U+009F) steer terminals too. */
        bool hidden =
            !valid || *s < 0x20 || *s == 0x7f || (len == 2 && s[0] == 0xc2 && s[1] < 0xa0);
        char quoted[8];
        bool ok;
        if (name != NULL || (quote != 0 && text[i] == quote)) {
            quoted[0] = '\\';
            quoted[1] = name != NULL ? names[name - named] : quote;
            ok = text_add(out, quoted, 2);
        } else if (hidden) {
            len = 1;
            ok = text_add(out, quoted,
                          (size_t)snprintf(quoted, sizeof quoted, "\\x%02x", (unsigned)*s));
        } else {
            ok = text_add(out, text + i, len);
        }
        if (!ok) {
            return false;
        }
        i += len;
    }
    return true;
}
