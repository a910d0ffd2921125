"""Other engines whose `llama-bench` takes part in the rounds of compare.py: NAME=COMMAND."""

import argparse
import json
import shlex
import statistics
import subprocess


def engine(text: str) -> tuple[str, list[str]]:
    name, equals, command = text.partition("=")
    if not (name and equals and command):
        raise argparse.ArgumentTypeError("expected NAME=COMMAND, a llama-bench and its options")
    return name, shlex.split(command)


def described(engines: list[tuple[str, list[str]]]) -> dict:
    """Returns the options of each engine by name; the path of its program stays out."""
    names = [name for name, _ in engines]
    if len(set(names)) < len(names):
        raise SystemExit("compare.py: two --beside of one name; give each its own")
    return {name: shlex.join(command[1:]) for name, command in engines}


def tok_s(command: list[str], model: str, threads: int, test: dict) -> float:
    """Runs one repetition of one test, after the program's own warm-up."""
    options = ["-m", model, "-t", str(threads), "-p", str(test["n_prompt"]),
               "-n", str(test["n_gen"]), "-r", "1", "-o", "json"]
    if test["n_depth"] > 0:
        options += ["-d", str(test["n_depth"])]
    done = subprocess.run(command + options, capture_output=True, text=True)
    try:
        rows = json.loads(done.stdout)
    except json.JSONDecodeError:
        rows = []
    if done.returncode != 0 or len(rows) != 1:
        raise SystemExit(f"compare.py: {shlex.join(command + options)}: exit code "
                         f"{done.returncode}, {len(rows)} tests, expected 0 and 1: "
                         f"{done.stderr.strip()[-300:]}")
    return rows[0]["avg_ts"]


def add(row: dict, name: str, theirs: list[float]) -> None:
    """Adds the rates of an engine, and Weft's rates divided by them, round by round."""
    ratios = [a / b for a, b in zip(row["weft_tok_s"], theirs, strict=True)]
    row.setdefault("beside", {})[name] = {"tok_s": theirs, "median": statistics.median(theirs),
                                          "ratio": statistics.median(ratios)}
