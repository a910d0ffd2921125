"""Random templates: statements in each other, expressions of all kinds, white space and its control.

They are made so that most of them render: an expression is made for a kind of value that is wanted, and
sometimes for another.
"""

import random

MINUS = ("", "", "", "", "-", "+")
TEXTS = ["a", "", " ", "b\n", "\n", "  \n  ", "x y", "<|im_end|>", "é🧵", "\t", "0", "\n\n", "|", "ß"]
STRINGS = ["", "a", "abc", " a b ", "A-b", "1", "12", "a,b,,c", "é", "ß🧵", "\\n", "x\\ty", "<a&b>", "it\\'s",
           "</think>", "  ", "aXbX", "\\\\"]
NUMBERS = ["0", "1", "2", "3", "10", "-1", "7", "1.5", "0.25", "-2.5", "100", "1e3"]
NAMES = ["a", "b", "c", "d", "e"]
KEYS = ["k", "role", "content", "items", "n"]
VARIABLES = {
    "a": 5, "b": "text of \ua000<|im_end|>\ua001", "c": [1, "two", None, 3.5, True],
    "d": {"k": 1, "role": "user", "content": [1, 2]}, "e": None,
    "messages": [{"role": "system", "content": " s\ua002 "}, {"role": "user", "content": "u\n", "n": 1},
                 {"role": "assistant", "content": None, "k": {"k": "v\ua003"}}],
}


class Templates:
    def __init__(self, seed: str):
        self.rng = random.Random(seed)
        self.names = [*NAMES, "messages"]
        self.macros: list[tuple[str, int]] = []
        self.loops = 0

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def some(self, choices):
        return self.rng.choice(choices)

    # --- expressions, by the kind of value that is wanted

    def any(self, depth: int) -> str:
        return self.some((self.text, self.number, self.truth, self.list, self.dict, self.name))(depth)

    def name(self, depth: int = 0) -> str:
        if self.loops and self.chance(0.25):
            return "loop." + self.some(("index", "index0", "first", "last", "length", "revindex", "previtem",
                                        "nextitem", "depth"))
        return "undefined_name" if self.chance(0.04) else self.some(self.names)

    def inner(self, kind, depth: int) -> str:
        """An operand: of the kind that is wanted, in most cases."""
        made = (self.any if self.chance(0.06) else kind)(depth - 1)
        return f"({made})" if self.chance(0.5) else made

    def common(self, kind, depth: int) -> str | None:
        """What gives a value of any kind."""
        if depth <= 0 or self.chance(0.75):
            return None
        return self.some((
            lambda: f"({self.inner(kind, depth)} if {self.inner(self.truth, depth)} else {self.inner(kind, depth)})",
            lambda: f"{self.inner(kind, depth)} | default({self.inner(kind, depth)})",
            lambda: f"({self.name()} or {self.inner(kind, depth)})",
            lambda: f"[{self.inner(kind, depth)}, {self.any(depth - 2)}][0]",
            lambda: f"{{'k': {self.inner(kind, depth)}}}.k",
            lambda: f"{{'k': {self.inner(kind, depth)}}}['k']",
            lambda: f"{self.inner(self.list, depth)} | {self.some(('first', 'last'))}",
        ))()

    def text(self, depth: int) -> str:
        if common := self.common(self.text, depth):
            return common
        if depth <= 0 or self.chance(0.2):
            return f"'{self.some(STRINGS)}'"
        t = lambda: self.inner(self.text, depth)  # noqa: E731
        n = lambda: self.inner(self.number, depth)  # noqa: E731
        w = lambda: self.whole(depth)  # noqa: E731
        return self.some((
            lambda: f"{t()} ~ {self.inner(self.any, depth)}", lambda: f"{t()} + {t()}",
            lambda: f"{t()} | {self.some(('upper', 'lower', 'trim', 'capitalize', 'title', 'string'))}",
            lambda: f"({t()}).{self.some(('strip', 'lstrip', 'rstrip', 'upper', 'lower', 'title'))}()",
            lambda: f"({t()}).strip({t()})", lambda: f"({t()}).replace({t()}, {t()})",
            lambda: f"{t()} | replace({t()}, {t()})", lambda: f"({t()})[{self.index(depth)}]",
            lambda: f"({t()})[{self.slice(depth)}]", lambda: f"{self.inner(self.list, depth)} | join({t()})",
            lambda: f"{self.inner(self.any, depth)} | string", lambda: f"{self.inner(self.any, depth)} | tojson",
            lambda: f"{self.inner(self.any, depth)} | tojson(indent={w()})", lambda: f"{t()} * {w()}",
            lambda: f"({t()}).split({t()})[{self.index(depth)}]", lambda: f"{t()} | indent({w()})",
            self.call, lambda: f"'{{}}-{{}}'.format({t()}, {n()})",
        ))()

    def number(self, depth: int) -> str:
        if common := self.common(self.number, depth):
            return common
        if depth <= 0 or self.chance(0.25):
            return self.some(NUMBERS)
        n = lambda: self.inner(self.number, depth)  # noqa: E731
        return self.some((
            lambda: f"{n()} {self.some(('+', '-', '*', '/', '//', '%'))} {n()}", lambda: f"-{n()}",
            lambda: f"{self.inner(self.some((self.text, self.list, self.dict)), depth)} | length",
            lambda: f"{self.inner(self.any, depth)} | int", lambda: f"{n()} | abs",
            lambda: f"{n()} | round({self.some((0, 1, 2))})",
            lambda: f"{self.inner(self.list, depth)} | {self.some(('min', 'max', 'sum'))}",
            lambda: f"({self.inner(self.text, depth)}).{self.some(('find', 'count'))}({self.inner(self.text, depth)})",
        ))()

    def whole(self, depth: int) -> str:
        """A whole number that is not large."""
        return self.some((self.some(("0", "1", "2", "3", "-1")), f"({self.inner(self.list, depth - 1)}) | length",
                          "a", f"({self.some(NUMBERS)} | int)", "true", "loop.index" if self.loops else "1"))

    def truth(self, depth: int) -> str:
        if depth <= 0 or self.chance(0.15):
            return self.some(("true", "false", self.name()))
        a = lambda: self.inner(self.any, depth)  # noqa: E731
        b = lambda: self.inner(self.truth, depth)  # noqa: E731
        n = lambda: self.inner(self.number, depth)  # noqa: E731
        tests = ("defined", "undefined", "none", "string", "number", "mapping", "iterable", "sequence", "boolean",
                 "true", "false", "integer", "float", "callable", "upper", "lower")
        return self.some((
            lambda: f"{a()} {self.some(('==', '!='))} {a()}", lambda: f"not {b()}",
            lambda: f"{n()} {self.some(('<', '<=', '>', '>='))} {n()}", lambda: f"{n()} < {n()} <= {n()}",
            lambda: f"{b()} {self.some(('and', 'or'))} {b()}",
            lambda: f"{a()} {self.some(('in', 'not in'))} {self.inner(self.list, depth)}",
            lambda: f"{self.inner(self.text, depth)} in {self.inner(self.text, depth)}",
            lambda: f"{a()} is {self.some(('', 'not '))}{self.some(tests)}",
            lambda: f"({self.inner(self.text, depth)}).{self.some(('startswith', 'endswith'))}"
                    f"({self.inner(self.text, depth)})",
        ))()

    def list(self, depth: int) -> str:
        if common := self.common(self.list, depth):
            return common
        if depth <= 0 or self.chance(0.2):
            return self.some(("[]", "c", "[1, 2, 3]", "['b', 'a', 'C']", "messages", "range(3)", "(1, 'x')"))
        li = lambda: self.inner(self.list, depth)  # noqa: E731
        items = ", ".join(self.any(depth - 2) for _ in range(self.rng.randint(0, 3)))
        return self.some((
            lambda: f"[{items}]", lambda: f"[{items}] + [{self.any(depth - 2)}]", lambda: f"({li()})[{self.slice(depth)}]",
            lambda: f"{li()} | {self.some(('list', 'reverse | list', 'unique | list', 'select | list', 'sort'))}",
            lambda: f"{li()} | map('{self.some(('string', 'upper', 'length', 'trim'))}') | list",
            lambda: f"{li()} | select('{self.some(('string', 'number', 'defined', 'none'))}') | list",
            lambda: f"{li()} | reject('{self.some(('string', 'mapping', 'none'))}') | list",
            lambda: f"messages | map(attribute='{self.some(KEYS)}') | list",
            lambda: f"messages | {self.some(('selectattr', 'rejectattr'))}('{self.some(KEYS)}') | list",
            lambda: f"messages | selectattr('{self.some(KEYS)}', 'equalto', {self.inner(self.text, depth)}) | list",
            lambda: f"({self.inner(self.text, depth)}).split({self.some(('', self.inner(self.text, 0)))})",
            lambda: f"({self.inner(self.dict, depth)}).{self.some(('items', 'keys', 'values'))}() | list",
            lambda: f"{self.inner(self.dict, depth)} | {self.some(('items | list', 'dictsort', 'list'))}",
            lambda: f"{self.inner(self.text, depth)} | list", lambda: f"range({self.some((0, 2, 4))}) | list",
        ))()

    def dict(self, depth: int) -> str:
        if common := self.common(self.dict, depth):
            return common
        if depth <= 0 or self.chance(0.3):
            return self.some(("{}", "d", "{'k': 1}", "messages[0]", "messages[-1]"))
        pairs = ", ".join(f"'{self.some(KEYS)}': {self.any(depth - 1)}" for _ in range(self.rng.randint(0, 3)))
        return self.some((lambda: f"{{{pairs}}}", lambda: f"dict({self.inner(self.dict, depth)}, n=1)"))()

    def index(self, depth: int) -> str:
        return self.some(("0", "-1", "1", self.whole(depth), self.inner(self.number, depth)))

    def slice(self, depth: int) -> str:
        part = lambda: self.some(("", "", "1", "-1", "2", self.whole(depth - 1)))  # noqa: E731
        step = self.some(("", "", ":", ":-1", ":2"))
        return f"{part()}:{part()}{step}"

    def call(self) -> str:
        if not self.macros:
            return "'no macro'"
        name, n = self.some(self.macros)
        return f"{name}({', '.join(self.any(1) for _ in range(self.rng.randint(0, n)))})"

    # --- statements

    def tag(self, text: str) -> str:
        return f"{{%{self.some(MINUS)} {text} {self.some(MINUS)}%}}"

    def output(self, depth: int) -> str:
        begin, end = (self.some(("", "", "", "-")) for _ in range(2))
        return f"{{{{{begin} {self.any(depth)} {end}}}}}"

    def body(self, depth: int) -> str:
        n = self.rng.randint(1, 3)
        return "".join(self.some(TEXTS) + self.statement(depth - 1) for _ in range(n)) + self.some(TEXTS)

    def scoped(self, depth: int, *names: str) -> str:
        """A body with names that are known in it."""
        known, macros, loops = [*self.names], [*self.macros], self.loops
        self.names += names
        made = self.body(depth)
        self.names, self.macros, self.loops = known, macros, loops
        return made

    def statement(self, depth: int) -> str:
        if depth <= 0:
            return self.output(2)
        return self.some((lambda d: self.output(3), lambda d: self.output(2), self.condition, self.loop, self.loop,
                          self.assign, self.assign, self.assign_block, self.space, self.macro, self.others))(depth)

    def condition(self, depth: int) -> str:
        made = self.tag(f"if {self.truth(2)}") + self.body(depth)
        while self.chance(0.25):
            made += self.tag(f"elif {self.truth(2)}") + self.body(depth)
        if self.chance(0.4):
            made += self.tag("else") + self.body(depth)
        return made + self.tag("endif")

    def loop(self, depth: int) -> str:
        name = self.some(NAMES)
        target, over = name, self.list(2)
        if self.chance(0.2):
            target, over = f"{name}, v", self.some(("d.items()", f"({self.dict(2)}).items()", "d | items"))
        if self.chance(0.2):
            over += f" if {self.truth(1)}"
        self.loops += 1
        made = self.tag(f"for {target} in {over}") + self.scoped(depth, name)
        if self.chance(0.15):
            made += self.tag(f"if {self.truth(2)}") + self.tag(self.some(("break", "continue"))) + self.tag("endif")
        self.loops -= 1
        if self.chance(0.2):
            made += self.tag("else") + self.body(depth)
        return made + self.tag("endfor")

    def assign(self, depth: int) -> str:
        name = self.some(NAMES)
        if self.chance(0.15):
            return self.tag(f"set {name}, {self.some(NAMES)} = {self.any(2)}, {self.any(2)}")
        if self.chance(0.3):
            return self.tag(f"set ns.{self.some(KEYS)} = {self.any(2)}") + "{{ ns.k }}"
        return self.tag(f"set {name} = {self.any(3)}")

    def assign_block(self, depth: int) -> str:
        through = self.some(("", "", " | upper", " | trim"))
        return self.tag(f"set {self.some(NAMES)}{through}") + self.scoped(depth) + self.tag("endset")

    def macro(self, depth: int) -> str:
        name = f"m{len(self.macros)}"
        parameters = self.rng.sample(NAMES, self.rng.randint(0, 3))
        given = [p if i == 0 else f"{p}={self.any(1)}" for i, p in enumerate(parameters)]
        loops, self.loops = self.loops, 0
        made = self.tag(f"macro {name}({', '.join(given)})") + self.scoped(depth) + self.tag("endmacro")
        self.loops = loops
        self.macros.append((name, len(parameters)))
        return made + f"{{{{ {self.call()} }}}}"

    def others(self, depth: int) -> str:
        name = self.some(NAMES)
        return self.some((
            lambda: self.tag("filter upper") + self.scoped(depth) + self.tag("endfilter"),
            lambda: self.tag("generation") + self.scoped(depth) + self.tag("endgeneration"),
            lambda: self.tag(f"with {name} = {self.any(2)}") + self.scoped(depth, name) + self.tag("endwith"),
            lambda: f"{{% if {self.truth(1)} %}}{{{{ raise_exception({self.text(2)}) }}}}{{% endif %}}",
        ))()

    def space(self, depth: int) -> str:
        return self.some((lambda: f"{{#{self.some(MINUS)} x {self.some(MINUS)}#}}",
                          lambda: self.some(("{% raw %}{{ x }}{% endraw %}", "{%- raw -%} {% x {%- endraw -%}",
                                             "{% raw -%} x {%- endraw %}")),
                          lambda: self.some(TEXTS) + self.some(TEXTS)))()

    def template(self) -> str:
        begin = self.some(("", "{% set ns = namespace(k=0, n=[]) %}", "{%- set ns = namespace(role='x') -%}"))
        return begin + "".join(self.body(self.some((1, 2, 3))) for _ in range(self.some((1, 2))))
