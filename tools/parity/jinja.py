#!/usr/bin/env python3
"""Chat templates: Weft's interpreter against jinja2 as Transformers calls it, byte by byte.

    jinja.py [--conversations N] [--random N] [--templates FOLDER] [--only PATTERN] [--cli PATH] [-v]

The templates are those of llama.cpp's collection, which pip gets into FOLDER, and the publishers' ones in
tests/data/chat. Each renders N random conversations (conversations.py), seeded by the names, so that a
second run makes the same. Both must give the same text, or fail in the same way: raised with the same
words, undefined, another runtime error. A text to continue ends where continue_final_message ends it.

Random templates (random_templates.py) are rendered, too, each once: statements in each other, expressions
of all kinds, white space control.

Provenance is checked on every text: what only callers can have written must not be the template's, and
where provenance.py can tell every author, what the template wrote must not be a caller's.

Differences that are meant stand in KNOWN with their reason, and are counted under it; any other
difference, and an entry of KNOWN that no longer occurs, makes the exit status 1.
"""

import argparse
import fnmatch
import json
import random
import re
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import jinja2.meta
from jinja2 import nodes

import chat_texts
import jinja_cover
import jinja_sources
import provenance
import random_templates
from conversations import Conversation, Maker, Reads
from jinja_reference import Generation, Outcome, Template
from shrink import shrink, shrink_source

ROOT = Path(__file__).resolve().parents[2]
CLI = ROOT / "build/tests/jinja_cli"
MESSAGE = 507  # bytes of a weft_error
LEAST_RENDERED = 0.8
RANDOM = "random templates"
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}>", re.IGNORECASE)


@dataclass(frozen=True)
class Known:
    """A difference that is meant: shell pattern of sources, patterns of what both say, reason."""

    source: str
    theirs: str
    ours: str
    reason: str


KNOWN: tuple[Known, ...] = (
    Known("*", "RecursionError", "^limit: .* macros are inside each other", "both end it, with other words"),
    Known(RANDOM, "^['\"]", "^runtime: .* (has no slices|the bounds of a slice)", "jinja2 works slices of constants out beforehand, and "
          "takes what has none for undefined"),
)


@dataclass
class Tally:
    verbose: bool
    reduce: bool
    n: Counter = field(default_factory=Counter)  # (source, what) -> how many
    known: Counter = field(default_factory=Counter)
    n_unknown: int = 0

    def total(self, what: str) -> int:
        return sum(n for (_, found), n in self.n.items() if found == what)


def cleaned(message: str) -> str:
    """What a weft_error makes of a message, as far as it holds it."""
    printable = "".join("?" if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in message)
    return printable


def same_words(theirs: str, ours: str) -> bool:
    theirs = cleaned(theirs)
    if len(theirs.encode()) <= MESSAGE:
        return theirs == ours
    head, _, tail = ours.partition(" ... ")
    return theirs.startswith(head) and theirs.endswith(tail)


class Cli:
    """Renders with jinja_cli."""

    def __init__(self, path: Path):
        self.path = path

    def answers(self, cases: list[tuple[str, Conversation]]) -> list[dict]:
        """Renders each conversation by the source beside it."""
        lines, last = [], None
        for source, c in cases:
            lines.append({"vars": c.variables, "template_vars": c.template_variables, "now": c.now,
                          **({"template": source} if source is not last else {}),
                          **({"marked": c.marked} if c.marked else {})})
            last = source
        done = subprocess.run([self.path], input="".join(map(line_of, lines)).encode(),
                              capture_output=True, timeout=60 + len(lines), check=False)
        answers = [json.loads(line) for line in done.stdout.decode().split("\n") if line]
        if len(answers) < len(lines):
            problem = f"exit status {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}"
            answers.append({"fault": "died", "message": problem})
            # what stands behind the one that it died of
            answers += self.answers(cases[len(answers):])
        return answers


def line_of(line: dict) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


def reads_of(source: str) -> Reads:
    reader = jinja2.Environment(extensions=[Generation, "jinja2.ext.loopcontrols"])
    tree = reader.parse(source)
    attributes = {node.attr for node in tree.find_all(nodes.Getattr)}
    constants = {node.value for node in tree.find_all(nodes.Const)
                 if isinstance(node.value, str) and 0 < len(node.value) <= 40}
    attributes |= {text for text in constants if text.isidentifier()}
    return Reads(sorted(jinja2.meta.find_undeclared_variables(tree)), sorted(attributes),
                 sorted(constants), chat_texts.tokens_of(source))


def draw(seed: str, template: Template, reads: Reads, tokens: list[str]) -> Conversation:
    """Draws until the template renders the conversation, but takes a fourth of them as they come."""
    rng = random.Random(seed)
    wanted = rng.random() < 0.75
    kind = rng.choices(("talk", "errands", "disorder"), (42, 40, 18))[0]
    for attempt in range(12 if wanted else 1):
        c = Maker(f"{seed}/{attempt}", reads, tokens).conversation(kind if attempt < 8 else "talk")
        # as it reaches Weft, and with no part in two places
        c.variables = json.loads(json.dumps(c.variables))
        if template.render(c.all_variables, c.now).fault is None:
            break
    return c


def cut(text: str, who: list[int]) -> str | None:
    """The text up to the last character of the marked string."""
    places = [i for i, author in enumerate(who) if author == provenance.MARKED]
    return text[:places[-1] + 1] if places else None


def problem_with_authors(source: str, template: Template, c: Conversation,
                         answer: dict) -> tuple[str | None, bool]:
    """Returns what is wrong with the runs, and whether every author was known."""
    text = answer["text"]
    who = provenance.authors(answer["runs"], text)
    if isinstance(who, str):
        return who, False
    if problem := provenance.check_rare(text, who, c.variables, source):
        return problem, False
    second = template.render(provenance.replaced(c.variables) | c.template_variables, c.now).text
    decided = second is not None and provenance.put_back(second) == text
    problem = provenance.check_all(text, who, second) if decided else None
    if problem is None and c.marked is not None:
        problem = problem_with_prefill(template, c, cut(text, who))
    return problem, decided


def problem_with_prefill(template: Template, c: Conversation, ours: str | None) -> str | None:
    theirs = template.render_to_continue(c.all_variables, c.now)
    if theirs is None or ours == theirs:
        return None
    return f"the text to continue ends with {(ours or '')[-60:]!a}, expected {theirs[-60:]!a}"


def difference(template: Template, c: Conversation, answer: dict) -> tuple[Outcome, Outcome] | None:
    """Returns what jinja2 and Weft say, if that is not the same."""
    theirs = template.render(c.all_variables, c.now)
    if theirs.text is not None and ADDRESS.search(theirs.text):
        return None  # it prints an object of Python, which is another text each time
    ours = Outcome(answer.get("text"), answer.get("fault"), answer.get("message", ""))
    if theirs.fault == "raised" and ours.fault == "raised":
        return None if same_words(theirs.message, ours.message) else (theirs, ours)
    return None if (theirs.text, theirs.fault) == (ours.text, ours.fault) else (theirs, ours)


def parting(theirs: str, ours: str) -> str:
    place = next((i for i, (a, b) in enumerate(zip(theirs, ours)) if a != b), min(len(theirs), len(ours)))
    return (f"  jinja2 ...{theirs[max(0, place - 60):place + 60]!a}...\n"
            f"  Weft   ...{ours[max(0, place - 60):place + 60]!a}...")


def explain(theirs: Outcome, ours: Outcome) -> str:
    if theirs.text is not None and ours.text is not None:
        return parting(theirs.text, ours.text)
    return f"  jinja2 {str(theirs)[:600]}\n  Weft   {str(ours)[:600]}"


def show_smallest(cli: Cli, source: str, template: Template, c: Conversation, kind: tuple, whole: bool) -> None:
    """Prints the smallest conversation found that shows a difference of the same kind; with `whole`, the
    smallest template as well."""
    def found(source: str, template: Template, candidate: Conversation) -> tuple[Outcome, Outcome] | None:
        return difference(template, candidate, cli.answers([(source, candidate)])[0])

    def kind_of(both: tuple[Outcome, Outcome] | None) -> tuple | None:
        return both and (both[0].fault, both[1].fault)

    c = shrink(c, lambda other: kind_of(found(source, template, other)) == kind)
    if whole:
        source = shrink_source(source, lambda text: kind_of(found(text, Template(text), c)) == kind)
        c = shrink(c, lambda other: kind_of(found(source, Template(source), other)) == kind)
        print(f"  smallest template: {source!a}")
    print(f"  smallest: {json.dumps(c.variables)}, {c.template_variables}\n"
          f"{explain(*found(source, Template(source), c))}")


def compare_one(tally: Tally, cli: Cli, name: str, source: str, template: Template, c: Conversation,
                answer: dict) -> None:
    tally.n[name, "compared"] += 1
    found = difference(template, c, answer)
    if found is not None:
        theirs, ours = found
        entry = next((i for i, known in enumerate(KNOWN) if fnmatch.fnmatchcase(name, known.source)
                      and re.search(known.theirs, str(theirs)) and re.search(known.ours, str(ours))), None)
        tally.known[entry] += 1
        tally.n_unknown += entry is None
        tally.n[name, "different"] += 1
        if entry is None or tally.verbose:
            print(f"{name}: {'' if entry is None else 'on purpose '}not as jinja2\n{explain(theirs, ours)}")
            if tally.reduce:
                show_smallest(cli, source, template, c, (theirs.fault, ours.fault), name == RANDOM)
        return
    if "fault" in answer:
        tally.n[name, answer["fault"]] += 1
        return
    tally.n[name, "text"] += 1
    problem, decided = problem_with_authors(source, template, c, answer)
    tally.n[name, "authors known"] += decided
    if problem:
        tally.n[name, "wrong authors"] += 1
        tally.n_unknown += 1
        print(f"{name}: {problem}")
        if tally.verbose:
            print(f"  {source!a}\n  {json.dumps(c.variables)}")


def compare_random(tally: Tally, cli: Cli, n: int) -> None:
    """Random templates, of which most render."""
    cases = []
    for i in range(n):
        for attempt in range(4):
            source = random_templates.Templates(f"{i}/{attempt}").template()
            template = Template(source)
            if template.render(random_templates.VARIABLES, 0).fault is None:
                break
        cases.append((source, Conversation(random_templates.VARIABLES, {}, 0)))
    for (source, c), answer in zip(cases, cli.answers(cases)):
        compare_one(tally, cli, RANDOM, source, Template(source), c, answer)


def report(tally: Tally, names: list[str], whole: bool) -> bool:
    """Prints what was found; with `whole`, all differences of KNOWN should have occurred."""
    stale = []
    for i, known in enumerate(KNOWN):
        if tally.known[i]:
            print(f"on purpose not as jinja2, {tally.known[i]} times, {known.source}: {known.reason}")
        elif whole:
            stale.append(known)
            print(f"listed as different from jinja2, but it is not: {known.source}: {known.reason}")
    kinds = ("text", "raised", "undefined", "runtime", "syntax")
    counts = ", ".join(f"{tally.total(kind)} {kind}" for kind in kinds)
    print(f"templates against jinja2: {len(names)}, and {tally.n[RANDOM, 'compared']} random ones; "
          f"the same in both: {counts}")
    print(f"authors: {tally.total('wrong authors')} texts with a wrong one; "
          f"in {tally.total('authors known')} of {tally.total('text')} texts every author was known")
    rendered = tally.total("text") >= LEAST_RENDERED * tally.total("compared")
    print(f"templates: {tally.n_unknown} unexplained differences"
          f"{'' if rendered else '; too many conversations are refused, which proves little'}")
    return tally.n_unknown == 0 and not stale and rendered


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares Weft's interpreter of templates with jinja2.")
    parser.add_argument("--cli", type=Path, default=CLI, metavar="PATH", help="the program to compare")
    parser.add_argument("--templates", type=Path, metavar="FOLDER", help="llama.cpp's collection")
    parser.add_argument("--conversations", type=int, default=20, metavar="N", help="for each template")
    parser.add_argument("--random", type=int, default=2000, metavar="N", help="random templates")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="templates of these names")
    parser.add_argument("--reduce", action="store_true", help="shrink conversations that differ")
    parser.add_argument("--coverage", action="store_true",
                        help="only say what of the templates the conversations reach")
    parser.add_argument("-v", "--verbose", action="store_true", help="show known differences too")
    args = parser.parse_args()
    warnings.simplefilter("ignore", SyntaxWarning)  # Python's, about the code that jinja2 makes
    sources = {name: source for name, source in
               (jinja_sources.publishers() | jinja_sources.collection(args.templates)).items()
               if fnmatch.fnmatchcase(name, args.only)}
    tokens = sorted({token for source in sources.values() for token in chat_texts.tokens_of(source)})
    tally, cli = Tally(args.verbose, args.reduce), Cli(args.cli)
    for name, source in sources.items():
        template, reads = Template(source), reads_of(source)
        conversations = [draw(f"{name}/{i}", template, reads, tokens) for i in range(args.conversations)]
        if args.coverage:
            jinja_cover.show(name, source, template, conversations, args.verbose)
            continue
        for c, answer in zip(conversations, cli.answers([(source, c) for c in conversations])):
            compare_one(tally, cli, name, source, template, c, answer)
    whole = args.only == "*" and len(sources) > len(jinja_sources.publishers())
    if not args.coverage:
        compare_random(tally, cli, args.random)
    return 0 if args.coverage or report(tally, list(sources), whole) else 1


if __name__ == "__main__":
    sys.exit(main())
