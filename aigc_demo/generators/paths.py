"""Ways through a space of latents or of noise: straight, along the sphere, and smoothly through several points.

Nothing here knows a model: points are tensors of any shape, and computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch

PARALLEL = 1e-6
"""Under this sine of their angle two directions count as one: the sphere's way is the straight one there."""


def lerp(a: torch.Tensor, b: torch.Tensor, share: float) -> torch.Tensor:
    """The straight line: (1 - t) a + t b."""
    return a + (b - a) * share


def slerp(a: torch.Tensor, b: torch.Tensor, share: float) -> torch.Tensor:
    """The great circle (Shoemake 1985), by the angle w between a and b: (sin((1 - t) w) a + sin(t w) b) / sin w.

    In many dimensions draws of a unit normal all lie near one sphere, and the straight line between two cuts through
    its inside, where the model saw nothing. Lengths in between follow those of the ends. Where there is no
    such circle, or more than one (one end is 0, or the ends point the same or opposite ways), it is the straight line.
    """
    import torch

    length_a, length_b = torch.linalg.vector_norm(a), torch.linalg.vector_norm(b)
    if not length_a or not length_b:
        return lerp(a, b, share)
    unit_a, unit_b = a / length_a, b / length_b
    angle = 2 * torch.atan2(torch.linalg.vector_norm(unit_a - unit_b), torch.linalg.vector_norm(unit_a + unit_b))
    sine = torch.sin(angle)
    if sine < PARALLEL:
        return lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / sine


def _catmull_rom(before: torch.Tensor, a: torch.Tensor, b: torch.Tensor, after: torch.Tensor, t: float) -> torch.Tensor:
    """From a to b, arriving and leaving in the direction of their neighbours (Catmull and Rom 1974)."""
    return 0.5 * (
        2 * a + (b - before) * t + (2 * before - 5 * a + 4 * b - after) * t**2 + (3 * a - before - 3 * b + after) * t**3
    )


LINEAR, SPHERE, SPLINE = "lerp", "slerp", "spline"
PATHS = {
    LINEAR: Words("Straight (lerp)", "直线（lerp）"),
    SPHERE: Words("Along the sphere (slerp)", "沿球面（slerp）"),
    SPLINE: Words("Smooth curve (spline)", "平滑曲线（样条）"),
}
EASINGS: dict[str, tuple[Words, Callable[[float], float]]] = {
    "even": (Words("Even", "匀速"), lambda t: t),
    "smooth": (Words("Slow at every picture", "在每张图片处放慢"), lambda t: t * t * (3 - 2 * t)),
}


def places(pictures: int, frames: int, easing: str, loop: bool) -> list[tuple[int, float]]:
    """(stretch, share of it) of every frame. Both ends are frames; a loop comes back to the first picture and leaves
    out the frame that would be shown twice."""
    stretches = pictures if loop else pictures - 1
    ease = EASINGS[easing][1]
    found = []
    for n in range(frames):
        at = n * stretches / (frames if loop else frames - 1)
        stretch = min(int(at), stretches - 1)
        found.append((stretch, ease(at - stretch)))
    return found


def point(points: torch.Tensor, path: str, stretch: int, share: float, loop: bool) -> torch.Tensor:
    """The point [...] at a place of the way through `points` [n, ...]."""
    n = len(points)
    wide = points.double()
    a, b = wide[stretch], wide[(stretch + 1) % n]
    if path == SPHERE:
        found = slerp(a, b, share)
    elif path == SPLINE:
        before = wide[stretch - 1] if loop or stretch else 2 * a - b
        after = wide[(stretch + 2) % n] if loop or stretch + 2 < n else 2 * b - a
        found = _catmull_rom(before, a, b, after, share)
    else:
        found = lerp(a, b, share)
    return found.to(points.dtype)
