"""Maps of a vector latent: where known pictures lie, and what any point decodes to.

place on the two strongest components -> their plane + what the nearest pictures have besides -> base
place among its likes                 -> a mixture of the nearest pictures                    -> base
A - B + C                                                                                    -> base
base + components + words -> decoder -> picture
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from aigc_demo.errors import Invalid, ModelDamaged
from aigc_demo.generators.latent import VECTOR_MODEL, WEIGHTS
from aigc_demo.generators.latent_model import LatentModel
from aigc_demo.generators.latent_pictures import decoded
from aigc_demo.params import Choice, Params, Range, Text
from aigc_demo.results import Done, Step
from aigc_demo.words import Words

if TYPE_CHECKING:
    from PIL import Image

FOLDER = WEIGHTS.parent / "morph-map"
TENSORS, TABLE = "map.safetensors", "map.json"
FORMAT = 2
COMPONENTS = 6
REACH = 4.0
"""Deviations from the middle that a place may lie."""
NEIGHBOURS = 4
"""Pictures whose shape a place takes on."""
TOLD = 3
"""Nearest pictures that a result names."""
PLACE, SUM = "place", "sum"
STRONGEST, LIKENESS = "components", "likeness"


@dataclass(frozen=True)
class Word:
    """A direction: the mean of the pictures with a keyword less the mean of the others; both only among the pictures with
    another keyword, where one is named."""

    name: Words
    keyword: str
    among: str = ""


WORDS: dict[str, Word] = {
    "smiling": Word(Words("smiling", "微笑"), "smiling", "face"),
    "animal": Word(Words("animal", "动物"), "animal", "face"),
    "heart": Word(Words("heart", "心形"), "heart"),
    "building": Word(Words("building", "建筑"), "building"),
    "red": Word(Words("red", "红色"), "red"),
    "green": Word(Words("green", "绿色"), "green"),
    "blue": Word(Words("blue", "蓝色"), "blue"),
    "purple": Word(Words("purple", "紫色"), "purple"),
}


def _coordinate(label: Words) -> Range:
    return Range(
        label,
        Words(
            "In deviations from the middle of the map. Beyond about 3 nothing known lies.",
            "以标准差为单位，从地图中心算起。约 3 以外没有已知的图片。",
        ),
        -REACH,
        REACH,
        0.05,
    )


def _component(n: int) -> Range:
    return Range(
        Words(f"Component {n}", f"主成分 {n}"),
        Words(
            "Added to the point, in deviations of the map's pictures. Beyond 3 pictures fall apart.",
            "加到该点上，以地图图片的标准差为单位。超过 3 画面会散乱。",
        ),
        -4,
        4,
        0.1,
    )


def _word(name: str) -> Range:
    return Range(
        WORDS[name].name,
        Words(
            "Added to the point; 1 is the whole way from pictures without the word to those with it, −1 the way back.",
            "加到该点上；1 表示从不带该词的图片到带该词的图片的整段距离，−1 表示反方向。",
        ),
        -3,
        3,
        0.1,
    )


def _picture(label: Words) -> Text:
    return Text(
        label,
        Words("A picture of the map, by its name there.", "地图上的一张图片，用它在地图中的名称表示。"),
        max_length=100,
    )


@dataclass(frozen=True)
class MapParams(Params):
    """One point of the latent space, told by a map."""

    model: Annotated[
        str,
        Choice(
            Words("Model", "模型"),
            Words("The map is of this model only.", "地图只属于这个模型。"),
            {VECTOR_MODEL: Words(VECTOR_MODEL, VECTOR_MODEL)},
        ),
    ] = VECTOR_MODEL
    start: Annotated[
        str,
        Choice(
            Words("Starting point", "起点"),
            Words("A place of the map, or a sum of its pictures.", "地图上的一个位置，或地图图片的加减。"),
            {PLACE: Words("A place", "位置"), SUM: Words("A − B + C", "A − B + C")},
        ),
    ] = PLACE
    layout: Annotated[
        str,
        Choice(
            Words("Arranged by", "排列方式"),
            Words(
                "Where the pictures stand: on the two strongest components, or next to their likes (t-SNE).",
                "图片的位置：按两个最强的主成分，或与相似的图片相邻（t-SNE）。",
            ),
            {
                STRONGEST: Words("Strongest components", "最强主成分"),
                LIKENESS: Words("Likeness (t-SNE)", "相似度（t-SNE）"),
            },
        ),
    ] = STRONGEST
    x: Annotated[float, _coordinate(Words("Across", "横向"))] = 0.0
    y: Annotated[float, _coordinate(Words("Up", "纵向"))] = 0.0
    a: Annotated[str, _picture(Words("A", "A"))] = "green-circle"
    b: Annotated[str, _picture(Words("B", "B"))] = "red-circle"
    c: Annotated[str, _picture(Words("C", "C"))] = "red-heart"
    component_1: Annotated[float, _component(1)] = 0.0
    component_2: Annotated[float, _component(2)] = 0.0
    component_3: Annotated[float, _component(3)] = 0.0
    component_4: Annotated[float, _component(4)] = 0.0
    component_5: Annotated[float, _component(5)] = 0.0
    component_6: Annotated[float, _component(6)] = 0.0
    smiling: Annotated[float, _word("smiling")] = 0.0
    animal: Annotated[float, _word("animal")] = 0.0
    heart: Annotated[float, _word("heart")] = 0.0
    building: Annotated[float, _word("building")] = 0.0
    red: Annotated[float, _word("red")] = 0.0
    green: Annotated[float, _word("green")] = 0.0
    blue: Annotated[float, _word("blue")] = 0.0
    purple: Annotated[float, _word("purple")] = 0.0


@dataclass(frozen=True)
class Known:
    """A picture of the map. colour: its own in the mean, as #rrggbb."""

    slug: str
    name: Words
    colour: str


@dataclass(frozen=True)
class LatentMap:
    """latents: [n, d] of the pictures, means of the encoder. places, likeness: [n, 2], where they stand in either layout,
    in deviations. centre: [d], the latents' mean. write: [6, d], one deviation along each component; read: [6, d], what
    measures it. words: [len(WORDS), d].
    stretch: [d], how much pictures differ along every number. typical: median distance of two pictures, by `stretch`.
    share: of the pictures' variance, by component. counts: word -> pictures with and without it.
    ends: uint8 [6, 2, s, s, 3], the middle of the map moved along each component, both ways. weights: digest of the
    model's file."""

    weights: str
    style: str
    known: tuple[Known, ...]
    counts: Mapping[str, tuple[int, int]]
    share: tuple[float, ...]
    typical: float
    latents: np.ndarray
    places: np.ndarray
    likeness: np.ndarray
    centre: np.ndarray
    write: np.ndarray
    read: np.ndarray
    words: np.ndarray
    stretch: np.ndarray
    ends: np.ndarray

    def at(self, place: np.ndarray, layout: str = STRONGEST) -> np.ndarray:
        """The latent of a place: exactly a picture's on its dot, and without a jump in between."""
        if layout == LIKENESS:
            near, weights = shares(self.likeness, place)
            return weights @ self.latents[near]
        near, weights = shares(self.places, place)
        return self.plane(place) + weights @ (self.latents[near] - self.plane(self.places[near]))

    def plane(self, places: np.ndarray) -> np.ndarray:
        return self.centre + places @ self.write[:2]

    def place(self, latent: np.ndarray, layout: str = STRONGEST) -> np.ndarray:
        """Where a latent lies: seen from above, or among the pictures that it is most like."""
        if layout == LIKENESS:
            near, weights = shares(self.latents * self.stretch, latent * self.stretch)
            return weights @ self.likeness[near]
        return self.read[:2] @ (latent - self.centre)

    def nearest(self, latent: np.ndarray, without: tuple[int, ...] = ()) -> list[tuple[int, float]]:
        """(picture, distance) of the nearest, where 1 is the median distance of two pictures of the map."""
        distances = np.linalg.norm((self.latents - latent) * self.stretch, axis=1) / self.typical
        return [(int(n), float(distances[n])) for n in np.argsort(distances) if n not in without][:TOLD]

    def find(self, slug: str) -> int:
        for n, known in enumerate(self.known):
            if known.slug == slug:
                return n
        raise Invalid(Words("The map has no picture “{slug}”.", "地图上没有图片“{slug}”。").format(slug=slug[:60]))


def shares(points: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nearest points, weight of each), by Franke and Little's modified Shepard weights."""
    distances = np.linalg.norm(points - at, axis=1)
    order = np.argsort(distances, kind="stable")[: NEIGHBOURS + 1]
    near, far = order[:-1], distances[order[-1]]
    weights = (np.maximum(far - distances[near], 0) / (far * np.maximum(distances[near], 1e-6) + 1e-12)) ** 2
    return near, weights / weights.sum() if weights.sum() else np.full(len(near), 1 / len(near))


@dataclass(frozen=True)
class Point:
    """place: of the latent on the map; it leaves the one asked for where components or words were added.
    nearest: slug and distance of the nearest pictures; of a sum without those that it was made of."""

    picture: Image.Image
    place: tuple[float, float]
    nearest: tuple[tuple[str, float], ...]


def decode_point(
    request: MapParams, model: LatentModel, chart: LatentMap, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[Any] | Done[Point]]:
    """Done, at once: one picture takes some milliseconds."""
    import torch

    begun = time.perf_counter()
    made_of: tuple[int, ...] = ()
    if request.start == SUM:
        a, b, c = made_of = (chart.find(request.a), chart.find(request.b), chart.find(request.c))
        latent = chart.latents[a] - chart.latents[b] + chart.latents[c]
    else:
        latent = chart.at(np.array([request.x, request.y]), request.layout)
    base = latent
    latent = latent + np.array([getattr(request, f"component_{n + 1}") for n in range(COMPONENTS)]) @ chart.write
    latent = latent + np.array([getattr(request, name) for name in WORDS]) @ chart.words
    between = time.perf_counter()
    picture = decoded(model, torch.from_numpy(latent[None]).float())[0]
    ended = time.perf_counter()
    stays = request.start == PLACE and np.array_equal(latent, base)
    place = (request.x, request.y) if stays else chart.place(latent, request.layout)
    x, y = (round(float(value), 4) for value in place)
    nearest = tuple((chart.known[n].slug, round(distance, 4)) for n, distance in chart.nearest(latent, made_of))
    yield Done(
        Point(picture, (x, y), nearest),
        timings={"total": ended - begun, "decode": ended - between},
        figures={"place": [x, y], "nearest": dict(nearest), "latent_shape": list(latent.shape)},
    )


@cache
def load(folder: Path = FOLDER) -> LatentMap:
    """The map in a folder. Raises `ModelDamaged` where it is absent or is not one."""
    from safetensors.numpy import load_file

    try:
        table = json.loads((folder / TABLE).read_text("utf-8"))
        if table["format"] != FORMAT or list(table["words"]) != list(WORDS):
            raise ValueError("another format")
        tensors = load_file(folder / TENSORS)
        return LatentMap(
            weights=table["weights"],
            style=table["style"],
            known=tuple(Known(row["slug"], Words(row["en"], row["zh"]), row["colour"]) for row in table["pictures"]),
            counts={name: (row["with"], row["without"]) for name, row in table["words"].items()},
            share=tuple(table["share"]),
            typical=table["typical"],
            **{name: value if name == "ends" else value.astype(np.float64) for name, value in tensors.items()},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelDamaged(
            Words(
                "The map in “{folder}” cannot be read. Make it: python -m aigc_demo.training map",
                "无法读取“{folder}”中的地图。请重新生成：python -m aigc_demo.training map",
            ).format(folder=folder.name)
        ) from error


def save(chart: LatentMap, folder: Path) -> None:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    small = {"latents": chart.latents.astype(np.float16), "ends": np.ascontiguousarray(chart.ends)}
    names = ("places", "likeness", "centre", "write", "read", "words", "stretch")
    small |= {name: np.ascontiguousarray(getattr(chart, name), np.float32) for name in names}
    save_file(small, folder / TENSORS)
    table = {
        "format": FORMAT,
        "weights": chart.weights,
        "style": chart.style,
        "share": [round(value, 4) for value in chart.share],
        "typical": round(chart.typical, 4),
        "words": {name: {"with": counts[0], "without": counts[1]} for name, counts in chart.counts.items()},
    }
    rows = [
        json.dumps({"slug": one.slug, "en": one.name.en, "zh": one.name.zh, "colour": one.colour}, ensure_ascii=False)
        for one in chart.known
    ]
    head = json.dumps(table, ensure_ascii=False, indent=1).removesuffix("\n}")
    (folder / TABLE).write_text(head + ',\n "pictures": [\n' + ",\n".join(rows) + "\n ]\n}\n", encoding="utf-8")


@cache
def of_weights(weights: Path, folder: Path = FOLDER) -> LatentMap | None:
    """The map, if it is of these weights; with any others it would name the wrong pictures."""
    try:
        chart = load(folder)
        return chart if chart.weights == digest(weights) else None
    except (ModelDamaged, OSError):
        return None


def digest(weights: Path) -> str:
    """sha256 of a model's file."""
    import hashlib

    return hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest()
