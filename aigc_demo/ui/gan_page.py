"""What the adversarial tab does on a click, without its layout: values come in, Updates go out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from aigc_demo import png
from aigc_demo.engine import Engine, Family
from aigc_demo.errors import Invalid
from aigc_demo.generators.gan import Sampled, WalkedGan
from aigc_demo.generators.gan_rows import GAN, GAN_CLIMB, GAN_DIRECTIONS, GAN_JUDGE, GAN_PROJECT, GAN_WALK
from aigc_demo.results import Done
from aigc_demo.ui import facts, player, uploads
from aigc_demo.ui.run import run
from aigc_demo.ui.score_plot import signed
from aigc_demo.ui.section import KEEP
from aigc_demo.words import Words

WAITING = Words("Waiting for its turn", "正在排队")
ALREADY = Words("Pictures are being made. Wait for them, or stop.", "正在生成图片。请等待，或先停止。")
RESTORED = Words("Restored.", "已恢复。")
BUT_PICTURE = Words("Restored, but for the picture: give it again.", "已恢复，但图片需要重新提供。")
IN_Z = Words("Through z", "经过 z")
IN_W = Words("Through w", "经过 w")
FAMILIES: dict[str, Family] = {
    family.name: family for family in (GAN, GAN_WALK, GAN_JUDGE, GAN_CLIMB, GAN_PROJECT, GAN_DIRECTIONS)
}
PICTURES = ("real", "given", "image")
"""Settings that a recipe only names."""


@dataclass(frozen=True)
class Update:
    """What the page shows from now on."""

    pictures: list[tuple[str, str]] = KEEP
    player: dict[str, Any] | None = KEEP
    status: str = KEEP
    busy: bool = KEEP


def forge(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[Update]:
    """Pictures of seeds. values: of `SampleParams`."""
    yield Update(busy=True, status="", pictures=[])
    made: list[tuple[str, str]] = []
    for item in run(engine, GAN, values, session):
        if isinstance(item, Done):
            pictures = [(path, caption(own)) for path, own in kept(item)]
            yield Update(pictures=pictures, status=gan_facts(item.recipe, language), busy=False)
        elif item.stage == "forge" and item.value is not None:
            new: Sampled = item.value
            made += zip(player.kept(new.pictures), map(_caption, new.seeds, new.scores), strict=True)
            yield Update(pictures=list(made), status=facts.progress(item, language))
        else:
            yield Update(status=facts.progress(item, language))


def kept(done: Done[Sampled]) -> list[tuple[str, dict[str, Any]]]:
    """(file, recipe) of each sample: a recipe of its own, by which it is made alone."""
    found = []
    for picture, seed, score in zip(done.value.pictures, done.value.seeds, done.value.scores, strict=True):
        settings = {**done.recipe["settings"], "seed": seed, "num_images": 1}
        figures = {**done.recipe["figures"], "pictures": 1, "scores": [round(score, 4)]}
        own = {**done.recipe, "settings": settings, "figures": figures}
        found.append((uploads.keep(png.write(picture, own), f"aigc-{seed}.png"), own))
    return found


def caption(recipe: Mapping[str, Any]) -> str:
    return _caption(recipe["settings"]["seed"], recipe["figures"]["scores"][0])


def _caption(seed: int, score: float) -> str:
    return f"{signed(score)}\n{seed}"  # on one line a small picture has no room for the end of a long seed


def seed_of(event: Mapping[str, Any]) -> int:
    """The seed of the picture that was selected, by its caption."""
    value = event.get("value")
    found = re.search(r"\s(\d{1,10})$", str(value.get("caption") or "")) if isinstance(value, Mapping) else None
    if not found:
        raise Invalid(
            Words("This picture has no seed yet. Wait until it is made.", "这张图片还没有种子。请等它生成完毕。")
        )
    return int(found[1])


def walk(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[Update]:
    """Frames of a way through z and through w. values: of `WalkGanParams`."""
    yield Update(busy=True, status="", player=None)
    tracks: list[dict[str, Any]] = [
        {"title": words.to(language), "frames": [], "changes": ()} for words in (IN_Z, IN_W)
    ]
    for item in run(engine, GAN_WALK, values, session):
        if isinstance(item, Done):
            made: WalkedGan = item.value
            changes = made.z_changes, made.w_changes
            whole = [{**track, "changes": own} for track, own in zip(tracks, changes, strict=True)]
            shown = {"tracks": whole, "total": len(made.in_z), "live": False, "recipe": item.recipe}
            yield Update(player=shown, status=walk_facts(item.recipe, language), busy=False)
        elif item.stage == "forge" and item.value is not None:
            tracks = [
                {**track, "frames": [*track["frames"], *player.kept(new)]}
                for track, new in zip(tracks, item.value, strict=True)
            ]
            live = {"tracks": tracks, "total": item.total, "live": True}
            yield Update(player=live, status=facts.progress(item, language))
        else:
            yield Update(status=facts.progress(item, language))


def restore(data: bytes) -> tuple[Family, dict[str, Any]]:
    """What a file of this tab's was made with, but for pictures that were given. Raises `Invalid`."""
    found = png.read_any(data)
    if found.family not in FAMILIES:
        raise Invalid(Words("This recipe is not for an adversarial pair.", "该配方不是对抗网络的配方。"))
    family = FAMILIES[found.family]
    own = {name: value for name, value in found.settings.items() if name not in PICTURES}
    needed = {"image": Image.new("RGB", (1, 1))} if "image" in family.params.markers() else {}
    checked = family.params.of({**own, **needed})
    return family, {name: getattr(checked, name) for name in own}


def gan_facts(recipe: Mapping[str, Any], language: str) -> str:
    """The facts under samples."""
    figures, timings, settings = recipe["figures"], recipe["timings"], recipe["settings"]
    scores = figures["scores"]
    milliseconds = Words("{:.0f} ms", "{:.0f} 毫秒").to(language)
    mean = signed(sum(scores) / len(scores))
    layers = Words("from layer {n} on from seed {seed}", "第 {n} 层起来自种子 {seed}").to(language)
    mixed = settings["mix_layer"]
    return facts.latent_facts(
        recipe,
        language,
        (Words("Pictures", "图片"), f"{figures['pictures']} × {figures['width']} × {figures['height']}"),
        (Words("Truncation", "截断"), f"{settings['truncation']:g}"),
        (Words("Style", "风格"), layers.format(n=mixed, seed=settings["style_seed"]) if mixed else ""),
        (Words("Mean score", "平均得分"), mean),
        (Words("Per picture", "每张用时"), milliseconds.format(timings["per_picture"] * 1000)),
        (Words("Ended by", "结束原因"), _ended(figures, language)),
    )


def walk_facts(recipe: Mapping[str, Any], language: str) -> str:
    """The facts under a walk."""
    figures, settings = recipe["figures"], recipe["settings"]
    rate = Words("{:.1f} a second each", "每条路径每秒 {:.1f} 帧").to(language)
    return facts.latent_facts(
        recipe,
        language,
        (Words("Frames", "帧数"), f"{figures['frames']} × {figures['width']} × {figures['height']}"),
        (Words("Seeds", "种子"), settings["seeds"]),
        (Words("Truncation", "截断"), f"{settings['truncation']:g}"),
        (Words("Speed", "速度"), rate.format(figures["frames_per_second"])),
        (Words("Ended by", "结束原因"), _ended(figures, language)),
    )


def _ended(figures: Mapping[str, Any], language: str) -> str:
    return facts.FINISH["stopped"].to(language) if figures.get("finish") == "stopped" else ""
