#include "weft/paste.h"

#ifdef HAVE_LIBEDIT
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

static bool wanted, under_way;

bool paste_under_way(void) { return under_way; }

void paste_bracket(bool on)
{
    if (wanted) {
        ssize_t n = write(STDOUT_FILENO, on ? "\033[?2004h" : "\033[?2004l", 8);
        (void)n; /* the reader notices a terminal that has gone */
    }
}

/* The characters of a pasted text. */
struct pasted {
    wchar_t *text;
    size_t n, cap;
};

static bool add(struct pasted *p, wchar_t c)
{
    if (p->n + 1 >= p->cap) {
        size_t cap = p->cap * 2 + 256;
        wchar_t *text = cap > SIZE_MAX / sizeof *text ? NULL : realloc(p->text, cap * sizeof *text);
        if (text == NULL) {
            return false;
        }
        p->text = text;
        p->cap = cap;
    }
    p->text[p->n++] = c;
    p->text[p->n] = L'\0';
    return true;
}

/* Adds a character that is shown and sent: line ends become newlines, and of the other control
 * characters only tabs are kept. */
static bool add_shown(struct pasted *p, wchar_t c)
{
    c = c == L'\r' ? L'\n' : c;
    bool hidden = (c < 0x20 && c != L'\n' && c != L'\t') || (c >= 0x7f && c < 0xa0);
    return hidden || add(p, c);
}

/* Reads up to the end mark, ESC [ 2 0 1 ~, which cannot be part of the text. Returns false if
 * memory is out or the input ends, as after Ctrl-C. */
static bool read_pasted(EditLine *edit, struct pasted *p)
{
    static const wchar_t end[] = L"\033[201~";
    size_t matched = 0;
    wchar_t c;
    while (end[matched] != L'\0') {
        if (el_wgetc(edit, &c) != 1) {
            return false;
        }
        if (c == end[matched]) {
            matched++;
            continue;
        }
        for (size_t i = 0; i < matched; i++) {
            if (!add_shown(p, end[i])) {
                return false;
            }
        }
        matched = c == end[0];
        if (matched == 0 && !add_shown(p, c)) {
            return false;
        }
    }
    return true;
}

/* The editor calls it at the mark that begins a paste. */
static unsigned char insert_pasted(EditLine *edit, int c)
{
    struct pasted p = { 0 };
    (void)c;
    under_way = true;
    bool whole = read_pasted(edit, &p);
    under_way = false;
    /* Enter ends a message, but a paste should not. */
    while (p.n > 0 && p.text[p.n - 1] == L'\n') {
        p.text[--p.n] = L'\0';
    }
    bool inserted = whole && (p.n == 0 || el_winsertstr(edit, p.text) == 0);
    free(p.text);
    return inserted ? CC_REFRESH : whole ? CC_ERROR : CC_EOF;
}

void paste_open(EditLine *edit)
{
    /* Terminals that do not support the marks ignore the request, except very simple ones. */
    const char *term = getenv("TERM");
    wanted = term != NULL && *term != '\0' && strcmp(term, "dumb") != 0;
    el_set(edit, EL_ADDFN, "weft-paste", "Insert a pasted text", insert_pasted);
    el_set(edit, EL_BIND, "\033[200~", "weft-paste", NULL);
}
#endif
