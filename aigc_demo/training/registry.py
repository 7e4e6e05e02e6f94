"""The models that can be trained, as rows: a name, its presets, its task."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigc_demo.errors import UserError
from aigc_demo.results import Done, Step, finish
from aigc_demo.training import cards, data, loop, shipped, splits, toy
from aigc_demo.words import Words

PRESETS = ("smoke", "cpu", "gpu")


@dataclass(frozen=True)
class Model:
    """module: a file of this package. task: its Task class. needs: the models that it cannot be trained without.

    A task is made of (params, pack, split, weights), the last the folder of models trained before.
    """

    module: str
    task: str
    needs: tuple[str, ...] = ()
    rows: str = "PRESETS"

    def presets(self) -> dict[str, Any]:
        return getattr(self._module(), self.rows)

    def params(self) -> type[Any]:
        return type(self.presets()["smoke"])

    def make(self, *arguments: Any) -> Any:
        return getattr(self._module(), self.task)(*arguments)

    def _module(self) -> Any:
        return importlib.import_module(f"aigc_demo.training.{self.module}")


MODELS: dict[str, Model] = {
    "emoji-clip": Model("clip", "ClipTask"),
    "tutor": Model("tutor", "TutorTask"),
    "judge": Model("judge", "NamingTask"),
    "emoji-vae": Model("vae", "VaeTask"),
    "emoji-diffusion": Model("diffusion", "DiffusionTask", needs=("emoji-clip", "emoji-vae")),
    "emoji-morph": Model("morph", "MorphTask"),
    "emoji-gan": Model("gan", "GanTask"),
    "style": Model("judge", "StyleTask", needs=("emoji-vae",), rows="STYLE_PRESETS"),
}


def start(
    name: str,
    params: Any,
    preset: str,
    folder: Path,
    weights: Path,
    cache: Path | None = None,
    begin: Path | None = None,
) -> Generator[Step[loop.Progress] | Done[Path], None, None]:
    """The run of one model. The smoke preset learns from the toy pack; the others need the real one.

    begin: the folder of a trained model whose weights it begins with, instead of with chance.
    """
    if preset == "smoke":
        pack = toy.pack()
        split = toy.split(pack)
        weights = _smoked(name, folder, weights)
    else:
        pack, split = data.load(cache), splits.load()
        splits.check(split, pack)
    task = MODELS[name].make(params, pack, split, weights)
    if begin:
        shipped.begin(task.groups, begin)
    begun, earlier = (shipped.digests(begin), cards.runs(begin)) if begin else ({}, [])
    for item in loop.train(task, params, folder):
        if isinstance(item, Done):
            cards.record(item.value, preset, params.values(), item.timings["total"], begun, earlier)
        yield item


def _smoked(name: str, folder: Path, weights: Path) -> Path:
    """Where a smoke run finds the models it needs: in `weights`, or else smoke-trained first, beside it."""
    missing = [need for need in MODELS[name].needs if not (weights / need).exists()]
    if not missing:
        return weights
    beside = folder / "needs"
    for need in MODELS[name].needs:
        finish(start(need, MODELS[need].presets()["smoke"], "smoke", beside / need, beside))
        (beside / need / need).rename(beside / f"{need}.done")
        shutil.rmtree(beside / need)
        (beside / f"{need}.done").rename(beside / need)
    return beside


INDICES = ("config.json", "model_index.json", "generator/config.json")
"""What tells a model's folder: one net, a pipeline, or an adversarial pair."""
WITHIN = {"emoji-clip": "emoji-diffusion/text_encoder", "emoji-vae": "emoji-diffusion/vae"}
"""Models that ship inside another one's folder, so that nothing is stored twice."""


def home(weights: Path, name: str) -> Path:
    """Where a model lies, if it is there: by itself, or within another one."""
    folder = weights / name
    return folder if _is_model(folder) or name not in WITHIN else weights / WITHIN[name]


def _is_model(folder: Path) -> bool:
    return any((folder / index).exists() for index in INDICES)


def require(weights: Path, name: str) -> Path:
    """The folder of a model that another one needs; UserError where it was not trained yet."""
    folder = home(weights, name)
    if not _is_model(folder):
        raise UserError(
            Words(
                f"{name} is needed first and is not in {weights}. Train it, or name its folder with --weights.",
                f"需要先有 {name}，但 {weights} 中没有。请先训练它，或用 --weights 指定其位置。",
            )
        )
    return folder
