"""Random conversations for chat templates: messages, tools, and the variables that a template reads."""

import json
import random
import string
from dataclasses import dataclass, field
from typing import Any

from chat_texts import Texts
from tool_schemas import NUMBERS, Tools

Message = dict[str, Any]
IDS = string.ascii_letters + string.digits


@dataclass
class Conversation:
    """What a template is rendered with. `marked` leads to the text that is to be continued."""

    variables: dict[str, Any]
    template_variables: dict[str, str]
    now: int
    marked: list[str | int] | None = field(default=None)

    @property
    def all_variables(self) -> dict[str, Any]:
        return self.variables | self.template_variables


@dataclass(frozen=True)
class Reads:
    """What a template reads and compares with, each sorted: variables, attributes, texts, tokens."""

    variables: list[str]
    attributes: list[str]
    constants: list[str]
    tokens: list[str]


class Maker:
    """Draws conversations for a template."""

    def __init__(self, seed: str, reads: Reads, all_tokens: list[str]):
        self.rng = random.Random(seed)
        self.reads = reads
        self.texts = Texts(self.rng, reads.tokens, all_tokens)
        self.tools = Tools(self.rng, self.texts)
        self.given: list[dict[str, Any]] = []  # the tools of this conversation
        self.manners = {"dict": 0.65, "text content": 0.8}

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def some(self, *choices):
        return self.rng.choice(choices)

    def reads_any(self, *attributes: str) -> bool:
        return any(name in self.reads.attributes for name in attributes)

    # --- messages

    def content(self, text: str | None = None, plain: float = 0.85) -> Any:
        text = self.texts.text() if text is None else text
        if self.chance(plain):
            return text
        parts = [{"type": "text", "text": text}]
        while self.chance(0.4):
            parts.append({"type": "text", "text": self.texts.text()})
        while self.chance(0.2):
            parts.insert(self.some(0, len(parts)), self.some(
                {"type": "image"}, {"type": "image_url", "image_url": {"url": "x"}}, {"image": "x"},
                {"type": "video"}, {"video": "x"}, {"type": "audio"}))
        if not self.reads_any("parts", "blocks") or self.flag():
            return parts
        return self.some({"parts": parts}, {"blocks": [self.block() for _ in parts]}, parts[0])

    def block(self) -> dict[str, Any]:
        """A part of an answer, as Apertus has it."""
        call = {"name": self.texts.name(), "arguments": json.dumps(self.tools.arguments(None))}
        return self.some({"type": self.some("thoughts", "response", "other"), "text": self.texts.text()},
                         {"type": "tool_calls", "calls": [call] * self.some(1, 2)},
                         {"type": "tool_outputs", "outputs": [{"output": self.texts.text()}]})

    def user(self, plain: float = 0.85) -> Message:
        message = {"role": "user", "content": self.content(plain=plain)}
        if self.chance(0.04):
            message["name"] = self.texts.name()
        return message

    def reasoning(self, message: Message, p: float = 0.35) -> Message:
        if self.chance(p):
            key = self.rng.choices(("reasoning_content", "reasoning", "thinking", "thought"),
                                   (75, 10, 12, 3))[0]
            message[key] = None if self.chance(0.05) else self.texts.text()
        return message

    def answer(self, plain: float = 0.85) -> Message:
        text = self.texts.thought() if self.chance(0.2) else None
        message = {"role": "assistant", "content": self.content(text, plain)}
        if self.chance(0.04):
            message[self.some("name", "tool_plan", "recipient", "refusal")] = self.texts.name()
        if self.chance(0.1):
            message["tool_calls"] = self.some([], None)
        return self.reasoning(message)

    def call_id(self) -> str:
        if self.chance(0.1):
            return self.texts.name()
        return "".join(self.rng.choice(IDS) for _ in range(9))

    def call(self) -> Message:
        tool = self.some(*self.given) if self.given and self.chance(0.9) else None
        name = (tool or {}).get("function", {}).get("name") or self.texts.name()
        arguments: Any = self.tools.arguments(tool)
        if not self.chance(self.manners["dict"]):
            arguments = json.dumps(arguments, ensure_ascii=self.chance(0.3),
                                   separators=self.some(None, (",", ":")))
        made = {"id": self.call_id(), "type": "function",
                "function": {"name": name, "arguments": arguments}}
        if self.chance(0.05):
            del made[self.some("id", "type")]
        return made

    def calls(self) -> Message:
        """A turn of the assistant that calls tools."""
        content = self.rng.choices((None, "", self.texts.text()), (40, 25, 35))[0]
        message: Message = {"role": "assistant", "content": content}
        if content is None and self.chance(0.3):
            del message["content"]
        n = self.rng.choices((1, 2, 3), (70, 22, 8))[0]
        message["tool_calls"] = [self.call() for _ in range(n)]
        return self.reasoning(message)

    def result(self, call: Message | None) -> Message:
        content: Any = self.texts.text() if self.chance(0.6) else json.dumps(self.tools.value())
        if self.chance(0.08):
            content = self.some(self.content(content, 0.0), self.tools.value(1), None)
        message = {"role": "tool", "content": content}
        if call is None or self.chance(0.95):
            message["tool_call_id"] = (call or {}).get("id") or self.call_id()
        if self.chance(0.6):
            message["name"] = (call or {}).get("function", {}).get("name") or self.texts.name()
        return message

    def opening(self) -> list[Message]:
        role = self.rng.choices((None, "system", "developer"), (45, 48, 7))[0]
        if role is None:
            return []
        return [{"role": role, "content": self.content(plain=self.some(0.9, 1.0))}]

    def talk(self) -> list[Message]:
        """User and assistant in turn, as every template takes it."""
        messages = self.opening()
        plain = 1.0 if self.chance(self.manners["text content"]) else 0.5
        for _ in range(self.rng.choices((0, 1, 2, 3), (35, 30, 20, 15))[0]):
            messages += [self.user(plain), self.answer(plain)]
        return [*messages, self.user(plain)] if self.chance(0.9) else messages or [self.user()]

    def errands(self) -> list[Message]:
        """Turns in which tools are called, and answer."""
        messages = [*self.opening(), self.user(0.95)]
        for _ in range(self.rng.choices((1, 2, 3), (60, 30, 10))[0]):
            calls = self.calls()
            messages.append(calls)
            messages += [self.result(call) for call in calls["tool_calls"]]
            if self.chance(0.6):
                messages += [self.answer(0.95), self.user(0.95)]
        if self.chance(0.15):
            messages.append(self.answer())
        return messages

    def disorder(self) -> list[Message]:
        """Messages in any order: consecutive roles, unknown roles, contents of any kind."""
        def other() -> Message:
            message = {"role": self.some("user", "assistant", "system", "tool", "developer", "function",
                                         "ipython", "human", self.texts.name()),
                       "content": self.some(None, self.tools.value(1), self.texts.text())}
            if self.chance(0.15):
                del message[self.some("role", "content")]
            return message
        makers = (self.user, self.answer, self.calls, lambda: self.result(None), other)
        weights = (30, 25, 20, 15, 10)
        n = self.rng.randint(0, 6) if self.chance(0.2) else self.rng.randint(1, 6)
        return self.opening() + [make() for make in self.rng.choices(makers, weights, k=n)]

    # --- variables

    def documents(self) -> list[dict[str, Any]]:
        return [{"title": self.texts.name(), "text": self.texts.text(),
                 **({"doc_id": self.call_id()} if self.chance(0.4) else {})}
                for _ in range(self.rng.randint(0, 2))]

    def flag(self) -> bool:
        return self.chance(0.5)

    def variable(self, name: str) -> Any:
        choices = {
            "documents": self.documents, "available_tools": lambda: self.given or None,
            "custom_tools": self.tools.tools, "functions": lambda: self.texts.text(),
            "builtin_tools": lambda: [self.some("code_interpreter", "brave_search", "wolfram_alpha", "python")],
            "available_builtin_tools": lambda: [self.texts.name()],
            "date_string": lambda: "26 Jul 2024", "current_date": lambda: "2026-01-02",
            "datetime": lambda: "now", "knowledge_cutoff": lambda: "2025-06",
            "reasoning_effort": lambda: self.some("low", "medium", "high", "none", "max", "xhigh"),
            "thinking_effort": lambda: self.some("low", "medium", "high", 0, 50, 99),
            "reasoning_strength": lambda: self.some("low", "high"),
            "reasoning_mode": lambda: self.some("/think", "/no_think"),
            "thinking_mode": lambda: self.some("enabled", "disabled", "adaptive", "chat", "thinking"),
            "thinking_budget": lambda: self.some(0, 512, 100000, -1),
            "thinking_option": lambda: self.some("on", "off", True),
            "think_render_option": lambda: self.some("lastthink", "all"),
            "fallback_strategy": lambda: self.some("lenient", "strict"),
            "response_format": lambda: {"type": self.some("json_object", "json_schema", "text"),
                                        "json_schema": {"schema": self.tools.object(1)}},
            "response_schema": lambda: self.tools.object(1),
            "tool_choice": lambda: self.some("auto", "none", "required",
                                             {"type": "function", "function": {"name": self.texts.name()}}),
            "num_img_tokens": lambda: 3, "num_video_frames": lambda: 2, "image_prompts": lambda: ["x", "y"],
            "tool_namespace_descriptions": lambda: {"loom": self.texts.text()},
            "controls": lambda: {self.texts.name(): self.tools.value(0)},
        }
        texts = ("model_identity", "system_prompt", "custom_instructions", "developer_instruction",
                 "developer_preamble", "tool_output_instructions", "platform_instruction_override",
                 "default_system_prompt", "initial_instruction_message", "grounding")
        flags = ("enable_thinking", "thinking", "preserve_thinking", "preserved_thinking", "clear_thinking",
                 "keep_reasoning", "drop_thinking", "keep_past_thinking", "truncate_history_thinking",
                 "tools_in_user_message", "include_thinking", "skip_thinking", "enable_citations",
                 "add_vision_id", "render_assistant_messages_raw", "continue_final_message", "is_training",
                 "training_prompt", "add_thoughts", "use_json_tooldef", "regen_tool_call_ids",
                 "convert_first_system_msg")
        choices |= dict.fromkeys(texts, self.texts.text) | dict.fromkeys(flags, self.flag)
        if name in choices and self.chance(0.9):
            return choices[name]()
        return self.odd_value() if self.chance(0.08) else None

    def set_variables(self, variables: dict[str, Any]) -> None:
        """Adds what the template reads beside the messages. Transformers gives tools and documents as
        None where there are none, others leave them out."""
        for name in ("tools", "documents"):
            if self.flag():
                variables[name] = None
        if self.given and self.chance(0.97):
            variables["tools"] = self.given
        if self.chance(0.95):
            variables["add_generation_prompt"] = self.chance(0.7)
        for name in self.reads.variables:
            value = self.variable(name) if self.chance(0.4) else None
            if value is not None and name not in ("messages", "tools", "add_generation_prompt"):
                variables[name] = value

    # --- what only this template knows

    def constant(self) -> str:
        return self.some(*self.reads.constants) if self.reads.constants else "x"

    def odd_value(self, depth: int = 2) -> Any:
        """A value of any kind, made of what the template reads and compares with."""
        kind = self.rng.choice(("constant", "text", "list", "dict", "flag", "none", "number", "part"))
        if depth > 0 and kind == "list":
            return [self.odd_value(depth - 1) for _ in range(self.rng.randint(0, 2))]
        if depth > 0 and kind == "dict" and self.reads.attributes:
            keys = self.rng.sample(self.reads.attributes, k=min(2, len(self.reads.attributes)))
            return {key: self.odd_value(depth - 1) for key in keys}
        return {"text": self.texts.text, "flag": self.flag, "none": lambda: None,
                "number": lambda: self.rng.choice(NUMBERS),
                "part": lambda: {"type": self.constant(), "text": self.texts.text()},
                }.get(kind, self.constant)()

    def spice(self, value: Any, p: float) -> Any:
        """Puts such values here and there into messages."""
        if isinstance(value, list):
            return [self.spice(item, p) for item in value]
        if isinstance(value, dict):
            made = {key: self.spice(item, p) for key, item in value.items()}
            if self.chance(p) and self.reads.attributes:
                made[self.some(*self.reads.attributes)] = self.odd_value()
            if self.chance(p) and made:
                del made[self.some(*made)]
            return made
        if isinstance(value, str) and self.chance(p):
            return self.some(self.constant(), value + self.constant(), self.constant() + value)
        return value

    # ---

    def prefill(self, messages: list[Message]) -> list[str | int] | None:
        """Makes an answer the last message, and returns the way to the text that is continued."""
        if messages and messages[-1].get("role") != "user":
            return None
        message = {"role": "assistant", "content": self.content(self.texts.words(), 0.9)}
        messages.append(self.reasoning(message, 0.3))
        at: list[str | int] = ["messages", len(messages) - 1, "content"]
        if isinstance(message["content"], str):
            return at
        texts = [i for i, part in enumerate(message["content"]) if "text" in part]
        return [*at, texts[-1], "text"]

    def conversation(self, kind: str) -> Conversation:
        make = {"talk": self.talk, "errands": self.errands, "disorder": self.disorder}[kind]
        self.given = self.tools.tools() if self.chance(0.85 if kind == "errands" else 0.3) else []
        if self.chance(0.03):
            self.given = [tool["function"] for tool in self.given]
        if self.reads_any("parameter_definitions") and self.flag():
            self.given = [self.tools.defined() for _ in self.given]
        messages = make()
        if self.chance(0.25):
            messages = self.spice(messages, self.some(0.03, 0.15))
        variables: dict[str, Any] = {"messages": messages}
        self.set_variables(variables)
        marked = self.prefill(messages) if kind == "talk" and self.chance(0.2) else None
        if marked and self.chance(0.9):
            variables["add_generation_prompt"] = False
        names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
        template_variables = {name: text for name, text in names.items() if self.chance(0.93)}
        return Conversation(variables, template_variables, self.rng.randrange(0, 4_000_000_000), marked)
