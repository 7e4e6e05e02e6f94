"""The public interface over HTTP and MCP: functions with the Params' names and defaults, no component behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from aigc_demo import animation, png
from aigc_demo.animation import RATE
from aigc_demo.engine import Engine
from aigc_demo.errors import Invalid
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.generators.gan_rows import GAN
from aigc_demo.generators.latent_rows import MAP, REBUILD, WALK
from aigc_demo.generators.text_rows import TEXT
from aigc_demo.generators.tokens import TextResult
from aigc_demo.results import Done
from aigc_demo.ui import gan_api, uploads
from aigc_demo.ui.images_page import GIVEN, kept_pictures
from aigc_demo.ui.player import kept
from aigc_demo.ui.run import endpoint, paced, run
from aigc_demo.words import Words


def publish(engine: Engine) -> None:
    """Add every endpoint to the page that is being built."""

    def states(values: dict[str, Any], request: gr.Request) -> Iterator[tuple[tuple[str, dict[str, Any]], bool]]:
        for item in run(engine, TEXT, values, request.session_hash or ""):
            if isinstance(item, Done):
                yield (item.value.text, item.recipe | _tokens(item.value)), True
            elif item.stage == "decode" and item.value is not None:
                yield (item.value.text, {}), False

    def generate_text(values: dict[str, Any], request: gr.Request) -> Iterator[tuple[str, dict[str, Any]]]:
        return paced(states(values, request))

    gr.api(
        endpoint(
            TEXT,
            "Write text with a language model. Streams the text so far; the last update also holds the recipe, and "
            "with token_details every token's probabilities.",
            tuple[str, dict],
            generate_text,
        ),
        api_name="generate_text",
        concurrency_id=TEXT.name,
        concurrency_limit=engine.settings.concurrency,
    )

    def pictures(values: dict[str, Any], request: gr.Request) -> Iterator[tuple[list[FileData], list[dict[str, Any]]]]:
        given = {name: uploads.read(values[name]) for name in GIVEN if values.get(name)}
        for item in run(engine, IMAGES, {**values, **given}, request.session_hash or ""):
            if isinstance(item, Done):
                kept = kept_pictures(item)
                yield [FileData(path=path, orig_name=Path(path).name) for path, _ in kept], [own for _, own in kept]

    def edits(values: dict[str, Any], request: gr.Request) -> Iterator[Any]:
        if values["image"] is None:
            raise Invalid(Words("Picture (image) is missing: give one to start from.", "缺少“图片”：请提供起始图片。"))
        return pictures(values, request)

    shared = {"concurrency_id": IMAGES.name, "concurrency_limit": engine.settings.concurrency}
    told = "Gives PNG files, which carry their recipe, and the recipes."
    returned = tuple[list[FileData], list[dict]]
    summary = f"Make pictures from words with a diffusion model. {told}"
    gr.api(
        endpoint(IMAGES, summary, returned, pictures, without=(*GIVEN, "strength")),
        api_name="generate_images",
        **shared,
    )
    summary = f"Make pictures from a picture and words; with a mask, only where it is white. {told}"
    gr.api(
        endpoint(
            IMAGES,
            summary,
            returned,
            edits,
            name="edit_image",
            files=GIVEN,
            without=("variation_strength", "variation_seed"),
        ),
        api_name="edit_image",
        **shared,
    )

    def reconstruct(values: dict[str, Any], request: gr.Request) -> Iterator[tuple[FileData, dict[str, Any]]]:
        for item in run(engine, REBUILD, {**values, "image": _read(values["image"])}, request.session_hash or ""):
            if isinstance(item, Done):
                yield _file(png.write(item.value.rebuilt, item.recipe), "aigc-rebuilt.png"), item.recipe

    def interpolate(
        values: dict[str, Any], request: gr.Request
    ) -> Iterator[tuple[list[FileData], FileData, dict[str, Any]]]:
        given = values["images"] if isinstance(values["images"], list) else []
        for item in run(engine, WALK, {**values, "images": [_read(one) for one in given]}, request.session_hash or ""):
            if isinstance(item, Done):
                frames = [FileData(path=path, orig_name="frame.png") for path in kept(item.value.frames)]
                yield frames, _file(animation.webp(item.value.frames, RATE, item.recipe), "aigc.webp"), item.recipe

    gr.api(
        endpoint(
            REBUILD,
            "Send a picture through an autoencoder and back. Gives the PNG file that came back, and the recipe, whose "
            "figures say how near it comes.",
            tuple[FileData, dict],
            reconstruct,
            name="reconstruct_image",
            files=("image",),
        ),
        api_name="reconstruct_image",
        concurrency_id=REBUILD.name,
        concurrency_limit=engine.settings.concurrency,
    )
    gr.api(
        endpoint(
            WALK,
            "Walk through an autoencoder's latent space from picture to picture. Gives the frames as PNG files, all of "
            f"them as one WebP file of {RATE} frames a second, and the recipe.",
            tuple[list[FileData], FileData, dict],
            interpolate,
            name="interpolate_latents",
            files=("images",),
            lists=("images",),
        ),
        api_name="interpolate_latents",
        concurrency_id=WALK.name,
        concurrency_limit=engine.settings.concurrency,
    )

    def decode(values: dict[str, Any], request: gr.Request) -> Iterator[tuple[FileData, dict[str, Any]]]:
        for item in run(engine, MAP, values, request.session_hash or ""):
            if isinstance(item, Done):
                yield _file(png.write(item.value.picture, item.recipe), "aigc-map.png"), item.recipe

    gr.api(
        endpoint(
            MAP,
            "Decode a point of emoji-morph's latent space: a place of its map or a sum of the map's pictures, with components "
            "and words added. Gives the PNG file and the recipe, whose figures name the nearest pictures of the map.",
            tuple[FileData, dict],
            decode,
            name="decode_latent_point",
        ),
        api_name="decode_latent_point",
        concurrency_id=MAP.name,
        concurrency_limit=engine.settings.concurrency,
    )

    def list_models() -> list[dict]:
        """List the models that a request can name, with what each needs and whether its weights are here already."""
        return engine.list_models([TEXT, IMAGES, REBUILD, GAN])

    gr.api(list_models, api_name="list_models", queue=False)
    gan_api.publish(engine)


def _read(file: Any) -> bytes | None:
    return uploads.read(file) if file else None


def _file(data: bytes, name: str) -> FileData:
    return FileData(path=uploads.keep(data, name), orig_name=name)


def _tokens(result: TextResult) -> dict[str, Any]:
    """Every token with its alternatives, if the request wanted to look inside."""
    if not any(token.head for token in result.tokens):
        return {}
    return {"tokens": [asdict(token) for token in result.tokens]}
