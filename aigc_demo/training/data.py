"""The pictures to learn from: built once into one file, then read whole into memory.

The pack is a zip (stored, not deflated) of lossless WebP pictures, 128 px, straight alpha, with an
`index.json` that names them. It is made from npm packages on the person's own machine and kept in
their cache folder; it is no part of the repository.
"""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aigc_demo.errors import UserError
from aigc_demo.results import Done, Step
from aigc_demo.training import sources
from aigc_demo.training.concepts import STYLES, Concept, concepts_from
from aigc_demo.words import Words

SIZE = 128
FORMAT = 2
MOST_FAILURES = 0.01
TWINS_BELOW = 0.12
"""Root mean square distance (0-1, at 16 px, colour and alpha) under which two pictures count as twins."""

_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'width="{side}" height="{side}" viewBox="{left} {top} {width} {height}">{body}</svg>'
)


@dataclass(frozen=True)
class Picture:
    """One picture of the pack: which concept, in which style (one of STYLES, or of the further packages)."""

    concept: int
    style: str

    def name(self, concepts: list[Concept]) -> str:
        return f"{self.style}/{concepts[self.concept].slug}"


@dataclass(frozen=True)
class Pack:
    """Everything there is to learn from. pixels: uint8 [pictures, 128, 128, 4], straight alpha."""

    concepts: list[Concept]
    pictures: list[Picture]
    pixels: np.ndarray

    def places(self) -> dict[tuple[str, str], int]:
        """(slug, style) -> index of the picture."""
        return {(self.concepts[p.concept].slug, p.style): i for i, p in enumerate(self.pictures)}

    def about(self, subjects: str, pictures: Iterable[int]) -> list[int]:
        """Those of some pictures that show a subject."""
        return [i for i in pictures if self.concepts[self.pictures[i].concept].is_of(subjects)]


def cache_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("aigc-demo")) / "training"


def pack_path(folder: Path | None = None) -> Path:
    return (folder or cache_folder()) / f"emoji-{SIZE}px-v{FORMAT}.zip"


def build(folder: Path | None = None) -> Iterator[Step[str] | Done[Path]]:
    """Fetch the packages and draw every picture once. Done's figures hold the counts.

    An SVG that cannot be drawn is named and skipped; more than 1% of them fail the run.
    """
    import time

    begun = time.perf_counter()
    folder = folder or cache_folder()
    archives = {}
    needed = [*sources.PACKAGES, *sources.FURTHER_PACKAGES.values()]
    for done, package in enumerate(needed, 1):
        archives[package.name] = sources.fetch(package, folder)
        yield Step("fetch", done, len(needed), package.name)
    icons = {
        style: sources.read_json(archives[package.name], "icons.json")
        for style, package in (sources.STYLE_PACKAGES | sources.FURTHER_PACKAGES).items()
    }
    concepts, slug_in = read_concepts(archives, icons)
    jobs = [(c, style) for c in range(len(concepts)) for style in STYLES]
    for style in sources.FURTHER_PACKAGES:
        slug_in[style] = by_name(concepts, icons[style]["icons"])
        jobs += [(c, style) for c in range(len(concepts)) if concepts[c].code in slug_in[style]]
    seen: dict[bytes, str] = {}
    drawn: dict[int, list[np.ndarray]] = {}
    pictures: list[Picture] = []
    failed: list[str] = []
    copies: list[str] = []
    files: list[bytes] = []

    def draw(job: tuple[int, str]) -> Image.Image | None:
        concept, style = job
        return rasterise(icons[style], slug_in[style][concepts[concept].code])

    with ThreadPoolExecutor(2) as pool:
        for index, (job, image) in enumerate(zip(jobs, pool.map(draw, jobs), strict=True), 1):
            picture = Picture(*job)
            name = picture.name(concepts)
            if image is None:
                failed.append(name)
                continue
            small = thumbnails(np.asarray(image)[None])
            others = drawn.setdefault(picture.concept, [])
            if image.tobytes() in seen:
                copies.append(f"{name} = {seen[image.tobytes()]}")
            elif picture.style not in STYLES and any(distance(small, other) < TWINS_BELOW for other in others):
                # the same drawing again: nothing to learn from, and it could give away one that is held back
                copies.append(f"{name} = {concepts[picture.concept].slug}")
            else:
                others.append(small)
                seen[image.tobytes()] = name
                pictures.append(picture)
                files.append(_webp(image))
            if index % 100 == 0 or index == len(jobs):
                yield Step("draw", index, len(jobs), name)
    if len(failed) > MOST_FAILURES * len(jobs):
        raise UserError(
            Words(
                f"{len(failed)} of {len(jobs)} pictures could not be drawn: {', '.join(failed[:8])}…",
                f"{len(jobs)} 幅图中有 {len(failed)} 幅无法绘制：{', '.join(failed[:8])}……",
            )
        )
    path = pack_path(folder)
    _write(path, concepts, pictures, files)
    figures = {
        "concepts": len(concepts),
        "pictures": len(pictures),
        "failed": failed,
        "copies": copies,
        "megabytes": round(path.stat().st_size / 2**20, 1),
        "per_style": dict(Counter(p.style for p in pictures)),
    }
    yield Done(path, {"total": time.perf_counter() - begun}, figures)


def thumbnails(pixels: np.ndarray, side: int = 16) -> np.ndarray:
    """float32 [n, side*side*4]: the picture on white, and its alpha, averaged to `side` px."""
    out = np.empty((len(pixels), side, side, 4), np.float32)
    step = pixels.shape[1] // side
    for i, picture in enumerate(pixels):
        alpha = picture[..., 3:].astype(np.float32) / 255
        rgb = picture[..., :3].astype(np.float32) / 255 * alpha + 1 - alpha
        out[i] = np.concatenate([rgb, alpha], -1).reshape(side, step, side, step, 4).mean((1, 3))
    return out.reshape(len(pixels), -1)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between two pictures' thumbnails."""
    return float(np.sqrt(np.mean((a - b) ** 2)))


def read_concepts(archives: dict[str, Path], icons: dict[str, Any]) -> tuple[list[Concept], dict[str, dict[str, str]]]:
    """The concepts, and per style: code -> icon name. Fluent's 3D set has no codes of its own and joins by name."""
    from aigc_demo.training.concepts import code_of

    slug_in: dict[str, dict[str, str]] = {}
    for style in ("flat", "noto", "twemoji"):
        chars = sources.read_json(archives[sources.STYLE_PACKAGES[style].name], "chars.json")
        slug_in[style] = {code_of(code): name for code, name in chars.items()}
    known = set(icons["fluent"]["icons"]) | set(icons["fluent"]["aliases"])
    slug_in["fluent"] = {code: name for code, name in slug_in["flat"].items() if name in known}
    annotations: dict[str, dict[str, Any]] = {}
    for language in ("en", "zh"):
        merged: dict[str, Any] = {}
        for part, package in sources.NAME_PACKAGES.items():
            table = sources.read_json(archives[package.name], f"{part}/{language}/annotations.json")
            merged.update(table[part]["annotations"])
        annotations[language] = merged
    metadata = sources.read_json(archives[sources.STYLE_PACKAGES["twemoji"].name], "metadata.json")
    concepts = concepts_from(
        slug_in["twemoji"], metadata["categories"], [set(codes) for codes in slug_in.values()], annotations
    )
    return concepts, slug_in


def by_name(concepts: list[Concept], names: Collection[str]) -> dict[str, str]:
    """Code -> icon name, in a set that tells no codes: by the name of the concept, or of its character."""
    plain = {_letters(name.removesuffix("-1")): name for name in names}
    found = {}
    for concept in concepts:
        told = [concept.slug, unicodedata.name(concept.emoji, "") if len(concept.emoji) == 1 else ""]
        match = next((plain[key] for key in map(_letters, told) if key in plain), None)
        if match:
            found[concept.code] = match
    return found


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def rasterise(icons: dict[str, Any], name: str) -> Image.Image | None:
    """One icon of an Iconify set as RGBA at `SIZE` px; None where it won't draw or draws nothing."""
    import resvg_py

    icon, flip = icons["icons"].get(name), False
    if icon is None:
        alias = icons["aliases"][name]
        icon, flip = icons["icons"][alias["parent"]], bool(alias.get("hFlip"))
    box = {key: icon.get(key, icons.get(key, default)) for key, default in (("left", 0), ("top", 0))}
    size = {key: icon.get(key, icons.get(key, 16)) for key in ("width", "height")}
    svg = _SVG.format(side=SIZE, body=icon["body"], **box, **size)
    try:
        drawn = resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE)
        image = Image.open(io.BytesIO(bytes(drawn))).convert("RGBA")
    except (ValueError, OSError):
        return None
    if image.size != (SIZE, SIZE) or image.getchannel("A").getextrema()[1] == 0:
        return None
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image


def load(folder: Path | None = None) -> Pack:
    """Read the pack. UserError where it was not built yet or is damaged."""
    path = pack_path(folder)
    if not path.exists():
        raise UserError(
            Words(
                "There are no training pictures yet. Run: python -m aigc_demo.training data",
                "还没有训练图片。请先运行：python -m aigc_demo.training data",
            )
        )
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read("index.json"))
            files = [archive.read(f"{i:05}.webp") for i in range(len(index["pictures"]))]
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise UserError(
            Words(
                f"{path} is damaged. Delete it and run: python -m aigc_demo.training data",
                f"{path} 已损坏。请删除后重新运行：python -m aigc_demo.training data",
            )
        ) from error
    concepts = [
        Concept(
            c["slug"], c["code"], c["category"], Words(**c["name"]), tuple(c["keywords_en"]), tuple(c["keywords_zh"])
        )
        for c in index["concepts"]
    ]
    pixels = np.empty((len(files), SIZE, SIZE, 4), np.uint8)
    with ThreadPoolExecutor(2) as pool:
        for i, image in enumerate(
            pool.map(lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")), files)
        ):
            pixels[i] = image
    return Pack(concepts, [Picture(**p) for p in index["pictures"]], pixels)


def _webp(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "WEBP", lossless=True, quality=60, method=4, exact=False)
    return stream.getvalue()


def _write(path: Path, concepts: list[Concept], pictures: list[Picture], files: list[bytes]) -> None:
    """Written beside and renamed, so that a pack is either whole or absent; dates fixed, so that it is the same twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    index = {"concepts": [asdict(c) for c in concepts], "pictures": [asdict(p) for p in pictures]}
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("index.json"), json.dumps(index, ensure_ascii=False))
        for i, data in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"{i:05}.webp"), data)
    partial.replace(path)
