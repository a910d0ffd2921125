/* A read-only file in memory: mapped, or read; and the writing of a whole one. */
#ifndef WEFT_FILE_H
#define WEFT_FILE_H

#include "base/error.h"

struct file {
    char *path; /* as given */
    const uint8_t *data;
    size_t n;
    int fd; /* kept open while mapped, to notice a file that shrinks; -1 when read */
    bool mapped;
};

/* Judges a file of n bytes by its first ones: FILE_HEAD, or all n if there are fewer. */
enum { FILE_HEAD = 128 };
typedef weft_status file_judge(void *user, const uint8_t *head, size_t n, weft_error *err);

struct file_how {
    bool use_mmap;
    /* Called before a file that is not mapped is read, however large it is, and before there is
     * memory for it; what it refuses is not read. NULL = nothing is refused. */
    file_judge *judge;
    void *user;
};

/* Maps or reads the regular file at `path`. Errors name the path and the cause. */
weft_status file_open(const char *path, const struct file_how *how, struct file *out,
                      weft_error *err);
void file_close(struct file *f); /* zeroed struct is fine */

/* WEFT_E_IO if a mapped file is now shorter than when it was opened: touching it would be SIGBUS.
 */
weft_status file_check(const struct file *f, weft_error *err);

/* Copies p[n], which lies in the file's data, to dst. A mapped file is read, not touched: if it was
 * cut or its disk fails, that is WEFT_E_IO and no SIGBUS; and many threads do not get into each
 * other's way as with page faults. Any thread. */
weft_status file_read(const struct file *f, const uint8_t *p, size_t n, void *dst, weft_error *err);

/* p[n] is not needed for now: if it lies in a mapped file, its pages leave memory until they are
 * touched again. */
void file_forget(const struct file *f, const uint8_t *p, size_t n);

/* Makes data[n] the content of the regular file at `path`, or leaves what is there: written to a
 * file beside, which takes its name when it is safely on the disk. Its owner alone may read it.
 * WEFT_E_IO names the path and the cause. */
weft_status file_replace(const char *path, const void *data, size_t n, weft_error *err);

#endif
