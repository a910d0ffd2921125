/* Numbers of JSON: integers of 64 bits, and doubles. */
#include <inttypes.h>
#include <math.h>

#include "base/json_cursor.h"
#include "base/number.h"

static bool is_digit(const struct json_cursor *c)
{
    return json_more(c) && c->text[c->at] >= '0' && c->text[c->at] <= '9';
}

static bool skip_digits(struct json_cursor *c)
{
    if (!is_digit(c)) {
        return json_expected(c, "a digit");
    }
    while (is_digit(c)) {
        c->at++;
    }
    return true;
}

/* Moves behind the part in front of the point. */
static bool skip_whole(struct json_cursor *c)
{
    c->at += json_at(c, '-');
    if (!json_at(c, '0')) {
        return skip_digits(c);
    }
    c->at++;
    return !is_digit(c) || json_expected(c, "no digit behind a 0 at the beginning");
}

/* Moves behind the fraction and the exponent. */
static bool skip_rest(struct json_cursor *c)
{
    if (json_at(c, '.')) {
        c->at++;
        if (!skip_digits(c)) {
            return false;
        }
    }
    if (json_at(c, 'e') || json_at(c, 'E')) {
        c->at++;
        c->at += json_at(c, '+') || json_at(c, '-');
        return skip_digits(c);
    }
    return true;
}

static json_t *integer_of(const struct json_cursor *c, size_t from)
{
    const bool negative = c->text[from] == '-';
    json_int_t value = 0;
    bool fits = true;
    for (size_t i = from + negative; i < c->at && fits; i++) {
        const int digit = c->text[i] - '0';
        fits = !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, negative ? -digit : digit, &value);
    }
    if (!fits) {
        json_fail(c, JSON_FAULT_BEYOND, from,
                  "found an integer beyond 64 bits, expected one from %" PRId64 " to %" PRId64,
                  INT64_MIN, INT64_MAX);
        return NULL;
    }
    json_t *v = json_integer(value);
    return v != NULL || json_no_memory(c) ? v : NULL;
}

static json_t *real_of(struct json_cursor *c, size_t from)
{
    const size_t held = c->held.n;
    if (!json_hold(c, c->text + from, c->at - from)) {
        return NULL;
    }
    const double value = number_read(c->held.data + held, NULL);
    c->held.n = held;
    if (isinf(value)) {
        json_fail(c, JSON_FAULT_BEYOND, from,
                  "found a number beyond those of 64 bits, expected one up to 1.7e308");
        return NULL;
    }
    json_t *v = json_real(value);
    return v != NULL || json_no_memory(c) ? v : NULL;
}

json_t *json_read_number(struct json_cursor *c)
{
    const size_t from = c->at;
    if (!skip_whole(c)) {
        return NULL;
    }
    const size_t whole = c->at;
    if (!skip_rest(c)) {
        return NULL;
    }
    return c->at == whole ? integer_of(c, from) : real_of(c, from);
}
