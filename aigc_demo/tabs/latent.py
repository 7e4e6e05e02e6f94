"""The Latent tab: a picture through an autoencoder and back, ways between pictures, and what the decoder makes of noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.events import Dependency

from aigc_demo.engine import Engine, Family
from aigc_demo.generators import latent_rows
from aigc_demo.generators.latent import SPATIAL_MODEL, PriorParams, RebuildParams, WalkParams
from aigc_demo.generators.latent_rows import MAP, PRIOR, REBUILD, WALK
from aigc_demo.ui import facts, latent_page, model_choice, samples, section, uploads
from aigc_demo.ui.clicks import PRIVATE
from aigc_demo.ui.form import Form
from aigc_demo.ui.latent_map import latent_map
from aigc_demo.ui.latent_page import Update
from aigc_demo.ui.model_choice import place_model
from aigc_demo.ui.player import player
from aigc_demo.ui.run import listener, told_in
from aigc_demo.ui.section import Part, buttons, picture_input
from aigc_demo.ui.words import Catalogue
from aigc_demo.words import Words

TITLE = Words("Latent space", "潜空间")
ABOUT = Words(
    "An encoder turns a picture into a few numbers, and a decoder turns numbers into a picture. What the numbers cannot "
    "hold is lost; what lies between two sets of them is a picture as well.",
    "编码器把图片变成少量数字，解码器把数字变成图片。数字装不下的会丢失；两组数字之间的点，同样是一幅图片。",
)
REBUILD_TITLE = Words("Rebuild", "重建")
WALK_TITLE = Words("Between", "图片之间")
WALK_ABOUT = Words(
    "Every frame is a point of the latent space, decoded. Beside it the same way through the pixels: where both look "
    "alike, the latent has learnt no better way.",
    "每一帧都是潜空间中的一个点经解码而来。旁边是经过像素的同一条路径：两者看起来相同之处，潜空间并没有学到更好的路。",
)
MAP_TITLE = Words("Walk the map", "在地图上漫步")
PRIOR_TITLE = Words("From noise", "从噪声抽取")


PRIOR_ABOUT = Words(
    "An autoencoder whose latent has places gives confetti here: its places belong together, and nobody told the noise. "
    "To draw numbers that fit together is what a diffusion model learns (see Images).",
    "潜变量带有位置的自编码器在这里只会给出碎屑：各个位置本应彼此协调，而噪声并不知道。学会抽取彼此协调的数，正是扩散模型所做的事（见“图像”）。",
)


def build(engine: Engine, say: Catalogue, language: gr.Textbox, arrived: Dependency) -> None:
    """Lay the tab out and bind it. language: holds the page's language, once `arrived` has happened."""
    with gr.Tab(say(TITLE), id="latent", elem_id="tab-latent"):
        gr.Markdown(say(ABOUT), elem_classes="aigc-note")
        with gr.Tabs() as sections:
            with gr.Tab(say(REBUILD_TITLE), id=REBUILD.name):
                rebuilt, picture, offered = _rebuild(engine, say)
            with gr.Tab(say(WALK_TITLE), id=WALK.name):
                walked, way, more = _walk(engine, say, language)
            chart = _map(engine, say)
            with gr.Tab(say(PRIOR_TITLE), id=PRIOR.name):
                drawn = _prior(engine, say)
        drop = gr.UploadButton(
            say(Words("Restore from a picture, an animation or a recipe", "从图片、动画或配方恢复")),
            elem_id="latent-drop",
            size="sm",
        )
    made = _bind(engine, REBUILD, rebuilt, latent_page.rebuild, language, arrived)
    made(rebuilt.make.click)
    _bind(engine, WALK, walked, latent_page.walk, language, arrived)(walked.make.click)
    _bind(engine, PRIOR, drawn, latent_page.draw, language, arrived)(drawn.make.click)

    def choose(values: list[Any], _request: gr.Request, event: dict[str, Any]) -> Iterator[str]:
        with told_in(values[0]):
            yield samples.picked(event)

    chosen = offered.pick(listener(choose, [language]), [language], [picture], **PRIVATE)
    made(chosen.then)

    def add(values: list[Any], _request: gr.Request, event: dict[str, Any]) -> Iterator[list[str]]:
        with told_in(values[0]):
            yield latent_page.added(values[1], samples.picked(event))

    parts = {REBUILD.name: rebuilt, WALK.name: walked, PRIOR.name: drawn}

    def restore(file: Any, chosen: str) -> dict[Any, Any]:
        with told_in(chosen):
            family, settings = latent_page.restore(uploads.read(file) or b"")
            if family is MAP:
                return {sections: gr.Tabs(selected=MAP.name), chart: {"settings": settings}}
            part = parts[family.name]
            said = facts.note(latent_page.RESTORED.to(chosen))
            values = {part.form.components[name]: value for name, value in settings.items()}
            return {sections: gr.Tabs(selected=family.name), **part.paint(Update(status=said)), **values}

    painted = [part for one in parts.values() for part in (*one.form.inputs, *one.painted)]
    painted += [chart] if chart else []
    drop.upload(restore, [drop, language], [sections, *painted], **PRIVATE)

    more.pick(listener(add, [language, way]), [language, way], [way], **PRIVATE)
    arrived.then(lambda: [samples.file(n) for n in samples.FIRST], None, [way], **PRIVATE)


def _rebuild(engine: Engine, say: Catalogue) -> tuple[Part, gr.Image, gr.HTML]:
    form = Form(RebuildParams, "rebuild", say)
    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            offered = samples.samples(elem_id="rebuild-samples")
            both = gr.ImageSlider(
                label=say(Words("Original, and rebuilt", "原图与重建")),
                elem_id="rebuild-both",
                max_height=420,
                interactive=False,
                buttons=["download", "fullscreen"],
            )
            status = gr.HTML(elem_id="rebuild-status")
            inside = gr.HTML(elem_id="rebuild-inside")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            picture = picture_input(say, "rebuild")
            form.adopt("image", picture)
            make, stop = buttons(say, "rebuild", Words("Rebuild", "重建"))
            note = place_model(form, engine, REBUILD)
            form.place("spread")
            with gr.Accordion(say(Words("Size and seed", "尺寸与种子")), open=False):
                form.place("size")
                form.place("seed")
    shown = {"both": both, "status": status, "inside": inside}
    return Part(form, make, stop, note, shown), picture, offered


def _walk(engine: Engine, say: Catalogue, language: gr.Textbox) -> tuple[Part, gr.Gallery, gr.HTML]:
    form = Form(WalkParams, "walk", say)
    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            frames = player(language, elem_id="walk-player")
            status = gr.HTML(elem_id="walk-status")
            gr.Markdown(say(WALK_ABOUT), elem_classes="aigc-note")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            way = gr.Gallery(
                label=say(Words("Pictures of the way, in order", "路径上的图片，按顺序")),
                elem_id="walk-images",
                columns=3,
                height=200,
                object_fit="contain",
                file_types=["image"],
                sources=["upload", "clipboard"],
                type="filepath",
                interactive=True,
                allow_preview=False,
                buttons=[],
            )
            form.adopt("images", way)
            more = samples.samples(elem_id="walk-samples")
            make, stop = buttons(say, "walk", Words("Walk", "开始漫游"))
            note = place_model(form, engine, WALK)
            beside = gr.Dropdown(
                [(say(Words("Nothing", "无")), ""), *model_choice.model_choices(engine, WALK)],
                value=SPATIAL_MODEL,
                label=say(Words("Beside it", "对照模型")),
                info=say(Words("Another model that walks the same way.", "走同一条路径的另一个模型。")),
                elem_id="walk-beside",
            )
            form.adopt("beside", beside)
            for name in ("interpolation", "frames", "loop"):
                form.place(name)
            with gr.Accordion(say(Words("Pace and size", "节奏与尺寸")), open=False):
                form.place("easing")
                form.place("size")
    return Part(form, make, stop, note, {"player": frames, "status": status}), way, more


def _map(engine: Engine, say: Catalogue) -> gr.HTML | None:
    """The section, where there is a map of the weights that ship."""
    found = latent_rows.chart()
    if found is None:
        return None
    with gr.Tab(say(MAP_TITLE), id=MAP.name):
        return latent_map(engine, found, elem_id="latent-map")


def _prior(engine: Engine, say: Catalogue) -> Part:
    form = Form(PriorParams, "prior", say)
    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            pictures = gr.Gallery(
                label=say(Words("Pictures", "图片")),
                elem_id="prior-pictures",
                columns=4,
                height="auto",
                object_fit="contain",
                interactive=False,
                buttons=["download"],
            )
            status = gr.HTML(elem_id="prior-status")
            gr.Markdown(say(PRIOR_ABOUT), elem_classes="aigc-note")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            make, stop = buttons(say, "prior", Words("Draw", "抽取"))
            note = place_model(form, engine, PRIOR)
            form.place("temperature")
            form.place("num_images")
            form.place("seed", value=-1)
            with gr.Accordion(say(Words("Size", "尺寸")), open=False):
                form.place("size")
    return Part(form, make, stop, note, {"pictures": pictures, "status": status})


def _bind(
    engine: Engine,
    family: Family,
    part: Part,
    work: Callable[..., Iterator[Update]],
    language: gr.Textbox,
    arrived: Dependency,
) -> Callable[[Callable[..., Any]], Any]:
    return section.bind(
        engine,
        family,
        part,
        work,
        language,
        arrived,
        waiting=latent_page.WAITING,
        already=latent_page.ALREADY,
        more=latent_page.model_rows,
    )
