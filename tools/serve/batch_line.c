#include "serve/batch_line.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "base/json_text.h"
#include "base/utf8.h"

static const struct {
    const char *url;
    enum route route;
} urls[] = {
    { "/v1/chat/completions", ROUTE_CHAT },
    { "/chat/completions", ROUTE_CHAT },
    { "/v1/completions", ROUTE_COMPLETIONS },
    { "/v1/embeddings", ROUTE_EMBEDDINGS },
    { "/embeddings", ROUTE_EMBEDDINGS },
    { "/v1/rerank", ROUTE_RERANK },
    { "/rerank", ROUTE_RERANK },
};

void batch_line_id(const struct batch_line *line, char dst[BATCH_ID_MAX])
{
    snprintf(dst, BATCH_ID_MAX, "batch_req_%" PRIu64, line->number);
}

/* A message quotes what it found, which may be no UTF-8 or be cut inside a character. */
static void make_utf8(char *text)
{
    const size_t n = strlen(text);
    for (size_t i = 0, len; i < n; i += len) {
        if (utf8_next(text + i, n - i, &len) != UTF8_CHAR) {
            memset(text + i, '?', len);
        }
    }
}

/* Returns true, because the line was read. */
__attribute__((format(printf, 3, 4))) static bool refuse(struct batch_line *line, const char *code,
                                                         const char *fmt, ...)
{
    va_list ap;
    line->code = code;
    const int n = snprintf(line->message, sizeof line->message, "line %" PRIu64 ": ", line->number);
    va_start(ap, fmt);
    vsnprintf(line->message + n, sizeof line->message - (size_t)n, fmt, ap);
    va_end(ap);
    make_utf8(line->message);
    return true;
}

void batch_line_refuse_long(struct batch_line *line)
{
    refuse(line, "line_too_long", "the line has more than %d MiB", MAX_BODY >> 20);
}

/* ---------------------------------------------------------------- reading */

/* Returns NULL if the field is absent or null. */
static const json_t *field(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

static bool find_route(struct batch_line *line, const char *url)
{
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        if (strcmp(urls[i].url, url) == 0) {
            line->route = urls[i].route;
            return true;
        }
    }
    return false;
}

/* A batch has no stream to send: the answer comes as a whole. */
static bool take_body(struct batch_line *line, json_t *body)
{
    json_object_del(body, "stream");
    json_object_del(body, "stream_options");
    line->body = json_text(body, JSON_COMPACT);
    return line->body != NULL;
}

static bool read_object(struct batch_line *line, const json_t *object)
{
    const json_t *id = field(object, "custom_id"), *url = field(object, "url"),
                 *method = field(object, "method"), *body = field(object, "body");
    if (json_is_string(id) && json_string_length(id) > 0) {
        line->custom_id = json_incref((json_t *)(uintptr_t)id);
    } else {
        return refuse(line, "missing_custom_id", "there is no custom_id, which is a string");
    }
    if (method != NULL && (!json_is_string(method) || strcmp(json_string_value(method), "POST"))) {
        return refuse(line, "invalid_method", "method is %.40s; expected POST",
                      json_is_string(method) ? json_string_value(method) : "no string");
    }
    if (!json_is_string(url) || !find_route(line, json_string_value(url))) {
        return refuse(line, "invalid_url",
                      "url is %.40s; expected /v1/chat/completions, /v1/completions, "
                      "/v1/embeddings or /v1/rerank",
                      json_is_string(url) ? json_string_value(url) : "missing");
    }
    if (!json_is_object(body)) {
        return refuse(line, "invalid_body", "body is the request, an object");
    }
    return take_body(line, (json_t *)(uintptr_t)body);
}

bool batch_line_read(struct batch_line *line, const char *text, size_t n)
{
    struct json_fault why;
    json_t *object = json_parse(text, n, MAX_JSON_DEPTH + 1, JSON_READ_NUL | JSON_READ_ONCE, &why);
    if (object == NULL) {
        return why.kind != JSON_FAULT_MEMORY &&
               refuse(line, "invalid_json", "column %zu: %s", why.column, why.text);
    }
    const bool ok = json_is_object(object) ? read_object(line, object)
                                           : refuse(line, "invalid_json",
                                                    "expected an object with custom_id, method, "
                                                    "url and body");
    json_decref(object);
    return ok;
}

void batch_line_free(struct batch_line *line)
{
    json_decref(line->custom_id);
    free(line->body);
    *line = (struct batch_line){ 0 };
}

/* ---------------------------------------------------------------- writing */

/* These return false if there is not enough memory. */

static bool add(struct bytes *out, const char *text) { return text_add(out, text, strlen(text)); }

/* Adds a string with its quotes, or null. */
static bool add_string(struct bytes *out, const json_t *string)
{
    char *text = string != NULL ? json_text(string, JSON_ENCODE_ANY) : NULL;
    const bool ok = string == NULL ? add(out, "null") : text != NULL && add(out, text);
    free(text);
    return ok;
}

static bool add_begin(const struct batch_line *line, struct bytes *out)
{
    char id[BATCH_ID_MAX];
    batch_line_id(line, id);
    return add(out, "{\"id\":\"") && add(out, id) && add(out, "\",\"custom_id\":") &&
           add_string(out, line->custom_id);
}

/* In JSON a newline can stand only where a blank can. */
static bool add_body(struct bytes *out, const struct outcome *outcome)
{
    const size_t at = out->n;
    if (outcome->body == NULL) {
        return add(out, "null");
    }
    if (!text_add(out, outcome->body, outcome->n_body)) {
        return false;
    }
    for (size_t i = at; i < out->n; i++) {
        out->data[i] = out->data[i] == '\n' || out->data[i] == '\r' ? ' ' : out->data[i];
    }
    return true;
}

bool batch_line_answer(const struct batch_line *line, const struct outcome *outcome,
                       struct bytes *out)
{
    char response[96], id[BATCH_ID_MAX];
    batch_line_id(line, id);
    snprintf(response, sizeof response,
             ",\"response\":{\"status_code\":%d,\"request_id\":\"%s\",\"body\":", outcome->status,
             id);
    return add_begin(line, out) && add(out, response) && add_body(out, outcome) &&
           add(out, "},\"error\":null}\n");
}

bool batch_line_fault(const struct batch_line *line, struct bytes *out)
{
    json_t *message = json_string(line->message);
    const bool ok = message != NULL && add_begin(line, out) &&
                    add(out, ",\"response\":null,\"error\":{\"code\":\"") && add(out, line->code) &&
                    add(out, "\",\"message\":") && add_string(out, message) && add(out, "}}\n");
    json_decref(message);
    return ok;
}
