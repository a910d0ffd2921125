#include "serve/http/head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int refuse(const char **why, int status, const char *text)
{
    *why = text;
    return status;
}

void head_free(struct head *h)
{
    free(h->text);
    h->text = NULL;
}

void head_reset(struct head *h)
{
    head_free(h);
    *h = (struct head){ .n = 0 };
}

static bool grow(struct head *h)
{
    size_t cap = h->cap > 0 ? 2 * h->cap : 1024;
    char *text = realloc(h->text, cap);
    if (text == NULL) {
        return false;
    }
    h->text = text;
    h->cap = cap;
    return true;
}

bool head_add(struct head *h, char c)
{
    if (h->n + 2 > h->cap && !grow(h)) {
        return false;
    }
    if (h->n == 0) {
        h->text[h->n++] = '\0';
    }
    h->text[h->n++] = c;
    return true;
}

/* --- the request line --- */

static const struct {
    const char *name;
    enum method method;
} methods[] = {
    { "GET", METHOD_GET },     { "HEAD", METHOD_HEAD },     { "POST", METHOD_POST },
    { "PUT", METHOD_PUT },     { "DELETE", METHOD_DELETE }, { "OPTIONS", METHOD_OPTIONS },
    { "PATCH", METHOD_PATCH },
};

const char *head_method_name(enum method method)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (methods[i].method == method) {
            return methods[i].name;
        }
    }
    return "-";
}

/* Characters of a token, of which names and methods consist. */
static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static size_t token_length(const char *s)
{
    size_t n = 0;
    while (is_token(s[n])) {
        n++;
    }
    return n;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static int read_method(struct head *h, const char *name, const char **why)
{
    if (name[0] == '\0' || name[token_length(name)] != '\0') {
        return refuse(why, 400, "the method is not a token");
    }
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(name, methods[i].name) == 0) {
            h->method = methods[i].method;
            return 0;
        }
    }
    return refuse(why, 501, "this method is not known here");
}

static int read_version(struct head *h, const char *version, const char **why)
{
    if (strncmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) || version[6] != '.' ||
        !is_digit(version[7]) || version[8] != '\0') {
        return refuse(why, 400, "the request line does not end in a version of HTTP");
    }
    if (version[5] != '1' || version[7] > '1') {
        return refuse(why, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    h->minor = version[7] - '0';
    return 0;
}

static int hex(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Decodes %XX in place. Returns false if there is anything else behind a %, or if the result has
 * control characters: nothing here is named with them. */
static bool decode(char *path)
{
    char *to = path;
    for (const char *from = path; *from != '\0'; from++) {
        int c = (unsigned char)*from;
        if (c == '%') {
            int high = hex(from[1]), low = high < 0 ? -1 : hex(from[2]);
            c = low < 0 ? 0 : high * 16 + low;
            from += low < 0 ? 0 : 2;
        }
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
        *to++ = (char)c;
    }
    *to = '\0';
    return true;
}

/* "http://host:port/path" names the host in the target. The name is moved to the left, to where
 * "//" stood, so that there is room for the zero behind it. */
static char *read_authority(struct head *h, char *target, const char **why)
{
    char *name = strstr(target, "://") + 3;
    size_t n = strcspn(name, "/?");
    if (n == 0 || memchr(name, '@', n) != NULL) {
        *why = "the target names no host, or a user";
        return NULL;
    }
    char *to = name - 2;
    memmove(to, name, n);
    to[n] = '\0';
    h->authority = (uint32_t)(to - h->text);
    return name + n;
}

static int split_path(struct head *h, char *path, const char **why)
{
    char *query = strchr(path, '?');
    h->path = (uint32_t)(path - h->text);
    if (query != NULL) {
        *query++ = '\0';
        h->query = (uint32_t)(query - h->text);
    }
    if (!decode(path)) {
        return refuse(why, 400, "the path has a wrong escape, or control characters");
    }
    return 0;
}

static bool is_absolute(const char *target)
{
    return strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0;
}

static int read_target(struct head *h, char *target, const char **why)
{
    if (strlen(target) > HEAD_MAX_TARGET) {
        return refuse(why, 414, "the target is longer than 8192 bytes");
    }
    for (const char *c = target; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || *c == '#') {
            return refuse(why, 400, "the target has characters that must be escaped");
        }
    }
    if (strcmp(target, "*") == 0 && h->method == METHOD_OPTIONS) {
        h->path = (uint32_t)(target - h->text);
        return 0;
    }
    if (is_absolute(target)) {
        target = read_authority(h, target, why);
        if (target == NULL) {
            return 400;
        }
        if (*target != '/') {
            /* "http://host?query": the path is "/". There is room for it where the host's name was
             * moved away. */
            *--target = '/';
        }
    }
    return target[0] == '/' ? split_path(h, target, why)
                            : refuse(why, 400, "the target is not a path that begins with /");
}

int head_request_line(struct head *h, size_t from, const char **why)
{
    char *method = h->text + from;
    char *target = strchr(method, ' ');
    char *version = target != NULL ? strchr(target + 1, ' ') : NULL;
    if (version == NULL) {
        return refuse(why, 400, "the request line is not: method, target, version");
    }
    *target++ = '\0';
    *version++ = '\0';
    int status = read_version(h, version, why);
    status = status == 0 ? read_method(h, method, why) : status;
    return status == 0 ? read_target(h, target, why) : status;
}

/* --- fields --- */

static bool is_space(char c) { return c == ' ' || c == '\t'; }

int head_field_line(struct head *h, size_t from, const char **why)
{
    char *name = h->text + from, *end = h->text + h->n - 1;
    if (is_space(name[0])) {
        return refuse(why, 400, "a header is folded over two lines");
    }
    size_t n = token_length(name);
    if (n == 0 || name[n] != ':') {
        return refuse(why, 400, "a header is not: name, colon, value");
    }
    if (h->n_fields == HEAD_MAX_FIELDS) {
        return refuse(why, 431, "there are more than 100 headers");
    }
    name[n] = '\0';
    for (size_t i = 0; i < n; i++) {
        name[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
    }
    char *value = name + n + 1;
    value += strspn(value, " \t");
    while (end > value && is_space(end[-1])) {
        *--end = '\0';
    }
    h->fields[h->n_fields++] = (struct head_field){ (uint32_t)from, (uint32_t)(value - h->text) };
    return 0;
}

/* Returns true if a list with commas has the word, in any letters. */
static bool list_has(const char *list, const char *word)
{
    size_t n = strlen(word);
    while (*list != '\0') {
        list += strspn(list, ", \t");
        size_t length = strcspn(list, ", \t");
        if (length == n && strncasecmp(list, word, n) == 0) {
            return true;
        }
        list += length;
    }
    return false;
}

static int read_length(struct head *h, const char *value, const char **why)
{
    if (h->has_length) {
        return refuse(why, 400, "there are two lengths of the body");
    }
    if (value[0] == '\0' || value[strspn(value, "0123456789")] != '\0') {
        return refuse(why, 400, "Content-Length is not a number");
    }
    h->has_length = true;
    for (; *value != '\0'; value++) {
        unsigned digit = (unsigned)(*value - '0');
        h->length = h->length > (UINT64_MAX - digit) / 10 ? UINT64_MAX : h->length * 10 + digit;
    }
    return 0;
}

static int read_coding(struct head *h, const char *value, const char **why)
{
    if (h->chunked || h->minor == 0) {
        return refuse(why, 400, "there are two transfer codings, or one in HTTP/1.0");
    }
    h->chunked = strcasecmp(value, "chunked") == 0;
    if (h->chunked) {
        return 0;
    }
    const char *last = strrchr(value, ',');
    if (last != NULL && strcasecmp(last + 1 + strspn(last + 1, " \t"), "chunked") == 0) {
        return refuse(why, 501, "no transfer coding but chunked is known here");
    }
    return refuse(why, 400, "the last transfer coding is not chunked: the body has no end");
}

static int read_host(const char *value, size_t *n_hosts, const char **why)
{
    for (const char *c = value; *c != '\0'; c++) {
        if (!is_token(*c) && strchr("[]:", *c) == NULL) {
            return refuse(why, 400, "Host is not the name of a host");
        }
    }
    return ++*n_hosts > 1 ? refuse(why, 400, "there are two hosts") : 0;
}

static int read_expect(struct head *h, const char *value, const char **why)
{
    if (h->minor == 0) {
        return 0;
    }
    h->expects = strcasecmp(value, "100-continue") == 0;
    return h->expects ? 0 : refuse(why, 417, "nothing but 100-continue can be expected here");
}

int head_finish(struct head *h, const char **why)
{
    size_t n_hosts = 0;
    bool stays = h->minor == 1;
    int status = 0;
    for (size_t i = 0; i < h->n_fields && status == 0; i++) {
        const char *name = h->text + h->fields[i].name, *value = h->text + h->fields[i].value;
        if (strcmp(name, "content-length") == 0) {
            status = read_length(h, value, why);
        } else if (strcmp(name, "transfer-encoding") == 0) {
            status = read_coding(h, value, why);
        } else if (strcmp(name, "host") == 0) {
            status = read_host(value, &n_hosts, why);
        } else if (strcmp(name, "expect") == 0) {
            status = read_expect(h, value, why);
        } else if (strcmp(name, "content-encoding") == 0 && strcasecmp(value, "identity") != 0) {
            status =
                refuse(why, 415, "a body with a Content-Encoding is not read; send plain JSON");
        } else if (strcmp(name, "connection") == 0) {
            h->close = h->close || list_has(value, "close");
            stays = stays || list_has(value, "keep-alive");
        }
    }
    h->close = h->close || !stays;
    if (status == 0 && h->chunked && h->has_length) {
        return refuse(why, 400, "there are both a length and a transfer coding");
    }
    return status == 0 && n_hosts == 0 && h->minor == 1 ? refuse(why, 400, "Host is missing")
                                                        : status;
}

/* --- questions --- */

const char *head_get(const struct head *h, const char *name)
{
    for (size_t i = 0; i < h->n_fields; i++) {
        if (strcmp(h->text + h->fields[i].name, name) == 0) {
            return h->text + h->fields[i].value;
        }
    }
    return NULL;
}

const char *head_host(const struct head *h)
{
    const char *host = h->authority != 0 ? h->text + h->authority : head_get(h, "host");
    return host != NULL ? host : "";
}

bool head_query_is(const struct head *h, const char *name, const char *value)
{
    size_t n = strlen(name), n_value = strlen(value);
    const char *at = h->query != 0 ? h->text + h->query : "";
    while (*at != '\0') {
        size_t length = strcspn(at, "&");
        if (length == n + 1 + n_value && strncmp(at, name, n) == 0 && at[n] == '=' &&
            strncmp(at + n + 1, value, n_value) == 0) {
            return true;
        }
        at += length + (at[length] == '&');
    }
    return false;
}
