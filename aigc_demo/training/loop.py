"""The one training loop: any task in, Steps of Progress out, exact resume in between.

All chance in a run comes from its seed and the number of the step (`Chance`), never from what ran before;
so a run that was killed goes on from its checkpoint with the very losses it would have had. Data order,
augmentation and noise need no saving; weights, optimisers and the moving average are saved.

The loop knows nothing of pictures or text. It holds no autocast and no grad mode across a `yield`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aigc_demo.device import fitting_dtype
from aigc_demo.errors import UserError
from aigc_demo.results import Done, Step
from aigc_demo.training import checkpoints, optimiser
from aigc_demo.training.settings import TrainingParams
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch
    from PIL import Image


BETAS = (0.9, 0.98)
"""AdamW's memory of gradients and of their squares."""


@dataclass(frozen=True)
class Progress:
    """What one reported step made. Losses are means since the last report; norms are of this step, before the limit."""

    step: int
    losses: dict[str, float]
    grad_norms: dict[str, float]
    learning_rate: float
    samples_per_second: float
    eta_seconds: float
    held_out: dict[str, float] = field(default_factory=dict)
    sheet: Image.Image | None = None


class Task(Protocol):
    """One model to train.

    prepare() does what has to be done once before the first step, and yields (done, total).
    groups: name -> module; each has an optimiser of its own. turns(step) yields (group, its losses) and is
    resumed after that group's update, so that an adversary sees the newest opponent. `averaged` names the
    groups that keep a moving average; held_out, sheet and export are called with it in place. A task whose goal
    moves may name `betas` other than BETAS.
    """

    name: str
    groups: dict[str, torch.nn.Module]
    averaged: tuple[str, ...]

    def prepare(self) -> Iterator[tuple[int, int]]: ...
    def turns(self, step: int, chance: Chance) -> Iterator[tuple[str, dict[str, torch.Tensor]]]: ...
    def held_out(self) -> dict[str, float]: ...
    def sheet(self) -> Image.Image: ...
    def export(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Chance:
    """All the chance there is at one step."""

    seed: int
    step: int

    def generator(self, stream: int = 0) -> torch.Generator:
        """A CPU generator for one of the step's uses; other streams are independent of it."""
        import torch

        return torch.Generator().manual_seed((self.seed * 1_000_003 + self.step) * 16 + stream)


def device() -> str:
    """Where training runs: the GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def placed(module: Any) -> Any:
    """A module on the training device, in the memory order that convolutions are fast in."""
    import torch

    return module.to(device=device(), memory_format=torch.channels_last)


def autocast() -> Any:
    """bfloat16 where the device computes it itself: convolutions train about three times faster in it, on CPUs
    too; one that only emulates it takes fifteen times as long."""
    import torch

    native = fitting_dtype(device())[0] == "bfloat16"
    return torch.autocast(device(), torch.bfloat16, enabled=native)


def rate(params: TrainingParams, step: int) -> float:
    """Learning rate at `step` (from 0): linear warm-up, then half a cosine down to 2% of the highest."""
    if step < params.warmup:
        return params.learning_rate * (step + 1) / params.warmup
    share = (step - params.warmup) / max(1, params.steps - params.warmup)
    return params.learning_rate * (0.02 + 0.98 * (1 + math.cos(math.pi * min(1.0, share))) / 2)


def train(task: Task, params: TrainingParams, folder: Path) -> Iterator[Step[Progress] | Done[Path]]:
    """Train `task`, going on from `folder`'s checkpoint if there is one; Done's value is the exported model.

    Raises UserError at a loss that is not a number (the last good checkpoint stays), at a checkpoint of other
    settings, and at a full disk. Closing the generator saves a checkpoint first.
    """
    import torch

    begun = time.perf_counter()
    for done, count in task.prepare():
        yield Step("prepare", done, count)
    betas = getattr(task, "betas", BETAS)
    optimisers = {name: optimiser.make(module, params, betas) for name, module in task.groups.items()}
    average = {name: copy.deepcopy(task.groups[name]).eval().requires_grad_(False) for name in task.averaged}
    state = checkpoints.State(task.name, params.values(), task.groups, optimisers, average)
    step = first = checkpoints.restore(state, folder)
    sums: dict[str, float] = {}
    counted, marked, saved = 0, time.perf_counter(), step
    try:
        while step < params.steps:
            torch.manual_seed(params.seed * 1_000_003 + step)
            lr = rate(params, step)
            norms: dict[str, float] = {}
            last = step + 1 == params.steps
            reporting = last or (step + 1) % params.report_every == 0
            for group, losses in task.turns(step, Chance(params.seed, step)):
                total = torch.stack([loss.float() for loss in losses.values()]).sum()
                values = {name: float(loss.detach()) for name, loss in losses.items()}
                if not all(map(math.isfinite, values.values())):
                    raise _diverged(step, values)
                stepper = optimisers[group]
                stepper.zero_grad()
                total.backward()
                if reporting:
                    norms.update(block_norms(group, task.groups[group]))
                norm = torch.nn.utils.clip_grad_norm_(task.groups[group].parameters(), params.clip_norm)
                if not math.isfinite(float(norm)):
                    raise _diverged(step, {**values, f"{group} gradient": float(norm)})
                for row in stepper.param_groups:
                    row["lr"] = lr
                stepper.step()
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + value
            for name, shadow in average.items():
                _average(shadow, task.groups[name], min(params.ema_decay, (step + 1) / (step + 10)))
            step += 1
            counted += 1
            if reporting:
                now = time.perf_counter()
                speed = counted * params.batch_size / max(1e-9, now - marked)
                checking, drawing = last or step % params.held_out_every == 0, last or step % params.sheet_every == 0
                held_out: dict[str, float] = {}
                sheet = None
                if checking or drawing:
                    with _Swapped(task, average), torch.no_grad():
                        held_out = task.held_out() if checking else {}
                        sheet = task.sheet() if drawing else None
                means = {name: value / counted for name, value in sums.items()}
                left = (params.steps - step) * params.batch_size / speed
                yield Step("train", step, params.steps, Progress(step, means, norms, lr, speed, left, held_out, sheet))
                sums, counted, marked = {}, 0, time.perf_counter()
            if last or step % params.save_every == 0:
                checkpoints.save(state, folder, step)
                saved = step
    except (GeneratorExit, KeyboardInterrupt):
        if step > saved:
            checkpoints.save(state, folder, step)
        raise
    with _Swapped(task, average), torch.no_grad():
        target = folder / task.name
        task.export(target)
        figures = task.held_out() if first == params.steps else {}
    yield Done(target, {"total": time.perf_counter() - begun}, figures)


def block_norms(group: str, module: torch.nn.Module) -> dict[str, float]:
    """Gradient norm of each child of a module, "group/child" -> norm."""
    found: dict[str, float] = {}
    for name, child in module.named_children():
        squares = [float(p.grad.detach().float().square().sum()) for p in child.parameters() if p.grad is not None]
        if squares:
            found[f"{group}/{name}"] = math.sqrt(sum(squares))
    return found


def _average(shadow: torch.nn.Module, module: torch.nn.Module, decay: float) -> None:
    import torch

    with torch.no_grad():
        kept: list[torch.Tensor] = list(shadow.parameters())
        new = [p.detach() for p in module.parameters()]
        torch._foreach_lerp_(kept, new, 1 - decay)
        for old, fresh in zip(shadow.buffers(), module.buffers(), strict=True):
            old.copy_(fresh)


class _Swapped:
    """The task with its averaged weights, in eval mode, for the length of a block."""

    def __init__(self, task: Task, average: dict[str, torch.nn.Module]):
        self.task, self.average = task, average

    def __enter__(self) -> None:
        self.own = {name: self.task.groups[name] for name in self.average}
        self.task.groups.update(self.average)

    def __exit__(self, *_: object) -> None:
        self.task.groups.update(self.own)


def _diverged(step: int, values: dict[str, float]) -> UserError:
    told = ", ".join(f"{name} {value:g}" for name, value in values.items())
    return UserError(
        Words(
            f"Training diverged at step {step} ({told}). The last checkpoint is kept; try a lower learning rate.",
            f"训练在第 {step} 步发散（{told}）。上一个检查点已保留；请尝试更低的学习率。",
        )
    )
