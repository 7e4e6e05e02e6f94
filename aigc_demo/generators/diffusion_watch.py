"""A look inside a diffusion run while diffusers makes it: the noisy latents, the clean guess, the guidance's pull."""

from __future__ import annotations

import functools
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aigc_demo.generators import schedulers
from aigc_demo.generators.diffusion_model import ImageModel, unpacked

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image


@dataclass(frozen=True)
class Frame:
    """A look inside after one step, pictures [n, h, w, 3] uint8, h and w in latent pixels.

    noisy: the latents as they are. guess: the clean picture that the model has in mind (x0); None where the
    scheduler does not tell. pull: the norm of what guidance moves by, over the prediction's own.
    """

    noisy: np.ndarray | None = None
    guess: np.ndarray | None = None
    pull: float | None = None


@dataclass
class Watch(AbstractContextManager["Watch"]):
    """Looks into one run: the scheduler's step gives the clean guess, the denoiser's output the guidance's pull.

    The denoiser is shared with other people's runs, so what it says counts only on this run's thread.
    """

    pipeline: Any
    model: ImageModel
    width: int
    height: int
    _guess: torch.Tensor | None = None
    _pull: float | None = None
    _shown: np.ndarray | None = None
    _hook: Any = field(default=None, repr=False)

    def __enter__(self) -> Watch:
        scheduler, own_step, thread = self.pipeline.scheduler, self.pipeline.scheduler.step, threading.get_ident()

        @functools.wraps(own_step)  # pipelines ask its signature whether it wants their generator
        def step(prediction: Any, time_: Any, sample: Any, *rest: Any, **named: Any) -> Any:
            named["return_dict"], wants_dict = True, named.get("return_dict", True)
            out = own_step(prediction, time_, sample, *rest, **named)
            self._guess = schedulers.clean_guess(scheduler, out, prediction, sample)
            return out if wants_dict else (out.prev_sample, *_second(out))

        def hear(_module: Any, _given: Any, output: Any) -> None:
            if threading.get_ident() == thread:
                self._pull = _pull_of(output, self.pipeline)

        scheduler.step = step
        denoiser = getattr(self.pipeline, "unet", None) or getattr(self.pipeline, "transformer", None)
        self._hook = denoiser.register_forward_hook(hear) if denoiser is not None else None
        return self

    def __exit__(self, *_: object) -> None:
        del self.pipeline.scheduler.step
        if self._hook is not None:
            self._hook.remove()

    def frame(self, latents: torch.Tensor | None) -> Frame:
        """What is to be seen after the step just made."""
        noisy, guess = self._pictures(latents, self._guess)
        self._shown = guess if guess is not None else noisy
        return Frame(noisy, guess, self._pull)

    def previews(self) -> list[Image.Image]:
        """The newest guess at full size, which is what a stopped run leaves."""
        from PIL import Image

        if self._shown is None:
            return []
        return [Image.fromarray(p).resize((self.width, self.height), Image.Resampling.BICUBIC) for p in self._shown]

    def _pictures(self, *given: torch.Tensor | None) -> list[np.ndarray | None]:
        """What each of them shows, drawn all at once; None where there is nothing to see."""
        import numpy as np
        import torch

        if self.model.projection is None:
            return [None for _ in given]
        ready = [one if one is None else unpacked(self.pipeline, one, self.width, self.height) for one in given]
        fit = [one is not None and one.shape[1] == self.model.projection.channels for one in ready]
        shown = [one.float() for one, fits in zip(ready, fit, strict=True) if one is not None and fits]
        drawn = iter(np.split(self.model.projection.pictures(torch.cat(shown)), len(shown)) if shown else ())
        return [next(drawn) if fits else None for fits in fit]


def _second(output: Any) -> tuple[Any, ...]:
    """LCM's pipelines read a second value of its step."""
    found = getattr(output, "denoised", None)
    return () if found is None else (found,)


def _pull_of(output: Any, pipeline: Any) -> float | None:
    """|conditional - unconditional| / |unconditional| of a doubled batch, None where there is no guidance."""
    if not getattr(pipeline, "do_classifier_free_guidance", False):
        return None
    made = output[0] if isinstance(output, tuple | list) else getattr(output, "sample", None)
    if made is None or not hasattr(made, "chunk") or made.shape[0] % 2:
        return None
    without, words = made.float().chunk(2)
    return float((words - without).norm() / without.norm().clamp_min(1e-8))
