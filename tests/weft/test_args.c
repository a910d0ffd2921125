/* The command line: tools/weft/args.c (parsing, numbers, suggestions, defaults) and
 * tools/weft/options*.c (the real table, its custom values, its contradictions, and the parameters
 * the library gets). Both are compiled into this program. */
#include "tools/weft/args.c"
#include "tools/weft/options.c"
#include "tools/weft/options_check.c"
#include "tools/weft/options_engine.c"
#include "tools/weft/options_sampling.c"
#include "tools/weft/options_values.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define N_OF(a) (sizeof(a) / sizeof *(a))

static struct options opt;
static struct arg_error why;

/* Parses a copy of words[n], so that the order of argv may change. */
static int parse(unsigned command, const char *const *words, size_t n, char **argv)
{
    options_init(&opt);
    why.text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        argv[i] = (char *)(uintptr_t)words[i];
    }
    return args_parse(option_table, command, (int)n, argv, &opt, &why);
}

#define PARSE(command, ...)                                                                        \
    parse(command, (const char *const[]){ __VA_ARGS__ },                                           \
          N_OF(((const char *const[]){ __VA_ARGS__ })), (char *[64]){ 0 })

static void assert_refused(unsigned command, const char *a, const char *b, const char *expected)
{
    const char *words[] = { a, b };
    char *argv[2];
    assert_int_equal(parse(command, words, b != NULL ? 2 : 1, argv), ARGS_BAD);
    if (strstr(why.text, expected) == NULL) {
        fail_msg("%s %s: '%s' does not say '%s'", a, b != NULL ? b : "", why.text, expected);
    }
}

static void test_numbers(void **state)
{
    static const char *const no_int[] = {
        "", "-", "+", "1 ", " 1", "1.0", "1e3", "0x10", "12x", "--1", "nan", "9223372036854775808"
    };
    static const char *const no_float[] = { "",     ".",    "-",     "nan", "inf",
                                            "-inf", "1e",   "0x1p3", "1,5", "1.5abc",
                                            " 1.0", "1.0 ", "1e999", "e5",  "1-2" };
    int64_t i;
    double d;
    (void)state;
    for (size_t k = 0; k < N_OF(no_int); k++) {
        if (args_int(no_int[k], &i)) {
            fail_msg("'%s' was taken for a whole number", no_int[k]);
        }
    }
    for (size_t k = 0; k < N_OF(no_float); k++) {
        if (args_float(no_float[k], &d)) {
            fail_msg("'%s' was taken for a number", no_float[k]);
        }
    }
    assert_true(args_int("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(args_int("+007", &i) && i == 7);
    assert_true(args_float("-1.5e-3", &d) && d == -1.5e-3);
    assert_true(args_float(".5", &d) && d == 0.5);
}

static void test_all_spellings(void **state)
{
    (void)state;
    assert_int_equal(PARSE(CMD_RUN, "-m", "a.gguf", "-n", "-1", "--temp=0.5", "--top-k", "7"), 0);
    assert_string_equal(opt.model, "a.gguf");
    assert_int_equal(opt.n_predict, -1);
    assert_true(opt.temperature == 0.5);
    assert_int_equal(opt.top_k, 7);
    assert_int_equal(PARSE(CMD_RUN, "--model=b=c", "--n-predict", "5", "--temperature", "1"), 0);
    assert_string_equal(opt.model, "b=c");
    assert_int_equal(opt.n_predict, 5);
    /* The last value wins, so that a script can append options to those that it was given. */
    assert_int_equal(PARSE(CMD_RUN, "-n", "3", "--predict=4"), 0);
    assert_int_equal(opt.n_predict, 4);
}

static void test_values_that_look_like_options(void **state)
{
    (void)state;
    assert_int_equal(PARSE(CMD_RUN, "-p", "-foo"), 0);
    assert_string_equal(opt.prompt, "-foo");
    assert_int_equal(PARSE(CMD_RUN, "-p", "-5"), 0);
    assert_string_equal(opt.prompt, "-5");
    assert_int_equal(PARSE(CMD_RUN, "--prompt=--temp"), 0);
    assert_string_equal(opt.prompt, "--temp");
    assert_int_equal(PARSE(CMD_RUN, "--presence-penalty", "-1.5"), 0);
    assert_true(opt.presence_penalty == -1.5);
    assert_int_equal(PARSE(CMD_RUN, "-p", ""), 0);
    assert_string_equal(opt.prompt, "");
    assert_int_equal(PARSE(CMD_RUN, "-p", "\xff\xfe"), 0);
    assert_memory_equal(opt.prompt, "\xff\xfe", 3);
    assert_refused(CMD_RUN, "-p", "--temp", "--prompt=--temp");
    assert_refused(CMD_RUN, "-n", NULL, "needs a value");
    assert_refused(CMD_RUN, "--temp", NULL, "needs a value");
}

static void test_positional(void **state)
{
    const char *words[] = { "-", "-q", "one", "--", "-n", "--help" };
    char *argv[6];
    (void)state;
    assert_int_equal(parse(CMD_RUN, words, 6, argv), 4);
    assert_string_equal(argv[0], "-");
    assert_string_equal(argv[1], "one");
    assert_string_equal(argv[2], "-n");
    assert_string_equal(argv[3], "--help");
    assert_true(opt.quiet);
}

static void test_help(void **state)
{
    (void)state;
    assert_int_equal(PARSE(CMD_RUN, "-q", "--help"), ARGS_HELP);
    assert_int_equal(PARSE(CMD_RUN, "-h", "--no-such-option"), ARGS_HELP);
}

static void test_unknown(void **state)
{
    (void)state;
    assert_refused(CMD_RUN, "--tmep", "1", "did you mean --temp?");
    assert_refused(CMD_RUN, "--top_p", "1", "did you mean --top-p?");
    assert_refused(CMD_RUN, "--tem", "1", "did you mean --temp?");
    assert_refused(CMD_RUN, "--hlep", NULL, "did you mean --help?");
    /* An abbreviation is unknown, even if it is unique. */
    assert_refused(CMD_RUN, "--repeat-pen", "1", "unknown option");
    assert_refused(CMD_RUN, "-n5", NULL, "unknown option");
    /* Only another command knows this option. */
    assert_refused(CMD_TOKENIZE, "--temp", "1", "unknown option --temp");
    assert_refused(CMD_RUN, "--quiet=1", NULL, "takes no value");
    assert_refused(CMD_RUN, "--xyzzyxyzzy", NULL, "unknown option --xyzzyxyzzy");
    assert_null(strstr(why.text, "did you mean"));
    char long_name[300];
    memset(long_name, '-', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    assert_refused(CMD_RUN, long_name, NULL, "unknown option");
}

static void test_ranges(void **state)
{
    (void)state;
    assert_refused(CMD_RUN, "-n", "-2", "out of range");
    assert_refused(CMD_RUN, "-n", "2147483648", "out of range");
    assert_refused(CMD_RUN, "-n", "12x", "not a whole number");
    assert_refused(CMD_RUN, "-t", "0", "out of range");
    assert_refused(CMD_RUN, "--temp", "-0.1", "out of range");
    assert_refused(CMD_RUN, "--temp", "100.5", "out of range");
    assert_refused(CMD_RUN, "--temp", "nan", "not a number");
    assert_refused(CMD_RUN, "--top-p", "0", "more than 0");
    assert_refused(CMD_RUN, "--top-p", "1e-60", "more than 0");
    assert_refused(CMD_RUN, "--top-p", "1.0000001", "out of range");
    assert_refused(CMD_RUN, "--repeat-penalty", "0", "out of range");
    assert_refused(CMD_RUN, "--cpu-isa", "avx", "none of auto|scalar");
    assert_refused(CMD_RUN, "--cpu-isa", "", "none of");
    assert_int_equal(PARSE(CMD_RUN, "--cpu-isa", "avx512"), 0);
    assert_int_equal(options_engine(&opt).cpu_isa, WEFT_ISA_AVX512);
}

static void test_device(void **state)
{
    static const char *const good[] = { "auto", "cpu", "cuda", "cuda:0", "cuda:15" };
    static const char *const bad[] = { "",
                                       "gpu",
                                       "aut",
                                       "CPU",
                                       "cuda:",
                                       "cuda:x",
                                       "cuda:-1",
                                       "cuda:+1",
                                       "cuda: 1",
                                       "cuda:1x",
                                       "cuda:1000",
                                       "cuda1",
                                       "cuda:99999999999999999999" };
    (void)state;
    for (size_t i = 0; i < N_OF(good); i++) {
        assert_int_equal(PARSE(CMD_RUN, "--device", good[i]), 0);
        assert_string_equal(options_engine(&opt).device, good[i]);
    }
    for (size_t i = 0; i < N_OF(bad); i++) {
        assert_refused(CMD_CHAT, "--device", bad[i], "expected auto, cpu, cuda");
    }
    assert_int_equal(PARSE(CMD_RUN, "--device", "cpu", "--deterministic"), 0);
    assert_true(options_engine(&opt).deterministic);
    assert_int_equal(PARSE(CMD_BENCH, "--no-repack"), 0);
    assert_true(options_engine(&opt).no_repack && !options_engine(&opt).pin_threads);
    assert_false(options_engine(&opt).no_graphs || options_engine(&opt).no_pdl);
    assert_false(options_engine(&opt).no_arena);
    assert_int_equal(PARSE(CMD_RUN, "--no-arena"), 0);
    assert_true(options_engine(&opt).no_arena && !options_engine(&opt).no_pdl);
    assert_int_equal(PARSE(CMD_RUN, "--pin-threads"), 0);
    assert_true(options_engine(&opt).pin_threads);
}

static void test_ahead(void **state)
{
    (void)state;
    assert_int_equal(PARSE(CMD_RUN, "-p", "a"), 0);
    assert_int_equal(options_engine(&opt).n_ahead, 1);
    assert_int_equal(PARSE(CMD_RUN, "--temp", "0"), 0);
    assert_int_equal(options_engine(&opt).n_ahead, 8);
    assert_int_equal(PARSE(CMD_RUN, "--temp", "0", "--log-logits", "x"), 0);
    assert_int_equal(options_engine(&opt).n_ahead, 1);
    assert_int_equal(PARSE(CMD_RUN, "--temp", "0", "--ahead", "1"), 0);
    assert_int_equal(options_engine(&opt).n_ahead, 1);
    assert_int_equal(PARSE(CMD_RUN, "--ahead", "64"), 0);
    assert_int_equal(options_engine(&opt).n_ahead, 64);
    assert_refused(CMD_RUN, "--ahead", "0", "out of range");
    assert_refused(CMD_RUN, "--ahead", "65", "out of range");
}

static void test_seed(void **state)
{
    (void)state;
    assert_int_equal(PARSE(CMD_RUN, "-s", "18446744073709551615"), 0);
    assert_true(opt.seed_given && opt.seed == UINT64_MAX);
    options_seed(&opt);
    assert_true(opt.seed == UINT64_MAX);
    assert_int_equal(PARSE(CMD_RUN, "-s", "5", "-s", "-1"), 0);
    assert_false(opt.seed_given);
    assert_refused(CMD_RUN, "-s", "18446744073709551616", "more than");
    assert_refused(CMD_RUN, "-s", "-2", "whole number");
    assert_refused(CMD_RUN, "-s", "", "whole number");
    assert_refused(CMD_RUN, "-s", "1x", "whole number");
}

static void test_bias(void **state)
{
    (void)state;
    assert_int_equal(PARSE(CMD_RUN, "-l", "5+1.5", "--logit-bias", "6-2", "-l", "0-inf"), 0);
    assert_int_equal(opt.n_bias, 3);
    assert_int_equal(opt.bias[0].token, 5);
    assert_true(opt.bias[0].bias == 1.5f && opt.bias[1].bias == -2.0f);
    assert_true(isinf(opt.bias[2].bias) && opt.bias[2].bias < 0);
    static const char *const bad[] = {
        "",     "5",    "+1",   "5+",  "5+nan",         "5+inf",   "5--1", "5+x",
        "-5+1", "5 +1", "5+1 ", "5*1", "99999999999+1", "5+1e300", "5-+1", "12345678901234567890+1"
    };
    for (size_t i = 0; i < N_OF(bad); i++) {
        assert_refused(CMD_RUN, "-l", bad[i], "option -l");
    }
    assert_int_equal(PARSE(CMD_RUN, "-l", "7+1", "-l", "7+2"), ARGS_BAD);
    assert_non_null(strstr(why.text, "already"));
}

static void test_stops(void **state)
{
    static char too_long[MOST_STOP_BYTES + 2];
    char *argv[2 * (MOST_STOPS + 1)];
    (void)state;
    assert_int_equal(PARSE(CMD_RUN, "-r", "a", "--stop=b", "--reverse-prompt", "c"), 0);
    assert_int_equal(opt.n_stops, 3);
    assert_string_equal(opt.stops[1], "b");
    memset(too_long, 'x', sizeof too_long - 1);
    assert_refused(CMD_RUN, "-r", too_long, "1 to 256 bytes");
    assert_refused(CMD_RUN, "--stop=", NULL, "1 to 256 bytes");
    const char *words[2 * (MOST_STOPS + 1)];
    for (size_t i = 0; i < N_OF(words); i++) {
        words[i] = i % 2 == 0 ? "-r" : "x";
    }
    assert_int_equal(parse(CMD_RUN, words, N_OF(words) - 2, argv), 0);
    assert_int_equal(parse(CMD_RUN, words, N_OF(words), argv), ARGS_BAD);
    assert_non_null(strstr(why.text, "at most 16"));
}

static void assert_contradiction(unsigned command, const char *expected)
{
    assert_false(options_check(&opt, command, &why));
    if (strstr(why.text, expected) == NULL) {
        fail_msg("'%s' does not say '%s'", why.text, expected);
    }
}

static void test_contradictions(void **state)
{
    (void)state;
    assert_int_equal(PARSE(CMD_RUN, "-p", "a"), 0);
    assert_contradiction(CMD_RUN, "no model");
    assert_int_equal(PARSE(CMD_RUN, "-m", "x", "-p", "a", "-f", "b"), 0);
    assert_contradiction(CMD_RUN, "-p and -f");
    assert_int_equal(PARSE(CMD_RUN, "-m", "x", "-p", "a", "-sys", "b"), 0);
    assert_contradiction(CMD_RUN, "-sys needs --chat");
    assert_int_equal(PARSE(CMD_RUN, "-m", "x", "-f", "a", "-e"), 0);
    assert_contradiction(CMD_RUN, "-e needs -p");
    assert_int_equal(PARSE(CMD_RUN, "-m", "x", "--log-logits", "y", "--ahead", "2"), 0);
    assert_contradiction(CMD_RUN, "--ahead");
    assert_int_equal(PARSE(CMD_RUN, "-m", "x", "--log-logits", "y", "--ahead", "1"), 0);
    assert_true(options_check(&opt, CMD_RUN, &why));
    assert_int_equal(PARSE(CMD_RUN, "-m", "x", "-c", "100", "--kv", "64"), 0);
    assert_contradiction(CMD_RUN, "--kv is smaller");
    assert_int_equal(PARSE(CMD_RUN, "-m", "x", "--repeat-penalty", "1.1", "--repeat-last-n", "0"),
                     0);
    assert_contradiction(CMD_RUN, "--repeat-last-n is 0");
    assert_int_equal(PARSE(CMD_RUN, "-m", "x", "--chat", "--chat-template", "no-such"), 0);
    assert_contradiction(CMD_RUN, "'no-such' is unknown");
    /* every built-in template is accepted */
    for (size_t i = 0; weft_chat_template_name(i) != NULL; i++) {
        opt.chat_template = weft_chat_template_name(i);
        assert_true(options_check(&opt, CMD_RUN, &why));
    }
    assert_int_equal(PARSE(CMD_RUN, "-m", "x", "-p", "a"), 0);
    assert_true(options_check(&opt, CMD_RUN, &why));
}

/* Without options the library gets its own defaults, to the bit. */
static void test_defaults(void **state)
{
    const weft_sampling want = WEFT_SAMPLING_INIT;
    (void)state;
    options_init(&opt);
    weft_sampling got = options_sampling(&opt);
    got.bias = NULL;
    assert_true(got.temperature == want.temperature && got.top_p == want.top_p &&
                got.min_p == want.min_p);
    assert_true(got.typical_p == want.typical_p && got.repeat_penalty == want.repeat_penalty);
    assert_true(got.frequency_penalty == want.frequency_penalty);
    assert_true(got.presence_penalty == want.presence_penalty);
    assert_int_equal(got.top_k, want.top_k);
    assert_int_equal(got.repeat_last_n, want.repeat_last_n);
    assert_int_equal(got.size, want.size);
    assert_int_equal(got.n_bias, 0);
    weft_engine_params p = options_engine(&opt);
    assert_int_equal(p.n_ctx, 0);
    assert_string_equal(p.device, "auto");
    assert_false(p.deterministic);
    opt.ctx = 0;
    assert_true(options_engine(&opt).n_ctx == WEFT_CTX_MODEL);
    opt.ctx = 77;
    assert_int_equal(options_engine(&opt).n_ctx, 77);
}

/* The options that the user gives count, whatever their values; the others come from the file. */
static void test_recommended(void **state)
{
    (void)state;
    weft_sampling file = WEFT_SAMPLING_INIT;
    char text[160];
    file.temperature = 0.6f;
    file.top_k = 20;
    file.repeat_penalty = 1.1f;
    const unsigned fields =
        WEFT_SAMPLING_TEMPERATURE | WEFT_SAMPLING_TOP_K | WEFT_SAMPLING_REPEAT_PENALTY;
    assert_int_equal(PARSE(CMD_RUN, "--temp", "0.8", "--top-p=0.5"), 0);
    options_follow(&opt, &file, fields);
    weft_sampling got = options_sampling(&opt);
    assert_true(got.temperature == 0.8f && got.top_p == 0.5f && got.top_k == 20);
    assert_true(got.repeat_penalty == file.repeat_penalty && got.min_p == 0.05f);
    options_followed(&opt, text, sizeof text);
    assert_string_equal(text, "top-k 20, repeat-penalty 1.1");
    /* A penalty without a window is no penalty. */
    assert_int_equal(PARSE(CMD_RUN, "--repeat-last-n", "0"), 0);
    options_follow(&opt, &file, fields);
    got = options_sampling(&opt);
    assert_true(got.repeat_penalty == 1 && got.temperature == file.temperature);
    /* A value that was refused does not count as given. */
    assert_int_equal(PARSE(CMD_RUN, "--top-k", "-3"), ARGS_BAD);
    assert_int_equal(opt.given, 0);
    options_init(&opt);
    options_followed(&opt, text, sizeof text);
    assert_string_equal(text, "");
}

static void test_default_texts(void **state)
{
    static const char *const expected[][2] = {
        { "--temp", "0.8" },
        { "--top-p", "0.95" },
        { "--min-p", "0.05" },
        { "--top-k", "40" },
        { "-n", "-1" },
        { "--device", "auto" },
        { "-q", "" },
        { "-p", "" },
        { "-b", "512 on the CPU, on a GPU 2048 if there is room" },
        { "-np", "1" },
        { "--cpu-isa", "auto" },
    };
    char text[80];
    (void)state;
    options_init(&opt);
    for (size_t i = 0; i < N_OF(expected); i++) {
        const struct arg_option *o = args_find(option_table, CMD_RUN, expected[i][0]);
        assert_non_null(o);
        args_default(o, &opt, text, sizeof text);
        assert_string_equal(text, expected[i][1]);
    }
}

/* The parser and the help rely on these properties of the table. */
static void test_table(void **state)
{
    (void)state;
    for (const struct arg_option *o = option_table; o->names[0] != NULL; o++) {
        /* An option that is only accepted has no help. It may have a value or choices, not both. */
        if (o->kind == ARG_TAKEN) {
            assert_true(o->commands != 0 && o->help == NULL && o->offset == 0);
            assert_true(o->value == NULL || o->choices == NULL);
            continue;
        }
        assert_true(o->commands != 0 && o->help != NULL);
        assert_true((o->kind == ARG_FLAG) == (o->value == NULL));
        assert_true(o->offset < sizeof(struct options));
        assert_true((o->kind == ARG_CUSTOM) == (o->parse != NULL));
        assert_true(o->kind == ARG_CUSTOM || (o->kind == ARG_CHOICE) == (o->choices != NULL));
        if (o->kind == ARG_INT || o->kind == ARG_FLOAT) {
            assert_true(o->min < o->max);
        }
        /* One name means one thing in one command. */
        for (unsigned bit = CMD_RUN; bit <= CMD_VERSION; bit *= 2) {
            for (size_t i = 0; i < 4 && o->names[i] != NULL && (o->commands & bit); i++) {
                assert_ptr_equal(args_find(option_table, bit, o->names[i]), o);
                assert_true(strlen(o->names[i]) <= MAX_WORD);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_all_spellings),
        cmocka_unit_test(test_values_that_look_like_options),
        cmocka_unit_test(test_positional),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_bias),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_recommended),
        cmocka_unit_test(test_default_texts),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
