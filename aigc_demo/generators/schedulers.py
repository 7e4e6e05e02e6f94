"""The samplers of diffusion that a request can name, as rows over diffusers' scheduler classes.

A row is made from the model's own scheduler configuration, so that its noise schedule, its prediction type and
its terminal signal-to-noise ratio stay what the model learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch

OWN = "default"


@dataclass(frozen=True)
class SchedulerRow:
    """cls: a class of diffusers; None for the model's own. more: configuration that makes the variant."""

    name: Words
    cls: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


SCHEDULERS: dict[str, SchedulerRow] = {
    OWN: SchedulerRow(Words("The model's own", "模型自带")),
    "ddim": SchedulerRow(Words("DDIM", "DDIM"), "DDIMScheduler"),
    "euler": SchedulerRow(Words("Euler", "Euler"), "EulerDiscreteScheduler", {"use_karras_sigmas": False}),
    "euler_a": SchedulerRow(Words("Euler a", "Euler a"), "EulerAncestralDiscreteScheduler"),
    "dpmpp_2m": SchedulerRow(
        Words("DPM++ 2M", "DPM++ 2M"),
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": False},
    ),
    "dpmpp_2m_karras": SchedulerRow(
        Words("DPM++ 2M Karras", "DPM++ 2M Karras"),
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
    ),
    "unipc": SchedulerRow(Words("UniPC", "UniPC"), "UniPCMultistepScheduler", {"use_karras_sigmas": False}),
    "lcm": SchedulerRow(Words("LCM", "LCM"), "LCMScheduler"),
}


def suiting(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The rows that go with a model whose own scheduler has this configuration.

    Flow matching has a time of its own, which the samplers of noise schedules do not speak. Karras' spacing
    begins at the largest finite noise, so a schedule whose last step is pure noise would be cut short.
    """
    if "num_train_timesteps" not in config or "beta_schedule" not in config:
        return (OWN,)
    if config.get("rescale_betas_zero_snr"):
        return tuple(name for name in SCHEDULERS if name != "dpmpp_2m_karras")
    return tuple(SCHEDULERS)


def make(name: str, own: Any) -> Any:
    """A fresh scheduler for one run. own: the model's scheduler, which is never changed."""
    import diffusers

    row = SCHEDULERS[name]
    cls = getattr(diffusers, row.cls) if row.cls else type(own)
    return cls.from_config(own.config, **row.more)


def clean_guess(scheduler: Any, output: Any, prediction: torch.Tensor, sample: torch.Tensor) -> torch.Tensor | None:
    """The clean latents that the model has in mind at a step just made, or None where the scheduler does not tell.

    output: what `scheduler.step` returned. prediction, sample: what went into it.
    """
    for name in ("pred_original_sample", "denoised"):
        found = getattr(output, name, None)
        if found is not None:
            return found
    outputs = getattr(scheduler, "model_outputs", None)
    if outputs and outputs[-1] is not None and _keeps_clean_outputs(scheduler):
        return outputs[-1]
    sigmas, index = getattr(scheduler, "sigmas", None), getattr(scheduler, "step_index", None)
    if "FlowMatch" in type(scheduler).__name__ and sigmas is not None and index:
        # x_t = (1 - s) x_0 + s e and v = e - x_0, so x_0 = x_t - s v; the index has moved on by one
        return sample - sigmas[index - 1].to(sample.device, sample.dtype) * prediction
    return None


def _keeps_clean_outputs(scheduler: Any) -> bool:
    config = scheduler.config
    return bool(config.get("predict_x0")) or str(config.get("algorithm_type", "")).endswith("dpmsolver++")
