/* Reads the fields of a JSON object by tables. A field that is null counts as absent; fields that
 * no table names are ignored. */
#ifndef WEFT_SERVE_FIELD_H
#define WEFT_SERVE_FIELD_H

#include "serve/fault.h"

enum field_kind {
    FIELD_BOOL,   /* bool */
    FIELD_SWITCH, /* int: 0 or 1, so that the caller can tell absence by another value */
    FIELD_INT32,  /* int32_t */
    FIELD_INT64,  /* int64_t */
    FIELD_FLOAT,  /* float */
    FIELD_TEXT,   /* json_t *, a string */
    FIELD_OBJECT, /* json_t * */
    FIELD_ARRAY,  /* json_t * */
    FIELD_ANY,    /* json_t * of any kind */
    FIELD_WORD,   /* int: the index in `words` */
    /* Asks for something that Weft does not have, unless it is a number from `least` to `most`,
     * false, or empty. Nothing is stored. */
    FIELD_LACKING
};

/* A row of a table. */
struct field {
    const char *name;
    const char *aliases[2]; /* read where the field is absent */
    enum field_kind kind;
    size_t offset; /* of the place in the caller's struct; json_t pointers are borrowed */
    double least, most;
    const char *const *words; /* ends with NULL */
};

/* Reads all fields of a table into *form; what is absent is left as it is. `within` names the
 * object in faults ("stream_options."), or is "". */
bool fields_read(const json_t *object, const char *within, const struct field *fields,
                 size_t n_fields, void *form, struct fault *fault);

/* Writes what a value is, for faults: "\"abc\"", "7", "a list". */
enum { FOUND_MAX = 64 };
void field_found(const json_t *value, char dst[FOUND_MAX]);
/* Sets a fault: `name` is the value, expected something else. Returns false. */
bool field_wrong(struct fault *fault, const char *name, const json_t *value, const char *expected);
/* Returns a field that is there and not null, or NULL. */
json_t *field_get(const json_t *object, const char *name);

#endif
