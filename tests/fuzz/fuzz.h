/* Shared by the fuzz targets: a byte string as a file, properties that must hold, a cursor over the
 * input, and measuring time and memory. */
#ifndef FUZZ_H
#define FUZZ_H

#include <sanitizer/allocator_interface.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
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

/* Makes an anonymous file that holds data, and writes its path to path[64]. Closing the descriptor
 * removes it. */
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

/* Takes up to `want` bytes of the input; *n is how many there were. */
static inline const char *fuzz_bytes(struct fuzz_input *in, size_t want, size_t *n)
{
    const uint8_t *at = in->data;
    *n = want < in->n ? want : in->n;
    in->data += *n;
    in->n -= *n;
    return (const char *)at;
}

static inline uint32_t fuzz_u16(struct fuzz_input *in)
{
    uint32_t low = fuzz_byte(in);
    return low | (uint32_t)fuzz_byte(in) << 8;
}

/* Overwrites bytes of data[n] until the input ends; the input says where, how many, and which. */
static inline void fuzz_patch(struct fuzz_input *in, uint8_t *data, size_t n)
{
    while (in->n > 0 && n > 0) {
        size_t at = fuzz_u16(in) | (size_t)fuzz_byte(in) << 16, n_bytes;
        const char *bytes = fuzz_bytes(in, 1 + fuzz_byte(in) % 16, &n_bytes);
        for (size_t i = 0; i < n_bytes; i++) {
            data[(at + i) % n] = (uint8_t)bytes[i];
        }
    }
}

enum { FUZZ_MAX_TEXT = 1 << 16 };

/* Returns the text in front of the first byte 0, in memory of its own, so that reading behind it is
 * noticed; free() it. The bytes behind the 0 say which parts of the text are repeated: the number
 * of parts, and for each its beginning, its length, and how often it is repeated. Repetition finds
 * code that takes too long for many of the same thing. */
static inline char *fuzz_text(struct fuzz_input *in, size_t *n)
{
    const uint8_t *end = in->n > 0 ? memchr(in->data, 0, in->n) : NULL;
    const char *at = fuzz_bytes(in, end != NULL ? (size_t)(end - in->data) : in->n, n);
    char *text = malloc(FUZZ_MAX_TEXT + *n);
    MUST(text != NULL);
    memcpy(text, at, *n);
    fuzz_byte(in);
    for (size_t i = fuzz_byte(in) % 4; i > 0 && *n > 0; i--) {
        size_t from = fuzz_u16(in) % *n, part = 1 + fuzz_byte(in), times = fuzz_u16(in);
        part = part < *n - from ? part : *n - from;
        size_t room = *n < FUZZ_MAX_TEXT ? (FUZZ_MAX_TEXT - *n) / part : 0;
        times = times < room ? times : room;
        memmove(text + from + part * times, text + from, *n - from);
        for (size_t k = 0; k < part * times; k++) {
            text[from + k] = text[from + part * times + k % part];
        }
        *n += part * times;
    }
    char *exact = realloc(text, *n > 0 ? *n : 1);
    MUST(exact != NULL);
    return exact;
}

/* Returns the seconds of this thread, so that the other work of the machine does not count. */
static inline double fuzz_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The bytes that are allocated, and the most that were since fuzz_begin(). All threads are
 * counted. */
static size_t fuzz_live, fuzz_peak;

static inline void fuzz_on_malloc(const volatile void *p, size_t n)
{
    size_t now = p == NULL ? 0 : __atomic_add_fetch(&fuzz_live, n, __ATOMIC_RELAXED);
    fuzz_peak = now > fuzz_peak ? now : fuzz_peak;
}

static inline void fuzz_on_free(const volatile void *p)
{
    if (p != NULL) {
        __atomic_sub_fetch(&fuzz_live, __sanitizer_get_allocated_size(p), __ATOMIC_RELAXED);
    }
}

/* The time and memory used at fuzz_begin(). */
struct fuzz_cost {
    double seconds;
    size_t bytes;
};

static inline struct fuzz_cost fuzz_begin(void)
{
    static bool counted;
    if (!counted) {
        /* Memory from before can be freed too; the counter must not wrap. */
        fuzz_live = __sanitizer_get_current_allocated_bytes() + (1 << 20);
        MUST(__sanitizer_install_malloc_and_free_hooks(fuzz_on_malloc, fuzz_on_free) != 0);
        counted = true;
    }
    fuzz_peak = fuzz_live;
    return (struct fuzz_cost){ fuzz_seconds(), fuzz_live };
}

enum { FUZZ_FIXED_BYTES = 16 << 20, FUZZ_BYTES = 256 };

/* Checks the time and memory that an input of n bytes took. Without sanitizers and counters of
 * coverage a second for each 64 KiB would be allowed; with them it is ten times as much. Memory may
 * be FUZZ_BYTES for each byte. Besides, every input may take a fixed time and a fixed memory. */
static inline void fuzz_end(struct fuzz_cost begin, size_t n)
{
    MUST(fuzz_seconds() - begin.seconds <= 10 * (0.05 + (double)n / 65536));
    MUST(fuzz_peak - begin.bytes <= FUZZ_FIXED_BYTES + FUZZ_BYTES * n);
}

#endif
