"""Random tools in OpenAI's shape: nested schemas, enumerations, odd names, parts that are missing."""

import random
from typing import Any

from chat_texts import Texts

NUMBERS = [0, 1, -1, 7, 100, 2**31, 2**53 + 1, -(2**63), 2**63 - 1, 0.5, 1.0, 0.1, -0.0, 1e16, 1e22, 1e-7,
           123456789.123, 5e-324, 1.7976931348623157e308]
FORMATS = ["date-time", "email", "int32", "uri"]


class Tools:
    def __init__(self, rng: random.Random, texts: Texts):
        self.rng, self.texts = rng, texts

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def value(self, depth: int = 2) -> Any:
        """A JSON value, as in arguments."""
        kinds = ["text", "text", "number", "bool", "none"] + ["list", "dict"] * (depth > 0)
        kind = self.rng.choice(kinds)
        if kind == "list":
            return [self.value(depth - 1) for _ in range(self.rng.randint(0, 3))]
        if kind == "dict":
            return {self.texts.name(): self.value(depth - 1) for _ in range(self.rng.randint(0, 3))}
        return {"text": self.texts.text, "number": lambda: self.rng.choice(NUMBERS),
                "bool": lambda: self.chance(0.5), "none": lambda: None}[kind]()

    def schema(self, depth: int = 2) -> dict[str, Any]:
        """The schema of one property."""
        made: dict[str, Any] = self.kind(depth)
        if self.chance(0.7):
            made["description"] = self.texts.text()
        optional = {
            "default": lambda: self.value(1), "nullable": lambda: self.chance(0.5),
            "title": self.texts.name, "format": lambda: self.rng.choice(FORMATS),
            "minimum": lambda: self.rng.choice(NUMBERS), "maximum": lambda: self.rng.choice(NUMBERS),
            "minLength": lambda: 1, "maxLength": lambda: 20, "pattern": lambda: "^[a-z]+\\d$",
            "examples": lambda: [self.value(1)], "required": lambda: True,
        }
        for key, make in optional.items():
            if self.chance(0.08):
                made.setdefault(key, make())
        return made

    def kind(self, depth: int) -> dict[str, Any]:
        if depth > 0 and self.chance(0.35):
            nested = self.rng.choice(("object", "array", "anyOf", "oneOf", "allOf", "map"))
            if nested == "object":
                return self.object(depth - 1)
            if nested == "array":
                return {"type": "array", "items": self.schema(depth - 1)}
            if nested == "map":
                extra = self.rng.choice((True, False, self.schema(depth - 1)))
                return {"type": "object", "additionalProperties": extra}
            return {nested: [self.schema(depth - 1) for _ in range(self.rng.randint(1, 3))]}
        kind = self.rng.choice(("string", "enum", "integer", "number", "boolean", "union", "null", "any",
                                "array", "object", "const", "ref", "string", "integer"))
        return {
            "enum": lambda: {"type": "string", "enum": [self.texts.text() for _ in range(3)]},
            "union": lambda: {"type": self.rng.choice((["string", "null"], ["integer", "string"]))},
            "any": dict, "const": lambda: {"const": self.value(0)},
            "ref": lambda: {"$ref": "#/$defs/Place"},
        }.get(kind, lambda: {"type": kind})()

    def object(self, depth: int = 2) -> dict[str, Any]:
        """The schema of an object, as in parameters."""
        names = [self.texts.name() for _ in range(self.rng.choice((0, 1, 1, 2, 3, 4)))]
        made = {"type": "object", "properties": {name: self.schema(depth) for name in names}}
        if self.chance(0.7):
            made["required"] = [name for name in made["properties"] if self.chance(0.6)]
        if self.chance(0.2):
            made["additionalProperties"] = self.rng.choice((False, True, {"type": "string"}))
        if self.chance(0.05):
            made["$defs"] = {"Place": {"type": "string", "description": self.texts.text()}}
        return made

    def function(self) -> dict[str, Any]:
        made: dict[str, Any] = {"name": self.texts.name()}
        if self.chance(0.9):
            made["description"] = self.texts.text()
        if self.chance(0.92):
            made["parameters"] = self.object()
        if self.chance(0.1):
            made["strict"] = self.chance(0.5)
        if self.chance(0.1):
            made[self.rng.choice(("return", "returns", "response"))] = self.schema(1)
        return made

    def defined(self) -> dict[str, Any]:
        """A tool as Cohere's older templates have it."""
        names = [self.texts.name() for _ in range(self.rng.randint(0, 3))]
        return {"name": self.texts.name(), "description": self.texts.text(), "parameter_definitions": {
            name: {"description": self.texts.text(), "type": self.rng.choice(("str", "int", "List[str]")),
                   "required": self.chance(0.5)} for name in names}}

    def tools(self, most: int = 4) -> list[dict[str, Any]]:
        return [{"type": "function", "function": self.function()}
                for _ in range(self.rng.randint(1, most))]

    def arguments(self, tool: dict[str, Any] | None) -> dict[str, Any]:
        """Arguments for a tool: those it names, or others."""
        properties = (tool or {}).get("function", {}).get("parameters", {}).get("properties", {})
        names = [name for name in properties if self.chance(0.8)]
        if self.chance(0.2) or not properties:
            names += [self.texts.name() for _ in range(self.rng.randint(0, 2))]
        return {name: self.value() for name in names}
