"""Makes a conversation or a template smaller as long as it still shows a difference."""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from conversations import Conversation


def smaller(value: Any) -> Iterator[Any]:
    """Yields values with one part less, the largest steps first."""
    if isinstance(value, str):
        n = len(value)
        for step in (n // 2, n // 4, 1):
            for start in range(0, n if 0 < step else 0, max(step, 1)):
                yield value[:start] + value[start + step:]
    elif isinstance(value, list):
        for i in range(len(value)):
            yield value[:i] + value[i + 1:]
        for i, item in enumerate(value):
            yield from (value[:i] + [less] + value[i + 1:] for less in smaller(item))
    elif isinstance(value, dict):
        for key in value:
            yield {other: item for other, item in value.items() if other != key}
        for key, item in value.items():
            yield from (value | {key: less} for less in smaller(item))


def shrink(c: Conversation, differs: Callable[[Conversation], bool], tries: int = 3000) -> Conversation:
    c = replace(copy.deepcopy(c), marked=None)
    if not differs(c):
        return c
    while tries > 0:
        for variables in smaller(c.variables):
            tries -= 1
            candidate = replace(c, variables=variables)
            if differs(candidate):
                c = candidate
                break
            if tries <= 0:
                break
        else:
            break
    return c


PIECE = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|\w+|\s+|.", re.DOTALL)


def shrink_source(source: str, differs: Callable[[str], bool], tries: int = 3000) -> str:
    """Takes tags away, then words, then characters."""
    for split in (PIECE.findall, re.compile(r"\w+|.", re.DOTALL).findall, list):
        pieces = split(source)
        step = max(1, len(pieces) // 2)
        while step and tries > 0:
            start, smaller_found = 0, False
            while start < len(pieces) and tries > 0:
                candidate = pieces[:start] + pieces[start + step:]
                tries -= 1
                if differs("".join(candidate)):
                    pieces, smaller_found = candidate, True
                else:
                    start += step
            step = step if smaller_found and step == 1 else step // 2
        source = "".join(pieces)
    return source
