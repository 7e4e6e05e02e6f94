"""Checkpoints: one file per run, whole or absent, and refused where it belongs to other settings."""

from __future__ import annotations

import errno
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_demo.errors import UserError
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch

    from aigc_demo.training.optimiser import Together

FILE = "checkpoint.pt"
FREE = {"steps", "report_every", "held_out_every", "sheet_every", "save_every"}
"""Settings that may differ between a checkpoint and the run that goes on from it. Another number of steps bends the
learning rate from there on, which is how a run is lengthened, or brought to its end early."""


@dataclass(frozen=True)
class State:
    """Everything that a run changes. Chance needs no place here: it is a function of seed and step."""

    name: str
    settings: dict[str, Any]
    groups: dict[str, torch.nn.Module]
    optimisers: dict[str, Together]
    average: dict[str, torch.nn.Module]


def save(state: State, folder: Path, step: int) -> None:
    """Written beside and renamed; a full disk leaves the last checkpoint as it was."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{FILE}.part"
    content = {
        "name": state.name,
        "settings": state.settings,
        "step": step,
        "groups": {name: module.state_dict() for name, module in state.groups.items()},
        "optimisers": {name: optimiser.state_dict() for name, optimiser in state.optimisers.items()},
        "average": {name: module.state_dict() for name, module in state.average.items()},
    }
    try:
        torch.save(content, partial)
        partial.replace(folder / FILE)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno != errno.ENOSPC:
            raise
        raise UserError(
            Words(
                f"The checkpoint at step {step} could not be written ({error}). Free some disk space and go on.",
                f"无法写入第 {step} 步的检查点（{error}）。请腾出磁盘空间后继续。",
            )
        ) from error


def restore(state: State, folder: Path) -> int:
    """Put `folder`'s checkpoint into `state` and return its step; 0 where there is none.

    Raises UserError where it was made with other settings, and where the file is damaged.
    """
    import torch

    path = folder / FILE
    if not path.exists():
        return 0
    damaged = UserError(Words(f"{path} is damaged. Remove it to begin anew.", f"{path} 已损坏。删除它即可重新开始。"))
    if not zipfile.is_zipfile(path):
        raise damaged
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise damaged from error
    differ = sorted(
        key
        for key in {*state.settings, *content["settings"]} - FREE
        if state.settings.get(key) != content["settings"].get(key)
    )
    if content["name"] != state.name or differ:
        raise UserError(
            Words(
                f"{path} belongs to another configuration ({', '.join(differ) or content['name']}). "
                "Use another --out, or the same settings.",
                f"{path} 属于另一套配置（{', '.join(differ) or content['name']}）。请换一个 --out，或使用相同的设置。",
            )
        )
    for name, module in state.groups.items():
        module.load_state_dict(content["groups"][name])
    for name, optimiser in state.optimisers.items():
        optimiser.load_state_dict(content["optimisers"][name])
    for name, module in state.average.items():
        module.load_state_dict(content["average"][name])
    return int(content["step"])
