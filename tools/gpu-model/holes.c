/* Maps and reads files with holes so that a hole costs next to nothing. The linker replaces the
 * library's mmap() and pread() by these functions (--wrap). The system's own calls turn each page
 * of a hole that is read into a page of the file's cache, which takes two seconds per gigabyte. */
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
ssize_t __real_pread(int fd, void *to, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at);

/* Maps pages of zeros, and over them the parts of the file that hold data. */
static void *map_parts(size_t n, int prot, int flags, int fd)
{
    const off_t page = sysconf(_SC_PAGESIZE), size = (off_t)n;
    char *p = __real_mmap(NULL, n, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return p;
    }
    (void)madvise(p, n, MADV_HUGEPAGE); /* only a hint */
    for (off_t end = 0; end < size;) {
        off_t from = lseek(fd, end, SEEK_DATA);
        if (from < 0) {
            break; /* the rest is a hole */
        }
        end = lseek(fd, from, SEEK_HOLE);
        from = from / page * page;
        if (__real_mmap(p + from, (size_t)(end - from), prot, flags | MAP_FIXED, fd, from) ==
            MAP_FAILED) {
            (void)munmap(p, n);
            return MAP_FAILED;
        }
    }
    return p;
}

void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    const bool holes = fd >= 0 && at == NULL && offset == 0 && lseek(fd, 0, SEEK_HOLE) < (off_t)n;
    return holes ? map_parts(n, prot, flags, fd) : __real_mmap(at, n, prot, flags, fd, offset);
}

/* Reads, but a hole leaves `to` as it is: the values of a matrix do not matter here. */
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at)
{
    const off_t end = lseek(fd, 0, SEEK_END), data = lseek(fd, at, SEEK_DATA);
    if (at >= end || data == at) {
        return __real_pread(fd, to, n, at);
    }
    const size_t hole = (size_t)((data < 0 ? end : data) - at);
    return (ssize_t)(n < hole ? n : hole);
}
