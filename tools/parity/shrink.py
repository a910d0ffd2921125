"""Makes a conversation smaller as long as it still shows a difference."""

import copy
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
