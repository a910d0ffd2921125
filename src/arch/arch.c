#include "arch/describe.h"

#include <string.h>

static const struct arch *const archs[] = { &arch_llama,   &arch_phi3,  &arch_qwen2,
                                            &arch_qwen2vl, &arch_qwen3, &arch_qwen3vl };

const struct arch *arch_at(size_t i)
{
    return i < sizeof archs / sizeof archs[0] ? archs[i] : NULL;
}

const struct arch *arch_find(const char *name, size_t n)
{
    for (size_t i = 0; arch_at(i) != NULL; i++) {
        if (strlen(archs[i]->name) == n && memcmp(archs[i]->name, name, n) == 0) {
            return archs[i];
        }
    }
    return NULL;
}
