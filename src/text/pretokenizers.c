/* The names, and what comes with a name, are those of llama.cpp (src/llama-vocab.cpp). The patterns
 * are those that the models' publishers put into tokenizer.json. llama.cpp runs the same patterns
 * except for these, where it approximates what its engine of regular expressions cannot do:
 *
 *   tekken, gpt-4o, minimax-m2...   no combining marks in words; case of ASCII letters only
 *   granite-embed-multi-97m         case of ASCII letters only
 *   youtu                           no case at all: camelCase is one word
 *   tiny_aya, cohere2moe            no case at all; numbers before a letter are grouped too,
 *                                   and the first digits stay with the text before them
 *   kimi-k2                         no case, no marks, Han by blocks instead of by script
 *   superbpe                        digits of ASCII only
 *   deepseek-llm, deepseek-coder    white space beyond U+1000 is missing from the classes
 *
 * For these Weft runs the published patterns, because the models were trained with them.
 * tools/parity/tokens.py compares each of them with a second implementation of the published
 * pattern, and counts the differences of llama.cpp.
 *
 * Each pattern takes a bounded number of steps per byte, whatever the text. Where the published
 * pattern does not, it is written in another way that gives the same words, and a comment says how.
 * Unicode's White_Space is spelt out because PCRE2's \s differs from it in one character. Scripts
 * and words are spelt out because \p{Han} and \w changed their meaning between versions of
 * PCRE2. */
#include "text/pretokenizers.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define SPACE_IN_LINE                                                                              \
    "\\x09\\x0B\\x0C\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}"    \
    "\\x{205F}\\x{3000}"
#define WS SPACE_IN_LINE "\\r\\n"
#define SPACES "[" WS "]+(?![^" WS "])|[" WS "]+"
#define NEWLINES "[" WS "]*[\\r\\n]+|"
#define SYMBOLS " ?[^" WS "\\p{L}\\p{N}]+"
#define SUFFIX "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define BEFORE_WORD "[^\\r\\n\\p{L}\\p{N}]?"
#define WORD BEFORE_WORD "\\p{L}+|"
#define ASCII_SYMBOL "!-/:-@\\[-`{-~"
#define KANA "\\x{3040}-\\x{30FF}"
#define HAN "\\x{4E00}-\\x{9FA5}"

/* A word as GPT-4o splits it: capitals, then small letters. */
#define CASED_BY(upper, lower, tail)                                                               \
    BEFORE_WORD upper "*" lower "+" tail "|" BEFORE_WORD upper "+" lower "*" tail "|"
#define CASED(tail)                                                                                \
    CASED_BY("[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]", "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]", tail)

/* Matches the first one or two digits of a number that is cut into threes from its end, if one or
 * two are left over. Only at the start of a number are all its digits looked at. */
#define FIRST_DIGITS(digit) "(?<!" digit ")" digit "{1,2}(?=(?:" digit "{3})*+(?!" digit "))"

/* The script Han. */
#define SCRIPT_HAN                                                                                 \
    "\\x{2E80}-\\x{2E99}\\x{2E9B}-\\x{2EF3}\\x{2F00}-\\x{2FD5}\\x{3005}\\x{3007}\\x{3021}-"        \
    "\\x{3029}\\x{3038}-\\x{303B}\\x{3400}-\\x{4DBF}\\x{4E00}-\\x{9FFF}\\x{F900}-\\x{FA6D}"        \
    "\\x{FA70}-\\x{FAD9}\\x{16FE2}\\x{16FE3}\\x{16FF0}\\x{16FF1}\\x{20000}-\\x{2A6DF}"             \
    "\\x{2A700}-\\x{2B739}\\x{2B740}-\\x{2B81D}\\x{2B820}-\\x{2CEA1}\\x{2CEB0}-\\x{2EBE0}"         \
    "\\x{2EBF0}-\\x{2EE5D}\\x{2F800}-\\x{2FA1D}\\x{30000}-\\x{3134A}\\x{31350}-\\x{323AF}"
/* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]: the characters that are in no other category and not
 * in Han. */
#define NO_HAN(other) "[^" other "\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}" SCRIPT_HAN "]"

/* \w as Oniguruma defines it, the engine of the published patterns: Alphabetic, Mark,
 * Decimal_Number, Connector_Punctuation, and of the other numbers those of Latin-1. */
#define WORD_CHAR                                                                                  \
    "\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE\\x{24B6}-\\x{24E9}\\x{1F130}-"    \
    "\\x{1F149}\\x{1F150}-"                                                                        \
    "\\x{1F169}\\x{1F170}-\\x{1F189}"

/* The letters with case of the Latin, Greek, Cyrillic, Armenian, Georgian... scripts, as DeepSeek
 * lists them. */
#define DEEPSEEK_LETTERS                                                                           \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-"        \
    "\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}"  \
    "\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-"        \
    "\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}"           \
    "\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-"       \
    "\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}"        \
    "\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}"         \
    "\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}"        \
    "\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}"        \
    "\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}"          \
    "\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}"        \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"         \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-"        \
    "\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}"        \
    "\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-"  \
    "\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-"         \
    "\\x{1E943}"
/* CJK, Thai, Lao, Khmer, Burmese, Hangul, as llama.cpp lists them. The list begins at U+8C48,
 * although U+F900, which looks the same, was probably meant. */
#define AFMOE_SCRIPTS                                                                              \
    "\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{8C48}-\\x{FAFF}" KANA "\\x{FF65}-\\x{FF9F}"         \
    "\\x{2F00}-\\x{2FDF}\\x{E40}-\\x{EFF}\\x{1780}-\\x{17FF}\\x{1000}-\\x{109F}\\x{AA60}-"         \
    "\\x{AA7F}\\x{A9E0}-\\x{A9FF}\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}"

#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" SYMBOLS "|" SPACES
/* The common part of many patterns; they differ in how many digits make a word. */
#define GPT4(digits) WORD digits "|" SYMBOLS "[\\r\\n]*|" NEWLINES SPACES
#define QWEN2_PATTERN SUFFIX "|" GPT4("\\p{N}")
#define GPT4O(digits, tail) CASED(tail) digits "|" SYMBOLS "[\\r\\n/]*|" NEWLINES SPACES
#define GPT4O_PATTERN GPT4O("\\p{N}{1,3}", SUFFIX "?")
/* The patterns of DeepSeek 3: marks belong to words, and symbols are what Unicode calls symbols. */
#define DEEPSEEK3(newlines)                                                                        \
    "[" ASCII_SYMBOL "][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]"     \
    "+" newlines "|" SPACES
#define DEEPSEEK_ASIAN "[\\x{800}-\\x{9FA5}\\x{AC00}-\\x{D7FF}]+"
#define BLOOM_PATTERN                                                                              \
    " ?[^" WS "()|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C}]+"

#define PATTERNS(name, ...)                                                                        \
    static const char *const name[] = { __VA_ARGS__, NULL };                                       \
    _Static_assert(sizeof name / sizeof *name <= PRETOKENIZER_MAX_PATTERNS + 1, "room for all")

PATTERNS(without_name, "[\\p{P}$+<=>^~|]+", GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]");
PATTERNS(gpt2, GPT2_PATTERN);
PATTERNS(gpt2_digits, "\\p{N}", GPT2_PATTERN);
PATTERNS(falcon, "[\\p{P}$+<=>^~|`]+", GPT2_PATTERN, "[0-9][0-9][0-9]");
PATTERNS(llama3, SUFFIX "|" GPT4("\\p{N}{1,3}"));
PATTERNS(minicpm5, "\\p{N}{1,3}", SUFFIX "|" GPT4("\\p{N}+"));
PATTERNS(qwen2, QWEN2_PATTERN);
PATTERNS(qwen35, SUFFIX "|" BEFORE_WORD "[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS
                        "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" NEWLINES SPACES);
PATTERNS(laguna, "[^\\n]+|\\n+", QWEN2_PATTERN);
PATTERNS(ufakzeka, GPT4("\\p{N}"));
PATTERNS(seed_coder, SUFFIX "|" WORD "\\p{N}| ?[^" WS "\\p{L}\\p{N}]+|" NEWLINES SPACES);
/* Published as (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+, which has quantifiers inside quantifiers: words
 * with single spaces between them. */
PATTERNS(exaone_moe, SUFFIX "|" BEFORE_WORD "\\p{L}[\\p{L}\\p{M}]*+(?: \\p{L}[\\p{L}\\p{M}]*+)*+|"
                            "\\p{N}|" SYMBOLS "[\\r\\n/]?|" NEWLINES SPACES);
/* A run of white space in a line is cut into 512, 256... 4, and then pieces of at most 2. It is
 * published as \s{512}(?!\S) and so on in one pattern, which looks for a newline at each cut. Here
 * the second pattern cuts the words that consist of such white space, and leaves all other words
 * whole. */
PATTERNS(jais2, SUFFIX "|" GPT4("\\p{N}{1,3}"),
         "(?s)\\A[" SPACE_IN_LINE "]*+[^" SPACE_IN_LINE "].*+|[" SPACE_IN_LINE
         "]{512}|[" SPACE_IN_LINE "]{256}|[" SPACE_IN_LINE "]{128}|[" SPACE_IN_LINE
         "]{64}|[" SPACE_IN_LINE "]{32}|[" SPACE_IN_LINE "]{16}|[" SPACE_IN_LINE
         "]{8}|[" SPACE_IN_LINE "]{4}|[" SPACE_IN_LINE "]{1,2}");
PATTERNS(gpt4o, GPT4O_PATTERN);
PATTERNS(tekken, GPT4O("\\p{N}", ""));
PATTERNS(youtu,
         "[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}"
         "\\x{2019}\\x{2014}\\x{FF1A}\\x{FF1B}\\x{FF0C}\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+|"
         "[\\x{3105}-\\x{312F}]+|[" HAN KANA "]+",
         GPT4O("\\p{N}", SUFFIX "?"));
/* Published as \d{1,3}(?=(?:\d{3})*\b), which looks at all digits behind each three. Here the first
 * pattern finds the digits that no word character follows, and the second cuts words of digits
 * alone into threes and leaves other words whole. */
PATTERNS(tiny_aya, "(?<!\\p{Nd})\\p{Nd}++(?![" WORD_CHAR "])",
         "(?s)\\A\\p{Nd}*+\\P{Nd}.*+|" FIRST_DIGITS("\\p{Nd}") "|\\p{Nd}{3}", GPT4O_PATTERN);
PATTERNS(kimi_k2, "[" SCRIPT_HAN "]+|" CASED_BY(NO_HAN("\\p{Ll}"), NO_HAN("\\p{Lu}\\p{Lt}"),
                                                SUFFIX "?") "\\p{N}{1,3}|" SYMBOLS
                                                            "[\\r\\n]*|" NEWLINES SPACES);
/* Published as \p{N}+ and the empty match (?=(\d{3})+(?!\d)), which is a border before each three
 * digits, counted from the end. A word is the text between two such borders: three digits, or the
 * first one or two, and the characters behind them that are not digits. */
PATTERNS(superbpe, "\\p{N}+",
         "(?:" FIRST_DIGITS("\\p{Nd}") "|\\p{Nd}{3}|\\P{Nd})(?:\\P{Nd}++|" FIRST_DIGITS(
             "\\p{Nd}") ")*+");
/* The fourth pattern finds trailing white space: \s+$ would try each end of every run of white
 * space inside the text. */
PATTERNS(deepseek_llm, "[\\r\\n]", "[" WS "]?[" DEEPSEEK_LETTERS "]+",
         "[" WS "]?[!-\\/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-"
         "\\x{3002}]+",
         "(?<![" WS "])[" WS "]++\\z", DEEPSEEK_ASIAN, "\\p{N}+");
PATTERNS(deepseek_coder, "[\\r\\n]", "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+", DEEPSEEK_ASIAN,
         "\\p{N}");
PATTERNS(deepseek3, "\\p{N}{1,3}", "[" HAN KANA "]+", DEEPSEEK3("[\\r\\n]*|[" WS "]*[\\r\\n]+"));
PATTERNS(spark, "\\p{N}{1,3}", "[" HAN KANA "]+", DEEPSEEK3("|[\\r\\n]"), "\\p{N}");
/* The digits are grouped as in llama.cpp, because the published pattern is not known here. The
 * first group stays with the text before it, and the other patterns separate them. */
PATTERNS(afmoe, "\\P{N}*+(?:" FIRST_DIGITS("\\p{N}") "|\\p{N}{3})|\\P{N}++", "[" AFMOE_SCRIPTS "]+",
         DEEPSEEK3("[\\r\\n]*|[" WS "]*[\\r\\n]+"));
PATTERNS(bloom, BLOOM_PATTERN);
PATTERNS(viking, BLOOM_PATTERN, "\\p{N}");
PATTERNS(chameleon, "<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}",
         "[\\p{P}" ASCII_SYMBOL "]", GPT2_PATTERN);
PATTERNS(lines, "[^\\n]+|\\n+");

/* Messages list the first name of each list of patterns. */
const struct pretokenizer_name pretokenizer_names[] = {
    { "default", without_name, 0, NULL },

    { "gpt-2", gpt2, 0, NULL },
    { "phi-2", gpt2, 0, NULL },
    { "mpt", gpt2, 0, NULL },
    { "olmo", gpt2, 0, NULL },
    { "jais", gpt2, 0, NULL },
    { "gigachat", gpt2, 0, NULL },
    { "mellum", gpt2, 0, NULL },
    { "a.x-4.0", gpt2, 0, NULL },
    { "exaone4", gpt2, 0, NULL },
    { "trillion", gpt2, 0, NULL },
    { "granite-docling", gpt2, 0, NULL },
    { "modern-bert", gpt2, 0, NULL },
    { "roberta-bpe", gpt2, 0, NULL },
    { "jina-v1-en", gpt2, 0, NULL },
    { "jina-es", gpt2, 0, NULL },
    { "jina-de", gpt2, 0, NULL },
    { "jina-v2-es", gpt2, PRE_MASK_STRIPS, NULL },
    { "jina-v2-de", gpt2, PRE_MASK_STRIPS, NULL },
    { "jina-v2-code", gpt2, PRE_MASK_STRIPS, NULL },

    { "starcoder", gpt2_digits, 0, NULL },
    { "refact", gpt2_digits, 0, NULL },
    { "smollm", gpt2_digits, 0, NULL },
    { "command-r", gpt2_digits, 0, NULL },
    { "codeshell", gpt2_digits, 0, NULL },
    { "exaone", gpt2_digits, 0, NULL },
    { "minerva-7b", gpt2_digits, 0, NULL },
    { "mellum2", gpt2_digits, 0, NULL },

    { "falcon", falcon, 0, NULL },

    { "llama-bpe", llama3, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "llama3", llama3, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "llama-v3", llama3, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "falcon3", llama3, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "falcon-h1", llama3, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "pixtral", llama3, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "midm-2.0", llama3, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "lfm2", llama3, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "jina-v5-nano", llama3, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "glm4", llama3, PRE_WHOLE_WORDS, NULL },
    { "glm5", llama3, PRE_WHOLE_WORDS, NULL },
    { "chatglm-bpe", llama3, 0, NULL },
    { "dbrx", llama3, 0, NULL },
    { "smaug-bpe", llama3, 0, NULL },
    { "jais-2", jais2, 0, NULL },
    { "minicpm5", minicpm5, PRE_WHOLE_WORDS, NULL },

    { "qwen2", qwen2, 0, NULL },
    { "deepseek-r1-qwen", qwen2, 0, NULL },
    { "megrez", qwen2, 0, NULL },
    { "stablelm2", qwen2, 0, NULL },
    { "hunyuan", qwen2, 0, NULL },
    { "kormo", qwen2, 0, NULL },
    { "f2llmv2", qwen2, 0, NULL },
    { "solar-open", qwen2, 0, NULL },
    { "grok-2", qwen2, 0, NULL },
    /* written with \s*[\r\n], which matches the same as \s*[\r\n]+, because \s includes newlines */
    { "bailingmoe", qwen2, 0, NULL },
    { "bailingmoe2", qwen2, 0, NULL },
    { "llada-moe", qwen2, 0, NULL },
    { "qwen35", qwen35, 0, NULL },
    { "laguna", laguna, 0, NULL },
    { "ufakzeka", ufakzeka, 0, NULL },
    { "seed-coder", seed_coder, 0, NULL },
    { "exaone-moe", exaone_moe, 0, NULL },

    { "gpt-4o", gpt4o, 0, NULL },
    { "llama4", gpt4o, 0, NULL },
    { "minimax-m2", gpt4o, 0, NULL },
    { "kanana2", gpt4o, 0, NULL },
    { "talkie", gpt4o, 0, NULL },
    { "granite-embed-multi-97m", gpt4o, PRE_WHOLE_WORDS, NULL },
    { "tekken", tekken, PRE_WHOLE_WORDS | PRE_ADDS_BOS, NULL },
    { "youtu", youtu, PRE_WHOLE_WORDS, NULL },
    { "tiny_aya", tiny_aya, 0, NULL },
    { "cohere2moe", tiny_aya, 0, NULL },
    { "kimi-k2", kimi_k2, 0, NULL },
    { "superbpe", superbpe, 0, NULL },

    { "deepseek-llm", deepseek_llm, 0, NULL },
    { "deepseek-coder", deepseek_coder, 0, NULL },
    { "deepseek-v3", deepseek3, 0, NULL },
    { "hunyuan-dense", deepseek3, 0, NULL },
    { "joyai-llm", deepseek3, 0, NULL },
    { "hy_v4", deepseek3, 0, NULL },
    { "spark2_5", spark, 0, NULL },
    { "afmoe", afmoe, 0, NULL },

    { "bloom", bloom, 0, NULL },
    { "poro-chat", bloom, 0, NULL },
    { "gpt3-finnish", bloom, 0, NULL },
    { "viking", viking, 0, NULL },
    { "chameleon", chameleon, PRE_ADDS_BOS, NULL },

    { "gemma4", lines, PRE_CHARACTERS | PRE_WHOLE_NEWLINES | PRE_ADDS_BOS | PRE_ALWAYS_BOS, NULL },
    { "granite-embed-multi-311m", lines,
      PRE_CHARACTERS | PRE_WHOLE_NEWLINES | PRE_ADDS_BOS | PRE_ALWAYS_BOS, NULL },
    { "sarvam-moe", lines, PRE_CHARACTERS, NULL },

    { "whitespace", NULL, 0,
      "it drops white space, so that no text comes back from its tokens; only an embedding model "
      "(jina-embeddings-v2-base-zh) has it" },
};
const size_t n_pretokenizer_names = sizeof pretokenizer_names / sizeof pretokenizer_names[0];

/* Lists one name for each list of patterns. */
static void list_patterns(char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < n_pretokenizer_names; i++) {
        const struct pretokenizer_name *p = &pretokenizer_names[i];
        size_t first = 0;
        while (pretokenizer_names[first].patterns != p->patterns) {
            first++;
        }
        if (first == i && p->patterns != NULL && n < size) {
            n += (size_t)snprintf(out + n, size - n, " %s", p->name);
        }
    }
}

weft_status pretokenizers_find(struct gguf_str name, const struct pretokenizer_name **out,
                               weft_error *err)
{
    for (size_t i = 0; i < n_pretokenizer_names; i++) {
        const struct pretokenizer_name *p = &pretokenizer_names[i];
        if (!gguf_str_is(name, p->name)) {
            continue;
        }
        *out = p;
        return p->patterns != NULL
                   ? WEFT_OK
                   : error_set(err, WEFT_E_UNSUPPORTED,
                               "tokenizer.ggml.pre is '%s', which Weft does not run: %s", p->name,
                               p->why);
    }
    char known[512];
    list_patterns(known, sizeof known);
    return error_set(
        err, WEFT_E_UNSUPPORTED,
        "tokenizer.ggml.pre is '%.*s', none of the %zu names known (README.md has them "
        "all); one for each pattern:%s",
        (int)size_min(name.n, 64), name.s, n_pretokenizer_names, known);
}
