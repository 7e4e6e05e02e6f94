"""Walk the map: every point of it decoded at once. The page asks for the chart when it shows, then for one point at a time.

latent_map.js -> chart(), decode() below -> engine
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from aigc_demo import png
from aigc_demo.engine import Engine
from aigc_demo.generators.latent_map import (
    COMPONENTS,
    LIKENESS,
    PLACE,
    STRONGEST,
    SUM,
    WORDS,
    LatentMap,
    MapParams,
    Point,
)
from aigc_demo.generators.latent_rows import MAP
from aigc_demo.params import Choice, Range
from aigc_demo.results import Done, finish
from aigc_demo.ui import uploads
from aigc_demo.ui.run import told_in
from aigc_demo.words import Words

STATIC = Path(__file__).parent / "static"
SAID = {
    "map": Words(
        "Map of {n} pictures. Arrow keys move the point, with Shift ten times as far.",
        "{n} 张图片的地图。方向键移动该点，按住 Shift 移动十倍距离。",
    ),
    "how_components": Words(
        "Click, drag, or use the arrow keys. Each dot is a picture in its own mean colour, placed by the two strongest "
        "components.",
        "点击、拖动，或使用方向键。每个点是一张图片，颜色取自它的平均色，位置由两个最强的主成分决定。",
    ),
    "how_likeness": Words(
        "Click, drag, or use the arrow keys. Each dot is a picture in its own mean colour. t-SNE puts together what is alike "
        "for the model; how far apart two groups stand, and in which direction, says nothing.",
        "点击、拖动，或使用方向键。每个点是一张图片，颜色取自它的平均色。t-SNE 把模型认为相似的图片放在一起；"
        "两群之间的距离和方向没有意义。",
    ),
    "between_components": Words(
        "A map has two numbers, a latent {numbers}. The others are borrowed from the four nearest dots, the nearer the "
        "more: on a dot you get exactly its picture as the model rebuilds it, in between a mixture.",
        "地图上只有两个数，而潜变量有 {numbers} 个。其余的数取自最近的四个点，越近权重越大：落在点上，得到的正是模型重建的那张图片；"
        "落在点之间，得到的是混合。",
    ),
    "between_likeness": Words(
        "A place between the dots has no latent of its own here: the latents of the four nearest dots are mixed, the nearer "
        "the more. On a dot you get exactly its picture as the model rebuilds it.",
        "这里点与点之间的位置没有自己的潜变量：混合最近四个点的潜变量，越近权重越大。落在点上，得到的正是模型重建的那张图片。",
    ),
    "credit": Words(
        "Dots: the {n} Noto Emoji (Google, Apache-2.0) that come back best. Names: Unicode CLDR.",
        "点：重建效果最好的 {n} 个 Noto Emoji（Google，Apache-2.0）。名称：Unicode CLDR。",
    ),
    "axis": Words("Component {n} · {share} of the differences", "主成分 {n} · 占差异的 {share}"),
    "picture": Words("Decoded picture", "解码的图片"),
    "loading": Words("Loading the model", "正在加载模型"),
    "lost": Words("The server did not answer. Move the point to try again.", "服务器没有响应。移动该点即可重试。"),
    "place": Words("Place {x}, {y}", "位置 {x}，{y}"),
    "nearest": Words("Nearest on the map", "地图上最近的图片"),
    "distance": Words(
        "Of the distances, 1 is the median between two pictures of the map. The three of a sum are not counted as near.",
        "距离以地图上任意两张图片之间距离的中位数为 1。参与加减的三张不计入最近的图片。",
    ),
    "decoded": Words("decoded in {ms} ms", "解码用时 {ms} 毫秒"),
    "save": Words("Save PNG", "保存 PNG"),
    "components": Words("Components", "主成分"),
    "components_about": Words(
        "What differs most between the pictures, added to the point, in deviations. The small pictures are the middle of "
        "the map, moved.",
        "图片之间差异最大的方向，加到该点上，以标准差为单位。两端的小图是地图中心沿该方向移动后的样子。",
    ),
    "component": Words("Component {n}", "主成分 {n}"),
    "words": Words("Words", "词语"),
    "words_about": Words(
        "The mean of the pictures with a keyword less the mean of those without, in all four styles; under each word from "
        "how many.",
        "带某关键词的图片均值减去不带该词的图片均值，四种风格都算在内；词语下方是图片数。",
    ),
    "counts": Words("{with} of {all} pictures", "{all} 张中有 {with} 张"),
    "among": Words("{with} of {all} faces", "{all} 张面孔中有 {with} 张"),
    "reset": Words("Set all to 0", "全部归零"),
    "sum": Words("A − B + C", "A − B + C"),
    "sum_about": Words(
        "What A has and B has not, added to C. The sliders add to it as well.",
        "把 A 有而 B 没有的部分加到 C 上。滑块同样会叠加上去。",
    ),
    "compute": Words("Compute", "计算"),
}
"""What latent_map.js says; {braces} are filled in there."""


def latent_map(engine: Engine, found: LatentMap, **options: Any) -> gr.HTML:
    """The component. Its value is None or {"settings": of a `MapParams`}, which it then shows. options: gr.HTML's own, such
    as elem_id."""
    return gr.HTML(
        html_template="<div class='aigc-map'></div>",
        head=f"<style>{(STATIC / 'latent_map.css').read_text(encoding='utf-8')}</style>",
        js_on_load=(STATIC / "latent_map.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        server_functions=[_charting(found), _decoding(engine)],
        **options,
    )


def _charting(found: LatentMap) -> Callable[[Any], dict[str, Any]]:
    def chart(language: Any) -> dict[str, Any]:
        """Everything that the component shows before a point is decoded, in one language."""
        return charted(found, str(language))

    return chart


def charted(found: LatentMap, language: str) -> dict[str, Any]:
    markers = {name: marker for name, (_, marker) in MapParams.markers().items()}

    def slider(name: str) -> dict[str, Any]:
        marker = markers[name]
        assert isinstance(marker, Range)
        return {"name": name, "low": marker.low, "high": marker.high, "step": marker.step}

    components = [
        {
            **slider(f"component_{n + 1}"),
            "share": f"{found.share[n]:.0%}",
            "ends": [uploads.picture_uri(Image.fromarray(end)) for end in found.ends[n]],
        }
        for n in range(COMPONENTS)
    ]
    words = [
        {
            **slider(name),
            "word": word.name.to(language),
            "with": f"{found.counts[name][0]:,}",
            "all": f"{sum(found.counts[name]):,}",
            "among": bool(word.among),
        }
        for name, word in WORDS.items()
    ]
    dots = [[one.colour, one.name.to(language), one.slug] for one in found.known]
    layout = markers["layout"]
    assert isinstance(layout, Choice)
    return {
        "say": {key: words_.to(language) for key, words_ in SAID.items()},
        "dots": dots,
        "components": components,
        "words": words,
        "settings": MapParams.defaults(),
        "limit": slider("x")["high"],
        "starts": {"place": PLACE, "sum": SUM},
        "layouts": {
            "label": layout.label.to(language),
            "names": {name: words_.to(language) for name, words_ in layout.options.items()},
            "places": {
                name: np.round(places, 3).tolist()
                for name, places in ((STRONGEST, found.places), (LIKENESS, found.likeness))
            },
            "straight": STRONGEST,
        },
        "numbers": len(found.centre),
    }


def _decoding(engine: Engine) -> Callable[[Any], dict[str, Any]]:
    room = threading.BoundedSemaphore(max(1, engine.settings.concurrency))

    def decode(asked: Any) -> dict[str, Any]:
        """{"settings", "language"} -> {"picture", "place", "nearest", "ms"} or {"error"}. Not a job of the queue: it takes
        milliseconds, and the page asks again only when it has its answer."""
        given: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
        settings = given.get("settings")
        try:
            with told_in(str(given.get("language")), html=False), room:
                return point(engine, settings if isinstance(settings, Mapping) else {})
        except gr.Error as error:
            return {"error": error.message}

    return decode


def point(engine: Engine, settings: Mapping[str, Any]) -> dict[str, Any]:
    """One point, for the page."""
    done: Done[Point] = finish(engine.run(MAP, MapParams.of(settings)))
    return {
        "picture": uploads.data_uri(png.write(done.value.picture, done.recipe)),
        "place": done.value.place,
        "nearest": done.value.nearest,
        "ms": round(done.timings["total"] * 1000, 1),
    }
