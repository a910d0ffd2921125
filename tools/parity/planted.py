#!/usr/bin/env python3
"""Checks that the gates find defects: Weft reads files with a planted defect, the other engines sound files.

    planted.py [--weft PATH] [--lib PATH] [--synth PATH]

Each defect is planted in a quantised model and in one of floats, and must fail a gate that names
the layer and the stage. Exit status: 0 if all were found, 1 if one was not.
"""

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

import libweft
import matrix
import pairs
import parity
import tokens

LAYER, HEAD = 1, 1
ONE_PAIR = 1e6 ** (2 / 128)  # pairs of small-qwen3 turn by this factor less than the pair before


def rope_base(model: gguf.GGUFReader) -> None:
    model.fields["qwen2.rope.freq_base"].parts[-1][0] *= 1.01


def k_of_one_head(model: gguf.GGUFReader) -> None:
    head_dim = int(model.fields["qwen2.embedding_length"].parts[-1][0]) // int(
        model.fields["qwen2.attention.head_count"].parts[-1][0]
    )
    rows = slice(HEAD * head_dim, (HEAD + 1) * head_dim)
    weight, bias = (
        next(t for t in model.tensors if t.name == f"blk.{LAYER}.attn_k.{part}")
        for part in ("weight", "bias")
    )
    if weight.tensor_type == gguf.GGMLQuantizationType.Q8_0:
        data = weight.data[rows].reshape(head_dim, -1, 34)  # two bytes of scale, 32 of codes
        scale = np.ascontiguousarray(data[..., :2]).view(np.float16) * np.float16(1.01)
        data[..., :2] = scale.view(np.uint8)
    else:
        weight.data[rows] *= np.float32(1.01)
    bias.data[rows] *= np.float32(1.01)


def number_of(key: str, change: Callable[[float], float]) -> "Plant":
    def plant(model: gguf.GGUFReader) -> None:
        value = model.fields[key].parts[-1]
        value[0] = change(value[0])

    return plant


def long_for_short(model: gguf.GGUFReader) -> None:
    long, short = (
        next(t for t in model.tensors if t.name == f"rope_factors_{which}.weight")
        for which in ("long", "short")
    )
    short.data[:] = long.data


Plant = Callable[[gguf.GGUFReader], None]


def missing_bias(of: str) -> Plant:
    def plant(model: gguf.GGUFReader) -> None:
        next(t for t in model.tensors if t.name == f"blk.{LAYER}.{of}.bias").data[:] = 0

    return plant


# the defects: what is planted in which model, and where it has to be found
DEFECTS: dict[tuple[str, ...], dict[str, tuple[Plant, int, set[str]]]] = {
    ("small-qwen2",): {
        "RoPE base off by 1 %": (rope_base, 0, {"q", "k"}),
        f"K of head {HEAD} in layer {LAYER} x 1.01": (k_of_one_head, LAYER, {"k"}),
        f"no bias of V in layer {LAYER}": (missing_bias("attn_v"), LAYER, {"v"}),
    },
    ("small-llama", "--biases"): {
        f"no bias of attn_output in layer {LAYER}": (
            missing_bias("attn_output"),
            LAYER,
            {"attn_out"},
        ),
        f"no bias of gate in layer {LAYER}": (missing_bias("ffn_gate"), LAYER, {"ffn_act"}),
    },
    ("small-qwen3", *matrix.keys_of("qwen3", matrix.YARN)): {
        "YaRN's ramp a pair too late": (
            number_of("qwen3.rope.scaling.original_context_length", lambda n: n * ONE_PAIR),
            0,
            {"q", "k"},
        ),
        "YaRN without its factor of sine and cosine": (
            number_of(
                "qwen3.rope.scaling.attn_factor", lambda factor: factor / (0.1 * np.log(4) + 1)
            ),
            0,
            {"q", "k"},
        ),
    },
    ("small-phi3",): {
        "long factors for a short text": (long_for_short, 0, {"q", "k"}),
    },
}


def planted(path: str, plant: Plant, folder: str) -> str:
    copy = str(Path(folder, "planted.gguf"))
    shutil.copy(path, copy)
    model = gguf.GGUFReader(copy, "r+")
    plant(model)
    model.data.flush()
    return copy


def check_defects(
    weft: str, path: str, defects: dict[str, tuple[Plant, int, set[str]]], folder: str
) -> bool:
    good = True
    ids = matrix.random_tokens(path, 300)
    name = Path(path).stem
    for what, (plant, layer, stages) in {"nothing": (lambda m: None, -1, {""}), **defects}.items():
        file = planted(path, plant, folder)
        result = parity.compare(path, ids, 512, [("weft cpu", weft, "cpu")], file)
        row = result["rows"]["weft cpu"]
        failed = [name for name, (ok, _) in row["gates"].items() if not ok]
        first = row["findings"][0] if row["findings"] else None
        found = first is not None and first.layer == layer and first.stage in stages
        ok = found and failed if layer >= 0 else result["passed"]
        good = good and bool(ok)
        said = f"gates {', '.join(failed)}; {first}" if failed else "all gates passed"
        print(f"{'ok' if ok else 'FAIL':<4} {name}, {what}: {said}", flush=True)
    return good


def check_pretokenizer(lib_path: str, folder: str) -> bool:
    lib = libweft.load(lib_path)
    ours, theirs = Path(folder, "ours.gguf"), Path(folder, "theirs.gguf")
    pairs.write(theirs, "qwen2", 1)
    pairs.write(ours, "llama-bpe", 1)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        same = tokens.check_model(lib, str(ours), str(theirs), 300, 1)
    verdict = shown.getvalue().splitlines()[-1].split("; ")[0]
    print(f"{'FAIL' if same else 'ok':<4} pre-tokenizer of another model: {verdict}")
    return not same


def main() -> int:
    args = parity.build_arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        found = check_pretokenizer(args.lib, folder)
        for (preset, *options), defects in DEFECTS.items():
            for type_name in ("F32", "Q8_0"):
                label = "+yarn" if any("yarn" in option for option in options) else ""
                path = matrix.synthesize(
                    args.synth, preset, type_name, folder, *options, label=label
                )
                found = check_defects(args.weft, path, defects, folder) and found
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
