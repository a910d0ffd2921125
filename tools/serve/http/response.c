#include "serve/http/response.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serve/http/inside.h"

static const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        { 200, "OK" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return "Status";
}

__attribute__((format(printf, 2, 3))) static void put(struct connection *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    c->broken |= evbuffer_add_vprintf(c->out, fmt, args) < 0;
    va_end(args);
}

static void put_date(struct connection *c)
{
    char text[64];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    put(c, "Date: %s\r\n", text);
}

/* The page at the origin may read the answer. Its text was checked when the request came. */
static void put_origin(struct connection *c)
{
    const char *origin = head_get(&c->parser.head, "origin");
    if (c->x.grants && origin != NULL) {
        put(c,
            "Access-Control-Allow-Origin: %s\r\n"
            "Access-Control-Allow-Credentials: true\r\n"
            "Vary: Origin\r\n",
            origin);
    }
}

static void put_head(struct connection *c, int status, const char *type)
{
    put(c, "HTTP/1.1 %d %s\r\nServer: weft/%s\r\n", status, status_text(status), WEFT_VERSION);
    put_date(c);
    if (type != NULL) {
        put(c, "Content-Type: %s\r\n", type);
    }
    if (c->x.id[0] != '\0') {
        put(c, "X-Request-Id: %s\r\n", c->x.id);
    }
    put_origin(c);
    if (c->ends) {
        put(c, "Connection: close\r\n");
    } else if (c->parser.head.minor == 0) {
        put(c, "Connection: keep-alive\r\n");
    }
    c->x.status = status;
}

static void put_allowed(struct connection *c, unsigned allowed)
{
    const char *between = "";
    put(c, "Allow: ");
    for (unsigned method = METHOD_GET; method <= METHOD_PATCH; method <<= 1) {
        if (allowed & method) {
            put(c, "%s%s", between, head_method_name(method));
            between = ", ";
        }
    }
    put(c, "\r\n");
}

static void put_more(struct connection *c, const struct reply *r)
{
    if (r->retry_after > 0) {
        put(c, "Retry-After: %d\r\n", r->retry_after);
    }
    if (r->allowed != 0) {
        put_allowed(c, r->allowed);
    }
    if (r->challenge) {
        put(c, "WWW-Authenticate: Bearer\r\n");
    }
    if (r->preflight && c->x.grants) {
        put(c, "Access-Control-Allow-Methods: GET, POST, DELETE, OPTIONS\r\n"
               /* By the Fetch standard, * does not stand for Authorization. */
               "Access-Control-Allow-Headers: Authorization, Content-Type, X-Api-Key, *\r\n"
               "Access-Control-Max-Age: 600\r\n");
    }
}

void response_whole(struct connection *c, const struct reply *r)
{
    put_head(c, r->status, r->type != NULL ? r->type : "application/json; charset=utf-8");
    put_more(c, r);
    put(c, "Content-Length: %zu\r\n\r\n", r->n);
    if (c->x.method != METHOD_HEAD) {
        c->broken |= r->n > 0 && evbuffer_add(c->out, r->body, r->n) != 0;
    }
    connection_complete(c);
}

void response_fault_with(struct connection *c, const struct fault *f, struct reply r)
{
    static const char no_memory[] =
        "{\"error\":{\"message\":\"not enough memory\",\"type\":\"server_error\",\"code\":500,"
        "\"param\":null}}";
    char *text = fault_json(f);
    r.status = f->status;
    r.retry_after = f->retry_after;
    r.body = text != NULL ? text : no_memory;
    r.n = strlen(r.body);
    response_whole(c, &r);
    free(text);
}

void response_fault(struct connection *c, const struct fault *f)
{
    response_fault_with(c, f, (struct reply){ .n = 0 });
}

/* --- streams --- */

void response_continue(struct connection *c) { put(c, "HTTP/1.1 100 Continue\r\n\r\n"); }

void response_begin(struct connection *c)
{
    bool chunked = c->parser.head.minor > 0;
    /* In HTTP/1.0 the end of the stream is the end of the connection. */
    c->ends = c->ends || !chunked;
    put_head(c, 200, "text/event-stream");
    put(c,
        "Cache-Control: no-cache\r\n"
        "X-Accel-Buffering: no\r\n"
        "%s\r\n",
        chunked ? "Transfer-Encoding: chunked\r\n" : "");
    c->x.streaming = true;
    response_ping(c);
}

static void add(struct connection *c, const char *text, size_t n)
{
    c->broken |= evbuffer_add(c->events, text, n) != 0;
}

static void add_text(struct connection *c, const char *text) { add(c, text, strlen(text)); }

void response_event(struct connection *c, const char *name, const char *data, size_t n)
{
    if (name != NULL) {
        add_text(c, "event: ");
        add_text(c, name);
        add_text(c, "\n");
    }
    add_text(c, "data: ");
    add(c, data, n);
    add_text(c, "\n\n");
    c->told = figures_now();
}

void response_ping(struct connection *c)
{
    add_text(c, ":\n\n");
    c->told = figures_now();
}

void response_gather(struct connection *c)
{
    size_t n = evbuffer_get_length(c->events);
    bool chunked = c->parser.head.minor > 0;
    if (n == 0) {
        return;
    }
    if (chunked) {
        put(c, "%zx\r\n", n);
    }
    c->broken |= evbuffer_add_buffer(c->out, c->events) != 0;
    if (chunked) {
        put(c, "\r\n");
    }
}

void response_end(struct connection *c)
{
    response_gather(c);
    if (c->parser.head.minor > 0) {
        put(c, "0\r\n\r\n");
    }
    connection_complete(c);
}

void response_fail(struct connection *c, const struct fault *f)
{
    char *text = fault_json(f);
    if (text != NULL) {
        response_event(c, NULL, text, strlen(text));
    }
    free(text);
    response_end(c);
}
