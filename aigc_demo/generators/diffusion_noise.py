"""The noise that a picture begins with: the pipeline's own for a seed, or something between two seeds' noises.

Both lie on one sphere, near enough, and so does the great circle between them: every point of it is noise as
good as any, and near one end it is a picture much like that end's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aigc_demo.errors import Invalid
from aigc_demo.generators import paths
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline")
"""Those whose noise is known to be drawn as `noise` draws it: a test compares."""


def known(pipeline: Any) -> bool:
    """Whether the noise of this pipeline can be drawn and put between others."""
    return type(pipeline).__name__ in PIPELINES


def noise(pipeline: Any, seed: int, width: int, height: int) -> torch.Tensor:
    """[1, c, h, w] on the CPU: what the pipeline itself draws from a generator of this seed, before it is scaled."""
    import torch

    denoiser = pipeline.transformer if hasattr(pipeline, "transformer") else pipeline.unet
    scale = pipeline.vae_scale_factor
    shape = (1, denoiser.config.in_channels, height // scale, width // scale)
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=denoiser.dtype)


def varied(pipeline: Any, pairs: list[tuple[int, int]], strength: float, width: int, height: int) -> torch.Tensor:
    """[n, c, h, w]: for each pair of seeds the noise at `strength` of the way from one's to the other's.

    Raises `Invalid` where the pipeline's own noise is not known.
    """
    import torch

    if not known(pipeline):
        raise Invalid(
            Words(
                "How this model draws its noise is not known here, so it cannot be varied. Set the variation to 0.",
                "本应用不了解该模型如何抽取噪声，因此无法变化。请把变化幅度设为 0。",
            )
        )
    found = []
    for pair in pairs:
        a, b = (noise(pipeline, seed, width, height) for seed in pair)
        found.append(paths.slerp(a.double(), b.double(), strength).to(a.dtype))
    return torch.cat(found).to(pipeline._execution_device)
