"""Hue: measuring it, and turning it, so that "a blue cat" can be learnt and can be checked.

Hue here is the angle in the chroma plane around the grey axis: alpha = (2R - G - B) / 2,
beta = sqrt(3)/2 (G - B), hue = atan2(beta, alpha) (Hanbury, "Constructing cylindrical coordinate colour
spaces", 2008). A turn of that plane is one 3x3 matrix, so a whole batch is turned in one product, and
lightness ((R+G+B)/3) stays.
"""

from __future__ import annotations

import math

import numpy as np

from aigc_demo.words import Words

HUES: dict[str, tuple[float, Words]] = {
    "red": (0, Words("red", "红色")),
    "orange": (30, Words("orange", "橙色")),
    "yellow": (55, Words("yellow", "黄色")),
    "green": (120, Words("green", "绿色")),
    "cyan": (180, Words("cyan", "青色")),
    "blue": (225, Words("blue", "蓝色")),
    "purple": (275, Words("purple", "紫色")),
    "pink": (325, Words("pink", "粉色")),
}
"""Colour word -> the hue in degrees that it stands for; a measured hue belongs to the nearest."""

BACKGROUNDS: dict[str, tuple[tuple[int, int, int], Words]] = {
    "red": ((214, 60, 60), Words("red", "红色")),
    "orange": ((245, 160, 70), Words("orange", "橙色")),
    "yellow": ((250, 225, 100), Words("yellow", "黄色")),
    "green": ((110, 190, 110), Words("green", "绿色")),
    "blue": ((90, 140, 225), Words("blue", "蓝色")),
    "purple": ((160, 110, 210), Words("purple", "紫色")),
    "pink": ((250, 185, 205), Words("pink", "粉色")),
    "grey": ((170, 170, 170), Words("grey", "灰色")),
    "black": ((25, 25, 25), Words("black", "黑色")),
}
"""Background word -> sRGB. White is the ground of every picture that names none."""

LEAST_CHROMA = 0.12
LEAST_SHARE = 0.3


def chroma_plane(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(hue in degrees 0-360, chroma 0-1), each [...], of rgb [..., 3] in 0-1."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    alpha, beta = (2 * red - green - blue) / 2, math.sqrt(3) / 2 * (green - blue)
    return np.degrees(np.arctan2(beta, alpha)) % 360, np.hypot(alpha, beta)


def dominant(rgb: np.ndarray, weight: np.ndarray) -> float | None:
    """The foreground's dominant hue in degrees, or None where less than 30% of it is coloured.

    rgb: [h, w, 3] in 0-1. weight: [h, w], how far each pixel belongs to the foreground. The mode of a
    smoothed histogram of 72 bins, weighted by chroma.
    """
    hue, chroma = chroma_plane(rgb)
    coloured = weight * (chroma > LEAST_CHROMA)
    if coloured.sum() < LEAST_SHARE * weight.sum() or weight.sum() < 1:
        return None
    bins = np.bincount((hue / 5).astype(int).ravel() % 72, (coloured * chroma).ravel(), 72)
    ring = np.concatenate([bins[-3:], bins, bins[:3]])
    smooth = np.convolve(ring, [1, 2, 3, 4, 3, 2, 1], "valid")
    return float(smooth.argmax() * 5 + 2.5)


def nearest(hue: float) -> str:
    """The colour word whose hue is nearest."""
    return min(HUES, key=lambda word: abs(_between(hue, HUES[word][0])))


def turn(degrees: float) -> np.ndarray:
    """float32 [3, 3]: turns colours (as row vectors, rgb @ turn(d)) by `degrees` around the grey axis."""
    angle = math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle) / math.sqrt(3)
    k = (1 - c) / 3
    # Rodrigues' rotation about (1, 1, 1), transposed for row vectors
    matrix = np.array([[c + k, k - s, k + s], [k + s, c + k, k - s], [k - s, k + s, c + k]])
    return matrix.T.astype(np.float32)


def _between(a: float, b: float) -> float:
    return (a - b + 180) % 360 - 180
