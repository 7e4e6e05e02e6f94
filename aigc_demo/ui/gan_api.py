"""The public interface to adversarial pairs, if there is any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from aigc_demo import animation
from aigc_demo.animation import RATE
from aigc_demo.engine import Engine
from aigc_demo.generators.gan_rows import GAN, GAN_WALK
from aigc_demo.results import Done
from aigc_demo.ui import gan_page, uploads
from aigc_demo.ui.player import kept
from aigc_demo.ui.run import endpoint, run


def publish(engine: Engine) -> None:
    """Add the endpoints to the page that is being built."""

    def sample(values: dict[str, Any], request: gr.Request) -> Iterator[tuple[list[FileData], list[dict[str, Any]]]]:
        for item in run(engine, GAN, values, request.session_hash or ""):
            if isinstance(item, Done):
                made = gan_page.kept(item)
                yield [FileData(path=path, orig_name=Path(path).name) for path, _ in made], [own for _, own in made]

    def walk(
        values: dict[str, Any], request: gr.Request
    ) -> Iterator[tuple[list[FileData], list[FileData], FileData, dict[str, Any]]]:
        for item in run(engine, GAN_WALK, values, request.session_hash or ""):
            if isinstance(item, Done):
                in_z, in_w = (
                    [FileData(path=path, orig_name="frame.png") for path in kept(frames)]
                    for frames in (item.value.in_z, item.value.in_w)
                )
                film = uploads.keep(animation.webp(item.value.in_z, RATE, item.recipe), "aigc.webp")
                yield in_z, in_w, FileData(path=film, orig_name="aigc.webp"), item.recipe

    for family, name, summary, returns, fn in (
        (
            GAN,
            "sample_gan",
            "Forge pictures of seeds with an adversarial pair. Gives PNG files, which carry their recipe, and the recipes, "
            "whose figures hold the discriminator's scores.",
            tuple[list[FileData], list[dict]],
            sample,
        ),
        (
            GAN_WALK,
            "walk_gan",
            "Walk between seeds of an adversarial pair. Gives the frames through z and those through w as PNG files, the way "
            f"through z as one WebP file of {RATE} frames a second, and the recipe.",
            tuple[list[FileData], list[FileData], FileData, dict],
            walk,
        ),
    ):
        gr.api(
            endpoint(family, summary, returns, fn, name=name),
            api_name=name,
            concurrency_id=family.name,
            concurrency_limit=engine.settings.concurrency,
        )
