/* Which variables a part of the template hides before it sets them. Jinja2 decides that when it
 * compiles: a part (the template, the body of a loop, a macro, a block) that sets a variable for
 * sure, does not read it itself before, and stands in no part that mentions it, hides a caller's
 * variable of this name from its beginning on. What stands inside of the part then reads an
 * undefined value until the variable is set. */
#include "text/jinja_compile.h"

/* What is known about a name in a part. */
enum { MENTIONED, HIDDEN };

void jpart_begin(struct jcompiler *c, enum jpart_kind kind, size_t at)
{
    struct jnames *n = jalloc(c->w, sizeof *n);
    *n = (struct jnames){ .outer = c->names, .before = c->all_names, .kind = kind, .at = at };
    n->seen = jdict_new(c->w, J_DICT).dict;
    c->names = c->all_names = n;
}

void jpart_end(struct jcompiler *c) { c->names = c->names->outer; }

static void note(struct jcompiler *c, uint32_t name, int what)
{
    struct jval key = jint(name);
    if (jdict_find(c->w, c->names->seen, key) == NULL) {
        jdict_set(c->w, c->names->seen, key, jint(what));
    }
}

void jnote_load(struct jcompiler *c, uint32_t name) { note(c, name, MENTIONED); }

void jnote_store(struct jcompiler *c, uint32_t name)
{
    note(c, name, c->names->n_branches == 0 ? HIDDEN : MENTIONED);
}

static bool mentioned_around(struct jcompiler *c, const struct jnames *n, struct jval name)
{
    for (n = n->outer; n != NULL; n = n->outer) {
        jsteps(c->w, 1);
        if (jdict_find(c->w, n->seen, name) != NULL) {
            return true;
        }
    }
    return false;
}

static void hide(struct jcompiler *c, const struct jnames *n, uint32_t name)
{
    struct jinja *t = c->t;
    struct jhidden *to = n->kind == JPART_MACRO ? &t->macros[n->at].hidden
                         : n->kind == JPART_ALL ? &t->hidden
                                                : NULL;
    JRESERVE(c->w, t->hides, t->cap_hides, t->n_hides + 1);
    t->hides[t->n_hides++] = name;
    if (to != NULL) {
        to->from = to->n == 0 ? t->n_hides - 1 : to->from;
        to->n++;
    } else {
        struct jins *i = &t->code[n->at];
        i->a = i->n == 0 ? (int32_t)t->n_hides - 1 : i->a;
        i->n++;
    }
}

void jnames_resolve(struct jcompiler *c)
{
    for (const struct jnames *n = c->all_names; n != NULL; n = n->before) {
        for (size_t i = 0; i < n->seen->n; i++) {
            const struct jpair *p = &n->seen->pairs[i];
            bool room = n->kind != JPART_BLOCK || c->t->code[n->at].n < UINT16_MAX;
            if (p->value.i == HIDDEN && room && !mentioned_around(c, n, p->key)) {
                hide(c, n, (uint32_t)p->key.i);
            }
        }
    }
}
