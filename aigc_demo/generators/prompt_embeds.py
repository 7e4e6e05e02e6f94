"""What a diffusion run is told: its words as embeddings, weighted where they are to be, and kept for the next run.

Only for pipelines whose pixels stay those of the bare call that way; others get the words themselves.
"""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aigc_demo.generators.prompt_weights import Piece, of_tokens, parse, plain, restored, scaled, weighted

if TYPE_CHECKING:
    import torch

Embeddings = dict[str, "torch.Tensor | None"]
KEPT = 32
PLAIN = ("prompt_embeds", "negative_prompt_embeds")
POOLED = (*PLAIN, "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
GIVES: dict[str, tuple[str, ...]] = {
    **{f"StableDiffusion{task}Pipeline": PLAIN for task in ("", "Img2Img", "Inpaint")},
    **{f"StableDiffusionXL{task}Pipeline": POOLED for task in ("", "Img2Img", "Inpaint")},
    **{f"StableDiffusion3{task}Pipeline": POOLED for task in ("", "Img2Img", "Inpaint")},
}
"""Pipeline class -> what its `encode_prompt` returns, by the names under which its call takes it."""
WEIGHABLE = frozenset(name for name in GIVES if "Diffusion3" not in name)
"""Those that read nothing but CLIP's embeddings, token by token: a weight means there what it means in other programs."""

APPLIED, LEFT_OUT = "applied", "left out"
"""What became of a prompt's weights, for the recipe."""


@dataclass
class Encoded:
    """Embeddings of the latest prompts of one loaded model, on its device. Safe between threads; its lock is also that
    of the tokenizers, which two threads must not use at once."""

    kept: OrderedDict[tuple[str, str | None, bool], Embeddings] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, pipeline: Any, prompt: str, negative: str | None, guided: bool) -> Embeddings:
        """name -> [1, ...] of a prompt without marks, made by the pipeline's own `encode_prompt` if it is new.

        guided: whether there is an unconditional prediction, for which the negative ones are needed.
        """
        import torch

        negative = negative if guided else None
        key = (prompt, negative, guided)
        with self.lock:
            if key not in self.kept:
                takes = inspect.signature(pipeline.encode_prompt).parameters
                others = {name: None for name in ("prompt_2", "prompt_3") if name in takes}
                with torch.no_grad():
                    made = pipeline.encode_prompt(
                        prompt=prompt,
                        negative_prompt=negative,
                        device=pipeline._execution_device,
                        num_images_per_prompt=1,
                        do_classifier_free_guidance=guided,
                        **others,
                    )
                self.kept[key] = dict(zip(GIVES[type(pipeline).__name__], made, strict=True))
                while len(self.kept) > KEPT:
                    self.kept.popitem(last=False)
            self.kept.move_to_end(key)
            return dict(self.kept[key])


@dataclass(frozen=True)
class Told:
    """What a run is told. embeddings: None where the pipeline gets the words themselves. weights: what became of them;
    None where the words have none."""

    embeddings: Embeddings | None
    weights: str | None

    def arguments(self, count: int) -> dict[str, Any]:
        """What the pipeline is called with for so many pictures, instead of the words."""
        if self.embeddings is None:
            return {}
        repeated = {
            name: None if made is None else made.expand(count, *made.shape[1:])
            for name, made in self.embeddings.items()
        }
        return {"prompt": None, "negative_prompt": None, **repeated}


def tell(encoded: Encoded, pipeline: Any, prompt: str, negative: str, guidance: float) -> Told:
    """Read both prompts, marks and all. pipeline: that of the run. guidance: what it will be called with."""
    name = type(pipeline).__name__
    if name not in GIVES:
        return Told(None, LEFT_OUT if weighted(prompt) or weighted(negative) else None)
    pipeline._guidance_scale = guidance  # as its call sets it; the next line asks by it
    guided = bool(pipeline.do_classifier_free_guidance)
    embeddings = encoded.of(pipeline, plain(prompt), plain(negative) or None, guided)
    wanted = {"prompt_embeds": prompt} | ({"negative_prompt_embeds": negative} if guided else {})
    wanted = {part: text for part, text in wanted.items() if weighted(text)}
    if not wanted:
        return Told(embeddings, None)
    if not can_weigh(pipeline):
        return Told(embeddings, LEFT_OUT)
    for part, text in wanted.items():
        with encoded.lock:
            embeddings[part] = weigh(pipeline, embeddings[part], parse(text))
    return Told(embeddings, APPLIED)


def can_weigh(pipeline: Any) -> bool:
    """Whether weights mean anything to a pipeline, and its tokenizers tell which token stands for which characters."""
    return type(pipeline).__name__ in WEIGHABLE and all(tokenizer.is_fast for tokenizer, _ in _towers(pipeline))


def weigh(pipeline: Any, embeddings: Any, pieces: Sequence[Piece]) -> torch.Tensor:
    """Embeddings [1, tokens, channels] of the pieces' words -> with their weights, each tower's by itself, and the mean
    restored. Pooled embeddings stand for the prompt as a whole and have no weights, as in the source."""
    import torch

    text = "".join(words for words, _ in pieces)
    towers = _towers(pipeline)
    parts = embeddings.split([encoder.config.hidden_size for _, encoder in towers], dim=-1)
    made = []
    for part, (tokenizer, _) in zip(parts, towers, strict=True):
        read = tokenizer(
            text, padding="max_length", max_length=part.shape[1], truncation=True, return_offsets_mapping=True
        )
        weights = of_tokens(pieces, read.offset_mapping)
        made.append(restored(part, scaled(part, weights), weights))
    return torch.cat(made, dim=-1)


def _towers(pipeline: Any) -> list[tuple[Any, Any]]:
    """(tokenizer, encoder) of those that a pipeline has, in the order of their channels."""
    names = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
    found = [(getattr(pipeline, words, None), getattr(pipeline, encoder, None)) for words, encoder in names]
    return [(words, encoder) for words, encoder in found if words is not None and encoder is not None]
