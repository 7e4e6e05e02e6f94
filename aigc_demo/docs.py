"""The README's tables, from the code: `python -m aigc_demo.docs` prints them, a test compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES, ImageSpec
from aigc_demo.generators.gan import SampleParams, WalkGanParams
from aigc_demo.generators.latent import RebuildParams, WalkParams
from aigc_demo.generators.latent_map import MapParams
from aigc_demo.generators.latent_rows import REBUILD, LatentSpec
from aigc_demo.generators.text import TextParams
from aigc_demo.generators.text_rows import TEXT, TextSpec
from aigc_demo.params import Params
from aigc_demo.settings import PREFIX, Settings
from aigc_demo.words import Words


def parameters(params: type[Params], language: str) -> str:
    """A family's parameters: name, default, legal values, what it does."""
    heads = (
        Words("Parameter", "参数"),
        Words("Default", "默认值"),
        Words("Values", "取值"),
        Words("What it does", "作用"),
    )
    defaults = params.defaults()
    rows = [
        (f"`{name}`", f"`{defaults[name]!r}`" if name in defaults else "—", marker.describe(), marker.help.to(language))
        for name, (_, marker) in params.markers().items()
    ]
    return _table([head.to(language) for head in heads], rows)


def text_models(language: str) -> str:
    """The rows of text models."""
    heads = (
        Words("Model", "模型"),
        Words("Weights", "权重"),
        Words("Licence", "许可证"),
        Words("Parameters", "参数量"),
        Words("Download", "下载量"),
        Words("Context", "上下文"),
        Words("Languages", "语言"),
    )
    return _table([head.to(language) for head in heads], [_model(row) for row in TEXT.rows.values()])


def image_models(language: str) -> str:
    """The rows of image models that are fetched."""
    heads = (
        Words("Model", "模型"),
        Words("Weights", "权重"),
        Words("Licence", "许可证"),
        Words("Parameters", "参数量"),
        Words("Download", "下载量"),
        Words("Picture", "图片"),
        Words("Steps", "步数"),
        Words("Guidance", "引导强度"),
    )
    rows = [_image_model(row) for row in IMAGES.rows.values() if row.source.repo]
    return _table([head.to(language) for head in heads], rows)


def latent_models(language: str) -> str:
    """The rows of autoencoders."""
    heads = (
        Words("Model", "模型"),
        Words("Weights", "权重"),
        Words("Licence", "许可证"),
        Words("Parameters", "参数量"),
        Words("Picture", "图片"),
        Words("What it is", "说明"),
    )
    ships = Words("ship with the app", "随应用提供").to(language)
    rows = []
    for row in REBUILD.rows.values():
        assert isinstance(row, LatentSpec)
        weights = row.source.repo or ships
        size = f"{row.parameters / 1e6:,.1f} M" if row.parameters else "—"
        side = f"{row.side} × {row.side}" if row.side else "—"
        rows.append((f"`{row.id}`", weights, row.licence, size, side, row.note.to(language) if row.note else ""))
    return _table([head.to(language) for head in heads], rows)


def options() -> str:
    """What can be set at the start."""
    rows = [
        (f"`--{entry.name.replace('_', '-')}`", f"`{PREFIX}{entry.name.upper()}`", entry.metadata["help"])
        for entry in fields(Settings)
    ]
    return _table(["Option", "Environment", "What it sets"], rows)


def _model(row: object) -> tuple[str, ...]:
    assert isinstance(row, TextSpec)
    return (
        f"`{row.id}`",
        row.source.repo or "",
        row.licence,
        f"{(row.parameters or 0) / 1e6:,.0f} M",
        f"{(row.download_bytes or 0) / 1e6:,.0f} MB",
        f"{row.context:,}",
        ", ".join(row.languages),
    )


def _image_model(row: object) -> tuple[str, ...]:
    assert isinstance(row, ImageSpec)
    return (
        f"`{row.id}`",
        row.source.repo or "",
        row.licence,
        f"{(row.parameters or 0) / 1e6:,.0f} M",
        f"{(row.download_bytes or 0) / 1e6:,.0f} MB",
        f"{row.side} × {row.side}",
        str(row.defaults["num_inference_steps"]),
        str(row.defaults["guidance_scale"]) if row.guided else "—",
    )


def _table(heads: list[str], rows: Sequence[Sequence[str]]) -> str:
    lines: list[Sequence[str]] = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


TABLES = {
    "parameters": lambda language: parameters(TextParams, language),
    "models": text_models,
    "options": lambda language: options(),
    "image_parameters": lambda language: parameters(ImageParams, language),
    "image_models": image_models,
    "reconstruct_parameters": lambda language: parameters(RebuildParams, language),
    "interpolate_parameters": lambda language: parameters(WalkParams, language),
    "map_parameters": lambda language: parameters(MapParams, language),
    "latent_models": latent_models,
    "sample_parameters": lambda language: parameters(SampleParams, language),
    "walk_parameters": lambda language: parameters(WalkGanParams, language),
}
"""Name -> table; the README has each between <!-- table: name --> and <!-- end -->."""


if __name__ == "__main__":
    for name, table in TABLES.items():
        print(f"<!-- table: {name} -->\n{table('en')}\n<!-- end -->\n")
