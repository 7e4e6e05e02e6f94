"""Tiny random models in the shape of real ones, for tests: ordinary `save_pretrained` folders, made in a second.

They say nothing sensible. What is real about them is everything around the weights: a byte-level BPE tokenizer
that splits Chinese and emoji over several tokens, a chat template, end-of-text ids, safetensors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SENTENCES = [
    "The quick brown fox jumps over the lazy dog. The capital of France is Paris.",
    "Once upon a time there was a little model that lived in a folder and answered every question.",
    "A user asks, an assistant answers: system, user, assistant. 0123456789",
    "你好，世界！今天天气怎么样？我们一起学习生成模型。",
    "emoji: 😀 🎉 👍🏽 👩‍👩‍👧",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CONTEXT = 256


def make_tiny_tokenizer(vocab: int = 384, chat_template: str | None = CHAT_TEMPLATE) -> Any:
    """A byte-level BPE tokenizer with at most `vocab` tokens (256 bytes, 3 special, the rest merges).

    `<|im_end|>` ends a turn (eos), `<|endoftext|>` pads.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        bos_token="<|im_start|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    fast.chat_template = chat_template
    return fast


def make_tiny_llama(
    folder: Path,
    *,
    seed: int = 0,
    vocab: int = 384,
    chat_template: str | None = CHAT_TEMPLATE,
    max_shard_size: str = "5GB",
) -> Path:
    """A random Llama (2 layers, 4 heads over 2 key/value heads, tied embeddings, 256-token context) in `folder`.

    seed: of the weights. chat_template=None makes a base model. A small `max_shard_size` ("50KB") makes shards.
    Sets nothing global: torch's own random state is left as it was.
    """
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = make_tiny_tokenizer(vocab, chat_template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        # wide enough that the logits of a random model are not all alike
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer.save_pretrained(folder)
    return folder
