"""Runs the weft program and reads what it wrote as arrays."""

import json
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

Checkpoints = dict[tuple[str, int | None], np.ndarray]


def _run(program: str, arguments: list[str], stdin: str = "") -> str:
    done = subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(
            f"{program} {' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout


def devices(program: str) -> list[str]:
    """Names of the usable devices, such as cpu and cuda:0."""
    return [
        d["name"] for d in json.loads(_run(program, ["doctor", "--json"]))["devices"] if d["usable"]
    ]


def _logits(
    program: str,
    model: str,
    tokens,
    n_ctx: int,
    device: str,
    n_threads: int,
    out: Path,
    extra: list[str],
) -> dict:
    ids = " ".join(str(int(t)) for t in tokens)
    _run(
        program,
        [
            "logits",
            "-q",
            "-m",
            str(model),
            "--tokens",
            "-",
            "-c",
            str(n_ctx),
            "--device",
            device,
            "-t",
            str(n_threads),
            "-o",
            str(out),
            *extra,
        ],
        ids,
    )
    with open(out) as file:
        header = json.loads(file.readline())
    if header["schema"] != "weft-logits-1" or header["tokens"] != [int(t) for t in tokens]:
        raise RuntimeError(
            f"{program}: the header of its logits is not of these tokens: {str(header)[:200]}"
        )
    return header


def _types(kv: tuple[str, str]) -> list[str]:
    return ["-ctk", kv[0], "-ctv", kv[1]]


def logits(
    program: str,
    model: str,
    tokens,
    n_ctx: int,
    device: str = "cpu",
    n_threads: int = 2,
    kv: tuple[str, str] = ("f16", "f16"),
) -> tuple[np.ndarray, dict]:
    """Returns teacher-forced logits [n, n_vocab], and the header that says what computed them."""
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder, "full")
        header = _logits(
            program,
            model,
            tokens,
            n_ctx,
            device,
            n_threads,
            Path(folder, "out"),
            ["--full", str(full), *_types(kv)],
        )
        return np.fromfile(full, "<f4").reshape(len(tokens), header["n_vocab"]), header


def trace(
    program: str,
    model: str,
    tokens,
    n_ctx: int,
    device: str = "cpu",
    n_threads: int = 2,
    kv: tuple[str, str] = ("f16", "f16"),
) -> Checkpoints:
    """Returns the values behind every stage, [n, columns] by (checkpoint, layer)."""
    parts = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        lines, full = Path(folder, "trace"), Path(folder, "values")
        _logits(
            program,
            model,
            tokens,
            n_ctx,
            device,
            n_threads,
            Path(folder, "out"),
            ["--trace", str(lines), "--trace-full", str(full), *_types(kv)],
        )
        values = np.fromfile(full, "<f4")
        with open(lines) as file:
            next(file)  # the header
            for line in map(json.loads, file):
                rows, columns = line["shape"]
                start = line["offset"] // 4
                part = values[start : start + rows * columns].reshape(rows, columns)
                parts[line["checkpoint"], line["layer"]].append((line["pos"], part))
    return {
        key: np.concatenate([p for _, p in sorted(found, key=lambda f: f[0])])
        for key, found in parts.items()
    }
