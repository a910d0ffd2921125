/* Saved states in files: there is a complete new file or the old one, whatever fails while it is
 * written; and what may stand at a path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/scratch.h"

enum { N_SHORT = 20, N_LONG = 100 };

static struct rig rig;
static weft_seq *brief, *large; /* N_SHORT and N_LONG tokens */
static int32_t tokens[N_LONG];

static int setup(void **state)
{
    rig = rig_open(model_file("tiny-qwen2"), NULL);
    rig_tokens(&rig, 1, tokens, N_LONG);
    brief = rig_fed(&rig, tokens, N_SHORT);
    large = rig_fed(&rig, tokens, N_LONG);
    return scratch_open(state);
}

static int teardown(void **state)
{
    weft_seq_release(&brief);
    weft_seq_release(&large);
    rig_close(&rig);
    return scratch_close(state);
}

static void expect_file(const char *path, size_t n)
{
    weft_seq *seq = rig_seq(&rig, NULL);
    OK(weft_seq_load_file(seq, path, E));
    assert_int_equal(weft_seq_len(seq), n);
    assert_int_equal(weft_seq_pending(seq), 1);
    rig_compute(&rig, seq);
    rig_check(&rig, seq, tokens, n, "from a file");
    weft_seq_release(&seq);
}

/* Returns the number of files in the directory of this path; a failure leaves no file behind. */
static size_t count_files(const char *path)
{
    char name[512];
    size_t n = 0;
    snprintf(name, sizeof name, "%s", path);
    *strrchr(name, '/') = '\0';
    DIR *d = opendir(name);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    closedir(d);
    return n;
}

static void refuse_load(const char *path, weft_status want, const char *word)
{
    weft_seq *seq = rig_fed(&rig, tokens, 7);
    FAILS(want, weft_seq_load_file(seq, path, E));
    rig_message((const char *const[]){ path, word, NULL });
    assert_int_equal(weft_seq_len(seq), 7);
    rig_check(&rig, seq, tokens, 7, "after a refusal");
    weft_seq_release(&seq);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct stat st;
    const char *path = scratch_path("state");
    size_t before = count_files(path);
    OK(weft_seq_save_file(brief, path, E));
    expect_file(path, N_SHORT);
    OK(weft_seq_save_file(large, path, E));
    expect_file(path, N_LONG);
    OK(weft_seq_save_file(brief, path, E));
    expect_file(path, N_SHORT);
    assert_int_equal(count_files(path), before + 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    /* The bytes are those that weft_seq_save() gives. */
    size_t n = 0;
    FAILS(WEFT_E_BUFFER, weft_seq_save(brief, NULL, 0, &n, E));
    assert_int_equal(st.st_size, n);
    assert_int_equal(remove(path), 0);
}

static void test_paths(void **state)
{
    (void)state;
    /* The paths are copied, because those of scratch_path() do not live long enough. */
    char directory[128], pipe[128];
    snprintf(directory, sizeof directory, "%s", scratch_path("directory"));
    snprintf(pipe, sizeof pipe, "%s", scratch_path("pipe"));
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    FAILS(WEFT_E_IO, weft_seq_save_file(brief, directory, E));
    rig_message((const char *const[]){ directory, "a directory", NULL });
    FAILS(WEFT_E_IO, weft_seq_save_file(brief, pipe, E));
    rig_message((const char *const[]){ pipe, "a pipe", NULL });
    FAILS(WEFT_E_IO, weft_seq_save_file(brief, "/dev/full", E));
    rig_message((const char *const[]){ "/dev/full", "a character device", NULL });
    FAILS(WEFT_E_IO, weft_seq_save_file(brief, "/dev/null", E));
    FAILS(WEFT_E_IO, weft_seq_save_file(brief, "", E));
    FAILS(WEFT_E_IO, weft_seq_save_file(brief, scratch_path("none/state"), E));
    rig_message((const char *const[]){ "none/state", "No such file", NULL });
    refuse_load(directory, WEFT_E_IO, "a directory");
    refuse_load(pipe, WEFT_E_IO, "a pipe");
    refuse_load("/dev/zero", WEFT_E_IO, "a character device");
    refuse_load(scratch_path("none"), WEFT_E_IO, "No such file");
    refuse_load(scratch_write("empty", "", 0), WEFT_E_FORMAT, "empty");
    refuse_load(scratch_write("text", "some text", 9), WEFT_E_FORMAT, "no saved state");
    refuse_load(scratch_write("magic", "WEFTSEQ", 8), WEFT_E_FORMAT, "cut");
    refuse_load(model_file("tiny-qwen2"), WEFT_E_FORMAT, "no saved state");
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(remove(pipe), 0);
}

/* The disk is full, which is simulated by a limit on the size of files: at the first byte, in the
 * middle, at the last byte. */
static void test_full(void **state)
{
    (void)state;
    struct rlimit old, limit;
    size_t n = 0;
    const char *path = scratch_path("state");
    OK(weft_seq_save_file(brief, path, E));
    FAILS(WEFT_E_BUFFER, weft_seq_save(large, NULL, 0, &n, E));
    size_t before = count_files(path);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const size_t limits[] = { 0, n / 2, n - 1 };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        limit = (struct rlimit){ limits[i], old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        weft_status status = weft_seq_save_file(large, path, E);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, WEFT_E_IO);
        rig_message((const char *const[]){ path, "writing", strerror(EFBIG), NULL });
        assert_int_equal(count_files(path), before);
        expect_file(path, N_SHORT);
    }
    limit = (struct rlimit){ n, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    weft_status status = weft_seq_save_file(large, path, E);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, WEFT_OK);
    expect_file(path, N_LONG);
    assert_int_equal(remove(path), 0);
}

/* This user may not write in the directory. root may write everywhere, so root becomes nobody. */
static void test_no_permission(void **state)
{
    (void)state;
    const char *directory = scratch_path("locked"), *path = scratch_path("locked/state");
    assert_int_equal(mkdir(directory, 0700), 0);
    OK(weft_seq_save_file(brief, path, E));
    assert_int_equal(chmod(directory, 0500), 0);
    uid_t user = geteuid();
    if (user == 0 && seteuid(65534) != 0) {
        assert_int_equal(remove(path), 0);
        assert_int_equal(rmdir(directory), 0);
        skip();
    }
    weft_status status = weft_seq_save_file(large, path, E);
    if (user == 0) {
        assert_int_equal(seteuid(0), 0);
    }
    assert_int_equal(status, WEFT_E_IO);
    rig_message((const char *const[]){ path, "Permission denied", NULL });
    assert_int_equal(count_files(path), 1);
    expect_file(path, N_SHORT);
    assert_int_equal(chmod(directory, 0700), 0);
    assert_int_equal(remove(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

/* One handle on the model writes the file while another one reads it. The reader always sees one of
 * the two states, and sees it whole. */
static void test_replaced_while_read(void **state)
{
    (void)state;
    const char *path = scratch_path("state");
    OK(weft_seq_save_file(brief, path, E));
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    OK(weft_seq_save_file(large, path, E));
    /* A reader that has the old file open still has it. */
    size_t n = 0;
    FAILS(WEFT_E_BUFFER, weft_seq_save(brief, NULL, 0, &n, E));
    uint8_t *data = malloc(n);
    assert_int_equal(fread(data, 1, n, f), n);
    fclose(f);
    weft_seq *seq = rig_seq(&rig, NULL);
    OK(weft_seq_load(seq, data, n, E));
    assert_int_equal(weft_seq_len(seq), N_SHORT);
    weft_seq_release(&seq);
    free(data);
    assert_int_equal(remove(path), 0);
}

/* Files whose first bytes or size are wrong are not read: they are larger than any memory. */
static void test_head(void **state)
{
    (void)state;
    enum { TERABYTE_BITS = 40, HEADER = 80 };
    const off_t huge = (off_t)1 << TERABYTE_BITS;
    uint8_t head[HEADER + 8 * N_SHORT];
    char path[128];
    size_t n = 0;
    FAILS(WEFT_E_BUFFER, weft_seq_save(brief, NULL, 0, &n, E));
    uint8_t *data = malloc(n);
    OK(weft_seq_save(brief, data, n, NULL, E));
    memcpy(head, data, sizeof head);
    free(data);
    const uint64_t tokens_for_huge = ((uint64_t)huge - HEADER - 8) / 4;
    const struct {
        size_t at, bytes;
        uint64_t value;
        off_t size;
        weft_status want;
        const char *word;
    } lies[] = {
        { 0, 1, 'X', huge, WEFT_E_FORMAT, "no saved state" },
        { 8, 4, 7, huge, WEFT_E_UNSUPPORTED, "version 7" },
        { 16, 8, 1, (off_t)n, WEFT_E_ARG, "fingerprint" },
        { 8, 4, 1, huge, WEFT_E_FORMAT, "contradicts" },
        { 8, 4, 1, (off_t)n - 1, WEFT_E_FORMAT, "was cut" },
        { 64, 8, N_SHORT + 1, (off_t)n, WEFT_E_FORMAT, "was cut" },
        { 72, 8, N_SHORT + 1, (off_t)n, WEFT_E_FORMAT, "contradicts" },
        { 64, 8, UINT64_MAX, huge, WEFT_E_FORMAT, "contradicts" },
        /* The file is as long as its header says, but longer than any context. */
        { 64, 16, tokens_for_huge, huge, WEFT_E_CTX_FULL, "the context is" },
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint8_t lie[sizeof head];
        const uint64_t value[2] = { lies[i].value, 0 };
        memcpy(lie, head, sizeof lie);
        memcpy(lie + lies[i].at, value, lies[i].bytes);
        snprintf(path, sizeof path, "%s", scratch_write("huge", lie, sizeof lie));
        if (truncate(path, lies[i].size) != 0) {
            /* This file system allows small files only. */
            assert_int_equal(errno, EFBIG);
            assert_int_equal(truncate(path, (off_t)6 << 30), 0);
        }
        refuse_load(path, lies[i].want, lies[i].word);
    }
    assert_int_equal(remove(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_no_permission),
        cmocka_unit_test(test_replaced_while_read),
        cmocka_unit_test(test_head),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
