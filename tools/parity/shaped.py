"""Conversations in the shape of OpenAI's API, and the forms in which a template takes them."""

import copy
import json
import random
import re
from dataclasses import dataclass
from typing import Any

import chat_texts
from chat_texts import Texts
from conversations import Conversation, Maker, Message, Reads
from jinja_reference import Template, text_to_continue
from tool_schemas import Tools

BRACKETS = re.compile(r"[<>\[\]|｜]")
NEEDLE = "weftneedle"
# the names that every conversation with tools has
FIELDS = {"role", "content", "tool_calls", "type", "function", "name", "description", "parameters", "arguments",
          "object", "properties", "required", "string", "user", "assistant", "system", "tool"}


class PlainTexts(Texts):
    """Texts in which nothing looks like a control token, or like a part of one."""

    def text(self) -> str:
        return BRACKETS.sub("", super().text())

    def name(self) -> str:
        return BRACKETS.sub("", super().name()) or "x"

    def thought(self) -> str:
        return self.text()


class LookAlikes(Texts):
    """Texts in which most of what is no word looks like a control token."""

    def piece(self) -> str:
        return self.token() if self.chance(0.5) else super().piece()

    def name(self) -> str:
        return (self.token() if self.chance(0.3) else super().name()).replace("\0", "") or "x"


class Shaped(Maker):
    """Draws conversations that an API takes: contents are texts, or lists of texts."""

    def __init__(self, seed: str, reads: Reads, tokens: list[str], texts: type[Texts], forms: "Forms"):
        super().__init__(seed, reads, tokens)
        self.forms = forms
        self.texts = texts(self.rng, reads.tokens, tokens)
        self.tools = Tools(self.rng, self.texts)
        # the text that Weft makes of an object has other digits than Python's
        self.manners["dict"] = 0.3 if forms.objects else 0.0

    def content(self, text: str | None = None, plain: float = 0.85) -> Any:
        text = self.texts.text() if text is None else text
        if self.chance(plain):
            return text
        more = [self.texts.text() for _ in range(self.rng.randint(0, 2))]
        return [{"type": "text", "text": part} for part in (text, *more)]

    def result(self, call: Message | None) -> Message:
        message = super().result(call)
        if not isinstance(message["content"], str):
            message["content"] = self.content()
        return message

    def prefill(self, messages: list[Message]) -> list[str | int] | None:
        """Weft refuses to continue a text that is empty."""
        marked = super().prefill(messages)
        if marked is not None:
            holder, key = text_to_continue(messages)
            holder[key] = holder[key] or "x"
        return marked

    def conversation(self, kind: str) -> Conversation:
        """Without tools where the template does not know them: there Weft tells the model in its own
        words."""
        errand = kind == "errands" and not self.forms.without_tools
        self.given = [] if self.forms.without_tools or not self.chance(0.85 if errand else 0.3) \
            else self.tools.tools(2)
        messages = self.errands() if errand else self.talk()
        variables: dict[str, Any] = {"messages": messages}
        self.set_variables(variables)
        marked = self.prefill(messages) if not errand and self.chance(0.15) else None
        opened = marked is None and variables.get("add_generation_prompt", True)
        variables |= {"tools": self.given or None, "add_generation_prompt": opened}
        variables.setdefault("documents", None)
        # as it reaches Weft
        return Conversation(json.loads(json.dumps(variables)), {}, self.rng.randrange(1, 4_000_000_000),
                            marked)


@dataclass(frozen=True)
class Forms:
    """What a template writes of contents that are texts and, by role, that are lists of parts; of arguments
    that are objects, and that are texts; whether it writes calls with a content that is None, and with one
    that is empty; and whether it knows the role developer, and tools."""

    strings: bool
    parts: dict[str, bool]
    objects: bool
    texts: bool
    nulls: bool
    empties: bool
    developer: bool
    tools: bool

    @property
    def without_tools(self) -> bool:
        """Weft says with text what such a template leaves out."""
        return not self.tools or not (self.objects or self.texts)

    def message(self, given: Message) -> Message:
        """Returns the message as the template takes it."""
        message = copy.deepcopy(given)
        if message["role"] == "developer" and not self.developer:
            message["role"] = "system"
        if not message.get("tool_calls"):
            message.pop("tool_calls", None)
        for call in message.get("tool_calls", ()):
            self.set_arguments(call["function"])
        message["content"] = self.content(message["role"], message.get("content"), "tool_calls" in message)
        return message

    def set_arguments(self, function: dict[str, Any]) -> None:
        if isinstance(function["arguments"], str) and (self.objects or not self.texts):
            function["arguments"] = json.loads(function["arguments"])

    def content(self, role: str, content: Any, calls: bool) -> Any:
        if calls and self.nulls and (content is None or (content == "" and not self.empties)):
            return None
        if isinstance(content, list):
            return content if self.parts[role] else "\n".join(part["text"] for part in content)
        if self.parts[role] and not self.strings:
            return [{"type": "text", "text": content or ""}]
        return content or ""


def forms_of(source: str, template: Template, reads: Reads) -> Forms:
    """Tries the template out on small conversations."""
    user = {"role": "user", "content": "x"}
    parameters = {"type": "object", "properties": {"p": {"type": "string", "description": "d"}}, "required": ["p"]}
    tools = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}]
    argument = {NEEDLE: "z"}

    def text_of(messages: list[Message], tools: list | None = None) -> str:
        return template.render({"messages": messages, "tools": tools, "bos_token": "", "eos_token": "",
                                "add_generation_prompt": False}, 0).text or ""

    def calling(arguments: Any, content: str | None, result: Any = "y") -> list[Message]:
        call = {"id": "call00001", "type": "function", "function": {"name": "f", "arguments": arguments}}
        return [user, {"role": "assistant", "tool_calls": [call], "content": content},
                {"role": "tool", "tool_call_id": "call00001", "name": "f", "content": result}]

    def writes_parts(messages: list[Message]) -> bool:
        text = text_of(messages)
        return NEEDLE in text and f"{NEEDLE}'}}" not in text and f'{NEEDLE}"}}' not in text

    def writes_object(content: str | None) -> bool:
        text = text_of(calling(argument, content), tools)
        return NEEDLE in text and f"'{NEEDLE}'" not in text and "None" not in text

    def writes_text(content: str | None) -> bool:
        text = text_of(calling(json.dumps(argument), content), tools)
        return f'"{NEEDLE}": "z"' in text and f'\\"{NEEDLE}' not in text and "None" not in text

    parts = [{"type": "text", "text": NEEDLE}]
    objects, texts = ([takes(None), takes("")] for takes in (writes_object, writes_text))
    nulls, empties = objects if any(objects) else texts
    return Forms(
        strings=NEEDLE in text_of([user | {"content": NEEDLE}]),
        parts={"system": writes_parts([{"role": "system", "content": parts}, user]),
               "developer": writes_parts([{"role": "developer", "content": parts}, user]),
               "user": writes_parts([user | {"content": parts}]),
               "assistant": writes_parts([user, {"role": "assistant", "content": parts}, user]),
               "tool": writes_parts(calling({}, "", parts))},
        objects=any(objects),
        texts=any(texts),
        nulls=nulls,
        empties=empties,
        developer="developer" in source and NEEDLE in text_of([{"role": "developer", "content": NEEDLE}, user]),
        tools="tools" in reads.variables,
    )


def strings_of(value: Any) -> list[str]:
    """Returns all texts in a value, and the names of its members."""
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in strings_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings_of(item)]
    return [value] if isinstance(value, str) else []


def has_token(c: Conversation, tokens: list[str]) -> bool:
    """Returns True if a token stands in a text, or a tag would be made of a name."""
    names = {token.strip("</>") for token in tokens} - FIELDS
    return any(text in names or any(token in text for token in tokens)
               for text in strings_of(list(c.variables.values())))


def draw(seed: str, template: Template, reads: Reads, forms: Forms, texts: type[Texts],
         tokens: list[str]) -> Conversation:
    """Draws until the template renders the conversation and, of plain texts, none has a token; the last
    one is taken as it is."""
    kind = random.Random(seed).choices(("talk", "errands"), (55, 45))[0]
    for attempt in range(12):
        c = Shaped(f"{seed}/{attempt}", reads, [*tokens, *chat_texts.TOKENS], texts,
                   forms).conversation(kind if attempt < 6 else "talk")
        found = texts is PlainTexts and has_token(c, tokens)
        if not found and template.render(rendered_with(c, forms, "<s>", "</s>"), c.now).fault is None:
            break
    return c


def rendered_with(c: Conversation, forms: Forms, bos: str, eos: str) -> dict[str, Any]:
    """Returns the variables that the template gets."""
    messages = [forms.message(message) for message in c.variables["messages"]]
    return c.variables | {"messages": messages, "bos_token": bos, "eos_token": eos}
