"""What the Latent tab does on a click, without its layout: values come in, Updates go out."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from aigc_demo import png
from aigc_demo.engine import Engine, Family
from aigc_demo.errors import Invalid
from aigc_demo.generators.latent import MOST, Rebuilt, Walked
from aigc_demo.generators.latent_rows import MAP, NO_MAP, PRIOR, REBUILD, WALK, LatentSpec, chart
from aigc_demo.results import Done
from aigc_demo.ui import facts, player, uploads
from aigc_demo.ui.model_choice import Rows
from aigc_demo.ui.run import run
from aigc_demo.ui.section import KEEP
from aigc_demo.words import Words

WAITING = Words("Waiting for its turn", "正在排队")
ALREADY = Words("A picture is being made. Wait for it, or stop.", "正在生成图片。请等待，或先停止。")
RESTORED = Words("Restored, but for the pictures: give those again.", "已恢复，但图片需要重新提供。")
THROUGH = Words("Through the latents", "经过潜空间")
THROUGH_MODEL = Words("Through the latents of {model} ({shape})", "经过 {model} 的潜空间（{shape}）")
CROSSFADE = Words("Through the pixels: a cross-fade", "经过像素：叠化")
MEAN = Words("Mean, channel {n}", "均值，通道 {n}")
DEVIATION = Words("Deviation, channel {n}", "标准差，通道 {n}")
VECTOR = Words("Mean, all {n} numbers in rows", "均值，全部 {n} 个数逐行排列")
SPREAD = Words("Deviation, all {n} numbers in rows", "标准差，全部 {n} 个数逐行排列")
DIFFERENCE = Words("Difference, {n} times as strong", "差异（放大 {n} 倍）")
STRONGER = 4


Track = dict[str, Any]
"""One row of a player."""


@dataclass(frozen=True)
class Update:
    """What the page shows from now on."""

    both: tuple[str, str] | None = KEEP
    inside: str = KEEP
    player: dict[str, Any] | None = KEEP
    pictures: list[tuple[str, str]] = KEEP
    status: str = KEEP
    recipe: dict[str, Any] | None = KEEP
    busy: bool = KEEP


def rebuild(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[Update]:
    """Encode a picture and decode it again. values: of `RebuildParams`, the picture as an upload."""
    yield Update(busy=True, status="")
    for item in run(engine, REBUILD, {**values, "image": uploads.read(values["image"])}, session):
        if isinstance(item, Done):
            yield _rebuilt(item, language)
        elif item.stage in ("fetch", "load"):
            yield Update(status=facts.progress(item, language))


def walk(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[Update]:
    """Frames of a way through pictures. values: of `WalkParams`, the pictures as a gallery's; `beside`: another model, or
    "", that walks the same way for comparison."""
    yield Update(busy=True, status="", player=None)
    settings = {name: value for name, value in values.items() if name != "beside"}
    settings["images"] = [uploads.read(file) for file in uploads.listed(values["images"])]
    tracks: list[dict[str, Any]] = []
    recipes: list[dict[str, Any]] = []
    fade: Track = {}
    for model in dict.fromkeys(filter(None, (values["model"], values.get("beside")))):
        track: Track = {"title": THROUGH.to(language), "frames": [], "changes": ()}
        for item in run(engine, WALK, {**settings, "model": model}, session):
            if isinstance(item, Done):
                made: Walked = item.value
                shape = " × ".join(map(str, item.figures["latent_shape"]))
                track |= {"title": THROUGH_MODEL.format(model=item.recipe["model"]["name"], shape=shape).to(language)}
                track |= {"changes": made.changes}
                fade = {"title": CROSSFADE.to(language), "changes": made.crossfade_changes}
                fade["frames"] = player.kept(made.crossfade)
                recipes.append(item.recipe)
            elif item.stage == "frames" and item.value is not None:
                track["frames"] = [*track["frames"], *player.kept(item.value)]
                live = {"tracks": [*tracks, track], "total": item.total, "live": True}
                yield Update(player=live, status=facts.progress(item, language))
            else:
                yield Update(status=facts.progress(item, language))
        tracks.append(track)
        if recipes[-1]["figures"]["finish"] == "stopped":
            break
    shortest = min(len(track["frames"]) for track in (*tracks, fade))
    whole = [{**track, "frames": track["frames"][:shortest]} for track in (*tracks, fade)]
    yield Update(
        player={"tracks": whole, "total": shortest, "live": False, "recipe": recipes[0]},
        status="".join(facts.walk_facts(recipe, language) for recipe in recipes),
        busy=False,
    )


FAMILIES = {family.name: family for family in (REBUILD, WALK, PRIOR, MAP)}


def restore(data: bytes) -> tuple[Family, dict[str, Any]]:
    """What a file of this tab's was made with, but for its pictures, which it only names. Raises `Invalid`."""
    found = png.read_any(data)
    if found.family not in FAMILIES:
        raise Invalid(Words("This recipe is not for the latent space.", "该配方不是潜空间的配方。"))
    family = FAMILIES[found.family]
    if family is MAP and chart() is None:
        raise Invalid(NO_MAP)
    given = {"image": None, "images": [Image.new("RGB", (1, 1))] * 2}
    own = {name: value for name, value in found.settings.items() if name not in given}
    needed = {name: value for name, value in given.items() if name in family.params.markers()}
    checked = family.params.of({**own, **needed})
    return family, {name: getattr(checked, name) for name in own}


def added(shown: Any, file: str) -> list[str]:
    """A gallery with one more picture. Raises `Invalid` where it is full."""
    paths = [str(row.get("path")) for row in uploads.listed(shown) if isinstance(row, Mapping)]
    if len(paths) >= MOST:
        raise Invalid(
            Words("There are {n} pictures already, and no room for more.", "已经有 {n} 张图片，放不下更多了。").format(
                n=MOST
            )
        )
    return [*paths, file]


def draw(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[Update]:
    """Decode pure noise. values: of `PriorParams`."""
    yield Update(busy=True, status="", pictures=[])
    made: list[tuple[str, str]] = []
    for item in run(engine, PRIOR, values, session):
        if isinstance(item, Done):
            seed = item.recipe["settings"]["seed"]
            pictures = []
            for n, picture in enumerate(item.value):
                own = {**item.recipe, "settings": {**item.recipe["settings"], "seed": seed + n, "num_images": 1}}
                pictures.append((uploads.keep(png.write(picture, own), f"aigc-{seed + n}.png"), str(seed + n)))
            yield Update(
                pictures=pictures, status=facts.latent_facts(item.recipe, language), recipe=item.recipe, busy=False
            )
        elif item.value is not None and item.stage == "frames":
            made += [(shown(picture), "") for picture in item.value]
            yield Update(pictures=list(made), status=facts.progress(item, language))
        else:
            yield Update(status=facts.progress(item, language))


def _rebuilt(done: Done[Rebuilt], language: str) -> Update:
    made, numbers = done.value, 1
    for side in done.figures["latent_shape"]:
        numbers *= side
    inside = [(made.difference.point(lambda value: min(255, value * STRONGER)), DIFFERENCE.format(n=STRONGER))]
    for words, whole, maps in ((MEAN, VECTOR, made.mean), (DEVIATION, SPREAD, made.deviation or ())):
        spatial = len(done.figures["latent_shape"]) > 1
        inside += [(one, words.format(n=n) if spatial else whole.format(n=numbers)) for n, one in enumerate(maps, 1)]
    kept = uploads.keep(png.write(made.rebuilt, done.recipe), "aigc-rebuilt.png")
    return Update(
        both=(shown(made.original), kept),
        inside=facts.figures([(uploads.data_uri(_png(picture)), words.to(language)) for picture, words in inside]),
        status=facts.rebuild_facts(done.recipe, language),
        recipe=done.recipe,
        busy=False,
    )


def shown(picture: Image.Image) -> str:
    """A file of a picture that is only looked at."""
    return uploads.keep(_png(picture), "aigc-view.png")


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def model_rows(spec: LatentSpec) -> Rows:
    return [(Words("Picture", "图片"), f"{spec.side} × {spec.side}" if spec.side else "")]
