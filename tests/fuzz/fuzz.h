/* Shared by the fuzz targets: a byte string as a file, a property that must hold, a cursor over the
 * input. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property of the program, not of the input: a violation is a finding. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: violated: %s\n", __FILE__, __LINE__, #condition);              \
            __builtin_trap();                                                                      \
        }                                                                                          \
    } while (0)

/* An anonymous file holding data; its path in path[64]. Close the descriptor to remove it. */
static inline int fuzz_file(const uint8_t *data, size_t n, char *path)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    MUST(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

struct fuzz_input {
    const uint8_t *data;
    size_t n;
};

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    uint8_t b = 0;
    if (in->n > 0) {
        b = in->data[0];
        in->data++;
        in->n--;
    }
    return b;
}

/* Up to `want` bytes of the input; *n is how many there were. */
static inline const char *fuzz_bytes(struct fuzz_input *in, size_t want, size_t *n)
{
    const uint8_t *at = in->data;
    *n = want < in->n ? want : in->n;
    in->data += *n;
    in->n -= *n;
    return (const char *)at;
}

#endif
