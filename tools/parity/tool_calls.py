"""Calls that a small model draws at a high temperature, under the grammars of random tools: each is
JSON that the tool's schema accepts, by the jsonschema package. The model knows nothing of tools, so
all that is right about the calls comes from the grammar and the parser.

usage: tool_calls.py --sampler build/sample_calls --model models/weft-demo-qwen2.gguf [--n 200]
"""

import argparse
import json
import random
import subprocess
import sys
from typing import Any

import jsonschema

# The marks by which a template's form of calls is recognised; the template itself is one line.
FORMS = {
    "json": "",
    "hermes": "tools <tool_call></tool_call>",
    "qwen-xml": "tools <function=<parameter=",
    "glm": "tools <tool_call><arg_key>",
    "llama3": 'tools ipython "parameters": ',
    "mistral": "tools [TOOL_CALLS]",
    "mistral-args": "tools [TOOL_CALLS][ARGS]",
    "phi4-mini": "tools <|tool|>",
    "deepseek": "tools <｜tool▁call▁begin｜> ```json",
}
# It reads the tools, or the library would tell the model about them in a form of its own.
TEMPLATE = "{%% if tools %%}{{ tools[0].function.name }}{%% endif %%}{{ messages[0].content }}{# %s #}"
IN_TAGS = ("qwen-xml", "glm")
WORDS = ["city", "unit", "path", "n", "deep_value", "größe", "a b", "x-y"]


class Tools:
    """Random tools whose schemas a grammar can hold. Texts in tags have no bounds there."""

    def __init__(self, rng: random.Random, bounded: bool):
        self.rng, self.bounded = rng, bounded

    def text(self) -> dict[str, Any]:
        rng = self.rng
        kind = rng.choice(("plain", "enum", "length", "pattern", "format"))
        if kind == "enum":
            return {"type": "string", "enum": rng.sample(["C", "F", "é", "two words", '"q"'], 3)}
        if kind == "plain" or not self.bounded:
            return {"type": "string"}
        if kind == "length":
            low = rng.randint(0, 3)
            return {"type": "string", "minLength": low, "maxLength": low + rng.randint(0, 30)}
        if kind == "pattern":
            return {"type": "string", "pattern": rng.choice((r"^[a-z]{2,5}\d+$", "^(on|off)$", r"^\w+\.txt$"))}
        return {"type": "string", "format": rng.choice(("date", "uuid", "date-time"))}

    def schema(self, depth: int) -> dict[str, Any]:
        rng = self.rng
        kind = rng.choice(("text", "text", "integer", "number", "boolean", "null", "const", "union", "any",
                           *(("array", "object", "anyOf", "ref") if depth > 0 else ())))
        low = rng.randint(-1000, 1000)
        return {
            "text": self.text,
            "integer": lambda: rng.choice(({"type": "integer"},
                                           {"type": "integer", "minimum": low, "maximum": low + rng.randint(0, 5000)})),
            "number": lambda: rng.choice(({"type": "number"}, {"type": "number", "minimum": 0})),
            "boolean": lambda: {"type": "boolean"}, "null": lambda: {"type": "null"},
            "const": lambda: {"const": rng.choice((7, True, {"k": [1, None]}))},
            "union": lambda: {"type": rng.sample(["integer", "null", "boolean"], 2)},
            "any": lambda: {},
            "array": lambda: {"type": "array", "items": self.schema(depth - 1),
                              **rng.choice(({}, {"minItems": 1}, {"maxItems": 3}))},
            "object": lambda: self.object(depth - 1),
            "anyOf": lambda: {"anyOf": [self.schema(depth - 1), {"type": "null"}]},
            "ref": lambda: {"$ref": "#/$defs/node"},
        }[kind]()

    def object(self, depth: int) -> dict[str, Any]:
        names = self.rng.sample(WORDS, self.rng.randint(0, 4))
        made: dict[str, Any] = {"type": "object", "properties": {n: self.schema(depth) for n in names},
                                "required": [n for n in names if self.rng.random() < 0.5]}
        if self.rng.random() < 0.3:
            made["additionalProperties"] = self.rng.choice((False, False, {"type": "integer"}))
        return made

    def tools(self) -> list[dict[str, Any]]:
        made = []
        for i in range(self.rng.randint(1, 3)):
            schema = self.object(2)
            if not self.bounded:
                schema.pop("additionalProperties", None)
            schema["$defs"] = {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}},
                                        "additionalProperties": False}}
            made.append({"type": "function", "function": {"name": f"tool_{i}", "parameters": schema}})
        return made


def case(seed: int) -> tuple[str, list[dict[str, Any]]]:
    rng = random.Random(seed)
    form = sorted(FORMS)[seed % len(FORMS)]
    return form, Tools(rng, form not in IN_TAGS).tools()


def complaint(answer: dict[str, Any], tools: list[dict[str, Any]]) -> str | None:
    """Returns what is wrong with an answer, or None. An answer that the limit cut has one last call that is not
    complete, or content that was to become a call."""
    ended = answer["finish"] == 1
    if ended and (answer["content"] or not answer["calls"]):
        return f"not only calls: {answer['content']!r}"
    for i, call in enumerate(answer["calls"]):
        if not call["complete"]:
            if ended or i + 1 < len(answer["calls"]):
                return f"call {i} is not complete"
            continue
        schema = next(t["function"]["parameters"] for t in tools if t["function"]["name"] == call["name"])
        try:
            jsonschema.validate(json.loads(call["arguments"]), schema)
        except (ValueError, jsonschema.ValidationError) as e:
            return f"call {i}: {str(e).splitlines()[0]}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sampler", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--max", type=int, default=400)
    parser.add_argument("--temperature", default="2")
    args = parser.parse_args()
    cases = [case(seed) for seed in range(args.n)]
    lines = [json.dumps({"source": TEMPLATE % FORMS[form], "tools": tools, "max": args.max}) for form, tools in cases]
    done = subprocess.run([args.sampler, args.model, args.temperature], input="\n".join(lines), capture_output=True,
                          text=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(answers) != len(cases):
        print(f"FAIL tool_calls: {len(answers)} of {len(cases)} answers; {done.stderr.strip()}")
        return 1
    wrong = ended = calls = 0
    for seed, (answer, (form, tools)) in enumerate(zip(answers, cases)):
        why = complaint(answer, tools)
        ended += answer["finish"] == 1
        calls += sum(c["complete"] for c in answer["calls"])
        if why is not None:
            wrong += 1
            print(f"seed {seed}, {form}: {why}\n  {answer['text']!r}\n  {json.dumps(tools)}")
    print(f"{'FAIL' if wrong else 'ok'} tool_calls: {len(cases)} answers at temperature {args.temperature}, {ended} ended by "
          f"themselves, {calls} complete calls, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
