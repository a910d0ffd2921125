#include "base/number.h"

#include <locale.h>
#include <stdlib.h>

double number_read(const char *text, char **end)
{
    /* The locale "C" is there already: this takes neither memory nor much time. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) {
        return strtod(text, end);
    }
    double value = strtod_l(text, end, plain);
    freelocale(plain);
    return value;
}
