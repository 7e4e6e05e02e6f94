"""Does a picture show these words? What emoji-clip says of it, whose text tower also reads emoji-diffusion's prompts.

A bare score of a picture and a text means nothing to anyone; its place among the scores of other texts does. So the
prompt competes with the names of everything that the model learnt to draw. It is no independent judge: the picture
was made to please its other half.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_demo.words import LANGUAGES

if TYPE_CHECKING:
    import torch
    from PIL import Image

NAMES_FILE = "names.json"
"""In a pipeline's folder: language -> what it learnt to draw."""
MOST_NAMES, LONGEST_NAME = 3000, 100
TOLD = 3
HAN = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Verdict:
    """place: of the prompt among `of` texts, from 1. best: the names that fit best, with their shares of all names."""

    place: int
    of: int
    best: tuple[tuple[str, float], ...]


class Witness:
    """A CLIPModel in float32 with its tokenizer and the names that it chooses from."""

    def __init__(self, clip: Any, tokenizer: Any, names: Mapping[str, Sequence[str]]):
        self.clip, self.tokenizer, self.names = clip, tokenizer, names
        self._known: dict[str, torch.Tensor] = {}

    def judge(self, pictures: Sequence[Image.Image], prompt: str) -> list[Verdict]:
        """One verdict per picture. Names that the prompt itself holds do not compete with it."""
        import torch

        language = "zh" if HAN.search(prompt) else "en"
        names = self.names[language]
        if language not in self._known:
            self._known[language] = self._texts(names)
        asked = prompt.casefold()
        rival = torch.tensor([name.casefold() not in asked for name in names])
        seen = self._pictures(pictures)
        among = seen @ self._known[language].T
        own = seen @ self._texts([prompt]).T
        places = 1 + ((among > own) & rival).sum(1)
        with torch.no_grad():
            shares = (among * self.clip.logit_scale.exp().cpu()).softmax(1)
        best = shares.topk(min(TOLD, len(names)))
        return [
            Verdict(int(place), int(rival.sum()) + 1, tuple((names[i], round(share, 4)) for i, share in rows))
            for place, rows in zip(
                places,
                (zip(i, s, strict=True) for i, s in zip(best.indices.tolist(), best.values.tolist(), strict=True)),
                strict=True,
            )
        ]

    def _texts(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 [n, width] on the CPU, of length 1."""
        import torch

        given = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(self.clip.device)
        with torch.no_grad():
            return _unit(self.clip.get_text_features(input_ids=given.input_ids))

    def _pictures(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """Likewise. Shrunk by area, as what it learnt from was."""
        import numpy as np
        import torch
        from torch.nn import functional

        side = self.clip.config.vision_config.image_size
        pixels = torch.from_numpy(np.stack([np.asarray(one.convert("RGB")) for one in pictures])).movedim(-1, 1)
        small = functional.interpolate(pixels.float() / 127.5 - 1, size=(side, side), mode="area")
        with torch.no_grad():
            return _unit(self.clip.get_image_features(pixel_values=small.to(self.clip.device)))


def load(folder: Path, device: Any) -> Witness | None:
    """That of a pipeline's folder; None where it holds no whole CLIP beside names."""
    named = names(folder / NAMES_FILE)
    home = folder / "text_encoder"
    if named is None or "vision_config" not in json.loads((home / "config.json").read_text("utf-8")):
        return None
    import torch
    from transformers import AutoTokenizer, CLIPModel

    clip: Any = CLIPModel.from_pretrained(home, dtype=torch.float32, use_safetensors=True, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return Witness(clip.to(device).eval(), tokenizer, named)


def write_names(names: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Into a pipeline's folder, for `load`."""
    (folder / NAMES_FILE).write_text(json.dumps(dict(names), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def names(path: Path) -> dict[str, list[str]] | None:
    """Language -> what a pipeline learnt to draw. None where there are none, or nothing that could be any: the folder may be a stranger's."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        found = {language: content[language] for language in LANGUAGES}
    except (ValueError, KeyError, TypeError):
        return None
    for told in found.values():
        if not isinstance(told, list) or not 0 < len(told) <= MOST_NAMES:
            return None
        if not all(isinstance(name, str) and 0 < len(name) <= LONGEST_NAME for name in told):
            return None
    return found


def _unit(features: Any) -> torch.Tensor:
    """transformers 5 gives an output whose pooler is the projection, 4 the tensor itself."""
    found = getattr(features, "pooler_output", features)
    return (found / found.norm(dim=1, keepdim=True)).float().cpu()
