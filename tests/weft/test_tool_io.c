/* What the program `weft` reads and writes, while each call to the operating system fails once:
 * interrupted and short calls are not noticed, anything else is an exit code and a message, and no
 * descriptor is left open. The program is linked with --wrap for these calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "support/scratch.h"
#include "weft/io.h"
#include "weft/term.h"

enum { SHORT = -1, NOTHING = -2, N_BYTES = 200000 };

static struct {
    bool armed;
    int how; /* SHORT, NOTHING or an errno */
    size_t at, n, n_polls;
    char out[N_BYTES];
    size_t n_out;
} os;

static int fails(void) { return os.armed && os.n++ == os.at ? os.how : 0; }

ssize_t __real_read(int fd, void *dst, size_t n);
ssize_t __real_write(int fd, const void *src, size_t n);
ssize_t __wrap_read(int fd, void *dst, size_t n);
ssize_t __wrap_write(int fd, const void *src, size_t n);
int __wrap_poll(struct pollfd *fds, nfds_t n, int milliseconds);

ssize_t __wrap_read(int fd, void *dst, size_t n)
{
    int how = fails();
    errno = how > 0 ? how : errno;
    return how > 0 ? -1 : __real_read(fd, dst, how == SHORT ? 1 : n);
}

/* Standard output is kept in os.out. Like a pipe, it takes at most so many bytes at a time. */
ssize_t __wrap_write(int fd, const void *src, size_t n)
{
    if (fd != STDOUT_FILENO || !os.armed) {
        return __real_write(fd, src, n);
    }
    int how = fails();
    n = how == NOTHING ? 0 : how == SHORT ? 1 : n < 65536 ? n : 65536;
    errno = how > 0 ? how : errno;
    if (how > 0) {
        return -1;
    }
    assert_in_range(os.n_out + n, 0, N_BYTES);
    memcpy(os.out + os.n_out, src, n);
    os.n_out += n;
    return (ssize_t)n;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int milliseconds)
{
    assert_int_equal(n, 1);
    assert_int_equal(fds->events, POLLOUT);
    assert_int_equal(milliseconds, -1);
    os.n_polls++;
    return 1;
}

static size_t count_fds(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n;
}

static void arm(int how, size_t at)
{
    os.how = how;
    os.at = at;
    os.n = os.n_out = os.n_polls = 0;
    os.armed = true;
}

static const struct {
    int how;
    bool seen; /* the reader or writer must notice it */
} faults[] = {
    { EINTR, false }, { SHORT, false }, { EIO, true }, { ENOSPC, true }, { EPIPE, true }
};
enum { N_FAULTS = sizeof faults / sizeof faults[0] };

static char bytes[N_BYTES];

static void test_read(void **state)
{
    (void)state;
    const char *path = scratch_write("bytes", bytes, N_BYTES);
    size_t n_fds = count_fds(), n_tried = 0;
    struct bytes got = { 0 };
    arm(0, SIZE_MAX);
    assert_int_equal(io_read(path, &io_text, &got), EXIT_OK);
    bytes_free(&got);
    const size_t n_calls = os.n;
    for (size_t i = 0; i < N_FAULTS; i++) {
        for (size_t at = 0; at < n_calls; at++, n_tried++) {
            arm(faults[i].how, at);
            assert_int_equal(io_read(path, &io_text, &got),
                             faults[i].seen ? EXIT_RUNTIME : EXIT_OK);
            os.armed = false;
            assert_int_equal(count_fds(), n_fds);
            assert_true(got.n == N_BYTES || faults[i].seen);
            assert_memory_equal(got.data, bytes, got.n);
            bytes_free(&got);
        }
    }
    print_message("%zu faults while reading\n", n_tried);
    assert_true(n_tried > 15);
}

static void test_write(void **state)
{
    (void)state;
    size_t n_tried = 0;
    for (size_t at = 0; at < 4; at++) {
        for (size_t i = 0; i < N_FAULTS; i++, n_tried++) {
            arm(faults[i].how, at);
            int code = io_write(bytes, N_BYTES);
            os.armed = false;
            assert_int_equal(code, faults[i].seen ? EXIT_RUNTIME : EXIT_OK);
            assert_int_equal(os.n_out, faults[i].seen ? at * 65536 : N_BYTES);
            assert_memory_equal(os.out, bytes, os.n_out);
            assert_int_equal(os.n_polls, 0);
        }
        /* The program waits until there is room again. */
        arm(EAGAIN, at);
        assert_int_equal(io_write(bytes, N_BYTES), EXIT_OK);
        assert_int_equal(os.n_polls, 1);
        assert_memory_equal(os.out, bytes, N_BYTES);
        arm(NOTHING, at);
        assert_int_equal(io_write(bytes, N_BYTES), EXIT_RUNTIME);
        os.armed = false;
        n_tried += 2;
    }
    print_message("%zu faults while writing\n", n_tried);
    assert_true(io_failed());
}

static int setup(void **state)
{
    for (size_t i = 0; i < N_BYTES; i++) {
        bytes[i] = (char)(i * 7 + i / 256);
    }
    return scratch_open(state);
}

/* A file with exactly as many bytes as are allowed, and a file with one byte more. */
static void test_limits(void **state)
{
    (void)state;
    const struct io_limit limit = { "a thing", 2 << 20, "make it smaller" };
    static char data[(2 << 20) + 1];
    for (size_t more = 0; more < 2; more++) {
        struct bytes got = { 0 };
        const char *path = scratch_write("limit", data, sizeof data - 1 + more);
        /* The bytes that are already there do not count. */
        assert_true(text_add(&got, "before", 6));
        assert_int_equal(io_read(path, &limit, &got), more ? EXIT_USAGE : EXIT_OK);
        assert_true(more || got.n == 6 + sizeof data - 1);
        bytes_free(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_read), cmocka_unit_test(test_write),
                                        cmocka_unit_test(test_limits) };
    return cmocka_run_group_tests(tests, setup, scratch_close);
}
