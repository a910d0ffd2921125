"""Who wrote which byte of a rendered text, without asking the renderer.

A conversation is rendered a second time by jinja2, with every character of the callers' texts replaced
by one of the private planes. Where the result, with the characters put back, is the first rendering,
the replaced characters are those of callers, and all others are the template's, or of callers' texts
that were left as they were: words that are roles, types and keys, numbers, and white space.
"""

import re
from typing import Any

TEMPLATE, CALLER, MARKED = range(3)
# By these a template decides, if they are words.
MEANT = {"role", "type"}
KEYED = {"arguments", "properties"}  # their keys are names that callers chose
WORD = re.compile(r"\w+", re.ASCII)
# These are escaped in JSON, or stripped.
KEPT = re.compile(r"[\s\"\\\x00-\x1f\x7f-\x9f]")
# What a caller's run may have of characters that were not replaced: words, numbers, escapes.
UNREPLACED = re.compile(r"[\w\s.+\-'\"\\\x00-\x1f\x7f-\x9f]")
ESCAPE = re.compile(r"&(#\d+|\w+);")
RARE = re.compile("[\ua000-\ua3ff]")
BRACKETED = re.compile("[\ua000-\ua3ff]([^\ua000-\ua3ff\\s]{1,60})[\ua000-\ua3ff]")


def replace(text: str) -> str:
    def other(char: str) -> str:
        code = ord(char)
        if KEPT.match(char) or code >= 0x20000:
            return char
        return chr(code + (0x100000 if code < 0xFFFE else 0xF0000 - 0x10000))

    return "".join(map(other, text))


def put_back(text: str) -> str:
    def original(char: str) -> str:
        code = ord(char)
        if code >= 0x100000:
            return chr(code - 0x100000)
        return chr(code - 0xF0000 + 0x10000) if code >= 0xF0000 else char

    return "".join(map(original, text))


def replaced(value: Any, key: str = "") -> Any:
    """Returns the value with the characters of callers replaced; `key` is what it stands under."""
    if isinstance(value, str):
        return value if key in MEANT and WORD.fullmatch(value) else replace(value)
    if isinstance(value, list):
        return [replaced(item, key if key in MEANT else "") for item in value]
    if isinstance(value, dict):
        named = key in KEYED
        return {replace(name) if named or not WORD.fullmatch(name) else name:
                # the names of properties have no meaning themselves
                replaced(item, "" if named else name) for name, item in value.items()}
    return value


def authors(runs: list[list[int]], text: str) -> list[int] | str:
    """Returns who wrote each character, or what is wrong with the runs."""
    n_bytes = len(text.encode())
    if sum(n for n, _ in runs) != n_bytes:
        return f"the runs add up to {sum(n for n, _ in runs)} bytes, the text has {n_bytes}"
    if any(n == 0 for n, _ in runs) or any(a[1] == b[1] for a, b in zip(runs, runs[1:])):
        return "a run is empty, or neighbours have the same author"
    by_byte = [who for n, who in runs for _ in range(n)]
    made, place = [], 0
    for char in text:
        n = len(char.encode())
        if len(set(by_byte[place:place + n])) != 1:
            return f"two authors wrote {char!a}"
        made.append(by_byte[place])
        place += n
    return made


def shown(text: str, place: int) -> str:
    return f"{text[max(0, place - 30):place + 30]!a}"


def bracketed(value: Any) -> set[str]:
    """Returns what stands between rare characters in a caller's texts, with these."""
    if isinstance(value, dict):
        return bracketed(list(value.keys())) | bracketed(list(value.values()))
    if isinstance(value, list):
        return set().union(*map(bracketed, value))
    return {found[0] for found in BRACKETED.finditer(value)} if isinstance(value, str) else set()


def takes_apart(source: str, found: re.Match) -> bool:
    """Returns True if the template may write between the parts of a text what stood there before."""
    return ".split(" in source and any(f"{quote}{found[1]}{quote}" in source for quote in "'\"")


def check_rare(text: str, who: list[int], variables: dict[str, Any], source: str) -> str | None:
    """Characters that no template has, control tokens between such, and their escapes, are callers'."""
    given = {change(part) for part in bracketed(variables) for change in (str, str.upper, str.lower, str.title)}
    for found in RARE.finditer(text):
        if who[found.start()] == TEMPLATE:
            return f"the template wrote {found[0]!a} in {shown(text, found.start())}"
    for found in BRACKETED.finditer(text):
        whole = found[0] in given and not takes_apart(source, found)
        if whole and TEMPLATE in who[found.start():found.end()]:
            return f"the template wrote a part of {shown(text, found.start())}"
    for found in re.finditer(r"\\ua[0-3][0-9a-f]{2}", text):
        if TEMPLATE in who[found.start():found.end()]:
            return f"the template wrote an escape in {shown(text, found.start())}"
    return None


def check_all(text: str, who: list[int], second: str) -> str | None:
    """Compares with the second rendering, which has replaced characters."""
    escaped = {place for found in ESCAPE.finditer(text) for place in range(*found.span())}
    for place, (char, other) in enumerate(zip(text, second)):
        if char != other and who[place] == TEMPLATE:
            return f"the template wrote a caller's {char!a} in {shown(text, place)}"
        known = UNREPLACED.match(char) or place in escaped
        if char == other and who[place] != TEMPLATE and not known:
            return f"a caller wrote the template's {char!a} in {shown(text, place)}"
    return None
