#include "cpu/quota.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { PATH = 4096 };

/* Reads the first line of the file dir/name. Returns false if there is none. */
static bool read_line(const char *dir, const char *name, char *line, int cap)
{
    char path[PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    bool ok = f != NULL && fgets(line, cap, f) != NULL;
    if (f != NULL) {
        fclose(f);
    }
    return ok;
}

/* Returns the number of processors that the quota of the folder amounts to. A quota is the
 * microseconds that may be used in each period. Version 2 has both numbers in one file ("max" means
 * no quota), version 1 in two files (-1 means no quota). */
static size_t quota_of(const char *dir)
{
    char line[64];
    long long quota = 0, period = 0;
    if (read_line(dir, "cpu.max", line, sizeof line)) {
        if (sscanf(line, "%lld %lld", &quota, &period) != 2) {
            return 0;
        }
    } else if (!read_line(dir, "cpu.cfs_quota_us", line, sizeof line) ||
               sscanf(line, "%lld", &quota) != 1 ||
               !read_line(dir, "cpu.cfs_period_us", line, sizeof line) ||
               sscanf(line, "%lld", &period) != 1) {
        return 0;
    }
    return quota > 0 && period > 0 ? (size_t)((quota - 1) / period + 1) : 0;
}

static void take_least(size_t *least, size_t n)
{
    *least = n > 0 && (*least == 0 || n < *least) ? n : *least;
}

/* Takes the quotas of a group and of the groups above it, which limit it too. In a container, the
 * path may be the machine's, while only the root of the mount exists. */
static void take_group(size_t *least, const char *mount, const char *group)
{
    char dir[PATH];
    size_t n_mount = strlen(mount);
    if ((size_t)snprintf(dir, sizeof dir, "%s%s", mount, group) >= sizeof dir) {
        return;
    }
    for (;;) {
        take_least(least, quota_of(dir));
        char *slash = strrchr(dir + n_mount, '/');
        if (slash == NULL) {
            return;
        }
        *slash = '\0';
    }
}

/* Returns true if "cpu" is among the names between commas. */
static bool has_cpu(const char *names)
{
    for (const char *at = names; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || at[3] == '\0')) {
            return true;
        }
    }
    return false;
}

size_t quota_cpus(const char *groups, const char *root)
{
    char line[PATH], mount[PATH];
    size_t least = 0;
    FILE *f = fopen(groups, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        /* The line is number:names:path. */
        line[strcspn(line, "\n")] = '\0';
        char *names = strchr(line, ':'), *path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL) {
            continue;
        }
        *path++ = '\0';
        names++;
        if (*names == '\0') {
            take_group(&least, root, path);
        } else if (has_cpu(names) &&
                   (size_t)snprintf(mount, sizeof mount, "%s/%s", root, names) < sizeof mount) {
            take_group(&least, mount, path);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return least;
}
