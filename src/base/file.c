/* Whole files. A mapped file takes no memory of its own and opens at once. A file that was read
 * cannot be damaged by somebody who truncates it. Opening never blocks, and opens only regular
 * files. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* A file that is read gets the alignment of a mapped file, so that its tensor data is aligned. */
#define READ_ALIGN 4096

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
                            : "no regular file";
}

/* Repeats a call that a signal has interrupted. On network and user-space file systems that can be
 * any call. */
#define RETRY(result, call)                                                                        \
    do {                                                                                           \
        (result) = (call);                                                                         \
    } while ((result) < 0 && errno == EINTR)

static int stat_fd(int fd, struct stat *st)
{
    int failed;
    RETRY(failed, fstat(fd, st));
    return failed;
}

/* Writes the size of the regular file behind fd to *n. */
static weft_status stat_file(int fd, const char *path, size_t *n, weft_error *err)
{
    struct stat st;
    if (stat_fd(fd, &st) != 0) {
        return error_set(err, WEFT_E_IO, "%s: cannot be examined: %s", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(err, WEFT_E_IO, "%s is %s; a regular file is expected", path,
                         kind_of(st.st_mode));
    }
    if (st.st_size <= 0) {
        return error_set(err, WEFT_E_FORMAT, "%s is empty (0 bytes); was the download interrupted?",
                         path);
    }
    if ((uint64_t)st.st_size > PTRDIFF_MAX) {
        return error_set(err, WEFT_E_NOMEM, "%s: %llu bytes do not fit into the address space",
                         path, (unsigned long long)st.st_size);
    }
    *n = (size_t)st.st_size;
    return WEFT_OK;
}

static weft_status read_failed(const struct file *f, size_t at, const char *why, weft_error *err)
{
    return error_set(err, WEFT_E_IO, "%s: reading at byte %zu failed: %s", f->path, at, why);
}

/* Reads bytes [from, to) of the file to their place in dst; read() may return less than asked. */
static weft_status read_range(int fd, const struct file *f, uint8_t *dst, size_t from, size_t to,
                              weft_error *err)
{
    size_t at = from;
    while (at < to) {
        size_t want = to - at < ((size_t)1 << 30) ? to - at : (size_t)1 << 30;
        ssize_t got;
        RETRY(got, read(fd, dst + at, want));
        if (got < 0) {
            return read_failed(f, at, strerror(errno), err);
        }
        if (got == 0) {
            return error_set(err, WEFT_E_IO,
                             "%s ended at byte %zu while being read, but had %zu bytes before; is "
                             "another program writing it?",
                             f->path, at, f->n);
        }
        at += (size_t)got;
    }
    return WEFT_OK;
}

weft_status file_read(const struct file *f, const uint8_t *p, size_t n, void *dst, weft_error *err)
{
    if (!f->mapped) {
        memcpy(dst, p, n);
        return WEFT_OK;
    }
    size_t first = (size_t)(p - f->data), at = 0;
    while (at < n) {
        ssize_t got;
        RETRY(got, pread(f->fd, (uint8_t *)dst + at, n - at, (off_t)(first + at)));
        if (got < 0) {
            return read_failed(f, first + at, strerror(errno), err);
        }
        if (got == 0) {
            return error_set(err, WEFT_E_IO,
                             "%s ends before byte %zu, but had %zu bytes when it was opened; open "
                             "it again",
                             f->path, first + at, f->n);
        }
        at += (size_t)got;
    }
    return WEFT_OK;
}

static weft_status map_file(int fd, struct file *f, weft_error *err)
{
    void *p = mmap(NULL, f->n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        return error_set(err, WEFT_E_IO, "%s: %zu bytes cannot be mapped: %s; try no_mmap", f->path,
                         f->n, strerror(errno));
    }
    f->data = p;
    f->fd = fd;
    f->mapped = true;
    return WEFT_OK;
}

static weft_status read_file(int fd, const struct file_how *how, struct file *f, weft_error *err)
{
    uint8_t head[FILE_HEAD];
    size_t n_head = size_min(f->n, FILE_HEAD);
    TRY(read_range(fd, f, head, 0, n_head, err));
    if (how->judge != NULL) {
        TRY(how->judge(how->user, head, f->n, err));
    }
    void *buf = NULL;
    if (posix_memalign(&buf, READ_ALIGN, f->n) != 0) {
        return error_nomem(err, f->path, f->n);
    }
    memcpy(buf, head, n_head);
    weft_status status = read_range(fd, f, buf, n_head, f->n, err);
    if (status != WEFT_OK) {
        free(buf);
        return status;
    }
    f->data = buf;
    return WEFT_OK;
}

static weft_status load(int fd, const struct file_how *how, struct file *f, weft_error *err)
{
    TRY(stat_file(fd, f->path, &f->n, err));
    return how->use_mmap ? map_file(fd, f, err) : read_file(fd, how, f, err);
}

weft_status file_open(const char *path, const struct file_how *how, struct file *out,
                      weft_error *err)
{
    struct file f = { .fd = -1 };
    /* Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever. Regular files
     * ignore the flag. */
    int fd;
    RETRY(fd, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (fd < 0) {
        return error_set(err, WEFT_E_IO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    f.path = strdup(path);
    weft_status status =
        f.path == NULL ? error_nomem(err, "a path", strlen(path)) : load(fd, how, &f, err);
    if (!f.mapped) {
        close(fd);
    }
    if (status != WEFT_OK) {
        free(f.path);
        return status;
    }
    *out = f;
    return WEFT_OK;
}

void file_close(struct file *f)
{
    if (f->mapped) {
        munmap((void *)(uintptr_t)f->data, f->n);
        close(f->fd);
    } else {
        free((void *)(uintptr_t)f->data);
    }
    free(f->path);
    *f = (struct file){ .fd = -1 };
}

void file_forget(const struct file *f, const uint8_t *p, size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (f->mapped && p >= f->data && p + n <= f->data + f->n) {
        size_t first = round_up((size_t)(p - f->data), page);
        size_t end = (size_t)(p + n - f->data) / page * page;
        if (first < end) {
            (void)madvise((void *)(uintptr_t)(f->data + first), end - first, MADV_DONTNEED);
        }
    }
}

weft_status file_check(const struct file *f, weft_error *err)
{
    if (!f->mapped) {
        return WEFT_OK;
    }
    struct stat st;
    if (stat_fd(f->fd, &st) != 0) {
        return error_set(err, WEFT_E_IO, "%s: cannot be examined: %s", f->path, strerror(errno));
    }
    if (st.st_size < 0 || (uint64_t)st.st_size < f->n) {
        return error_set(err, WEFT_E_IO,
                         "%s has shrunk to %lld bytes since it was opened with %zu; open it again",
                         f->path, (long long)st.st_size, f->n);
    }
    return WEFT_OK;
}

static weft_status write_failed(const char *path, size_t n, size_t at, const char *why,
                                weft_error *err)
{
    return error_set(err, WEFT_E_IO, "%s: writing %zu bytes failed at byte %zu: %s", path, n, at,
                     why);
}

/* Writes data[n]; write() may take less than asked. */
static weft_status write_all(int fd, const char *path, const uint8_t *data, size_t n,
                             weft_error *err)
{
    size_t at = 0;
    while (at < n) {
        size_t want = n - at < ((size_t)1 << 30) ? n - at : (size_t)1 << 30;
        ssize_t put;
        RETRY(put, write(fd, data + at, want));
        if (put <= 0) {
            return write_failed(path, n, at, put < 0 ? strerror(errno) : "nothing was taken", err);
        }
        at += (size_t)put;
    }
    int failed;
    RETRY(failed, fsync(fd));
    return failed ? write_failed(path, n, n, strerror(errno), err) : WEFT_OK;
}

/* Makes a new file; the last six letters of `beside` become the letters of its name. */
static int make_file(char *beside)
{
    char *letters = beside + strlen(beside) - 6;
    int fd;
    /* a call that fails may have replaced the letters */
    RETRY(fd, (memcpy(letters, "XXXXXX", 6), mkostemp(beside, O_CLOEXEC)));
    return fd;
}

/* Writes a new file beside `path` and renames it to `path`. The name of the new file is `beside`
 * with its last six letters replaced. */
static weft_status write_beside(const char *path, char *beside, const void *data, size_t n,
                                weft_error *err)
{
    int fd = make_file(beside), failed;
    if (fd < 0) {
        return error_set(err, WEFT_E_IO, "%s: no file can be made there: %s", path,
                         strerror(errno));
    }
    weft_status status = write_all(fd, path, data, n, err);
    /* Even if close() is interrupted, the file is closed, and the data is on the disk. */
    if (close(fd) != 0 && errno != EINTR && status == WEFT_OK) {
        status =
            error_set(err, WEFT_E_IO, "%s: closing the file failed: %s", path, strerror(errno));
    }
    if (status == WEFT_OK) {
        RETRY(failed, rename(beside, path));
        if (failed) {
            status = error_set(err, WEFT_E_IO,
                               "%s: the new file, which was written beside, cannot take this "
                               "name: %s",
                               path, strerror(errno));
        }
    }
    if (status != WEFT_OK) {
        RETRY(failed, unlink(beside));
    }
    return status;
}

weft_status file_replace(const char *path, const void *data, size_t n, weft_error *err)
{
    static const char ending[] = ".XXXXXX";
    struct stat st;
    int failed;
    RETRY(failed, stat(path, &st));
    /* A path that cannot be examined might be a pipe or a device, which a rename would replace. */
    if (failed && errno != ENOENT) {
        return error_set(err, WEFT_E_IO, "%s: cannot be examined: %s", path, strerror(errno));
    }
    if (!failed && !S_ISREG(st.st_mode)) {
        return error_set(err, WEFT_E_IO, "%s is %s; a regular file is expected", path,
                         kind_of(st.st_mode));
    }
    size_t bytes = strlen(path) + sizeof ending;
    char *beside = malloc(bytes);
    if (beside == NULL) {
        return error_nomem(err, "a path", bytes);
    }
    snprintf(beside, bytes, "%s%s", path, ending);
    weft_status status = write_beside(path, beside, data, n, err);
    free(beside);
    return status;
}
