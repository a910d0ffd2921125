/* The head of a request: its lines as they come, and what they mean. */
#ifndef WEFT_HTTP_HEAD_H
#define WEFT_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEAD_MAX_TARGET = 8192,
    HEAD_MAX_LINE = HEAD_MAX_TARGET + 64, /* the request line: method and version too */
    HEAD_MAX_BLOCK = 16384,               /* all header lines; trailers count too */
    HEAD_MAX_FIELDS = 100
};

/* Sets of these are masks. */
enum method {
    METHOD_GET = 1,
    METHOD_HEAD = 2,
    METHOD_POST = 4,
    METHOD_PUT = 8,
    METHOD_DELETE = 16,
    METHOD_OPTIONS = 32,
    METHOD_PATCH = 64
};

struct head_field {
    uint32_t name, value; /* offsets in `text` */
};

struct head {
    /* [n] Strings with a zero behind each. The first one is empty: offset 0 means "not there". */
    char *text;
    size_t n, cap;
    enum method method;
    int minor;                       /* the version is HTTP/1.minor */
    uint32_t path, query, authority; /* offsets; the path is decoded, the query is not */
    struct head_field fields[HEAD_MAX_FIELDS];
    size_t n_fields;
    bool close;   /* the connection ends behind this request */
    bool expects; /* the client waits for "100 Continue" before it sends the body */
    bool chunked, has_length;
    uint64_t length; /* of the body, if has_length; UINT64_MAX = that or more */
};

void head_free(struct head *h);
/* Forgets everything, and gives the memory back: idle connections hold none. */
void head_reset(struct head *h);
/* Adds a byte to the line that begins at h->n - (length of the line). Returns false if there is not
 * enough memory. */
bool head_add(struct head *h, char c);

/* These read the line that begins at text[from], which is complete, and may change its text. They
 * return 0, or a status and the reason. */
int head_request_line(struct head *h, size_t from, const char **why);
int head_field_line(struct head *h, size_t from, const char **why);
/* Reads what the fields say about the connection and the body. */
int head_finish(struct head *h, const char **why);

/* Returns the value of a field, whose name is written in small letters, or NULL. */
const char *head_get(const struct head *h, const char *name);
/* Returns the host that is meant, with its port: that of the target or of the field Host; "" if
 * there is none. */
const char *head_host(const struct head *h);
/* Returns true if the query has the parameter `name` with the value `value`. */
bool head_query_is(const struct head *h, const char *name, const char *value);
/* Returns the name of one method. */
const char *head_method_name(enum method method);

#endif
