"""The patterns that publishers put into tokenizer.json, where llama.cpp approximates them.

Splits text into words with Python's re and unicodedata, to check the words that Weft makes with PCRE2,
and its ids in the vocabularies of tokens.py. The patterns are as published, with one change:
(?i:'s|'t...) is written with ASCII letters, because Weft and llama.cpp fold only ASCII letters there.
"""

import functools
import re
import sys
import unicodedata
from collections.abc import Callable

SUFFIX = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
NOT_HAN = r"&&[^\p{Han}]]"


def cased(upper: str, lower: str, tail: str, digits: str, newlines: str) -> str:
    return (rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{tail}|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{tail}"
            rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+{newlines}*|\s*[\r\n]+|\s+(?!\S)|\s+")


GPT4O = cased(UPPER, LOWER, SUFFIX + "?", r"\p{N}{1,3}", r"[\r\n/]")
DEEPSEEK_ASIAN = "[一-龥ࠀ-一가-\ud7ff]+"
DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-"
    "\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-"
    "\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-"
    "\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc"
    "\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-"
    "\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-"
    "\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-"
    "\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-"
    "\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-"
    "\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-"
    "\U000118df\U0001e900-\U0001e943")

# name of a pre-tokenizer -> its patterns in turn: each splits the pieces that the patterns before it left
PATTERNS: dict[str, tuple[str, ...]] = {
    "tekken": (cased(UPPER, LOWER, "", r"\p{N}", r"[\r\n/]"),),
    "gpt-4o": (GPT4O,),
    "granite-embed-multi-97m": (GPT4O,),
    "youtu": ("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
              cased(UPPER, LOWER, SUFFIX + "?", r"\p{N}", r"[\r\n/]")),
    "tiny_aya": (r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O),
    "kimi-k2": (r"[\p{Han}]+|" + cased(UPPER[:-1] + NOT_HAN, LOWER[:-1] + NOT_HAN, SUFFIX + "?",
                                       r"\p{N}{1,3}", r"[\r\n]"),),
    "superbpe": (r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
    "deepseek-llm": (r"[\r\n]", rf"\s?[{DEEPSEEK_LETTERS}]+", "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
                     r"\s+$", DEEPSEEK_ASIAN, r"\p{N}+"),
    "deepseek-coder": (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_ASIAN, r"\p{N}"),
}

WHITE_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# the script, which unicodedata does not know
HAN = (r"\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf"
       r"\u4e00-\u9fff\uf900-\ufa6d\ufa70-\ufad9\U00016fe2\U00016fe3\U00016ff0\U00016ff1"
       r"\U00020000-\U0002a6df\U0002a700-\U0002b739\U0002b740-\U0002b81d\U0002b820-\U0002cea1"
       r"\U0002ceb0-\U0002ebe0\U0002ebf0-\U0002ee5d\U0002f800-\U0002fa1d\U00030000-\U0003134a"
       r"\U00031350-\U000323af")
# the other characters that are \w in Oniguruma: letters in circles, and Latin-1 numbers that are
# not digits
WORD_SYMBOLS = r"\xb2\xb3\xb9\xbc-\xbe\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"


def ranges(wanted: Callable[[int], bool]) -> str:
    """Returns the wanted code points, as they stand between brackets."""
    out, first = [], None
    for point in range(sys.maxunicode + 2):
        if point <= sys.maxunicode and wanted(point):
            first = point if first is None else first
        elif first is not None:
            out.append(rf"\U{first:08x}-\U{point - 1:08x}")
            first = None
    return "".join(out)


@functools.cache
def category(name: str) -> str:
    """Returns the members of \\p{name}."""
    return HAN if name == "Han" else ranges(
        lambda point: unicodedata.category(chr(point)).startswith(name))


@functools.cache
def without_han(members: str) -> str:
    """Returns the members of a class of categories that are not in Han."""
    inside, han = re.compile(f"[{members}]"), re.compile(f"[{HAN}]")
    return ranges(lambda point: bool(inside.match(chr(point))) and not han.match(chr(point)))


def translated(pattern: str) -> str:
    """Returns the pattern in Python's syntax, with Unicode's classes spelt out."""
    pattern = re.sub(r"\[((?:\\p\{\w+\})+)&&\[\^\\p\{Han\}\]\]", lambda match: "[" + without_han(
        "".join(category(name) for name in re.findall(r"\{(\w+)\}", match[1]))) + "]", pattern)
    word = "".join(map(category, ("L", "M", "Nl", "Nd", "Pc"))) + WORD_SYMBOLS
    classes = {r"\b": rf"(?:(?<=[{word}])(?![{word}])|(?<![{word}])(?=[{word}]))",
               r"\S": f"[^{WHITE_SPACE}]", "$": r"\Z"}
    out, inside = "", False
    for part in re.findall(r"\\p\{\w+\}|\\.|.", pattern, re.S):
        inside = part == "[" or (inside and part != "]")
        if part.startswith(r"\p"):
            part = category(part[3:-1]) if inside else f"[{category(part[3:-1])}]"
        elif part == r"\s":
            part = WHITE_SPACE if inside else f"[{WHITE_SPACE}]"
        elif part == r"\d":
            part = f"[{category('Nd')}]"
        elif not inside:
            part = classes.get(part, part)
        out += part
    return out


@functools.cache
def compiled(name: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(translated(pattern)) for pattern in PATTERNS[name])


def words(name: str, text: str) -> list[str]:
    """Returns the words. The text between two matches is a word too; an empty match is a border."""
    out = [text]
    for pattern in compiled(name):
        parts = out
        out = []
        for part in parts:
            done = 0
            for match in pattern.finditer(part):
                out += (part[done:match.start()], match[0])
                done = match.end()
            out.append(part[done:])
        out = [word for word in out if word]
    return out
