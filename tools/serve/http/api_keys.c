#include "serve/http/api_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool api_keys_add(struct api_keys *keys, const char *name, const char *text)
{
    char number[32];
    snprintf(number, sizeof number, "key%zu", keys->n + 1);
    struct api_key *at = realloc(keys->at, (keys->n + 1) * sizeof *at);
    if (at == NULL) {
        return false;
    }
    keys->at = at;
    struct api_key *key = &at[keys->n];
    key->name = strdup(name != NULL ? name : number);
    key->text = strdup(text);
    if (key->name == NULL || key->text == NULL) {
        free(key->name);
        free(key->text);
        return false;
    }
    keys->n++;
    return true;
}

int api_keys_read(struct api_keys *keys, char *text)
{
    static const char spaces[] = " \t\r";
    int number = 0;
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        char *rest = NULL, *first = strtok_r(line, spaces, &rest);
        number++;
        if (first == NULL || first[0] == '#') {
            continue;
        }
        char *second = strtok_r(NULL, spaces, &rest);
        if (second != NULL && strtok_r(NULL, spaces, &rest) != NULL) {
            return number;
        }
        if (!api_keys_add(keys, second != NULL ? first : NULL, second != NULL ? second : first)) {
            return -1;
        }
    }
    return 0;
}

void api_keys_free(struct api_keys *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        free(keys->at[i].name);
        free(keys->at[i].text);
    }
    free(keys->at);
    *keys = (struct api_keys){ .n = 0 };
}

/* Looks at all bytes of `text`, also behind the first difference. */
static bool equal(const char *key, const char *text, size_t n)
{
    size_t n_key = strlen(key), different = n_key ^ n;
    for (size_t i = 0; i < n; i++) {
        /* The zero behind the key is compared too, so the index is never out of range. */
        different |= (size_t)(unsigned char)(key[i % (n_key + 1)] ^ text[i]);
    }
    return different == 0;
}

const struct api_key *api_keys_find(const struct api_keys *keys, const char *text)
{
    const struct api_key *found = NULL;
    size_t n = strlen(text);
    for (size_t i = 0; i < keys->n; i++) {
        found = equal(keys->at[i].text, text, n) ? &keys->at[i] : found;
    }
    return n > 0 ? found : NULL;
}
