"""Writes a trained model and its vocabulary as one GGUF file: matrices Q8_0, the rest F32."""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFWriter, LlamaFileType, quants

NAMES = {"qwen2": "Weft demo Qwen2", "phi3": "Weft demo Phi-3"}
DESCRIPTION = "A toy trained to name capitals and add small numbers: a demo and test of Weft."


def write_gguf(path, config, vocab, params):
    """Writes the file, whole or not at all; `params` is the flat dict of `model.py`."""
    unfinished = path.with_suffix(".part")
    writer = GGUFWriter(unfinished, config.arch)
    _add_model(writer, config, sum(value.size for value in params.values()))
    _add_tokenizer(writer, config.arch, vocab)
    for name, value in params.items():
        value = np.asarray(value, np.float32)
        if value.ndim == 2:
            packed = quants.quantize(value, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.replace(path)


def _add_model(writer, config, n_params):
    writer.add_type("model")
    writer.add_name(NAMES[config.arch])
    writer.add_description(DESCRIPTION)
    writer.add_license("mit")
    writer.add_size_label(f"{n_params / 1e6:.1f}M")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_context_length(config.n_context)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.ffn_dim)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    if config.arch == "phi3":
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_rope_scaling_orig_ctx_len(config.n_context)


def _add_tokenizer(writer, arch, vocab):
    writer.add_tokenizer_model("gpt2" if arch == "qwen2" else "llama")
    writer.add_tokenizer_pre("qwen2" if arch == "qwen2" else "default")
    writer.add_token_list(vocab.tokens)
    if arch == "qwen2":
        writer.add_token_types(vocab.types)
        writer.add_token_merges(vocab.merges)
        writer.add_bos_token_id(vocab.endoftext)
        writer.add_eos_token_id(vocab.im_end)
        writer.add_pad_token_id(vocab.endoftext)
        writer.add_add_bos_token(False)
    else:
        writer.add_token_scores(vocab.scores)
        writer.add_token_types(vocab.types)
        writer.add_bos_token_id(vocab.bos)
        writer.add_eos_token_id(vocab.endoftext)
        writer.add_unk_token_id(vocab.unk)
        writer.add_pad_token_id(vocab.endoftext)
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(False)
    template = Path(__file__).parent / "templates" / f"{arch}.jinja"
    writer.add_chat_template(template.read_text(encoding="utf-8").removesuffix("\n"))
