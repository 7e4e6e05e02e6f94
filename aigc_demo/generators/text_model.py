"""Text models: how one is loaded, how it reads a conversation, and its forward passes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from aigc_demo.device import Device, is_out_of_memory
from aigc_demo.errors import Invalid, ModelDamaged
from aigc_demo.generators.quiet import hush
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

CHUNK = 512
"""Prompt tokens per forward pass: a long prompt can be stopped, and shows its progress, between two chunks."""
TEMPLATE_SECONDS = 2.0
"""A chat template is a program, and perhaps a stranger's: it gets this long, and this many characters."""
LONGEST_RENDERED = 1_000_000


@dataclass(frozen=True)
class TextModel:
    """A loaded model: what `generate` needs of it.

    context: tokens it can see. ends: ids that end an answer. template_options: what its chat template
    is to be told beside the conversation.
    """

    model: Any
    tokenizer: Any
    device: Device
    context: int
    ends: frozenset[int]
    template_options: dict[str, Any] = field(default_factory=dict)
    _pieces: dict[int, str] = field(default_factory=dict)

    def decode(self, ids: list[int]) -> str:
        """The text of an answer; special tokens have none."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def piece(self, token: int) -> str:
        """What one token looks like by itself: its text, its name, or its bytes as in ‹E7 8C›."""
        if token not in self._pieces:
            self._pieces[token] = self._piece(token)
        return self._pieces[token]

    def _piece(self, token: int) -> str:
        raw = self.tokenizer.convert_ids_to_tokens(token)
        if raw is None:  # embeddings are often padded beyond the vocabulary
            return f"‹{token}›"
        text = self.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        if "\ufffd" in text:
            return f"‹{_bytes_of(raw)}›"
        return raw.replace("▁", " ") if raw.startswith("▁") else text


class Passes:
    """The forward passes of one answer, over one KV cache. Logits come out as float32 on the CPU."""

    def __init__(self, loaded: TextModel):
        from transformers import DynamicCache

        self._loaded = loaded
        self._cache = DynamicCache(config=loaded.model.config)

    def prefill(self, ids: list[int], keep_from: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Read the prompt in chunks; yields (tokens read, logits of the chunk's positions from `keep_from` on)."""
        for start in range(0, len(ids), CHUNK):
            end = min(start + CHUNK, len(ids))
            wanted = max(0, end - max(start, keep_from))
            logits = self._forward(ids[start:end], keep=max(1, wanted))
            yield end, logits[len(logits) - wanted :]

    def step(self, token: int) -> torch.Tensor:
        """The logits after one more token, of length V."""
        return self._forward([token], keep=1)[0]

    def _forward(self, ids: list[int], keep: int) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            out = self._loaded.model(
                input_ids=torch.tensor([ids], device=self._loaded.device.kind),
                cache=self._cache,
                use_cache=True,
                logits_to_keep=keep,
            )
            return out.logits[0].float().cpu()


def load(folder: Path, device: Device, template_options: dict[str, Any] | None = None) -> TextModel:
    """A causal LM in `save_pretrained` format, on the device. Raises `ModelDamaged` where the folder is not one."""
    hush("transformers")
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    # transformers 5 rebuilds some named classes (GPT2Tokenizer, which SmolLM2 declares) without the pre-tokenizer that
    # tokenizer.json says, and then splits numbers differently from how the model was trained
    reader: Any = PreTrainedTokenizerFast if (folder / "tokenizer.json").exists() else AutoTokenizer
    try:
        tokenizer = reader.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=device.torch_dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        model, report = loaded
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelDamaged(
            Words(
                "The folder “{name}” cannot be loaded as a text model.", "文件夹“{name}”无法作为文本模型加载。"
            ).format(name=folder.name)
        ) from error
    if report["missing_keys"]:  # transformers would fill them with random numbers, others at every start
        raise ModelDamaged(
            Words(
                "The model folder “{name}” cannot be used: its weights lack {key}.",
                "模型文件夹“{name}”无法使用：其权重缺少 {key}。",
            ).format(name=folder.name, key=min(report["missing_keys"]))
        )
    model = model.to(device.kind).eval().requires_grad_(False)
    ends = model.generation_config.eos_token_id
    ends = {ends} if isinstance(ends, int) else set(ends or ())
    if tokenizer.eos_token_id is not None:
        ends.add(tokenizer.eos_token_id)
    context = getattr(model.config, "max_position_embeddings", None) or 2048
    return TextModel(model, tokenizer, device, context, frozenset(ends), template_options or {})


def encode_prompt(
    mode: str, system_prompt: str, history: list[dict[str, str]], prompt: str, loaded: TextModel
) -> list[int]:
    """Token ids of what the model reads. In chat mode names of special tokens in somebody's words stay plain text."""
    if mode == "complete":
        ids = loaded.tokenizer(prompt)["input_ids"]
    elif not loaded.tokenizer.chat_template:
        raise Invalid(
            Words(
                "This model has no chat template: choose the mode “Complete”.",
                "该模型没有对话模板：请选择“续写”模式。",
            )
        )
    else:
        system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        turns = [*system, *history, {"role": "user", "content": prompt}]
        ids = _apply_template(turns, loaded)
    if not ids:
        raise Invalid(Words("The model has nothing to read in this prompt.", "该提示词中没有模型可读的内容。"))
    return list(ids)


def _apply_template(turns: list[dict[str, str]], loaded: TextModel) -> list[int]:
    options = {"add_generation_prompt": True, **loaded.template_options}
    try:
        with _time_limit(TEMPLATE_SECONDS):
            text = loaded.tokenizer.apply_chat_template(turns, tokenize=False, **options)
            if len(text) > LONGEST_RENDERED:  # before the tokenizer, which nothing can interrupt
                raise ValueError(f"the template made {len(text):,} characters")
            return loaded.tokenizer.apply_chat_template(
                turns, sanitize_control_tokens=True, return_dict=False, **options
            )
    except TimeoutError as error:
        raise ModelDamaged(
            Words(
                "This model's chat template took longer than {n:g} seconds and was stopped. Choose another model, or the "
                "mode “Complete”.",
                "该模型的对话模板运行超过 {n:g} 秒，已被中止。请选择其他模型，或使用“续写”模式。",
            ).format(n=TEMPLATE_SECONDS)
        ) from error
    except Exception as error:  # a template is somebody's program, and may raise anything
        log.warning("chat template", exc_info=error)
        raise Invalid(
            Words(
                "This model's chat template refuses this conversation. Clear the system prompt or the conversation, or "
                "use the mode “Complete”.",
                "该模型的对话模板不接受这段对话。请清空系统提示词或对话，或使用“续写”模式。",
            )
        ) from error


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError inside Python code of this thread that computes longer. A template compiles to such code.

    The thread's own time, so that nobody's template is blamed for a busy machine.
    """
    deadline = time.thread_time() + seconds

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        if time.thread_time() > deadline:
            raise TimeoutError
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


def _bytes_of(raw: str) -> str:
    """The bytes behind a byte-level token ("çĮ") or a SentencePiece one ("<0xE7>"), in hexadecimal."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    if raw.startswith("<0x"):
        return raw[3:-1]
    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    return " ".join(f"{byte_of[c]:02X}" for c in raw if c in byte_of)
