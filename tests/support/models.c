#include "support/models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "synth/synth.h"

enum { MAX_FILES = 1024 };

static char directory[64];
static char *paths[MAX_FILES];
static char *presets[MAX_FILES]; /* the preset that a path holds, or NULL */
static size_t n_paths;

static void remove_files(void)
{
    DIR *d = opendir(directory);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[sizeof directory + sizeof e->d_name + 1];
        snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
        unlink(path);
    }
    if (d != NULL) {
        closedir(d);
    }
    rmdir(directory);
    for (size_t i = 0; i < n_paths; i++) {
        free(paths[i]);
        free(presets[i]);
    }
}

const char *model_path(const char *name)
{
    if (directory[0] == '\0') {
        snprintf(directory, sizeof directory, "/tmp/weft-test-XXXXXX");
        if (mkdtemp(directory) == NULL) {
            directory[0] = '\0';
            fail_msg("no directory for test files can be made in /tmp");
        }
        atexit(remove_files);
    }
    if (n_paths == MAX_FILES) {
        fail_msg("more than %d test files", MAX_FILES);
    }
    size_t n = strlen(directory) + strlen(name) + 2;
    char *path = malloc(n);
    assert_non_null(path);
    snprintf(path, n, "%s/%s", directory, name);
    paths[n_paths++] = path;
    return path;
}

const char *model_file_of(const struct synth_spec *spec)
{
    char name[64];
    weft_error err;
    snprintf(name, sizeof name, "%zu-%s.gguf", n_paths, spec->arch);
    const char *path = model_path(name);
    if (synth_write(spec, path, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return path;
}

const char *model_file_long(size_t n_short)
{
    struct synth_spec spec;
    assert_true(synth_preset("tiny-phi3", &spec));
    spec.rope_long_short = true;
    spec.rope_scaling_type = "longrope";
    spec.rope_scaling_factor = 1.0f;
    spec.n_ctx_orig = n_short;
    return model_file_of(&spec);
}

const char *model_file(const char *preset)
{
    for (size_t i = 0; i < n_paths; i++) {
        if (presets[i] != NULL && strcmp(presets[i], preset) == 0) {
            return paths[i];
        }
    }
    struct synth_spec spec;
    assert_true(synth_preset(preset, &spec));
    size_t i = n_paths;
    const char *path = model_file_of(&spec);
    presets[i] = strdup(preset);
    assert_non_null(presets[i]);
    return path;
}
