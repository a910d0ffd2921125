"""The part of Weft's public C API (include/weft.h) that reads vocabularies and renders conversations, through
ctypes.

Thousands of strings are tokenized in one process this way. Layouts follow the header; the library's
ABI version is checked when it is loaded.
"""

import ctypes as C
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ABI_VERSION = 1
TOKENIZE_BOS, TOKENIZE_SPECIAL, TOKENIZE_EOS = 1, 2, 8
DETOKENIZE_SPECIAL = 1

E_BUFFER = 5


class WeftError(Exception):
    """A status other than WEFT_OK, with the library's message."""


class _Error(C.Structure):
    _fields_ = [("code", C.c_int), ("message", C.c_char * 508)]


class _ModelParams(C.Structure):
    _fields_ = [("size", C.c_size_t), ("vocab_only", C.c_bool), ("no_mmap", C.c_bool),
                ("log", C.c_void_p), ("log_user", C.c_void_p)]


class ModelInfo(C.Structure):
    _fields_ = [("size", C.c_size_t), ("architecture", C.c_char_p), ("name", C.c_char_p),
                ("type", C.c_char_p), ("chat_template", C.c_char_p), ("n_vocab", C.c_size_t),
                ("n_ctx_train", C.c_size_t), ("n_layers", C.c_size_t), ("dim", C.c_size_t),
                ("n_heads", C.c_size_t), ("n_kv_heads", C.c_size_t), ("head_dim", C.c_size_t),
                ("n_ff", C.c_size_t), ("n_params", C.c_uint64), ("n_bytes", C.c_uint64),
                ("bos", C.c_int32), ("eos", C.c_int32), ("adds_bos", C.c_bool),
                ("n_window", C.c_size_t), ("adds_eos", C.c_bool),
                ("chat_remark", C.c_char_p), ("n_rope_short", C.c_size_t),
                ("n_labels", C.c_size_t)]


class _Message(C.Structure):
    _fields_ = [("role", C.c_char_p), ("content", C.c_char_p)]


class _ChatParams(C.Structure):
    _fields_ = [("size", C.c_size_t), ("template_name", C.c_char_p), ("no_prompt", C.c_bool),
                ("continues", C.c_bool), ("last", C.POINTER(C.c_int32))]


class _PromptParams(C.Structure):
    _fields_ = [("size", C.c_size_t), ("messages", C.c_char_p), ("n_messages", C.c_size_t),
                ("tools", C.c_char_p), ("n_tools", C.c_size_t),
                ("variables", C.c_char_p), ("n_variables", C.c_size_t),
                ("template_name", C.c_char_p), ("template_source", C.c_char_p),
                ("n_template_source", C.c_size_t), ("no_prompt", C.c_bool), ("prefill", C.c_bool),
                ("continues", C.c_bool), ("last", C.POINTER(C.c_int32)), ("now", C.c_int64)]


class _Run(C.Structure):
    _fields_ = [("n", C.c_size_t), ("caller", C.c_bool)]


@dataclass(frozen=True)
class Prompt:
    """A conversation that was rendered; the runs are (bytes, whether a caller wrote them)."""

    ids: list[int]
    text: str
    runs: list[tuple[int, bool]]


# (result, arguments); a result of c_int is a weft_status
_SIGNATURES = {
    "weft_version": (C.c_char_p, []),
    "weft_model_open": (C.c_int, [C.c_char_p, C.POINTER(_ModelParams), C.POINTER(C.c_void_p),
                                  C.POINTER(_Error)]),
    "weft_model_release": (None, [C.POINTER(C.c_void_p)]),
    "weft_model_get_info": (C.c_int, [C.c_void_p, C.POINTER(ModelInfo), C.POINTER(_Error)]),
    "weft_tokenize": (C.c_int, [C.c_void_p, C.c_char_p, C.c_size_t, C.c_uint, C.c_void_p,
                                C.c_size_t, C.POINTER(C.c_size_t), C.POINTER(_Error)]),
    "weft_detokenize": (C.c_int, [C.c_void_p, C.c_void_p, C.c_size_t, C.c_uint, C.c_void_p,
                                  C.c_size_t, C.POINTER(C.c_size_t), C.POINTER(_Error)]),
    "weft_chat_tokens": (C.c_int, [C.c_void_p, C.POINTER(_Message), C.c_size_t,
                                   C.POINTER(_ChatParams), C.c_void_p, C.c_size_t,
                                   C.POINTER(C.c_size_t), C.POINTER(_Error)]),
    "weft_chat_template_name": (C.c_char_p, [C.c_size_t]),
    "weft_prompt_open": (C.c_int, [C.c_void_p, C.POINTER(_PromptParams), C.POINTER(C.c_void_p),
                                   C.POINTER(_Error)]),
    "weft_prompt_release": (None, [C.POINTER(C.c_void_p)]),
    "weft_prompt_tokens": (C.c_int, [C.c_void_p, C.c_size_t, C.c_void_p, C.c_size_t,
                                     C.POINTER(C.c_size_t), C.POINTER(_Error)]),
    "weft_prompt_text": (C.c_int, [C.c_void_p, C.c_void_p, C.c_size_t, C.POINTER(C.c_size_t),
                                   C.POINTER(_Error)]),
    "weft_prompt_runs": (C.c_int, [C.c_void_p, C.c_void_p, C.c_size_t, C.POINTER(C.c_size_t),
                                   C.POINTER(_Error)]),
}


def find(weft: str) -> Path:
    """Returns the shared library: `weft` itself, or the library beside the program `weft`."""
    path = Path(weft)
    library = path if ".so" in path.suffixes else path.parent / "libweft.so"
    if not library.exists():
        raise WeftError(f"{library}: not found; build it with make")
    return library.resolve()


def load(weft: str) -> C.CDLL:
    path = find(weft)
    lib = C.CDLL(str(path))
    lib.weft_abi_version.restype = C.c_uint32
    found = lib.weft_abi_version()
    if found != ABI_VERSION:
        raise WeftError(f"{path} has ABI version {found}, expected {ABI_VERSION}; "
                        "bring tools/parity/libweft.py up to date with include/weft.h")
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def _check(status: int, err: _Error) -> None:
    if status != 0:
        raise WeftError(err.message.decode(errors="replace"))


def open_vocab(lib: C.CDLL, path: str) -> C.c_void_p:
    params = _ModelParams(size=C.sizeof(_ModelParams), vocab_only=True)
    model, err = C.c_void_p(), _Error()
    _check(lib.weft_model_open(str(path).encode(), C.byref(params), C.byref(model), C.byref(err)),
           err)
    return model


def close(lib: C.CDLL, model: C.c_void_p) -> None:
    lib.weft_model_release(C.byref(model))


def info(lib: C.CDLL, model: C.c_void_p) -> ModelInfo:
    out, err = ModelInfo(size=C.sizeof(ModelInfo)), _Error()
    _check(lib.weft_model_get_info(model, C.byref(out), C.byref(err)), err)
    return out


def _collect(call, item, cap: int):
    """Returns what call(dst, cap, needed, err) writes; calls it again if it needs more room."""
    err, needed = _Error(), C.c_size_t()
    while True:
        dst = (item * cap)()
        status = call(dst, cap, C.byref(needed), C.byref(err))
        if status != E_BUFFER:
            _check(status, err)
            return dst, needed.value
        cap = needed.value


def tokenize(lib: C.CDLL, model: C.c_void_p, text: bytes, flags: int) -> list[int]:
    dst, n = _collect(lambda *out: lib.weft_tokenize(model, text, len(text), flags, *out),
                      C.c_int32, len(text) + 8)
    return dst[:n]


def detokenize(lib: C.CDLL, model: C.c_void_p, ids: Sequence[int], flags: int) -> bytes:
    src = (C.c_int32 * len(ids))(*ids)
    dst, n = _collect(lambda *out: lib.weft_detokenize(model, src, len(ids), flags, *out),
                      C.c_char, 16 * len(ids) + 64)
    return dst.raw[:n]


def chat_tokens(lib: C.CDLL, model: C.c_void_p, messages: Sequence[tuple[str, str]],
                template: str | None = None, prompt: bool = True) -> list[int]:
    """Returns the ids of a conversation of (role, content), by the file's own template unless one
    is named."""
    array = (_Message * len(messages))(
        *((role.encode(), content.encode()) for role, content in messages))
    params = _ChatParams(size=C.sizeof(_ChatParams), no_prompt=not prompt,
                         template_name=template.encode() if template else None)
    dst, n = _collect(
        lambda *out: lib.weft_chat_tokens(model, array, len(messages), C.byref(params), *out),
        C.c_int32, 4096)
    return dst[:n]


def _as_json(value: Any) -> tuple[bytes | None, int]:
    """Returns JSON and its length; (None, 0) for nothing."""
    text = None if value is None else json.dumps(value, ensure_ascii=False).encode()
    return text, len(text or b"")


def prompt(lib: C.CDLL, model: C.c_void_p, messages: list[dict[str, Any]], *,
           tools: list[dict[str, Any]] | None = None, variables: dict[str, Any] | None = None,
           name: str | None = None, source: str | None = None, no_prompt: bool = False,
           prefill: bool = False, now: int = 0) -> Prompt:
    """Renders a conversation by the file's own template, unless a built-in one is named or a source
    is given."""
    given = source.encode() if source is not None else None
    params = _PromptParams(C.sizeof(_PromptParams), *_as_json(messages), *_as_json(tools),
                           *_as_json(variables), name.encode() if name else None, given,
                           len(given or b""), no_prompt, prefill, False, None, now)
    made, err = C.c_void_p(), _Error()
    _check(lib.weft_prompt_open(model, C.byref(params), C.byref(made), C.byref(err)), err)
    try:
        ids, n_ids = _collect(lambda *out: lib.weft_prompt_tokens(made, 0, *out), C.c_int32, 4096)
        text, n_bytes = _collect(lambda *out: lib.weft_prompt_text(made, *out), C.c_char, 16384)
        runs, n_runs = _collect(lambda *out: lib.weft_prompt_runs(made, *out), _Run, 256)
    finally:
        lib.weft_prompt_release(C.byref(made))
    return Prompt(ids[:n_ids], text.raw[:n_bytes].decode(),
                  [(run.n, run.caller) for run in runs[:n_runs]])


def template_names(lib: C.CDLL) -> list[str]:
    """Returns the names of the built-in templates."""
    names, i = [], 0
    while (name := lib.weft_chat_template_name(i)) is not None:
        names.append(name.decode())
        i += 1
    return names
