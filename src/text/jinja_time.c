/* strftime(), in English and without a time zone. */
#include "text/jinja_tables.h"

#include <inttypes.h>
#include <stdio.h>

struct date {
    int64_t year;
    int month, day, hour, minute, second; /* month and day from 1 */
    int week_day, year_day;               /* from 0; Sunday is 0 */
};

static int64_t floor_of(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* Turns days since 1970 into a date. The years of this calculation begin in March, so that a leap
 * day is the last one. */
static void set_day(struct date *d, int64_t days)
{
    int64_t shifted = days + 719468, era = floor_of(shifted, 146097);
    int64_t of_era = shifted - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    d->day = (int)(of_year - (153 * month + 2) / 5 + 1);
    d->month = (int)(month < 10 ? month + 3 : month - 9);
    d->year = year + era * 400 + (d->month <= 2);
    d->week_day = (int)(days + 4 - 7 * floor_of(days + 4, 7));
    bool leap = (d->year % 4 == 0 && d->year % 100 != 0) || d->year % 400 == 0;
    d->year_day = (int)(month < 10 ? of_year + 59 + leap : of_year - 306);
}

static struct date date_of(int64_t now)
{
    struct date d = { 0 };
    int64_t days = floor_of(now, 86400), rest = now - days * 86400;
    set_day(&d, days);
    d.hour = (int)(rest / 3600);
    d.minute = (int)(rest / 60 % 60);
    d.second = (int)(rest % 60);
    return d;
}

/* Appends a number of `digits` digits; a flag - leaves out what fills it up. */
static void put(struct jbuf *b, char flag, int64_t n, int digits, char fill)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, n);
    for (size_t len = strlen(text); flag != '-' && len < (size_t)digits; len++) {
        jbuf_add(b, &fill, 1, 0);
    }
    jbuf_text(b, text, 0);
}

static void put_name(struct jbuf *b, const struct date *d, char c)
{
    static const char *const months[] = { "January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December" };
    static const char *const days[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday" };
    bool month = c == 'B' || c == 'b' || c == 'h', whole = c == 'B' || c == 'A';
    const char *name = month ? months[d->month - 1] : days[d->week_day];
    jbuf_add(b, name, whole ? strlen(name) : 3, 0);
}

/* A conversion that stands for others. Returns its format, or NULL. */
static const char *compound(char c)
{
    switch (c) {
    case 'c': return "%a %b %e %H:%M:%S %Y";
    case 'D':
    case 'x': return "%m/%d/%y";
    case 'F': return "%Y-%m-%d";
    case 'R': return "%H:%M";
    case 'r': return "%I:%M:%S %p";
    case 'T':
    case 'X': return "%H:%M:%S";
    default: return NULL;
    }
}

static void put_date(struct jbuf *b, const struct date *d, int64_t now, char flag, char c)
{
    int hour = d->hour % 12 == 0 ? 12 : d->hour % 12;
    switch (c) {
    case 'Y': put(b, flag, d->year, 1, '0'); break;
    case 'y': put(b, flag, d->year % 100, 2, '0'); break;
    case 'C': put(b, flag, d->year / 100, 2, '0'); break;
    case 'm': put(b, flag, d->month, 2, '0'); break;
    case 'd': put(b, flag, d->day, 2, '0'); break;
    case 'e': put(b, flag, d->day, 2, ' '); break;
    case 'H': put(b, flag, d->hour, 2, '0'); break;
    case 'k': put(b, flag, d->hour, 2, ' '); break;
    case 'I': put(b, flag, hour, 2, '0'); break;
    case 'l': put(b, flag, hour, 2, ' '); break;
    case 'M': put(b, flag, d->minute, 2, '0'); break;
    case 'S': put(b, flag, d->second, 2, '0'); break;
    case 'f': put(b, '\0', 0, 6, '0'); break;
    case 'j': put(b, flag, d->year_day + 1, 3, '0'); break;
    case 'u': put(b, flag, d->week_day == 0 ? 7 : d->week_day, 1, '0'); break;
    case 'w': put(b, flag, d->week_day, 1, '0'); break;
    case 'U': put(b, flag, (d->year_day + 7 - d->week_day) / 7, 2, '0'); break;
    case 'W': put(b, flag, (d->year_day + 7 - (d->week_day + 6) % 7) / 7, 2, '0'); break;
    case 's': put(b, flag, now, 1, '0'); break;
    case 'p': jbuf_text(b, d->hour < 12 ? "AM" : "PM", 0); break;
    case 'P': jbuf_text(b, d->hour < 12 ? "am" : "pm", 0); break;
    case 'z':
    case 'Z': break;
    case 'n': jbuf_text(b, "\n", 0); break;
    case 't': jbuf_text(b, "\t", 0); break;
    case '%': jbuf_text(b, "%", 0); break;
    case 'A':
    case 'a':
    case 'B':
    case 'b':
    case 'h': put_name(b, d, c); break;
    default: jfail(b->w, JINJA_RUNTIME, "strftime_now: %%%c is not supported", c);
    }
}

static void put_format(struct jbuf *b, const struct date *d, int64_t now, struct jval format)
{
    for (size_t i = 0; i < format.n; i++) {
        if (format.s[i] != '%' || i + 1 == format.n) {
            jbuf_part(b, format, i, 1);
            continue;
        }
        char flag = format.s[++i];
        i += (flag == '-' || flag == '_') && i + 1 < format.n;
        const char *parts = compound(format.s[i]);
        if (parts != NULL) {
            put_format(b, d, now, jtext(parts)); /* which has no compounds in it */
        } else {
            put_date(b, d, now, flag, format.s[i]);
        }
    }
}

struct jval jstrftime(struct jwork *w, struct jval format, int64_t now)
{
    /* Years of four digits; what is beyond them is shown as the last of them. */
    int64_t least = INT64_C(-62135596800), most = INT64_C(253402300799);
    struct date d = date_of(now < least ? least : now > most ? most : now);
    struct jbuf b = { .w = w };
    put_format(&b, &d, now, format);
    return jbuf_take(&b);
}
