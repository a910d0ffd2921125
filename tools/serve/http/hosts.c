#include "serve/http/hosts.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* A host's name without brackets and port. */
struct name {
    char text[256];
};

static struct name name_of(const char *host)
{
    struct name name = { "" };
    const char *from = host[0] == '[' ? host + 1 : host;
    size_t n = strcspn(from, host[0] == '[' ? "]" : ":");
    if (n > 0 && n < sizeof name.text) {
        memcpy(name.text, from, n);
        /* "localhost." is the same as "localhost". */
        name.text[n - (from[n - 1] == '.')] = '\0';
    }
    return name;
}

static bool is_address(const char *name)
{
    struct in6_addr out;
    return inet_pton(AF_INET, name, &out) == 1 || inet_pton(AF_INET6, name, &out) == 1;
}

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), n_end = strlen(end);
    return n > n_end && strcasecmp(name + n - n_end, end) == 0;
}

bool host_is_known(const char *host, const char *const *names, size_t n_names)
{
    struct name name = name_of(host);
    const char *n = name.text;
    if (host[0] == '\0') {
        return true; /* no browser leaves it out */
    }
    if (n[0] == '\0') {
        return false;
    }
    if (is_address(n) || strchr(n, '.') == NULL || ends_in(n, ".localhost") ||
        ends_in(n, ".local") || ends_in(n, ".internal")) {
        return true;
    }
    for (size_t i = 0; i < n_names; i++) {
        if (strcasecmp(n, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_local(const char *host)
{
    struct name name = name_of(host);
    struct in_addr four;
    return strcasecmp(name.text, "localhost") == 0 || ends_in(name.text, ".localhost") ||
           strcmp(name.text, "::1") == 0 ||
           (inet_pton(AF_INET, name.text, &four) == 1 && ntohl(four.s_addr) >> 24 == 127);
}

bool origin_is_known(const char *origin, const char *host, const char *const *origins,
                     size_t n_origins)
{
    const char *at = strstr(origin, "://");
    bool is_web = strncasecmp(origin, "http://", 7) == 0 || strncasecmp(origin, "https://", 8) == 0;
    if (is_web && at != NULL && (is_local(at + 3) || strcasecmp(at + 3, host) == 0)) {
        return true;
    }
    for (size_t i = 0; i < n_origins; i++) {
        if (strcmp(origins[i], "*") == 0 || strcasecmp(origins[i], origin) == 0) {
            return true;
        }
    }
    return false;
}

bool text_is_plain(const char *text, size_t most)
{
    size_t n = 0;
    while (n <= most && text[n] > ' ' && text[n] <= '~') {
        n++;
    }
    return n > 0 && n <= most && text[n] == '\0';
}
