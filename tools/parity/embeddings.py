#!/usr/bin/env python3
"""Embeddings and rerankers: Weft beside llama.cpp and the reference, and planted defects.

    embeddings.py [--weft PATH] [--lib PATH] [--synth PATH]

Synthetic files as llama.cpp's converter writes them: Qwen3-Embedding (pooling last, EOS behind each
text), Qwen3-Reranker (a classifier with the labels yes and no, and the prompt), and others of every
architecture whose file names no pooling. Texts go through `weft embed`, many in a call, and
through llama.cpp one by one. The ids must be equal. In files of floats, 1 - cosine of two vectors
is at most 1e-4, and two scores are at most 2e-3 apart. In quantised files both engines round
activations to 8 bits, which moves a random model's states further: there Weft must be no farther
from the reference than llama.cpp is. Then Weft reads files with a defect, which must be found and
named. Exit status: 0 if all is as it should be, 1 if not.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

import libweft
import llamacpp
import matrix
import metrics
import parity
import planted
import reference

MAX_DISTANCE = 1e-4  # 1 - cosine
# A score is 1 / (1 + exp(-d)), whose slope is at most 1/4. The sums behind d are near 3 in size and
# are off by some 2^-10 of it where states, K and V are rounded to halves.
MAX_SCORE = 2e-3
TYPES = ("F32", "F16", "Q8_0")
N_CTX = 1024
# of llama.cpp where it computes means: it takes Phi-3's long factors in a longer context, Weft in a
# longer text
MEAN_CTX = 512
TOKENIZE = libweft.TOKENIZE_BOS | libweft.TOKENIZE_EOS
TEXTS = [
    "the",
    "What is the capital of the world?",
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
    "Query: a loom".replace("\n", " "),
    "  white space  ",
    "<|im_end|> is plain text, and so is <|endoftext|>",
    "naïve café 日本語 🌍 Ω≈ç√",
    "0123456789 3.14159 1,000,000",
    "\tif (x != NULL) { return f(x)[0]; }",
    " ".join(f"word{i} the and" for i in range(60)),
]
QUERY = "how does a loom work"
PROMPT = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that "
    "answer the query\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
# llama.cpp would take control tokens out of them
DOCUMENTS = [text for text in TEXTS if "<|" not in text]
EMBEDDING_KEYS = (
    # <|endoftext|> and <|im_end|> of a vocabulary of 1024: the converter makes the first one EOS
    "tokenizer.ggml.eos_token_id=u32:1021",
    "tokenizer.ggml.eot_token_id=u32:1023",
    "tokenizer.ggml.add_eos_token=bool:true",
    "qwen3.pooling_type=u32:3",
)
RERANKER_KEYS = (f"tokenizer.chat_template.rerank=str:{PROMPT}",)

good = True


def say(ok: bool, what: str) -> bool:
    global good
    good = good and ok
    print(f"{'ok' if ok else 'FAIL':<4} {what}", flush=True)
    return ok


def keyed(*keys: str) -> list[str]:
    return [part for key in keys for part in ("--key", key)]


def synthesize(program: str, preset: str, type_name: str, folder: str, *options: str) -> str:
    path = str(Path(folder, f"{preset}-{len(list(Path(folder).iterdir()))}.gguf"))
    command = [program, "--like", preset, "--type", type_name, "-o", path, *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def embed(weft: str, path: str, texts: list[str], *options: str) -> list[dict]:
    command = [weft, "embed", "-q", "-m", path, "--device", "cpu", "-c", str(N_CTX), "-f", "-"]
    done = subprocess.run(
        [*command, *options], input="\n".join(texts), capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{path}: weft embed: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def weft_ids(lib, path: str, texts: list[str]) -> list[list[int]]:
    model = libweft.open_vocab(lib, path)
    ids = [list(libweft.tokenize(lib, model, text.encode(), TOKENIZE)) for text in texts]
    libweft.close(lib, model)
    return ids


def distance(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    return 1 - float(x @ y) / float(np.linalg.norm(x) * np.linalg.norm(y))


def states(path: str, texts: list[list[int]], mean: bool) -> list[np.ndarray]:
    """Returns the pooled state of each text, from the equations."""
    model = reference.open_model(path)
    found = {}
    pooled = []
    for ids in texts:
        reference.forward(model, ids, lambda name, layer, values: found.update({name: values}))
        normed = found["head_norm"]
        pooled.append(normed.mean(axis=0) if mean else normed[-1])
    return pooled


def apart(path: str, to_llama, ours, theirs, limit: float, what: str) -> tuple[str, str | None]:
    """Judges how far the results are from one another and from the reference: ours and theirs are
    the distances of both engines from it. Returns what was found, and what is wrong."""
    ours, theirs = np.array(ours), np.array(theirs)
    said = (
        f"{what} {max(to_llama):.1e} from llama.cpp; from the reference {ours.mean():.1e}, "
        f"llama.cpp {theirs.mean():.1e}"
    )
    if reference.open_model(path).matrix_types() <= {"F32", "F16", "BF16"}:
        return said, said if max(max(to_llama), ours.max()) > limit else None
    mean, error = metrics.mean_se(ours - 1.05 * theirs)
    return said, said if mean > 2 * error else None


def named(ours: list[int], theirs: list[int]) -> str:
    """Says how the ids of a text differ."""
    if theirs[: len(ours)] == ours and len(theirs) == len(ours) + 1:
        return f"EOS is missing: llama.cpp appends {theirs[-1]}"
    return f"ids differ: {ours[:8]}... and {theirs[:8]}..."


def check_vectors(
    weft: str, lib, path: str, sound: str, mean: bool, *options: str
) -> tuple[str, str | None]:
    """Compares Weft, which reads `path`, with the others, which read `sound`. Returns what was
    found, and what is wrong."""
    lines = embed(weft, path, TEXTS, *options)
    ours = weft_ids(lib, path, TEXTS)
    with llamacpp.load(sound) as model:
        theirs = [llamacpp.tokenize(model, text.encode(), True, False) for text in TEXTS]
        pooling = llamacpp.C.LLAMA_POOLING_TYPE_MEAN if mean else None
        vectors = llamacpp.embeddings(model, theirs, MEAN_CTX if mean else N_CTX, pooling)
    wrong = [named(a, b) for a, b in zip(ours, theirs) if a != b]
    if [line["n_tokens"] for line in lines] != [len(ids) for ids in ours]:
        wrong.append("weft embed has other ids than the library")
    found = [np.array(line["embedding"]) for line in lines]
    want = states(sound, theirs, mean)
    said, far = apart(
        sound,
        list(map(distance, found, vectors)),
        list(map(distance, found, want)),
        list(map(distance, vectors, want)),
        MAX_DISTANCE,
        "1 - cosine",
    )
    wrong += [far] if far else []
    return said, "; ".join(dict.fromkeys(wrong)) or None


def check_dimensions(weft: str, path: str) -> None:
    whole, cut = embed(weft, path, TEXTS), embed(weft, path, TEXTS, "--dimensions", "32")
    worst = 0.0
    for a, b in zip(whole, cut):
        first = np.array(a["embedding"][:32])
        worst = max(worst, np.abs(first / np.linalg.norm(first) - b["embedding"]).max())
    say(worst < 1e-6, f"32 dimensions are the first, scaled: {worst:.1e}")


def check_scores(weft: str, path: str, sound: str) -> tuple[str, str | None]:
    lines = embed(weft, path, DOCUMENTS, "--rerank", QUERY)
    ours = np.array([line["score"] for line in lines])
    prompts = [PROMPT.replace("{query}", QUERY).replace("{document}", d) for d in DOCUMENTS]
    with llamacpp.load(sound) as model:
        ids = [llamacpp.tokenize(model, prompt.encode(), False, True) for prompt in prompts]
        theirs = np.array([labels[0] for labels in llamacpp.embeddings(model, ids, N_CTX)])
    classifier = reference.weight(reference.open_model(sound), "cls.output.weight")
    sums = np.array([classifier @ pooled for pooled in states(sound, ids, False)], np.float64)
    want = 1 / (1 + np.exp(sums[:, 1] - sums[:, 0]))
    said, wrong = apart(
        sound, np.abs(ours - theirs), np.abs(ours - want), np.abs(theirs - want), MAX_SCORE, "scores"
    )
    if wrong and np.abs(1 - ours - theirs).max() < np.abs(ours - theirs).max():
        wrong = f"the scores are those of the label no; {wrong}"
    return said, wrong


# ---------------------------------------------------------------- planted defects


def no_eos(model: gguf.GGUFReader) -> None:
    model.fields["tokenizer.ggml.add_eos_token"].parts[-1][0] = 0


def swapped_labels(model: gguf.GGUFReader) -> None:
    rows = next(t for t in model.tensors if t.name == "cls.output.weight").data
    rows[:] = rows[::-1].copy()


def check_planted(args, lib, embedding: str, reranker: str, folder: str) -> None:
    file = planted.planted(embedding, no_eos, folder)
    wrong = check_vectors(args.weft, lib, file, embedding, False)[1] or "nothing"
    say("EOS is missing" in wrong and "1 - cosine" in wrong, f"planted, no EOS: {wrong}")
    file = planted.planted(reranker, swapped_labels, folder)
    wrong = check_scores(args.weft, file, reranker)[1] or "nothing"
    say("label no" in wrong, f"planted, labels swapped: {wrong}")


def check_type(args, lib, type_name: str, folder: str) -> None:
    small = (args.synth, "small-qwen3", type_name, folder)
    embedding = synthesize(*small, *keyed(*EMBEDDING_KEYS))
    reranker = synthesize(*small, "--labels", "2", *keyed(*RERANKER_KEYS))
    said, wrong = check_vectors(args.weft, lib, embedding, embedding, False)
    say(not wrong, f"Qwen3-Embedding, {type_name}: {wrong or said}")
    said, wrong = check_scores(args.weft, reranker, reranker)
    say(not wrong, f"Qwen3-Reranker, {type_name}: {wrong or said}")
    if type_name == "F32":
        check_dimensions(args.weft, embedding)
        check_planted(args, lib, embedding, reranker, folder)


def main() -> int:
    args = parity.build_arguments(__doc__)
    lib = libweft.load(args.lib)
    with tempfile.TemporaryDirectory() as folder:
        for type_name in TYPES:
            check_type(args, lib, type_name, folder)
        for arch in matrix.ARCHITECTURES:
            path = synthesize(args.synth, f"small-{arch}", "F16", folder)
            said, wrong = check_vectors(args.weft, lib, path, path, True)
            say(not wrong, f"small-{arch}, the mean: {wrong or said}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
