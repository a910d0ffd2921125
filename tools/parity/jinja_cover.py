"""What of a template its conversations reach, in jinja2: how many render, and which lines are run."""

import re
import sys
from collections import Counter
from types import CodeType

from conversations import Conversation
from jinja_reference import Template


# What no conversation can reach: filters that are missing, parameters that every call gives, and what
# only makes a function a generator.
NEVER = re.compile(r"\s*(except KeyError:|@internalcode|def (t_\d+|root)\(|if 0: yield|pass$|"
                   r"raise TemplateRuntimeError\(|l_\d+_\w+ = undefined\(.parameter )")


def codes(code: CodeType):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def lines_of(code: CodeType, text: list[str]) -> set[int]:
    return {line for part in codes(code) for *_, line in part.co_lines()
            if line and not NEVER.match(text[line - 1])}


def run(template: Template, conversations: list[Conversation]) -> tuple[Counter, set[int], Counter]:
    """Returns the kinds of outcomes, the lines of jinja2's Python code that ran, and the messages."""
    kinds, reached, messages = Counter(), set(), Counter()

    def trace(frame, event, _):
        if frame.f_code.co_filename != "<template>":
            return None
        if event == "line":
            reached.add(frame.f_lineno)
        return trace

    for c in conversations:
        sys.settrace(trace)
        outcome = template.render(c.all_variables, c.now)
        sys.settrace(None)
        kinds[outcome.fault or "text"] += 1
        if outcome.fault:
            messages[f"{outcome.fault}: {outcome.message[:110]!a}"] += 1
    return kinds, reached, messages


def show(name: str, source: str, template: Template, conversations: list[Conversation],
         verbose: bool) -> None:
    if template.compiled is None:
        print(f"{name}: {template.refusal}")
        return
    kinds, reached, messages = run(template, conversations)
    text = template.environment.compile(source, raw=True).splitlines()
    body = lines_of(template.compiled.root_render_func.__code__, text)
    outcomes = ", ".join(f"{kinds[kind]} {kind}" for kind in ("text", "raised", "undefined", "runtime"))
    print(f"{name:50} {100 * len(body & reached) / len(body):4.0f} % of lines; {outcomes}")
    if verbose:
        for message, n in messages.most_common(8):
            print(f"    {n:4} {message}")
        lines = source.splitlines()
        for line in sorted(body - reached):
            place = template.compiled.get_corresponding_lineno(line)
            print(f"    not reached, line {place}: {lines[place - 1].strip()[:80]}  # {text[line - 1].strip()[:90]}")
