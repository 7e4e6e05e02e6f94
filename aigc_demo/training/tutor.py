"""tutor: a convnet that emoji-clip may learn from. The judge's architecture, another seed, and pictures spoilt otherwise:
as emoji-clip sees them. It marks nothing, and never ships.

On seven thousand pictures a transformer learns by heart what a convnet cannot but see in general: a mark is the same
mark wherever it is. The tutor knows that, and says it about as many mixtures of pictures as one likes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aigc_demo.training import clip, judge

if TYPE_CHECKING:
    import torch

PRESETS: dict[str, judge.JudgeParams] = {
    "smoke": replace(judge.PRESETS["smoke"], seed=4444),
    "cpu": replace(judge.PRESETS["cpu"], steps=3000, small=0.6, smoothing=0.0, seed=4444),
    "gpu": replace(judge.PRESETS["gpu"], smoothing=0.0, seed=4444),
}

MIX = {"plain": 0.7, "colour": 0.2, "ground": 0.1}


class TutorTask(judge.NamingTask):
    """Unlike the judge it should doubt where doubt is due, so its labels are not smoothed."""

    name = "tutor"
    jitter = clip.JITTER
    mix = MIX

    def spoilt(self, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return pictures
