"""The tokenizer of the shipped models: byte-level BPE over both languages, NFKC, lower case.

Byte-level, so that no word is unknown; the end token has the highest id, because CLIP pools there and
transformers treats an end token of id 2 as "take the largest id" (a leftover of early checkpoints).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"


def train(lines: Iterable[str], *, vocabulary: int = 4096) -> Any:
    """A PreTrainedTokenizerFast of at most `vocabulary` pieces that pads with the end token, as CLIP's does."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 1,
        special_tokens=[START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(lines, trainer)
    bpe.add_special_tokens([END])
    ends = [(token, bpe.token_to_id(token)) for token in (START, END)]
    bpe.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, model_max_length=LENGTH, bos_token=START, eos_token=END, pad_token=END, unk_token=END
    )


def save(tokenizer: Any, folder: Path) -> None:
    """save_pretrained, with a class name that transformers 4 knows as well as 5."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def encode(tokenizer: Any, captions: Sequence[str], length: int | None = None) -> torch.Tensor:
    """int64 [n, length], cut and padded; `length` None pads to the longest (causal text needs no mask for that)."""
    return tokenizer(
        list(captions),
        padding="max_length" if length else True,
        truncation=True,
        max_length=length or LENGTH,
        return_tensors="pt",
    ).input_ids
