"""jinja2 as Transformers calls it: the environment, and what a rendering comes to."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

TAG = "CONTINUE_FINAL_MESSAGE_TAG "


class Raised(jinja2.TemplateError):
    """raise_exception() in a template."""


class Generation(jinja2.ext.Extension):
    """{% generation %}...{% endgeneration %}: what the assistant wrote, a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller) -> str:
        return caller()


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


class Dict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        Namespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"underscore-prefixed attribute {name!r}")


def environment(strftime_now: Callable[[str], str]) -> ImmutableSandboxedEnvironment:
    """from_json is none of Transformers, but templates of llama.cpp expect it."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                         extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.filters["from_json"] = json.loads
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = strftime_now
    made.globals["dict"] = Dict()
    made.globals["namespace"] = Namespace
    return made


@dataclass(frozen=True)
class Outcome:
    """A text; or the kind of a fault, with the words of raise_exception() or the exception's."""

    text: str | None = None
    fault: str | None = None
    message: str = ""

    def __str__(self) -> str:
        return f"{self.text!a}" if self.fault is None else f"{self.fault}: {self.message}"


def outcome(action: Callable[[], str]) -> Outcome:
    try:
        return Outcome(text=action())
    except Raised as error:
        return Outcome(fault="raised", message=str(error.message))
    except jinja2.TemplateSyntaxError as error:
        return Outcome(fault="syntax", message=str(error))
    except jinja2.UndefinedError as error:
        return Outcome(fault="undefined", message=str(error))
    except Exception as error:  # whatever Python raises in an expression of a template
        return Outcome(fault="runtime", message=f"{type(error).__name__}: {error}")


class Template:
    """A source, compiled once for all clocks: strftime_now() reads the one of the rendering."""

    def __init__(self, source: str):
        self.now = 0
        self.environment = environment(self._strftime_now)
        self.refusal, self.compiled = None, None
        try:
            self.compiled = self.environment.from_string(source)
        except (jinja2.TemplateSyntaxError, SyntaxError) as error:
            # the second is Python's, of the code that jinja2 makes
            self.refusal = Outcome(fault="syntax", message=str(error))

    def _strftime_now(self, pattern):
        return datetime.fromtimestamp(self.now, UTC).replace(tzinfo=None).strftime(pattern)

    def render(self, variables: dict[str, Any], now: int) -> Outcome:
        self.now = now
        return self.refusal or outcome(lambda: self.compiled.render(**variables))

    def render_to_continue(self, variables: dict[str, Any], now: int) -> str | None:
        """Returns the text that ends with the last message's content, as continue_final_message
        makes it; None where Transformers refuses that, or the template does."""
        messages = variables["messages"]
        holder, key = text_to_continue(messages)
        tagged = holder | {key: holder[key] + TAG}
        content = (tagged["content"] if holder is messages[-1] else
                   [tagged if part is holder else part for part in messages[-1]["content"]])
        last = messages[-1] | {"content": content}
        text = self.render(variables | {"messages": [*messages[:-1], last]}, now).text
        if text is None or holder[key].strip() not in text or TAG.strip() not in text:
            return None
        place = text.rindex(TAG.strip())
        cut = text[:place]
        return cut if text[place:].startswith(TAG) else cut.rstrip()


def text_to_continue(messages: list[dict]) -> tuple[dict, str]:
    """Returns where the text stands that continue_final_message continues."""
    last = messages[-1]
    if isinstance(last["content"], str):
        return last, "content"
    return next(part for part in reversed(last["content"]) if "text" in part), "text"
