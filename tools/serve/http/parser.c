#include "serve/http/parser.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Extensions of chunks mean nothing here. */
enum { MAX_EXTENSIONS = 16384, MAX_DIGITS = 16 };

void parser_init(struct parser *p, uint64_t max_body)
{
    *p = (struct parser){ .max_body = max_body };
}

void parser_free(struct parser *p) { head_free(&p->head); }

void parser_reset(struct parser *p)
{
    head_reset(&p->head);
    parser_init(p, p->max_body);
}

__attribute__((format(printf, 4, 5))) static void bad(struct parser *p, enum parsed *what,
                                                      int status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(p->why, sizeof p->why, fmt, args);
    va_end(args);
    p->status = status;
    p->state = PARSER_BAD;
    *what = PARSED_BAD;
}

/* Text in header lines: no control characters but the tab. */
static bool is_text(char c) { return c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f); }

/* --- lines --- */

static bool line_is_full(struct parser *p, enum parsed *what)
{
    if (p->state == PARSER_LINE) {
        if (p->head.n >= p->line + HEAD_MAX_LINE) {
            bad(p, what, 414, "the request line is longer than %d bytes", HEAD_MAX_LINE);
        }
    } else if (++p->n_block > HEAD_MAX_BLOCK) {
        bad(p, what, 431, "the headers are longer than %d bytes", HEAD_MAX_BLOCK);
    }
    return p->state == PARSER_BAD;
}

/* Takes one byte of a line. Returns true at its end. */
static bool take(struct parser *p, char c, enum parsed *what)
{
    if (p->cr != (c == '\n')) {
        bad(p, what, 400, "a line does not end in CR and LF");
    } else if (c == '\n') {
        p->cr = false;
        return true;
    } else if (c == '\r') {
        p->cr = true;
    } else if (!is_text(c)) {
        bad(p, what, 400, "the head has control characters");
    } else if (!line_is_full(p, what) && !head_add(&p->head, c)) {
        bad(p, what, 503, "not enough memory for the head of the request");
    }
    return false;
}

/* Ends the line with a zero, and begins the next one. */
static size_t end_line(struct parser *p)
{
    size_t from = p->line;
    /* An empty head has room for the zero, because head_add() has put an empty string first. */
    p->head.text[p->head.n++] = '\0';
    p->line = p->head.n;
    return from;
}

static void request_line(struct parser *p, enum parsed *what)
{
    const char *why = "";
    int status = head_request_line(&p->head, end_line(p), &why);
    if (status != 0) {
        bad(p, what, status, "%s", why);
    } else {
        p->state = PARSER_FIELDS;
    }
}

static void too_large(struct parser *p, enum parsed *what, uint64_t n)
{
    bad(p, what, 413, "the body has %" PRIu64 " bytes or more, the limit is %" PRIu64, n,
        p->max_body);
}

static void end_head(struct parser *p, enum parsed *what)
{
    const char *why = "";
    int status = head_finish(&p->head, &why);
    if (status != 0) {
        bad(p, what, status, "%s", why);
    } else if (p->head.has_length && p->head.length > p->max_body) {
        too_large(p, what, p->head.length);
    } else {
        p->left = p->head.length;
        p->state = p->head.chunked ? PARSER_CHUNK : p->left > 0 ? PARSER_BODY : PARSER_END;
        *what = PARSED_HEAD;
    }
}

/* The line is a field of the head or of the trailers, whose values are forgotten. */
static void field_line(struct parser *p, enum parsed *what)
{
    const char *why = "";
    size_t n_fields = p->head.n_fields, from = end_line(p);
    int status = head_field_line(&p->head, from, &why);
    if (status != 0) {
        bad(p, what, status, "%s", why);
    } else if (p->state == PARSER_TRAILERS) {
        p->head.n_fields = n_fields;
        p->head.n = p->line = from;
    }
}

/* --- the states: each reads bytes, and returns how many --- */

static size_t read_line(struct parser *p, const char *data, size_t n, enum parsed *what)
{
    size_t i = 0;
    p->begun = true;
    p->line = p->line > 0 ? p->line : 1;
    while (i < n && p->state == PARSER_LINE) {
        if (!take(p, data[i++], what)) {
            continue;
        }
        if (p->head.n > p->line) {
            request_line(p, what);
        } else if (p->skipped) {
            bad(p, what, 400, "there are empty lines in place of a request");
        } else {
            /* Some clients send an empty line behind a body. */
            p->skipped = true;
            p->begun = false;
        }
    }
    return i;
}

static size_t read_fields(struct parser *p, const char *data, size_t n, enum parsed *what)
{
    size_t i = 0;
    enum parser_state state = p->state;
    while (i < n && p->state == state) {
        if (!take(p, data[i++], what)) {
            continue;
        }
        if (p->head.n > p->line) {
            field_line(p, what);
        } else if (state == PARSER_FIELDS) {
            end_head(p, what);
        } else {
            p->state = PARSER_END;
        }
    }
    return i;
}

static size_t read_body(struct parser *p, const char *data, size_t n, enum parsed *what)
{
    size_t take = p->left < n ? (size_t)p->left : n;
    p->piece = data;
    p->n_piece = take;
    p->n_body += take;
    p->left -= take;
    *what = PARSED_BODY;
    if (p->left == 0) {
        p->state = p->state == PARSER_BODY ? PARSER_END : PARSER_DATA_CR;
    }
    return take;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static size_t read_chunk(struct parser *p, const char *data, size_t n, enum parsed *what)
{
    (void)n;
    int digit = hex_digit(data[0]);
    if (digit >= 0 && p->n_digits < MAX_DIGITS) {
        p->left = p->left << 4 | (uint64_t)digit;
        p->n_digits++;
    } else if (p->n_digits == 0 || digit >= 0 || (data[0] != ';' && data[0] != '\r')) {
        bad(p, what, 400, "the size of a chunk is not a hexadecimal number");
    } else if (p->left > p->max_body - p->n_body) {
        too_large(p, what, p->left > UINT64_MAX - p->n_body ? p->left : p->n_body + p->left);
    } else {
        p->state = data[0] == ';' ? PARSER_EXTENSION : PARSER_CHUNK_LF;
    }
    return 1;
}

static size_t read_extension(struct parser *p, const char *data, size_t n, enum parsed *what)
{
    (void)n;
    if (data[0] == '\r') {
        p->state = PARSER_CHUNK_LF;
    } else if (!is_text(data[0]) || ++p->n_extra > MAX_EXTENSIONS) {
        bad(p, what, 400, "the extensions of chunks have control characters or are too long");
    }
    return 1;
}

/* The borders of a chunk: LF behind its size, CR and LF behind its data. */
static size_t read_border(struct parser *p, const char *data, size_t n, enum parsed *what)
{
    (void)n;
    if (data[0] != (p->state == PARSER_DATA_CR ? '\r' : '\n')) {
        bad(p, what, 400, "a chunk does not end in CR and LF");
    } else if (p->state == PARSER_DATA_CR) {
        p->state = PARSER_DATA_LF;
    } else if (p->state == PARSER_DATA_LF) {
        p->state = PARSER_CHUNK;
        p->n_digits = 0;
    } else {
        p->state = p->left > 0 ? PARSER_DATA : PARSER_TRAILERS;
    }
    return 1;
}

static size_t step(struct parser *p, const char *data, size_t n, enum parsed *what)
{
    switch (p->state) {
    case PARSER_LINE: return read_line(p, data, n, what);
    case PARSER_FIELDS:
    case PARSER_TRAILERS: return read_fields(p, data, n, what);
    case PARSER_BODY:
    case PARSER_DATA: return read_body(p, data, n, what);
    case PARSER_CHUNK: return read_chunk(p, data, n, what);
    case PARSER_EXTENSION: return read_extension(p, data, n, what);
    case PARSER_CHUNK_LF:
    case PARSER_DATA_CR:
    case PARSER_DATA_LF: return read_border(p, data, n, what);
    case PARSER_END: p->state = PARSER_DONE; break;
    case PARSER_DONE:
    case PARSER_BAD: break;
    }
    *what = p->state == PARSER_BAD ? PARSED_BAD : PARSED_END;
    return 0;
}

size_t parser_feed(struct parser *p, const char *data, size_t n, enum parsed *what)
{
    size_t used = 0;
    *what = PARSED_MORE;
    while (*what == PARSED_MORE && (used < n || p->state >= PARSER_END)) {
        used += step(p, data + used, n - used, what);
    }
    return used;
}
