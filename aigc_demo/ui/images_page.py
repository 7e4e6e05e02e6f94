"""What the Images tab does on a click, without its layout: a Click comes in, Updates go out."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from aigc_demo import png
from aigc_demo.engine import Engine
from aigc_demo.errors import Invalid, UserError
from aigc_demo.generators.diffusion import ImageResult
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES, TRAVEL, ImageSpec
from aigc_demo.generators.diffusion_watch import Frame
from aigc_demo.generators.schedulers import OWN, SCHEDULERS
from aigc_demo.generators.styles import NONE, STYLES
from aigc_demo.params import RANDOM
from aigc_demo.pictures import open_picture, strokes
from aigc_demo.results import Done, Step
from aigc_demo.ui import facts, model_choice, uploads
from aigc_demo.ui.model_choice import Rows
from aigc_demo.ui.run import paced, run
from aigc_demo.ui.section import KEEP
from aigc_demo.weights import Source
from aigc_demo.words import Words

WAITING = Words("Waiting for its turn", "正在排队")
ALREADY = Words(
    "Pictures are being made. Add these to the queue, wait, or stop.", "正在生成图片。可加入队列、等待，或先停止。"
)
PREVIEWS_PER_SECOND = 8
"""A preview is a picture in a message; more would only fill the wire."""
FILES = {"image": "picture.png", "mask": "mask.png"}
GIVEN = tuple(FILES)
VARIED = {"little": 0.15, "lot": 0.45}
"""How far the gallery's two buttons move a picture's noise."""


@dataclass(frozen=True)
class Click:
    """What the page sends with every click. canvas: the picture to start from and what was painted on it."""

    settings: dict[str, Any]
    canvas: Any
    language: str
    session: str
    event: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """What the page shows from now on. final: never to be skipped. several: with busy, whether more than what is in
    hand is still to come."""

    film: dict[str, Any] | None = KEEP
    pictures: list[tuple[str, str]] = KEEP
    status: str = KEEP
    recipes: list[dict[str, Any]] = KEEP
    code: str = KEEP
    canvas: Any = KEEP
    busy: bool = KEEP
    several: bool = False
    settings: dict[str, Any] = KEEP
    model_note: str = KEEP
    final: bool = False


def draw(engine: Engine, click: Click) -> Iterator[Update]:
    """Make the pictures that the form asks for."""
    values = {**click.settings, **given(click.canvas)}
    asked = ImageParams.of(values).num_images
    yield Update(busy=True, status="", film=None)
    steps = run(engine, IMAGES, values, click.session)
    updates = _updates(steps, click.language, asked)
    try:
        yield from paced(((update, update.final) for update in updates), PREVIEWS_PER_SECOND)
    except Exception:
        yield Update(film=None)  # or it would promise the next step for ever
        raise


def given(canvas: Any) -> dict[str, Any]:
    """{"image", "mask"} of the canvas: the picture's bytes as they were uploaded, and where it was painted on; None
    where there is nothing."""
    if not isinstance(canvas, Mapping):
        return dict.fromkeys(GIVEN)
    layers = canvas.get("layers")
    layer = uploads.read(layers[0]) if isinstance(layers, list) and layers else None  # the canvas has one layer
    image = uploads.read(canvas.get("background"))
    return {"image": image, "mask": strokes(layer) if image and layer else None}


def _updates(steps: Iterator[Step[Any] | Done[ImageResult]], language: str, asked: int = 1) -> Iterator[Update]:
    """asked: how many pictures there will be."""
    frames: list[dict[str, Any]] = []
    begun = 0.0
    payload: dict[str, Any] = {}
    for item in steps:
        if isinstance(item, Done):
            yield _finished(item, {**payload, "frames": frames}, language)
        elif item.stage == "denoise" and item.value is not None and item.value.noisy is not None:
            frame: Frame = item.value
            begun = begun or time.monotonic()
            frames.append(_film_frame(item.index, frame))
            count, height, width, _ = frame.noisy.shape
            left = (time.monotonic() - begun) / max(1, item.index - 1) * ((item.total or item.index) - item.index)
            payload = {
                "live": True,
                "append": True,
                "step": item.index,
                "total": item.total,
                "eta": left if item.index > 1 else None,
                "size": [width, height],
                "count": count,
                "frames": frames[-1:],
            }
            first = item.index == 1
            more = {"busy": True, "several": True} if first and asked > count else {}
            yield Update(film=payload, status="", final=first, **more)
        else:
            yield Update(status=facts.progress(item, language), final=item.stage == "load")


def _film_frame(index: int, frame: Frame) -> dict[str, Any]:
    assert frame.noisy is not None
    guess = frame.noisy if frame.guess is None else frame.guess
    return {"step": index, "noisy": preview(frame.noisy), "guess": preview(guess), "pull": frame.pull}


def preview(pictures: np.ndarray) -> str:
    """Pictures [n, h, w, 3] side by side, as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(list(pictures), axis=1)).save(stream, "PNG")
    return uploads.data_uri(stream.getvalue())


def _finished(done: Done[ImageResult], film: dict[str, Any], language: str) -> Update:
    kept = kept_pictures(done)
    recipes = [own for _, own in kept]
    shown = [(path, facts.caption(own)) for path, own in kept]
    steps = len(film["frames"])
    film |= {"live": False, "append": False, "step": steps, "total": steps, "eta": None}
    film["settings"] = {name: value for name, value in done.recipe["settings"].items() if value not in (None, "")}
    return Update(
        film=film if steps else None,
        pictures=shown,
        status=facts.image_facts(done.recipe, language),
        recipes=recipes,
        code=as_code(recipes[0]),
        busy=False,
        final=True,
    )


def kept_pictures(done: Done[ImageResult]) -> list[tuple[str, dict[str, Any]]]:
    """(PNG file, its own recipe) of each picture: the recipe that makes it alone, and what was seen in it."""
    found = []
    figures = done.recipe.get("figures", {})
    for n, made in enumerate(done.value.pictures):
        settings = {**done.recipe["settings"], "seed": made.seed, "num_images": 1}
        own = {**done.recipe, "settings": settings}
        if "seen" in figures:
            own["figures"] = {**figures, "seen": figures["seen"][n : n + 1]}
        found.append((uploads.keep(png.write(made.image, own), f"aigc-{made.seed}.png"), own))
    return found


def as_code(recipe: Mapping[str, Any]) -> str:
    """The first picture as a call of this app's API, with the settings that differ from the defaults."""
    defaults = ImageParams.defaults()
    settings = {
        name: value
        for name, value in recipe["settings"].items()
        if name not in GIVEN and (value != defaults.get(name) or name in ("prompt", "model", "seed"))
    }
    files = [name for name in GIVEN if recipe["settings"].get(name) is not None]
    edits = "image" in files
    for name in ("variation_strength", "variation_seed") if edits else ("strength",):
        settings.pop(name, None)
    lines = [f'    {name}=handle_file("{FILES[name]}"),' for name in files]
    lines += [f"    {name}={value!r}," for name, value in settings.items()]
    return "\n".join(
        [
            f"from gradio_client import Client{', handle_file' if edits else ''}",
            "",
            'client = Client("http://127.0.0.1:7860")',
            "files, recipes = client.predict(",
            *lines,
            f'    api_name="/{"edit_image" if edits else "generate_images"}",',
            ")",
        ]
    )


def restore(data: bytes, language: str) -> Update:
    """A picture that carries its recipe, or a recipe's file -> the form, ready to be run."""
    found = png.read_any(data)
    if found.family == TRAVEL.name:
        return Update()  # the panel of travels restores it
    if found.family != IMAGES.name:
        raise Invalid(Words("This recipe is not for images.", "该配方不是图片配方。"))
    return _restored(found.settings, language)


def reuse(event: Mapping[str, Any], language: str, names: tuple[str, ...] = ()) -> Update:
    """The settings of a picture of the gallery; only those of `names` where some are given."""
    recipe = event.get("recipe")
    settings = recipe.get("settings") if isinstance(recipe, Mapping) else None
    if not isinstance(settings, Mapping):
        raise Invalid(Words("This picture carries no settings.", "这张图片不带设置。"))
    return _restored({k: v for k, v in settings.items() if not names or k in names}, language)


def _restored(settings: Mapping[str, Any], language: str) -> Update:
    own = {name: value for name, value in settings.items() if name not in GIVEN}
    checked = ImageParams.of(own)
    said = Words("Restored. Generate to make the picture again.", "已恢复。点击生成即可重现图片。")
    if any(settings.get(name) for name in GIVEN):
        said = Words(
            "Restored, but for the picture that it started from: give that again.", "已恢复，但起始图片需要重新提供。"
        )
    alone = "prompt" in settings and settings.get("image") is None
    return Update(
        settings={name: getattr(checked, name) for name in own},
        canvas=None if alone else KEEP,  # or what lies there would be painted over instead
        status=facts.note(said.to(language)),
        final=True,
    )


def vary(event: Mapping[str, Any], language: str) -> Update:
    """The settings of a picture of the gallery, with its noise moved a little or a lot in a direction of chance."""
    update = reuse(event, language)
    strength = VARIED.get(str(event.get("how")), 0.0)
    return replace(update, settings={**update.settings, "variation_strength": strength, "variation_seed": RANDOM})


def hold(event: Mapping[str, Any], _language: str) -> Update:
    """The run that is shown is to be compared with the next one, which therefore begins from the same noise."""
    return Update(settings={"seed": ImageParams.of({"seed": event.get("seed")}).seed})


def edit(event: Mapping[str, Any], language: str) -> Update:
    """Put a picture of the gallery on the canvas, with its prompt."""
    data = uploads.from_data_uri(event.get("picture"))
    open_picture(data)
    path = uploads.keep(data, "picture.png")
    update = reuse(event, language, ("prompt", "negative_prompt", "style", "model"))
    said = Words(
        "On the canvas below: paint what is to change, or change the words, and generate.",
        "已放到下方画布：涂抹要改变的部分，或修改文字，然后生成。",
    )
    return Update(
        canvas={"background": path, "layers": [], "composite": None},
        settings=update.settings,
        status=facts.note(said.to(language)),
        final=True,
    )


def chosen(engine: Engine, model: Any, scheduler: Any, style: Any, language: str) -> Update:
    """A person chose a model: what to know of it, the settings that suit it, and none that it does not go with."""
    spec = _spec(engine, model)
    settings = dict(spec.defaults)
    if scheduler not in spec.samplers:
        settings.setdefault("scheduler", OWN)
    if style not in _styles(spec):
        settings["style"] = NONE
    return Update(model_note=model_note(engine, model, language), settings=settings)


def suiting(engine: Engine, model: Any) -> tuple[bool, list[str], list[str]]:
    """Whether guidance does anything on a model; its samplers; its styles."""
    spec = _spec(engine, model)
    return spec.guided, list(spec.samplers), _styles(spec)


def _spec(engine: Engine, model: Any) -> ImageSpec:
    """The model's spec, or that of one of which nothing is known."""
    try:
        spec = engine.spec(IMAGES, str(model))
    except UserError:
        spec = ImageSpec("", "", Source())
    assert isinstance(spec, ImageSpec)
    return spec


def _styles(spec: ImageSpec) -> list[str]:
    return [name for name, style in STYLES.items() if style.emoji == spec.emoji or name == NONE]


SLOW = Words("Without a GPU this takes minutes for a picture.", "没有 GPU 时，一张图片需要几分钟。")
HEAVY = 500_000_000
"""Parameters from which on a processor needs minutes."""


def model_note(engine: Engine, model: Any, language: str) -> str:
    """What to know of a model before running it."""

    def picture(spec: ImageSpec) -> Rows:
        return [(Words("Picture", "图片"), f"{spec.side} × {spec.side}" if spec.side else "")]

    def slow(spec: ImageSpec) -> Words | None:
        return SLOW if engine.device.kind == "cpu" and (spec.parameters or 0) > HEAVY else None

    return model_choice.model_note(engine, IMAGES, model, language, more=picture, warning=slow)


UNGUIDED = Words(
    "No effect on this model: it was distilled to do without guidance.", "对该模型不起作用：它经过蒸馏，不需要引导。"
)
AT_ONE = Words("No effect at guidance 1, which is off.", "引导强度为 1（关闭）时不起作用。")
NO_PICTURE = Words("No effect without a picture to start from.", "没有起始图片时不起作用。")
OWN_ONLY = Words("This model works with its own sampler only.", "该模型只能使用自带的采样器。")
NO_WAY = Words(
    "No effect on this model: how it draws its noise is not known here.",
    "对该模型不起作用：本应用不了解它如何抽取噪声。",
)
FROM_PICTURE = Words("No effect with a picture to start from.", "有起始图片时不起作用。")
IDLE = ("guidance_scale", "negative_prompt", "strength", "scheduler", "style", "variation_strength", "variation_seed")


def what_is_idle(engine: Engine, model: Any, guidance: Any, canvas: Any, language: str) -> list[dict[str, Any]]:
    """Updates for the IDLE fields: disabled with the reason, or enabled with their own help and what suits the model."""
    spec = _spec(engine, model)
    picture = isinstance(canvas, Mapping) and bool(canvas.get("background"))
    why: dict[str, Words | None] = {
        "guidance_scale": None if spec.guided else UNGUIDED,
        "negative_prompt": UNGUIDED if not spec.guided else AT_ONE if guidance == 1 else None,
        "strength": None if picture else NO_PICTURE,
        "scheduler": OWN_ONLY if spec.samplers == (OWN,) else None,
        "style": None,
        "variation_strength": FROM_PICTURE if picture else None if spec.varies else NO_WAY,
    }
    why["variation_seed"] = why["variation_strength"]
    markers = ImageParams.markers()
    offered: dict[str, dict[str, Any]] = {
        "scheduler": {"choices": [(SCHEDULERS[name].name.to(language), name) for name in spec.samplers]},
        "style": {"choices": [(STYLES[name].name.to(language), name) for name in _styles(spec)]},
    }
    return [
        gr.update(
            interactive=why[name] is None,
            info=(why[name] or markers[name][1].help).to(language),
            **offered.get(name, {}),
        )
        for name in IDLE
    ]
