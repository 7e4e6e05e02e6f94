"""What turns gradients into steps: AdamW for everything, or Muon for the matrices and AdamW for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aigc_demo.errors import UserError
from aigc_demo.training.settings import MUON, TrainingParams
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch


class Together:
    """Several optimisers of one module's parts, as one."""

    def __init__(self, *parts: torch.optim.Optimizer):
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {str(n): part.state_dict() for n, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for n, part in enumerate(self.parts):
            part.load_state_dict(state[str(n)])


def make(module: torch.nn.Module, params: TrainingParams, betas: tuple[float, float]) -> Together:
    """For the parameters of a module that learn; vectors (norms, biases) don't decay.

    Muon (Jordan et al. 2024; arXiv 2502.16982 for the step's size, which is that of AdamW) takes the matrices that turn
    one hidden vector into another; tables of vectors and convolutions stay with AdamW. Raises UserError where torch is
    too old to have it.
    """
    import torch

    linear = {id(part.weight) for part in module.modules() if isinstance(part, torch.nn.Linear)}
    learning = [p for p in module.parameters() if p.requires_grad]
    hidden = [p for p in learning if params.optimiser == MUON and id(p) in linear]
    taken = {id(p) for p in hidden}
    rows = [
        {"params": [p for p in learning if p.ndim > 1 and id(p) not in taken], "weight_decay": params.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(rows, lr=params.learning_rate, betas=betas)
    if not hidden:
        return Together(adam)
    if not hasattr(torch.optim, "Muon"):
        raise UserError(
            Words(
                f"Muon needs torch 2.9 or newer; this is {torch.__version__}.",
                f"Muon 需要 torch 2.9 或更新版本；当前为 {torch.__version__}。",
            )
        )
    muon = torch.optim.Muon(
        hidden, lr=params.learning_rate, weight_decay=params.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return Together(muon, adam)
