/* The words that text is split into, by name of the pre-tokenizer: what differs between them, white
 * space, bytes that are no UTF-8; which names there are; and long runs in bounded time.
 * Expected words are what Hugging Face's tokenizers 0.23 makes of the published patterns, each one
 * a Split with the behavior "isolated"; where a comment names llama.cpp, they are what its code
 * makes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text/pretokenize.h"

static struct splitter *open_splitter(const char *pre, struct pretokenizer **p)
{
    struct splitter *s;
    weft_error err;
    assert_int_equal(pretokenizer_open((struct gguf_str){ pre, strlen(pre) }, p, &err), WEFT_OK);
    assert_int_equal(splitter_open(*p, &s, &err), WEFT_OK);
    return s;
}

/* Expects these words of `text` under a pattern; `want` joins them by '|'. */
static void expect_words(const char *pre, const char *text, const char *want)
{
    struct pretokenizer *p;
    struct splitter *s = open_splitter(pre, &p);
    weft_error err;
    const size_t *ends;
    size_t n;
    char got[2048] = "";
    assert_int_equal(splitter_run(s, text, strlen(text), &ends, &n, &err), WEFT_OK);
    for (size_t i = 0, begin = 0; i < n; begin = ends[i++]) {
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.*s", i > 0 ? "|" : "",
                 (int)(ends[i] - begin), text + begin);
    }
    if (strcmp(got, want) != 0) {
        fail_msg("%s: '%s', expected '%s'", pre, got, want);
    }
    splitter_close(s);
    pretokenizer_close(p);
}

/* An English text, and one with what the scripts of the world add: marks, Han, Hangul, Thai,
 * numbers that are not digits, an ideographic space. */
static const char english[] = "I'LL  eat 12345 Pies!?\n (it's)";
static const char mixed[] =
    "aB cafe\xcc\x81 \xe4\xb8\xad\xe6\x96\x87"
    "ab\xea\xb0\x80\xe0\xb8\x81  1234567x\xc2\xb2\t\t\t\xe3\x80\x80.\r\n\r\n'tag "
    "\xe4\xba\x86\xe3\x80\x82"
    "a b";

/* The first name of each pattern, and the words of both texts. */
static const struct {
    const char *pre, *english, *mixed;
} words[] = {
    { "default", "I|'|LL| | eat| |123|45| Pies|!?|\n |(|it|'|s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |123|456|7|x|\xc2\xb2|\t\t\t\xe3\x80\x80|.|\r\n\r\n|'|tag| "
      "\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "gpt-2", "I|'|LL| | eat| 12345| Pies|!?|\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | 1234567|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.|\r\n\r|\n|'t|ag| "
      "\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "starcoder", "I|'|LL| | eat| |1|2|3|4|5| Pies|!?|\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81|  "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.|\r\n\r|\n|'t|ag| "
      "\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "falcon", "I|'|LL| | eat| |123|45| Pies|!?|\n |(|it|'|s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |123|456|7|x|\xc2\xb2|\t\t\t\xe3\x80\x80|.|\r\n\r\n|'|tag| "
      "\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "llama-bpe", "I|'LL| | eat| |123|45| Pies|!?\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |123|456|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'t|ag| "
      "\xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "jais-2", "I|'LL| | eat| |123|45| Pies|!?\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |123|456|7|x|\xc2\xb2|\t\t|\t|\xe3\x80\x80|.\r\n\r\n|'t|ag| "
      "\xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "minicpm5", "I|'LL| | eat| |123|45| Pies|!?\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81|  |123|456|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'t|ag| "
      "\xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "qwen2", "I|'LL| | eat| |1|2|3|4|5| Pies|!?\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'t|ag| \xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "bailingmoe", "I|'LL| | eat| |1|2|3|4|5| Pies|!?\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'t|ag| \xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "qwen35", "I|'LL| | eat| |1|2|3|4|5| Pies|!?\n| (|it|'s|)",
      "aB| cafe\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'t|ag| \xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "laguna", "I|'LL| | eat| |1|2|3|4|5| Pies|!?|\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r|\n|\r|\n|'t|ag| \xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "ufakzeka", "I|'LL| | eat| |1|2|3|4|5| Pies|!?\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'tag| "
      "\xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "seed-coder", "I|'LL| | eat| |1|2|3|4|5| Pies|!?|\n| (|it|'s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.|\r\n\r\n|'t|ag| \xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "exaone-moe", "I|'LL| | eat| |1|2|3|4|5| Pies|!?\n| (|it|'s|)",
      "aB cafe\xcc\x81 \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r|\n\r\n|'t|ag \xe4\xba\x86|\xe3\x80\x82"
      "a b" },
    { "gpt-4o", "I'LL| | eat| |123|45| Pies|!?\n| (|it's|)",
      "a|B| cafe\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |123|456|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'tag| "
      "\xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "granite-embed-multi-97m", "I'LL| | eat| |123|45| Pies|!?\n| (|it's|)",
      "a|B| cafe\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |123|456|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'tag| "
      "\xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "tekken", "I|'LL| | eat| |1|2|3|4|5| Pies|!?\n| (|it|'s|)",
      "a|B| cafe\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'tag| "
      "\xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "youtu", "I'LL| | eat| |1|2|3|4|5| Pies|!?\n| (|it's|)",
      "a|B| cafe\xcc\x81| |\xe4\xb8\xad\xe6\x96\x87|ab|\xea\xb0\x80|\xe0\xb8\x81| | "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'tag| |\xe4\xba\x86|\xe3\x80\x82|a| "
      "b" },
    { "tiny_aya", "I'LL| | eat| |12|345| Pies|!?\n| (|it's|)",
      "a|B| cafe\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |123|456|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'tag| "
      "\xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "kimi-k2", "I'LL| | eat| |123|45| Pies|!?\n| (|it's|)",
      "a|B| cafe\xcc\x81| |\xe4\xb8\xad\xe6\x96\x87|ab\xea\xb0\x80\xe0\xb8\x81| | "
      "|123|456|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'tag| |\xe4\xba\x86|\xe3\x80\x82"
      "a| b" },
    { "superbpe", "I'LL  eat |12|345| Pies!?\n (it's)",
      "aB cafe\xcc\x81 \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81  |1|234|567|x|\xc2\xb2|\t\t\t\xe3\x80\x80.\r\n\r\n'tag "
      "\xe4\xba\x86\xe3\x80\x82"
      "a b" },
    { "deepseek-llm", "I|'|LL| | eat| |12345| Pies|!?|\n| (|it|'|s|)",
      "aB| cafe|\xcc\x81 |\xe4\xb8\xad\xe6\x96\x87|ab|\xea\xb0\x80\xe0\xb8\x81|  "
      "|1234567|x|\xc2\xb2|\t\t|\t|\xe3\x80\x80|.|\r|\n|\r|\n|'|tag| |\xe4\xba\x86|\xe3\x80\x82|a| "
      "b" },
    { "deepseek-coder", "I|'|LL| | eat| |1|2|3|4|5| Pies|!?|\n| (|it|'|s|)",
      "aB| cafe|\xcc\x81| |\xe4\xb8\xad\xe6\x96\x87|ab|\xea\xb0\x80\xe0\xb8\x81|  "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.|\r|\n|\r|\n|'|tag| "
      "|\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "deepseek-v3", "I|'LL| | eat| |123|45| Pies|!?\n| (|it|'s|)",
      "aB| cafe\xcc\x81| |\xe4\xb8\xad\xe6\x96\x87|ab\xea\xb0\x80\xe0\xb8\x81|  "
      "|123|456|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'tag| |\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "spark2_5", "I|'LL| | eat| |1|2|3|4|5| Pies|!?|\n| (|it|'s|)",
      "aB| cafe\xcc\x81| |\xe4\xb8\xad\xe6\x96\x87|ab\xea\xb0\x80\xe0\xb8\x81|  "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.|\r|\n|\r|\n|'tag| "
      "|\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "bloom", "I'LL| | eat| 12345| Pies|!?\n (|it's|)",
      "aB| cafe\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | 1234567x\xc2\xb2|\t\t\t\xe3\x80\x80.\r\n\r\n|'tag| "
      "\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "viking", "I'LL| | eat| |1|2|3|4|5| Pies|!?\n (|it's|)",
      "aB| cafe\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81| | |1|2|3|4|5|6|7|x|\xc2\xb2|\t\t\t\xe3\x80\x80.\r\n\r\n|'tag| "
      "\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "chameleon", "I|'|LL|  |eat| |1|2|3|4|5| Pies|!|?|\n| |(|it|'|s|)",
      "aB| cafe|\xcc\x81| \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81|  "
      "|1|2|3|4|5|6|7|x|\xc2\xb2|\t|\t|\t|\xe3\x80\x80|.|\r|\n|\r|\n|'|tag| "
      "\xe4\xba\x86|\xe3\x80\x82|a| b" },
    { "gemma4", "I'LL  eat 12345 Pies!?|\n| (it's)",
      "aB cafe\xcc\x81 \xe4\xb8\xad\xe6\x96\x87"
      "ab\xea\xb0\x80\xe0\xb8\x81  1234567x\xc2\xb2\t\t\t\xe3\x80\x80.\r|\n|\r|\n|'tag "
      "\xe4\xba\x86\xe3\x80\x82"
      "a b" },
    { "afmoe", "I|'LL| | eat| |12|345| Pies|!?\n| (|it|'s|)",
      "aB| cafe\xcc\x81| |\xe4\xb8\xad\xe6\x96\x87|ab|\xea\xb0\x80|\xe0\xb8\x81| | "
      "|1|234|567|x|\xc2\xb2|\t\t\t|\xe3\x80\x80|.\r\n\r\n|'tag| |\xe4\xba\x86|\xe3\x80\x82|a| b" },
};

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        expect_words(words[i].pre, english, words[i].english);
        expect_words(words[i].pre, mixed, words[i].mixed);
    }
    expect_words("default", "a+b 1234.", "a|+|b| |123|4|.");
    /* U+180E is not white space, but U+3000 is. A byte that is not UTF-8 is a symbol. */
    expect_words("qwen2", "\xe1\xa0\x8e\xe1\xa0\x8e.\xe3\x80\x80\xff!",
                 "\xe1\xa0\x8e\xe1\xa0\x8e.|\xe3\x80\x80|\xff!");
}

/* A capital ends a word in the patterns made for GPT-4o and models like it, and in no others. */
static void test_case(void **state)
{
    (void)state;
    static const char text[] = "camelCase HTTPServer \xd0\xb4\xd0\x94 \xe4\xb8\xad"
                               "B";
    static const char want[] = "camel|Case| HTTPServer| \xd0\xb4|\xd0\x94| \xe4\xb8\xad|B";
    static const char han[] = "camel|Case| HTTPServer| \xd0\xb4|\xd0\x94| |\xe4\xb8\xad|B";
    static const char *const cased[] = { "tekken", "gpt-4o", "granite-embed-multi-97m",
                                         "tiny_aya" };
    for (size_t i = 0; i < sizeof cased / sizeof cased[0]; i++) {
        expect_words(cased[i], text, want);
    }
    expect_words("youtu", text, han);
    expect_words("kimi-k2", text, han);
    expect_words("qwen2", text,
                 "camelCase| HTTPServer| \xd0\xb4\xd0\x94| \xe4\xb8\xad"
                 "B");
}

/* Numbers are cut into groups of three: from the front, from the end, or from the end unless a
 * letter follows. */
static void test_threes(void **state)
{
    (void)state;
    expect_words("llama-bpe", "1234567 1234x", "123|456|7| |123|4|x");
    expect_words("superbpe", "1234567 1234x", "1|234|567| |1|234|x");
    expect_words("superbpe",
                 "\xc2\xbd"
                 "123456\xc2\xb2"
                 "1234",
                 "\xc2\xbd|123|456\xc2\xb2"
                 "1|234");
    expect_words("superbpe", "12 \xd9\xa1\xd9\xa2\xd9\xa3\xd9\xa4",
                 "12| |\xd9\xa1|\xd9\xa2\xd9\xa3\xd9\xa4");
    expect_words("tiny_aya", "1234567 1234x 1234_ 1234.",
                 "1|234|567| |123|4|x| |123|4|_| |1|234|.");
    /* As in llama.cpp, whole groups of three are cut off from the end of a number. The digits in
     * front of them stay in one word with characters before the number that no other pattern splits
     * off, such as \x01. */
    expect_words("afmoe",
                 "1234567 1234x \x01"
                 "1234",
                 "1|234|567| |1|234|x| |\x01"
                 "1|234");
}

/* Long white space is cut into powers of two where a line goes on, and nowhere else. */
static void test_cascade(void **state)
{
    (void)state;
    char text[1024], want[1100];
    snprintf(text, sizeof text, "a%*s", 1 + 512 + 256 + 8 + 3, "b");
    snprintf(want, sizeof want, "a|%*s|%*s|%*s|%*s|%*s", 512, "", 256, "", 8, "", 2, "", 2, " b");
    expect_words("jais-2", text, want);
    snprintf(text, sizeof text, "a%*s", 20, "\n");
    snprintf(want, sizeof want, "a|%*s", 20, "\n");
    expect_words("jais-2", text, want);
}

/* All names of llama.cpp (src/llama-vocab.cpp at 0c1e57098). README.md lists them, too. */
static const char *const names[] = {
    "default",
    "minicpm5",
    "llama3",
    "llama-v3",
    "llama-bpe",
    "falcon3",
    "falcon-h1",
    "pixtral",
    "midm-2.0",
    "lfm2",
    "jina-v5-nano",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "spark2_5",
    "youtu",
    "falcon",
    "mpt",
    "starcoder",
    "gpt-2",
    "phi-2",
    "jina-es",
    "jina-de",
    "gigachat",
    "jina-v2-es",
    "jina-v2-de",
    "a.x-4.0",
    "mellum",
    "modern-bert",
    "jais-2",
    "gemma4",
    "granite-embed-multi-311m",
    "sarvam-moe",
    "jina-v1-en",
    "jina-v2-code",
    "roberta-bpe",
    "whitespace",
    "refact",
    "command-r",
    "qwen2",
    "deepseek-r1-qwen",
    "kormo",
    "f2llmv2",
    "qwen35",
    "stablelm2",
    "olmo",
    "dbrx",
    "smaug-bpe",
    "poro-chat",
    "chatglm-bpe",
    "glm4",
    "glm5",
    "viking",
    "jais",
    "tekken",
    "smollm",
    "codeshell",
    "bloom",
    "gpt3-finnish",
    "exaone",
    "exaone4",
    "exaone-moe",
    "chameleon",
    "minerva-7b",
    "megrez",
    "gpt-4o",
    "llama4",
    "kanana2",
    "talkie",
    "granite-embed-multi-97m",
    "tiny_aya",
    "cohere2moe",
    "superbpe",
    "trillion",
    "granite-docling",
    "bailingmoe",
    "bailingmoe2",
    "llada-moe",
    "seed-coder",
    "hunyuan",
    "hunyuan-dense",
    "hy_v4",
    "joyai-llm",
    "kimi-k2",
    "ufakzeka",
    "grok-2",
    "afmoe",
    "laguna",
    "minimax-m2",
    "solar-open",
    "mellum2",
};

static void test_names(void **state)
{
    (void)state;
    static char readme[1 << 18];
    FILE *f = fopen("README.md", "rb");
    assert_non_null(f);
    assert_true(fread(readme, 1, sizeof readme - 1, f) > 0);
    fclose(f);
    assert_int_equal(n_pretokenizer_names, sizeof names / sizeof names[0]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct pretokenizer *p;
        weft_error err;
        struct gguf_str name = { names[i], strlen(names[i]) };
        char quoted[64];
        snprintf(quoted, sizeof quoted, "`%s`", names[i]);
        if (strstr(readme, quoted) == NULL) {
            fail_msg("README.md does not list %s", quoted);
        }
        if (strcmp(names[i], "whitespace") == 0) {
            assert_int_equal(pretokenizer_open(name, &p, &err), WEFT_E_UNSUPPORTED);
            assert_non_null(strstr(err.message, "'whitespace', which Weft does not run: it drops"));
            continue;
        }
        if (pretokenizer_open(name, &p, &err) != WEFT_OK) {
            fail_msg("%s: %s", names[i], err.message);
        }
        pretokenizer_close(p);
    }
}

/* The message names one name for each pattern. */
static void test_unknown(void **state)
{
    (void)state;
    struct pretokenizer *p;
    weft_error err;
    assert_int_equal(pretokenizer_open((struct gguf_str){ "nonesuch", 8 }, &p, &err),
                     WEFT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'nonesuch', none of the 91 names known"));
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char part[64];
        snprintf(part, sizeof part, " %s", words[i].pre);
        bool is_alias = strcmp(words[i].pre, "bailingmoe") == 0 ||
                        strcmp(words[i].pre, "granite-embed-multi-97m") == 0;
        assert_int_equal(strstr(err.message, part) != NULL, !is_alias);
    }
    assert_non_null(strstr(err.message, " gemma4"));
}

static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

/* Fills the text with `unit` again and again, and ends it with `end`. */
static size_t repeat(char *text, size_t size, const char *unit, const char *end)
{
    size_t len = strlen(unit), total = (size - strlen(end)) / len * len;
    for (size_t k = 0; k < total; k++) {
        text[k] = unit[k % len];
    }
    memcpy(text + total, end, strlen(end));
    return total + strlen(end);
}

static void expect_fast(struct splitter *s, const char *pre, const char *unit, const char *end,
                        size_t size)
{
    static char text[1 << 20];
    weft_error err;
    const size_t *ends;
    size_t n, total = repeat(text, size, unit, end);
    double start = cpu_seconds();
    if (splitter_run(s, text, total, &ends, &n, &err) != WEFT_OK) {
        fail_msg("%s, '%s'...'%s': %s", pre, unit, end, err.message);
    }
    double took = cpu_seconds() - start;
    if (took > (double)size / (1 << 20)) {
        fail_msg("%s, '%s'...'%s': %.3f s", pre, unit, end, took);
    }
    assert_int_equal(ends[n - 1], total);
}

/* A long run of one kind of character, or of two kinds in turn, costs every pattern the same time
 * for each byte: a megabyte takes less than a second. It needs no more stack than a short text. */
static void test_long_runs(void **state)
{
    (void)state;
    static const char *const runs[] = {
        "A",
        "a",
        "0",
        ".",
        " ",
        "\n",
        "\t",
        "\xe4\xb8\xad",
        "\xcc\x81",
        "\xf0\x9f\x98\x80",
        "'",
        "\xff",
        " \n",
        "Aa",
        " a",
        "'s",
        "a\xcc\x81",
        "A\xcc\x81",
        " \r\n",
        "a ",
        "1a",
        "\xc2\xbd",
        "\xc2\xbd\x31",
        "\xd9\xa3",
        "\xea\xb0\x80",
        "\xe0\xb8\x81",
        "\xe3\x80\x80",
        "1\x01",
        "\x01",
        "$a",
        "A\xe4\xb8\xad",
        "IMGIMGA",
        "<sentinel:1",
    };
    static const char *const long_runs[] = { "a", "0", " ", "\xe4\xb8\xad", "\xcc\x81", "a " };
    static const char *const ends[] = { "x", "1", "\n" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *pre = words[i].pre;
        struct pretokenizer *p;
        struct splitter *s = open_splitter(pre, &p);
        for (size_t r = 0; r < sizeof runs / sizeof runs[0]; r++) {
            expect_fast(s, pre, runs[r], "", 1 << 15);
            for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++) {
                expect_fast(s, pre, runs[r], ends[e], 1 << 15);
            }
        }
        for (size_t r = 0; r < sizeof long_runs / sizeof long_runs[0]; r++) {
            expect_fast(s, pre, long_runs[r], "", 1 << 20);
        }
        splitter_close(s);
        pretokenizer_close(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),     cmocka_unit_test(test_case),
        cmocka_unit_test(test_threes),    cmocka_unit_test(test_cascade),
        cmocka_unit_test(test_names),     cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_long_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
