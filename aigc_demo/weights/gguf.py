"""A GGUF file of a Llama-shaped chat model, unpacked once into an ordinary `save_pretrained` folder.

transformers can read GGUF by itself; this is here because its way takes 20 s where this takes 6 (it parses the
file four times), holds up a cancel meanwhile, and forgets the tokenizer's own rule for splitting text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aigc_demo.errors import ModelDamaged
from aigc_demo.words import Words

_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_CONTROL_TOKEN = 3
"""llama.cpp's LLAMA_TOKEN_TYPE_CONTROL: tokens that stand for themselves and are never made by merging."""


def unpack(file: Path, folder: Path, tick: Callable[[int, int], None]) -> None:
    """Write `file`'s config, generation config, tokenizer, chat template and bf16 weights into `folder`.

    tick: called with (tensors done, tensors in all) after each; may raise to give up.
    Raises `ModelDamaged` where it is not a Llama with a byte-level BPE tokenizer.
    """
    from gguf import GGUFReader

    reader = GGUFReader(file)
    about = {name: field.contents() for name, field in reader.fields.items()}
    if about.get("general.architecture") != "llama" or about.get("tokenizer.ggml.model") != "gpt2":
        raise ModelDamaged(
            Words(
                "The GGUF file is not of a Llama model with a byte-level BPE tokenizer.",
                "该 GGUF 文件不是使用字节级 BPE 分词器的 Llama 模型。",
            )
        )
    tick(0, len(reader.tensors))
    tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    folder.mkdir(parents=True, exist_ok=True)
    _write_configs(about, tied, folder)
    _write_tokenizer(about, folder)
    _write_weights(reader, about, folder, tick)


def _write_configs(about: dict[str, Any], tied: bool, folder: Path) -> None:
    from transformers import GenerationConfig, LlamaConfig

    special = {
        f"{name}_token_id": about[key]
        for name, key in {
            "bos": "tokenizer.ggml.bos_token_id",
            "eos": "tokenizer.ggml.eos_token_id",
            "pad": "tokenizer.ggml.padding_token_id",
        }.items()
        if key in about
    }
    LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=len(about["tokenizer.ggml.tokens"]),
        hidden_size=about["llama.embedding_length"],
        intermediate_size=about["llama.feed_forward_length"],
        num_hidden_layers=about["llama.block_count"],
        num_attention_heads=about["llama.attention.head_count"],
        num_key_value_heads=about["llama.attention.head_count_kv"],
        max_position_embeddings=about["llama.context_length"],
        # GGUF keeps it in 32 bits, as 9.99999974e-06
        rms_norm_eps=float(f"{about['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        rope_parameters={"rope_type": "default", "rope_theta": about["llama.rope.freq_base"]},
        tie_word_embeddings=tied,
        dtype="bfloat16",
        **special,
    ).save_pretrained(folder)
    GenerationConfig(**special).save_pretrained(folder)


def _write_tokenizer(about: dict[str, Any], folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens, kinds = about["tokenizer.ggml.tokens"], about["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ", 1)) for merge in about["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=bool(about.get("tokenizer.ggml.add_space_prefix", False)))
    # a GGUF names its splitting rule and does not hold it; SmolLM's takes every digit by itself
    digits = [pre_tokenizers.Digits(individual_digits=True)] if about.get("tokenizer.ggml.pre") == "smollm" else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, byte_level]) if digits else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == _CONTROL_TOKEN
        ]
    )
    named = {
        f"{name}_token": tokens[about[key]]
        for name, key in {
            "bos": "tokenizer.ggml.bos_token_id",
            "eos": "tokenizer.ggml.eos_token_id",
            "unk": "tokenizer.ggml.unknown_token_id",
            "pad": "tokenizer.ggml.padding_token_id",
        }.items()
        if key in about
    }
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=about["llama.context_length"],
        clean_up_tokenization_spaces=False,
        **named,
    )
    fast.chat_template = about.get("tokenizer.chat_template")
    fast.save_pretrained(folder)


def _write_weights(reader: Any, about: dict[str, Any], folder: Path, tick: Callable[[int, int], None]) -> None:
    import torch
    from gguf import dequantize
    from safetensors.torch import save_file

    heads = {"attn_q": about["llama.attention.head_count"], "attn_k": about["llama.attention.head_count_kv"]}
    weights = {}
    for done, tensor in enumerate(reader.tensors, start=1):
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        name = _OUTSIDE.get(tensor.name)
        if name is None:
            _, layer, part, kind = tensor.name.split(".")
            name = f"model.layers.{layer}.{_LAYER[part]}.{kind}"
            if part in heads:
                values = _unpermuted(values, heads[part])
        weights[name] = values.to(torch.bfloat16).contiguous()
        tick(done, len(reader.tensors))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _unpermuted(weight: Any, heads: int) -> Any:
    """llama.cpp keeps the two halves that a rotary embedding turns interleaved; transformers one after the other."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)
