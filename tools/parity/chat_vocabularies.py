"""Vocabularies for a chat template: small ones, which have every control token that it writes."""

import random
import re
from pathlib import Path

import gguf

from pairs import byte_symbols

TYPES = gguf.TokenType
KINDS = ("bpe", "spm")
BOUNDARIES = ("<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<|endoftext|>")
# made of a role, so that no source has it as one text
OF_ROLES = re.compile(r"<\|(?:system|user|assistant|tool)\|>")
TAG = re.compile(r"</?[A-Za-z_:]+>")
# Some templates write such tags, and make them of the keys of schemas too, which are a caller's. No file has
# a token for them.
OF_SCHEMAS = re.compile(r"</?(?:default|enum|format|items|maximum|minimum|properties|required|title)>")
# user-defined in every vocabulary, and in no template
FREE = "<weft_free>"
SPACES = ("\n\n", "\n\n\n", "  ", "    ", "\t\t")
MERGES = ("Ċ Ċ", "Ġ Ġ", "Ġ t", "Ġt h", "Ġth e", "l o", "lo o", "loo m", "w e", "we f", "wef t", "Ġ weft", "Ġ [",
          "[ I", "Ġ A", ": Ċ", ". Ċ", "! Ċ", "Ċ Ġ", "> Ċ", "Ġ ĊĊ", "{ \"", "\" :", "\": Ġ", "} }", "u s", "us e", "use r")
PRETOKENIZERS = ("llama-bpe", "qwen2", "gpt-2", "smollm")  # llama.cpp has the patterns of these


def type_of(token: str, rng: random.Random) -> TYPES:
    """Most files have tags such as <think> as user-defined tokens, which count in every text, and all
    others as control tokens; there are exceptions of both."""
    if token in BOUNDARIES:
        return TYPES.CONTROL
    if TAG.fullmatch(token):
        return TYPES.CONTROL if rng.random() < 0.2 else TYPES.USER_DEFINED
    return TYPES.USER_DEFINED if rng.random() < (0.5 if OF_ROLES.fullmatch(token) else 0.1) else TYPES.CONTROL


def beginnings(tokens: list[str]) -> list[str]:
    """Returns the pieces by which a token grows together, character by character."""
    return [token[:n] for token in tokens if len(token) <= 16 for n in range(2, len(token))]


def pieces(kind: str, tokens: list[str], rng: random.Random) -> dict[str, TYPES]:
    """Returns the tokens, in order, with their types."""
    made = {"<unk>": TYPES.UNKNOWN, "<s>": TYPES.CONTROL, "</s>": TYPES.CONTROL,
            "<|endoftext|>": TYPES.CONTROL}  # llama.cpp expects it of Phi-3
    tokens = [token for token in tokens if not OF_SCHEMAS.fullmatch(token)]
    for token in tokens:
        made.setdefault(token, type_of(token, rng))
    made[FREE] = TYPES.USER_DEFINED
    if rng.random() < 0.5:
        made |= dict.fromkeys(SPACES, TYPES.USER_DEFINED)
    if kind == "bpe":
        normal = [*byte_symbols(), *(merge.replace(" ", "") for merge in MERGES)]
    else:
        made |= {f"<0x{byte:02X}>": TYPES.BYTE for byte in range(256)}
        normal = [merge.replace(" ", "").replace("Ġ", "▁").replace("Ċ", "\n") for merge in MERGES]
        normal = ["▁", *normal, *beginnings(tokens)]
    for text in normal:
        made.setdefault(text, TYPES.NORMAL)
    return made


def write(path: Path, kind: str, name: str, template: str, tokens: list[str], rng: random.Random) -> None:
    """Writes the file. `name` matters: Phi-3's name tells llama.cpp and Weft that control tokens include
    the white space behind them."""
    made = pieces(kind, tokens, rng)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_context_length(4096)
    writer.add_tokenizer_model("gpt2" if kind == "bpe" else "llama")
    writer.add_token_list(list(made))
    writer.add_token_types(list(made.values()))
    if kind == "bpe":
        writer.add_tokenizer_pre(rng.choice(PRETOKENIZERS))
        writer.add_token_merges(list(MERGES))
    else:
        writer.add_token_scores([float(i) for i in range(len(made))])
    # SmolLM2's file names a token of the template as BOS, and wants none
    own = [i for i, token in enumerate(made) if token in tokens and token not in BOUNDARIES]
    foreign = kind == "bpe" and own and rng.random() < 0.3
    writer.add_bos_token_id(own[0] if foreign else 1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(not foreign and rng.random() < 0.8)
    writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
