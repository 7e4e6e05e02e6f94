"""How far a picture is from the one it should be. Pictures are [n, 3, h, w] in -1..1; figures are per picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NO_ERROR = 60.0
"""The PSNR given to a picture without error, in dB."""


def psnr(made: torch.Tensor, real: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB [n]; `weight` [n, 1, h, w] says where it counts (the foreground)."""
    import torch

    error = ((made.float() - real.float()) / 2).square().mean(1, keepdim=True)
    if weight is None:
        mean = error.mean((1, 2, 3))
    else:
        mean = (error * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1)
    return (-10 * torch.log10(mean.clamp_min(1e-12))).clamp_max(NO_ERROR)


def ssim(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Structural similarity [n] (Wang et al. 2004): Gaussian window of 11 px, sigma 1.5, mean over channels."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    found: Any = structural_similarity_index_measure(
        (made.float() + 1) / 2, (real.float() + 1) / 2, data_range=1.0, reduction="none"
    )
    return found


def reconstruction(made: torch.Tensor, real: torch.Tensor, foreground: torch.Tensor) -> dict[str, float]:
    """Means per picture, the foreground's PSNR, and the PSNR that a tenth of the pictures fall short of."""
    whole = psnr(made, real)
    return {
        "psnr": float(whole.mean()),
        "ssim": float(ssim(made, real).mean()),
        "foreground_psnr": float(psnr(made, real, foreground).mean()),
        "psnr_10th_percentile": float(whole.quantile(0.1)),
    }


def high_pass(pictures: torch.Tensor) -> torch.Tensor:
    """Energy [n] of the finest detail, mean square in units of -1..1; 0 where nothing changes.

    Blurry pictures have little of it; its ratio to the real pictures' says how blurry.
    """
    return _finest(pictures).square().mean((1, 2, 3))


def detail(made: torch.Tensor, real: torch.Tensor, side: int = 8) -> torch.Tensor:
    """Mean absolute difference of the finest detail's strength, root mean square over squares of `side` px. A scalar.

    It asks for as much detail as there is, about where it is, and leaves open where exactly: differences of
    pixels alone answer every doubt with a blur.
    """
    from torch.nn import functional

    def strength(pictures: torch.Tensor) -> torch.Tensor:
        energy = functional.avg_pool2d(_finest(pictures).square().mean(1, keepdim=True), side)
        return (energy + 1e-5).sqrt()  # the root's slope has no end at 0

    return (strength(made) - strength(real)).abs().mean()


def _finest(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures less their blur: the finest level of a Laplacian pyramid (Burt and Adelson 1983).

    The blur is binomial, 5 px, sigma 1, and repeats the rim.
    """
    from aigc_demo.nets.filters import blur

    return pictures.float() - blur(pictures, 5)


def edges(made: torch.Tensor, real: torch.Tensor, scales: int = 3) -> torch.Tensor:
    """Mean absolute difference of horizontal and vertical gradients, over `scales` halvings. A scalar."""
    import torch
    from torch.nn import functional

    total = made.new_zeros(())
    for _ in range(scales):
        for axis in (-1, -2):
            total = total + (torch.diff(made, dim=axis) - torch.diff(real, dim=axis)).abs().mean()
        made, real = functional.avg_pool2d(made, 2), functional.avg_pool2d(real, 2)
    return total / scales
