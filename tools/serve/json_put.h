/* Writes JSON as formatted text. The first write that finds no memory makes all later ones do
 * nothing, so a caller asks once, at the end. */
#ifndef WEFT_SERVE_JSON_PUT_H
#define WEFT_SERVE_JSON_PUT_H

#include "base/mem.h"

/* Set it to zeros at first; bytes_free(&p->text) at the end. A NUL stands behind the text. */
struct json_put {
    struct bytes text;
    bool failed;
};

/* Appends `fmt`, in which ' stands for ". The conversions take what those of printf() take: %s and
 * %.*s write a JSON string, %zu, %lld and %d an integer, %g a number, %c one byte as
 * it is, and %i is true or false. */
__attribute__((format(printf, 2, 3))) void json_put(struct json_put *p, const char *fmt, ...);
/* Appends text[n] as it is. */
void json_put_raw(struct json_put *p, const char *text, size_t n);
/* Appends text[n] as a JSON string; bytes that are no UTF-8 become U+FFFD. */
void json_put_string(struct json_put *p, const char *text, size_t n);
/* Appends a text as a JSON string; NULL is null. */
void json_put_text(struct json_put *p, const char *text);
/* Appends a number with the digits that a float has. JSON has no infinity: -9999 is written for its
 * negative, as in OpenAI's answers; 0 for what is no number. */
void json_put_number(struct json_put *p, double v);
/* Appends a list of bytes: [104,105]. */
void json_put_bytes(struct json_put *p, const char *text, size_t n);
/* Appends data[n] as a string in base64. */
void json_put_base64(struct json_put *p, const void *data, size_t n);
/* Returns the text, to be freed with free(), or NULL if memory was out. *p is empty then. */
char *json_put_end(struct json_put *p);

#endif
