/* Grammars of whole schemas: of one, exact or widened, and of several that share the room. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_rules.h"

/* ---------------------------------------------------------------- one, exact */

static bool open_schema(struct schema *c, const json_t *root)
{
    c->root = root;
    c->owned = json_array();
    c->made = json_object();
    c->no_memory = c->owned == NULL || c->made == NULL;
    return !c->no_memory;
}

static void close_schema(struct schema *c)
{
    json_decref(c->owned);
    json_decref(c->made);
    bytes_free(&c->path);
}

static bool exact(const json_t *root, struct bytes *gbnf, struct schema_error *err)
{
    size_t rule = 0;
    struct schema c = { .out = gbnf, .err = err, .left = schema_effort(root) };
    bool ok = open_schema(&c, root) && schema_convert(&c, root, &rule);
    schema_put(&c, gbnf, "root ::= s%zu\n", rule);
    json_common_rules(&c);
    close_schema(&c);
    if (c.no_memory) {
        err->text[0] = '\0'; /* The error that was found may only come from the lack of memory. */
    }
    return ok && !c.no_memory;
}

/* ---------------------------------------------------------------- several, widened */

/* Names the rule of an item of which nothing is kept but the type. */
static void name_widest(struct schema *c, struct schema_item *item)
{
    struct bytes b = { 0 };
    schema_widest(c, &b, item->at);
    bool one = !item->object && b.n > 0 && memchr(b.data, ' ', b.n) == NULL;
    snprintf(item->rule, sizeof item->rule, "%s", one ? b.data : item->object ? "object" : "value");
    bytes_free(&b);
}

/* Appends the rules of an item, adds what they take, and takes its effort from *left. */
static bool convert_item(struct schema_item *item, struct bytes *gbnf, struct schema_size *size,
                         size_t *left)
{
    size_t before = gbnf->n, rule;
    struct schema_error none;
    struct schema c = {
        .out = gbnf, .err = &none, .n_rules = size->rules, .left = *left, .level = item->level
    };
    bool ok = open_schema(&c, item->root);
    if (ok && (item->level == SCHEMA_ANY || (item->object && !schema_only_objects(&c, item->at)))) {
        name_widest(&c, item);
    } else if (ok) {
        ok = schema_convert(&c, item->at, &rule);
        snprintf(item->rule, sizeof item->rule, "s%zu", rule);
    }
    close_schema(&c);
    if (!ok || c.no_memory) {
        return false; /* the text may have holes, and cannot be measured */
    }
    json_schema_measure(gbnf->data + before, gbnf->n - before, size);
    size->rules = c.n_rules;
    *left = c.left;
    return true;
}

static bool within(struct schema_size size, struct schema_size room)
{
    return size.bytes <= room.bytes && size.rules <= room.rules && size.elements <= room.elements;
}

/* Appends all items. Those behind a text that is far too long lose everything at once. Items that
 * stand together and have the same root share its effort: they may all refer to the same part. */
static bool convert_items(struct schema_item *items, size_t n, struct schema_size room,
                          struct bytes *gbnf, struct schema_size *sizes, struct schema_size *all)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        struct schema_size before = *all;
        if (i == 0 || items[i].root != items[i - 1].root) {
            left = schema_effort(items[i].root);
        }
        if (all->bytes / 4 > room.bytes && !items[i].exact) {
            items[i].level = SCHEMA_ANY;
        }
        if (!convert_item(&items[i], gbnf, all, &left)) {
            return false;
        }
        sizes[i] = (struct schema_size){ all->bytes - before.bytes, all->rules - before.rules,
                                         all->elements - before.elements };
    }
    return true;
}

/* Widens the items that take more than an equal share. Returns false if there are none. */
static bool widen_largest(struct schema_item *items, size_t n, struct schema_size room,
                          const struct schema_size *sizes)
{
    const struct schema_size share = { room.bytes / n, room.rules / n, room.elements / n };
    bool widened = false;
    for (size_t i = 0; i < n; i++) {
        if (items[i].level < SCHEMA_ANY && !items[i].exact && !within(sizes[i], share)) {
            items[i].level++;
            widened = true;
        }
    }
    return widened;
}

bool json_schema_items(struct schema_item *items, size_t n, struct schema_size room,
                       struct bytes *gbnf)
{
    struct schema shared = { .out = gbnf };
    struct schema_size *sizes = mem_array(n, sizeof *sizes), common = { 0 }, all;
    size_t before = gbnf->n;
    json_common_rules(&shared);
    json_schema_measure(gbnf->data + before, gbnf->n - before, &common);
    size_t from = gbnf->n;
    bool ok = sizes != NULL && !shared.no_memory, again = ok;
    for (size_t i = 0; i < n; i++) {
        items[i].level = items[i].exact ? SCHEMA_EXACT : SCHEMA_WIDE;
    }
    while (again) {
        gbnf->n = from;
        all = common;
        ok = convert_items(items, n, room, gbnf, sizes, &all);
        again = ok && n > 0 && !within(all, room) && widen_largest(items, n, room, sizes);
    }
    free(sizes);
    return ok;
}

static bool widened(const json_t *root, struct bytes *gbnf, struct schema_error *err)
{
    struct schema_item item = { .root = root, .at = root };
    const struct schema_size room = { SCHEMA_TEXT - 64, SCHEMA_RULES - 1, SCHEMA_ELEMENTS - 2 };
    struct schema c = { .out = gbnf };
    err->text[0] = '\0';
    bool ok = json_schema_items(&item, 1, room, gbnf);
    schema_put(&c, gbnf, "root ::= %s\n", item.rule);
    return ok && !c.no_memory;
}

/* ---------------------------------------------------------------- texts */

void json_schema_fault(const struct json_fault *fault, struct schema_error *err)
{
    err->text[0] = '\0';
    if (fault->kind != JSON_FAULT_MEMORY) {
        snprintf(err->text, sizeof err->text, "line %zu, column %zu: %s%s", fault->line,
                 fault->column, fault->text,
                 fault->kind == JSON_FAULT_DEPTH
                     ? "; give what is nested a name in $defs, and refer to it"
                     : "");
    }
}

json_t *json_schema_load(const char *text, size_t n, bool widen, struct schema_error *err)
{
    struct json_fault fault;
    err->text[0] = '\0';
    if (text == NULL) {
        return json_true();
    }
    const unsigned flags = widen ? JSON_READ_NUL : JSON_READ_ONCE;
    json_t *root = json_parse(text, n, SCHEMA_MAX_DEPTH, flags, &fault);
    if (root != NULL) {
        return root;
    }
    if (widen && (fault.kind == JSON_FAULT_BEYOND || fault.kind == JSON_FAULT_DEPTH)) {
        return json_true();
    }
    json_schema_fault(&fault, err);
    return NULL;
}

bool json_schema_grammar(const char *text, size_t n, bool widen, struct bytes *gbnf,
                         struct schema_error *err)
{
    json_t *root = json_schema_load(text, n, widen, err);
    if (root == NULL) {
        return false;
    }
    bool ok = widen ? widened(root, gbnf, err) : exact(root, gbnf, err);
    json_decref(root);
    return ok;
}
