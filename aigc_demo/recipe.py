"""The recipe of a result: everything that is needed to make it again, as JSON, and back.

A recipe is data from strangers when it comes back: reading one checks it and never fetches a model,
opens a path or runs anything.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aigc_demo import __version__
from aigc_demo.device import Device
from aigc_demo.errors import Invalid
from aigc_demo.params import Params
from aigc_demo.words import Words

FORMAT = "aigc-demo recipe"
LIBRARIES = ("torch", "transformers", "diffusers", "gradio")
LONGEST = 4_000_000
"""Bytes. A recipe of text holds the conversation and the ids of a long answer; nothing needs more."""


@dataclass(frozen=True)
class Recipe:
    """A recipe that has been read: the family, and the names and values of its request; what else stood beside them.
    None of it is checked yet."""

    family: str
    settings: dict[str, Any]
    beside: dict[str, Any] = field(default_factory=dict, compare=False)


def stamp(
    family: str,
    request: Params,
    model: Mapping[str, Any],
    device: Device,
    timings: Mapping[str, float],
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """The recipe of a finished run, JSON-able. request: with its seed drawn."""
    return {
        "format": FORMAT,
        "app": __version__,
        "family": family,
        "settings": request.values(),
        "model": dict(model),
        "device": {"kind": device.kind, "name": device.name, "dtype": device.dtype},
        "timings": {name: round(seconds, 4) for name, seconds in timings.items()},
        "figures": dict(figures),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def write(recipe: Mapping[str, Any]) -> str:
    """A recipe as text for a file."""
    return json.dumps(recipe, ensure_ascii=False, indent=2)


def read(data: bytes) -> Recipe:
    """A recipe from a file's bytes. Raises `Invalid`, saying what is wrong with it."""
    _fits(len(data))  # before a copy of it is made
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeError as error:
        raise Invalid(_NO_JSON) from error


def parse(text: str) -> Recipe:
    """A recipe from its JSON, wherever that stood: in a file, or within a picture. Raises `Invalid`."""
    _fits(len(text))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(_NO_JSON) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise Invalid(Words("This JSON file is not a recipe of this app.", "这个 JSON 文件不是本应用的配方。"))
    family, settings = found.get("family"), found.get("settings")
    if not isinstance(family, str) or not isinstance(settings, dict):
        raise Invalid(Words("This recipe is damaged: its settings are missing.", "该配方已损坏：缺少设置。"))
    return Recipe(
        family, settings, {name: value for name, value in found.items() if name not in ("family", "settings")}
    )


_NO_JSON = Words(
    "This file is damaged, or no recipe: it does not hold JSON.", "该文件已损坏，或者不是配方：其中没有 JSON。"
)


def _fits(length: int) -> None:
    if length > LONGEST:
        raise Invalid(
            Words(
                "This file is too large for a recipe: {size:.1f} MB.", "该文件对于配方来说太大了：{size:.1f} MB。"
            ).format(size=length / 1e6)
        )


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
