#include "serve/batch_done.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/json_read.h"
#include "serve/lines.h"

enum { MIN_MARKS = 64 };

/* ---------------------------------------------------------------- the table */

static struct batch_mark mark_of(const struct batch_done *done, const char *text, size_t n)
{
    struct batch_mark mark = { { hash_bytes(&done->seeds[0], text, n),
                                 hash_bytes(&done->seeds[1], text, n) } };
    /* Both 0 would be a free place. */
    mark.at[0] |= 1;
    return mark;
}

/* Returns the place of the mark, or the free place where it belongs. */
static struct batch_mark *find(const struct batch_done *done, struct batch_mark mark)
{
    size_t i = (size_t)mark.at[1] & (done->cap - 1);
    while (done->marks[i].at[0] != 0 &&
           (done->marks[i].at[0] != mark.at[0] || done->marks[i].at[1] != mark.at[1])) {
        i = (i + 1) & (done->cap - 1);
    }
    return &done->marks[i];
}

/* Makes room for one more. */
static bool grow(struct batch_done *done)
{
    const struct batch_done old = *done;
    if (done->cap == 0) {
        done->seeds[0] = hash_seed_draw();
        done->seeds[1] = hash_seed_draw();
    } else if (done->n < done->cap / 2) {
        return true;
    }
    const size_t cap = old.cap > 0 ? old.cap * 2 : MIN_MARKS;
    done->marks = mem_array(cap, sizeof *done->marks);
    if (done->marks == NULL) {
        done->marks = old.marks;
        return false;
    }
    done->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.marks[i].at[0] != 0) {
            *find(done, old.marks[i]) = old.marks[i];
        }
    }
    free(old.marks);
    return true;
}

static bool add(struct batch_done *done, const char *text, size_t n)
{
    if (!grow(done)) {
        return false;
    }
    const struct batch_mark mark = mark_of(done, text, n);
    struct batch_mark *place = find(done, mark);
    done->n += place->at[0] == 0;
    *place = mark;
    return true;
}

void batch_done_free(struct batch_done *done)
{
    free(done->marks);
    *done = (struct batch_done){ 0 };
}

/* What names a line: its custom_id with its quotes, which no id has, or its id in the output. */
static bool name_of(const json_t *custom_id, const char *id, struct bytes *name)
{
    name->n = 0;
    return custom_id != NULL
               ? text_add(name, "\"", 1) &&
                     text_add(name, json_string_value(custom_id), json_string_length(custom_id))
               : text_add(name, id, strlen(id));
}

bool batch_done_has(const struct batch_done *done, const struct batch_line *line)
{
    char id[BATCH_ID_MAX];
    struct bytes name = { 0 };
    batch_line_id(line, id);
    const bool has = done->n > 0 && name_of(line->custom_id, id, &name) &&
                     find(done, mark_of(done, name.data, name.n))->at[0] != 0;
    bytes_free(&name);
    return has;
}

/* ---------------------------------------------------------------- the file */

static bool is_ours(const char *line, size_t n)
{
    const size_t begin = size_min(n, strlen(BATCH_LINE_BEGIN));
    return memcmp(line, BATCH_LINE_BEGIN, begin) == 0;
}

static bool has_failed(const json_t *line)
{
    const json_t *status = json_object_get(json_object_get(line, "response"), "status_code");
    return json_integer_value(status) != 200;
}

/* Returns 0, ENOMEM, or EINVAL if this is no line of an output. */
static int add_line(struct batch_done *done, const char *text, size_t n)
{
    struct json_fault why;
    struct bytes name = { 0 };
    if (!is_ours(text, n)) {
        return EINVAL;
    }
    json_t *line = json_parse(text, n, JSON_READ_DEPTH, JSON_READ_NUL, &why);
    if (line == NULL) {
        return why.kind == JSON_FAULT_MEMORY ? ENOMEM : EINVAL;
    }
    const json_t *custom_id = json_object_get(line, "custom_id");
    const char *id = json_string_value(json_object_get(line, "id"));
    const bool ok = id != NULL &&
                    name_of(json_is_string(custom_id) ? custom_id : NULL, id, &name) &&
                    add(done, name.data, name.n);
    done->n_failed += has_failed(line);
    bytes_free(&name);
    json_decref(line);
    return ok ? 0 : id == NULL ? EINVAL : ENOMEM;
}

/* Reads all whole lines. *whole is where they end. */
static int read_lines(struct batch_done *done, struct lines *l, uint64_t *whole)
{
    const char *text;
    size_t n;
    int error = 0;
    for (*whole = 0; error == 0; *whole = l->offset) {
        enum lines_state state = lines_next(l, &text, &n);
        while (state == LINES_MORE && error == 0) {
            error = lines_fill(l);
            state = error == 0 ? lines_next(l, &text, &n) : LINES_END;
        }
        if (state == LINES_END) {
            break;
        }
        if (l->open) {
            return is_ours(text, n) ? 0 : EINVAL;
        }
        error = n > 0 ? add_line(done, text, n) : 0;
    }
    return error;
}

enum batch_done_status batch_done_read(struct batch_done *done, int fd, uint64_t *line, int *error)
{
    struct lines l = { .fd = fd, .max = SIZE_MAX };
    uint64_t whole = 0;
    *error = lseek(fd, 0, SEEK_SET) != 0 ? errno : read_lines(done, &l, &whole);
    if (*error == 0 && l.open) {
        *error = ftruncate(fd, (off_t)whole) != 0 ? errno : 0;
    }
    *line = l.number;
    lines_free(&l);
    return *error == 0 ? BATCH_DONE_OK : *error == EINVAL ? BATCH_DONE_STRANGE : BATCH_DONE_FAILED;
}
