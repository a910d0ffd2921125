#!/usr/bin/env python3
"""How long Weft takes for templates: real ones with 100 messages and 20 tools; some that would never end,
which must be refused within a second and with little memory; and large ones, which may take as long.

    jinja_time.py [--templates FOLDER] [--only PATTERN] [--cli PATH]
"""

import argparse
import fnmatch
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import jinja_sources
from jinja_reference import Template

CLI = Path(__file__).resolve().parents[2] / "build/tests/jinja_cli"
SECONDS, MEGABYTES = 1.0, 700
TIMES = 20

NEVER_ENDING = {
    "loops in loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "a loop that prints": "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
    "a text that doubles": "{% set ns = namespace(s='x') %}{% for i in range(64) %}"
                           "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "a list that doubles": "{% set ns = namespace(s=[1]) %}{% for i in range(64) %}"
                           "{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "a list of lists that doubles": "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}"
                                    "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
    "the same as JSON": "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}"
                        "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson(indent=8) }}",
    "the same compared": "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(100) %}"
                         "{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}"
                         "{{ ns.s == ns.t }}",
    "macros that call twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}"
                              "{{ m(200) }}",
    "a macro without an end": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "a long text repeated": "{{ 'abcdefgh' * 1000000000 }}",
    "a text in a text": "{% set s = 'ab' * 1000000 %}{% for i in range(100000) %}{{ 'abb' in s }}{% endfor %}",
    "replace": "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(50) %}"
               "{% set ns.s = ns.s | replace('a', 'aaaaaaaa') %}{% endfor %}",
    "split": "{% set s = 'a ' * 1000000 %}{% for i in range(1000) %}{% set l = s.split() %}{% endfor %}",
    "sort": "{% for i in range(10000) %}{% set l = range(100000) | list | sort(reverse=true) %}{% endfor %}",
    "unique": "{% for i in range(10000) %}{% set l = range(100000) | unique | list %}{% endfor %}",
    "a list in itself": "{% set l = range(100000) | list %}{% for i in l %}{{ i in l }}{% endfor %}",
    "slices": "{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{% set t = s[1:] %}{% endfor %}",
    "characters of a long text": "{% set s = 'é' * 5000000 %}{% for i in range(100000) %}{{ s[4000000] }}"
                                 "{% endfor %}",
    "upper": "{% set s = 'ß' * 5000000 %}{% for i in range(1000) %}{% set t = s | upper %}{% endfor %}",
    "indent": "{% set s = '\\n' * 5000000 %}{% for i in range(1000) %}{% set t = s | indent(1000000, true) %}"
              "{% endfor %}",
    "join": "{% set l = range(100000) | list %}{% for i in l %}{% set t = l | join(',') %}{% endfor %}",
    "power": "{{ 9 ** 999999999 }}{{ 10 ** 10 ** 10 }}",
    "concatenation grows slowly": "{% set ns = namespace(s='') %}{% for i in range(100000) %}"
                                  "{% for j in range(100) %}{% set ns.s = ns.s + 'x' %}{% endfor %}{% endfor %}",
    "a dict that grows": "{% set ns = namespace(d={}) %}{% for i in range(100000) %}"
                         "{% set ns.d = dict(ns.d.items() | list + [(i, i)]) %}{% endfor %}",
    "nested lists": "{% set ns = namespace(s=[]) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}"
                    "{% endfor %}{{ ns.s }}",
    "strip": "{% set s = ' ' * 10000000 %}{% for i in range(100000) %}{% set t = s.strip(' ') %}{% endfor %}",
    "format": "{% set s = '{}' * 1000000 %}{% for i in range(1000) %}{{ s.replace('{}', s) }}{% endfor %}",
}

# Large sources, which must be read or refused in the same time.
LARGE = {
    "blocks in blocks": "{% if x %}" * 100000,
    "brackets in brackets": "{{ " + "(" * 500000,
    "lists in lists": "{{ " + "[" * 500000 + "]" * 500000 + " }}",
    "signs": "{{ " + "-" * 900000 + "1 }}",
    "not": "{{ " + "not " * 200000 + "1 }}",
    "attributes": "{{ x" + ".a" * 400000 + " }}",
    "subscripts": "{{ x" + "[0]" * 300000 + " }}",
    "filters": "{{ x" + "|upper" * 150000 + " }}",
    "inline ifs": "{{ " + "1 if x else " * 80000 + "2 }}",
    "a sum": "{{ 1" + "+1" * 450000 + " }}",
    "powers": "{{ 1" + "**1" * 300000 + " }}",
    "a chain of comparisons": "{{ 1" + "<2" * 450000 + " }}",
    "a long list": "{{ [" + "1," * 450000 + "] | length }}",
    "a long dict": "{{ {" + ",".join(f"'k{i}':1" for i in range(90000)) + "} | length }}",
    "many outputs": "{{x}}" * 200000,
    "many names": "".join(f"{{% set a{i}=1 %}}" for i in range(50000)),
    "many macros": "".join(f"{{% macro m{i}() %}}{{% endmacro %}}" for i in range(25000)),
    "many names in a loop": "{% for i in [1, 2] %}" + "".join(f"{{% set a{i}=1 %}}" for i in range(50000))
                            + "{% endfor %}",
    "many loops that read what is set later": "{% for i in [1] %}{{ a }}{% endfor %}" * 20000 + "{% set a = 1 %}",
    "comments": "{# x #}" * 140000,
    "open comments": "{#" * 500000,
    "open raw": "{% raw %}{% endra %}" * 50000,
    "parameters": "{% macro m(" + ",".join(f"a{i}" for i in range(100000)) + ") %}{% endmacro %}{{ m() }}",
    "strings beside each other": "{{ " + "'a' " * 250000 + "}}",
    "white space": " \n" * 250000 + "{%- if x %}" + "\n " * 250000 + "{%- endif %}",
    "line breaks in front of tags": ("\n" + " " * 20 + "{% if x %}{% endif %}") * 24000,
}


def long_conversation() -> dict:
    """100 messages of all kinds, and 20 tools."""
    parameters = {"type": "object", "required": ["city", "days"], "properties": {
        "city": {"type": "string", "description": "The name of the city, with its country."},
        "days": {"type": "integer", "description": "How many days.", "minimum": 1, "maximum": 14},
        "units": {"type": "string", "enum": ["metric", "imperial"], "description": "The units."}}}
    tools = [{"type": "function", "function": {
        "name": f"get_weather_{i}", "description": "Gets the weather of a city, for some days from today.",
        "parameters": parameters}} for i in range(20)]
    text = "The weft is the thread that is drawn through the warp on a loom. " * 6
    messages = [{"role": "system", "content": text}]
    for i in range(25):
        call = {"id": f"call{i:05}", "type": "function", "function": {
            "name": "get_weather_3", "arguments": {"city": "Paris", "days": 3, "units": "metric"}}}
        messages += [{"role": "user", "content": text},
                     {"role": "assistant", "content": "", "tool_calls": [call]},
                     {"role": "tool", "tool_call_id": f"call{i:05}", "name": "get_weather_3",
                      "content": json.dumps({"temperature": 21.5, "wind": 12, "text": text})},
                     {"role": "assistant", "content": text, "reasoning_content": text}]
    return {"messages": [*messages[:-1], {"role": "user", "content": text}], "tools": tools,
            "add_generation_prompt": True}


def ask(cli: Path, line: dict, *options: str) -> dict:
    done = subprocess.run([cli, *options], input=json.dumps(line).encode(), capture_output=True,
                          timeout=60, check=False)
    if done.returncode:
        return {"fault": "died", "message": f"{done.returncode}: {done.stderr.decode(errors='replace')}"}
    return json.loads(done.stdout)


def show_real(cli: Path, sources: dict[str, str]) -> None:
    variables = long_conversation()
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    for name, source in sources.items():
        line = {"template": source, "vars": variables, "template_vars": tokens, "now": 0}
        answer = ask(cli, line, "--time", str(TIMES))
        template = Template(source)
        start = time.perf_counter()
        theirs = template.render(variables | tokens, 0)
        jinja2_ms = 1000 * (time.perf_counter() - start)
        said = f"{len(answer['text']):7} characters" if "text" in answer else answer["fault"]
        same = "" if answer.get("text") == theirs.text else ", not as jinja2"
        print(f"{name:50} {1000 * answer.get('seconds', 0):7.2f} ms, parsed in "
              f"{1000 * answer.get('parse_seconds', 0):5.2f} ms; jinja2 {jinja2_ms:7.2f} ms; {said}{same}")


def check_limits(cli: Path) -> bool:
    good = True
    for name, source in (NEVER_ENDING | LARGE).items():
        start = time.perf_counter()
        answer = ask(cli, {"template": source, "vars": {}, "now": 0})
        seconds = time.perf_counter() - start
        ended = ("limit", "runtime") if name in NEVER_ENDING else (None, "limit", "runtime", "undefined", "syntax")
        ok = seconds < SECONDS and answer.get("fault") in ended
        good &= ok
        print(f"{'ok  ' if ok else 'FAIL'} {name:40} {seconds:6.2f} s  "
              f"{answer.get('fault', 'a text')}: {answer.get('message', '')[:100]}")
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'ok  ' if megabytes < MEGABYTES else 'FAIL'} the most memory that one took: {megabytes:.0f} MB, "
          f"at most {MEGABYTES}")
    return good and megabytes < MEGABYTES


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures how long templates take.")
    parser.add_argument("--cli", type=Path, default=CLI, metavar="PATH")
    parser.add_argument("--templates", type=Path, metavar="FOLDER", help="llama.cpp's collection")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="templates of these names")
    args = parser.parse_args()
    good = check_limits(args.cli)
    sources = jinja_sources.without_collection() | jinja_sources.collection(args.templates)
    show_real(args.cli, {name: source for name, source in sources.items()
                         if fnmatch.fnmatchcase(name, args.only)})
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
