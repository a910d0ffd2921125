/* The tests behind `is`. */
#include "text/jinja_tables.h"

static struct jval is_kind(struct jval self, unsigned kinds)
{
    return jbool((kinds >> self.kind & 1) != 0);
}
#define KIND(k) (1u << (k))
#define TEST_OF_KIND(name, kinds)                                                                  \
    static struct jval name(JPARAMS)                                                               \
    {                                                                                              \
        JUNUSED;                                                                                   \
        return is_kind(self, kinds);                                                               \
    }

TEST_OF_KIND(is_defined, ~KIND(J_UNDEFINED))
TEST_OF_KIND(is_undefined, KIND(J_UNDEFINED))
TEST_OF_KIND(is_none, KIND(J_NONE))
TEST_OF_KIND(is_boolean, KIND(J_BOOL))
TEST_OF_KIND(is_integer, KIND(J_INT))
TEST_OF_KIND(is_float, KIND(J_FLOAT))
TEST_OF_KIND(is_number, KIND(J_BOOL) | KIND(J_INT) | KIND(J_FLOAT))
TEST_OF_KIND(is_string, KIND(J_STR))
TEST_OF_KIND(is_mapping, KIND(J_DICT))
TEST_OF_KIND(is_callable, KIND(J_MACRO) | KIND(J_BOUND) | KIND(J_UNDEFINED) | KIND(J_LOOP))
TEST_OF_KIND(is_iterable, KIND(J_UNDEFINED) | KIND(J_STR) | KIND(J_LIST) | KIND(J_TUPLE) |
                              KIND(J_RANGE) | KIND(J_VIEW) | KIND(J_ITER) | KIND(J_DICT) |
                              KIND(J_LOOP))
TEST_OF_KIND(is_sequence, KIND(J_UNDEFINED) | KIND(J_STR) | KIND(J_LIST) | KIND(J_TUPLE) |
                              KIND(J_RANGE) | KIND(J_DICT))

static struct jval is_true(JPARAMS)
{
    JUNUSED;
    return jbool(self.kind == J_BOOL && self.b);
}

static struct jval is_false(JPARAMS)
{
    JUNUSED;
    return jbool(self.kind == J_BOOL && !self.b);
}

static struct jval is_escaped(JPARAMS)
{
    JUNUSED;
    return jbool(self.kind == J_STR && self.safe);
}

static struct jval remainder_is(struct jwork *w, struct jval self, struct jval by, int64_t rest)
{
    return jbool(jequal(w, jarith(w, '%', self, by), jint(rest)));
}

static struct jval is_odd(JPARAMS)
{
    JUNUSED;
    return remainder_is(w, self, jint(2), 1);
}

static struct jval is_even(JPARAMS)
{
    JUNUSED;
    return remainder_is(w, self, jint(2), 0);
}

static struct jval is_divisible_by(JPARAMS)
{
    JUNUSED;
    return remainder_is(w, self, arg[0], 0);
}

/* Values of Python are the same if they are one object; those without memory of their own are
 * compared by their kinds too. */
static struct jval is_same_as(JPARAMS)
{
    JUNUSED;
    bool same = self.kind == arg[0].kind;
    if (same && self.kind >= J_LIST) {
        same = self.list == arg[0].list;
    } else if (same) {
        same = jequal(w, self, arg[0]);
    }
    return jbool(same);
}

static struct jval is_in(JPARAMS)
{
    JUNUSED;
    return jbool(jcontains(w, arg[0], self));
}

static struct jval is_equal(JPARAMS)
{
    JUNUSED;
    return jbool(jequal(w, self, arg[0]));
}

static struct jval is_unequal(JPARAMS)
{
    JUNUSED;
    return jbool(!jequal(w, self, arg[0]));
}

static struct jval is_less(JPARAMS)
{
    JUNUSED;
    return jbool(jcompare(w, self, arg[0], "<") == -1);
}

static struct jval is_greater(JPARAMS)
{
    JUNUSED;
    return jbool(jcompare(w, self, arg[0], ">") == 1);
}

static struct jval is_at_most(JPARAMS)
{
    JUNUSED;
    return jbool(jcompare(w, self, arg[0], "<=") <= 0);
}

static struct jval is_at_least(JPARAMS)
{
    JUNUSED;
    int r = jcompare(w, self, arg[0], ">=");
    return jbool(r == 0 || r == 1);
}

static struct jval is_lower(JPARAMS)
{
    JUNUSED;
    return jbool(jstr_is(w, jstr(w, self), JSTR_LOWER));
}

static struct jval is_upper(JPARAMS)
{
    JUNUSED;
    return jbool(jstr_is(w, jstr(w, self), JSTR_UPPER));
}

static struct jval is_filter(JPARAMS)
{
    JUNUSED;
    return jbool(self.kind == J_STR && jfind_filter(self) != NULL);
}

static struct jval is_test(JPARAMS)
{
    JUNUSED;
    return jbool(self.kind == J_STR && jfind_test(self) != NULL);
}

const struct jnative jtests[] = {
    { "defined", "", is_defined },
    { "undefined", "", is_undefined },
    { "none", "", is_none },
    { "boolean", "", is_boolean },
    { "true", "", is_true },
    { "false", "", is_false },
    { "integer", "", is_integer },
    { "float", "", is_float },
    { "number", "", is_number },
    { "string", "", is_string },
    { "mapping", "", is_mapping },
    { "iterable", "", is_iterable },
    { "sequence", "", is_sequence },
    { "callable", "", is_callable },
    { "sameas", "other", is_same_as },
    { "escaped", "", is_escaped },
    { "in", "seq", is_in },
    { "odd", "", is_odd },
    { "even", "", is_even },
    { "divisibleby", "num", is_divisible_by },
    { "eq", "other", is_equal },
    { "equalto", "other", is_equal },
    { "==", "other", is_equal },
    { "ne", "other", is_unequal },
    { "!=", "other", is_unequal },
    { "lt", "other", is_less },
    { "lessthan", "other", is_less },
    { "<", "other", is_less },
    { "gt", "other", is_greater },
    { "greaterthan", "other", is_greater },
    { ">", "other", is_greater },
    { "le", "other", is_at_most },
    { "<=", "other", is_at_most },
    { "ge", "other", is_at_least },
    { ">=", "other", is_at_least },
    { "lower", "", is_lower },
    { "upper", "", is_upper },
    { "filter", "", is_filter },
    { "test", "", is_test },
    JEND,
};
