#!/usr/bin/env python3
"""Small templates and what jinja2 makes of them: tests/text/jinja/*.txt, which the tests of Weft read.

    snippets.py            checks that the recorded results are those of jinja2
    snippets.py --record   writes them anew

A file has snippets of this form; only the line that begins with text or fault is recorded:

    == name
    |a line of the template          or: json "the whole template"
    vars {"x": 1}                    variables, of a caller
    text "the rendering"             or: fault KIND, for `raised` with the words
    weft KIND: reason                Weft fails in another way, on purpose
    weft "another rendering": reason
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from jinja_reference import Outcome, Template

FOLDER = Path(__file__).resolve().parents[2] / "tests/text/jinja"
NOW = 1_700_000_000


@dataclass
class Snippet:
    name: str
    lines: list[str] = field(default_factory=list)  # as they stand in the file, without results
    recorded: str = ""

    def line(self, word: str) -> str | None:
        return next((line.removeprefix(word + " ") for line in self.lines
                     if line.startswith(word + " ")), None)

    @property
    def source(self) -> str:
        if (whole := self.line("json")) is not None:
            return json.loads(whole)
        return "\n".join(line[1:] for line in self.lines if line.startswith("|"))

    def outcome(self) -> Outcome:
        return Template(self.source).render(json.loads(self.line("vars") or "{}"), NOW)


def result_line(outcome: Outcome) -> str:
    if outcome.fault is None:
        return "text " + json.dumps(outcome.text)
    words = " " + json.dumps(outcome.message) if outcome.fault == "raised" else ""
    return f"fault {outcome.fault}{words}"


def read(path: Path) -> tuple[list[str], list[Snippet]]:
    """Returns the lines in front of the first snippet, and the snippets."""
    head, snippets = [], []
    for line in path.read_bytes().decode().split("\n"):
        if line.startswith("== "):
            snippets.append(Snippet(line[3:]))
        elif not snippets:
            head.append(line)
        elif re.match("text |fault ", line):
            snippets[-1].recorded = line
        elif re.match(r"\||json |vars |weft ", line):
            snippets[-1].lines.append(line)
        elif line:
            raise SystemExit(f"{path.name}: {snippets[-1].name}: a line that says nothing: {line}")
    return head, snippets


def write(path: Path, head: list[str], snippets: list[Snippet]) -> None:
    def text(s: Snippet) -> str:
        weft = [line for line in s.lines if line.startswith("weft ")]
        given = [line for line in s.lines if line not in weft]
        return "\n".join([f"== {s.name}", *given, s.recorded, *weft, ""])

    path.write_text("\n".join([*head, *map(text, snippets)]), encoding="utf-8", newline="\n")


def problems(path: Path, snippets: list[Snippet]) -> list[str]:
    found = [f"{path.name}: {s.name}: recorded {s.recorded}\n  jinja2 {result_line(s.outcome())}"
             for s in snippets if s.recorded != result_line(s.outcome())]
    names = [s.name for s in snippets]
    found += [f"{path.name}: two snippets are called {name!r}" for name in sorted(set(names))
              if names.count(name) > 1]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Records what jinja2 makes of small templates.")
    parser.add_argument("--record", action="store_true", help="write the results anew")
    args = parser.parse_args()
    n, found = 0, []
    for path in sorted(FOLDER.glob("*.txt")):
        head, snippets = read(path)
        n += len(snippets)
        if args.record:
            for snippet in snippets:
                snippet.recorded = result_line(snippet.outcome())
            write(path, head, snippets)
        found += problems(path, snippets)
    print("\n".join([*found, f"snippets: {n}, {len(found)} not as jinja2 renders them"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
