/* A read-only file in memory, mapped or read, and the writing of a whole file. */
#ifndef WEFT_FILE_H
#define WEFT_FILE_H

#include "base/error.h"

struct file {
    char *path; /* as given */
    const uint8_t *data;
    size_t n;
    /* Stays open while the file is mapped, to notice that it shrinks; -1 if the file was read. */
    int fd;
    bool mapped;
};

/* Judges a file of n bytes by its first FILE_HEAD bytes, or by all n if there are fewer. */
enum { FILE_HEAD = 128 };
typedef weft_status file_judge(void *user, const uint8_t *head, size_t n, weft_error *err);

struct file_how {
    bool use_mmap;
    /* Called before a file that is not mapped is read, however large it is, and before memory is
     * taken for it. If it refuses the file, the file is not read. NULL = nothing is refused. */
    file_judge *judge;
    void *user;
};

/* Maps or reads the regular file at `path`. Errors name the path and the cause. */
weft_status file_open(const char *path, const struct file_how *how, struct file *out,
                      weft_error *err);
/* Accepts a zeroed struct. */
void file_close(struct file *f);

/* Returns WEFT_E_IO if a mapped file is shorter than when it was opened: touching its data would
 * raise SIGBUS. */
weft_status file_check(const struct file *f, weft_error *err);

/* Copies p[n], which lies in the file's data, to dst. Even a mapped file is read by read calls: if
 * it was cut or its disk fails, the result is WEFT_E_IO instead of SIGBUS, and many threads do not
 * hinder each other as they do with page faults. Any thread may call it. */
weft_status file_read(const struct file *f, const uint8_t *p, size_t n, void *dst, weft_error *err);

/* p[n] is not needed for now. If it lies in a mapped file, its pages leave memory until they are
 * touched again. */
void file_forget(const struct file *f, const uint8_t *p, size_t n);

/* Makes data[n] the content of the regular file at `path`; if that fails, the old content stays.
 * The data is written to a file beside it, which takes its name once it is safely on the disk. Only
 * the owner may read the file. WEFT_E_IO names the path and the cause. */
weft_status file_replace(const char *path, const void *data, size_t n, weft_error *err);

#endif
