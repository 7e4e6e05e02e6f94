"""The Images tab: words to a picture, every step in between, and the pictures that this browser keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from aigc_demo.engine import Engine
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.ui import as_diffusers, facts, ideas, images_page, prompt_count, travel, uploads
from aigc_demo.ui.clicks import PRIVATE, QUICK, bind_job, bind_stop
from aigc_demo.ui.film import film
from aigc_demo.ui.form import Form
from aigc_demo.ui.gallery import gallery
from aigc_demo.ui.grid import BETWEEN, Panel, bind_grid, place_grid
from aigc_demo.ui.images_page import Click, Update
from aigc_demo.ui.model_choice import place_model
from aigc_demo.ui.queued import Queue, bind_queue, queue_list
from aigc_demo.ui.run import listener, told_in
from aigc_demo.ui.section import KEEP, changed
from aigc_demo.ui.words import Catalogue
from aigc_demo.words import Words

TITLE = Words("Images", "图像")
BRUSH = ("#0d9488", 0.65)
"""Colour and opacity: what is painted over stays to be seen, and counts as painted."""
KEEP_PICTURES = """async (shown, recipes) => {
    for (const [n, item] of (shown || []).entries())
        if (item.image && item.image.url && recipes && recipes[n]) await aigc.pictures.add({url: item.image.url, recipe: recipes[n]});
}"""
SETTLE = "() => new Promise((done) => setTimeout(done, 500))"
"""The canvas tells of no change when it gets its first picture or is emptied by us, and of what was there before when
it is: what it holds is known a moment later."""


@dataclass(frozen=True)
class Parts:
    """The components that clicks read and change."""

    form: Form
    tokens: gr.HTML
    ideas: gr.HTML
    film: gr.HTML
    pictures: gr.Gallery
    status: gr.HTML
    recipes: gr.JSON
    code: gr.Code
    snippet: gr.Code
    start: gr.Accordion
    canvas: gr.ImageMask
    make: gr.Button
    stop: gr.Button
    drop: gr.UploadButton
    model_note: gr.HTML
    kept: gr.HTML
    between: gr.Button
    add: gr.Button
    queue: gr.State
    waiting: gr.HTML
    grid: Panel
    travel: travel.Panel

    def paint(self, update: Update) -> dict[Any, Any]:
        """What gradio is to change for an update."""
        out: dict[Any, Any] = {}
        if update.busy is not KEEP:
            out[self.make] = gr.update(visible=not update.busy)
            out[self.stop] = gr.update(visible=update.busy)
            out[self.add] = gr.update(visible=update.busy)
            out[self.between] = gr.update(visible=update.busy and update.several)
        if update.settings is not KEEP:
            out |= {
                self.form.components[name]: value for name, value in update.settings.items() if name in self.form.names
            }
        if update.canvas is not KEEP and update.canvas:
            out[self.start] = gr.update(open=True)
        same = {
            self.film: update.film,
            self.pictures: update.pictures,
            self.status: update.status,
            self.recipes: update.recipes,
            self.code: update.code,
            self.canvas: update.canvas,
            self.model_note: update.model_note,
        }
        return out | changed(same)

    @property
    def buttons(self) -> list[gr.Button]:
        """Those that come and go with a job."""
        return [self.make, self.add, self.stop, self.between]

    @property
    def painted(self) -> list[Any]:
        """Everything that `paint` may change."""
        parts = [self.film, self.pictures, self.status, self.recipes, self.code, self.canvas, self.start]
        return [*parts, *self.buttons, self.model_note, *self.form.inputs]


def build(engine: Engine, say: Catalogue, language: gr.Textbox, arrived: Dependency) -> None:
    """Lay the tab out and bind it. language: holds the page's language, once `arrived` has happened."""
    with gr.Tab(say(TITLE), id="images", elem_id="tab-images"):
        parts = _layout(engine, say, language)
    _bind(engine, parts, language, arrived)


def _layout(engine: Engine, say: Catalogue, language: gr.Textbox) -> Parts:
    form = Form(ImageParams, "images", say, IMAGES.rows[ImageParams.defaults()["model"]].defaults)
    part: dict[str, Any] = {}

    def button(name: str, words: Words, **options: Any) -> None:
        part[name] = gr.Button(say(words), elem_id=f"images-{name}-button", min_width=90, **options)

    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            placeholder = say(Words("smiling face with sunglasses, 3D style", "墨镜笑脸，立体风格"))
            form.place("prompt", lines=1, max_lines=6, info=None, placeholder=placeholder)
            part["tokens"] = prompt_count.place("images-tokens")
            part["ideas"] = ideas.place("images-ideas")
            with gr.Row():
                button("make", Words("Generate", "生成"), variant="primary")
                button("add", Words("Add to queue", "加入队列"), variant="primary", visible=False)
                button("stop", Words("Stop", "停止"), variant="stop", visible=False)
                button("between", BETWEEN, visible=False)
            part["waiting"], part["queue"] = queue_list(elem_id="images-queue"), gr.State(Queue())
            part["pictures"] = gr.Gallery(
                label=say(Words("Pictures", "图片")),
                elem_id="images-pictures",
                columns=2,
                height="auto",
                object_fit="contain",
                preview=True,
                buttons=["download", "fullscreen"],
                interactive=False,
            )
            part["status"] = gr.HTML(elem_id="images-status")
            part["film"] = film(
                {name: marker.label for name, (_, marker) in ImageParams.markers().items()}, elem_id="images-film"
            )
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            part["model_note"] = place_model(form, engine, IMAGES)
            for name in ("style", "num_inference_steps", "guidance_scale", "seed"):
                form.place(name)
            with gr.Accordion(say(Words("Size, number, sampler", "尺寸、数量与采样器")), open=False):
                for name in ("num_images", "width", "height", "scheduler", "variation_strength", "variation_seed"):
                    form.place(name)
                form.place("negative_prompt", lines=1)
    start = gr.Accordion(say(Words("Start from a picture", "从图片开始")), open=False, elem_id="images-from-picture")
    part["start"] = start
    with start, gr.Row():
        with gr.Column(scale=3, min_width=320):
            part["canvas"] = gr.ImageMask(
                label=say(Words("Picture; paint what is to change", "图片；涂抹要改变的部分")),
                elem_id="images-canvas",
                sources=["upload", "clipboard"],
                layers=False,
                transforms=[],
                brush=gr.Brush(colors=[BRUSH], default_color=BRUSH, color_mode="fixed"),
                placeholder=say(Words("Upload or paste a picture", "上传或粘贴一张图片")),
                height=380,
            )
        with gr.Column(scale=2, min_width=300):
            form.place("strength")
            gr.Markdown(say(HOW_TO_EDIT), elem_classes="aigc-note")
    part["grid"] = place_grid(say)
    part["travel"] = travel.place_travel(say, language)
    with gr.Accordion(say(Words("Your pictures", "你的图片")), open=True, elem_id="images-kept"):
        part["kept"] = gallery(elem_id="images-gallery")
    with gr.Accordion(say(Words("Recipe: make it again", "配方：重现结果")), open=False, elem_id="images-recipes"):
        part["drop"] = gr.UploadButton(
            say(Words("Restore from a picture or a recipe", "从图片或配方恢复")), elem_id="images-drop", size="sm"
        )
        with gr.Row(equal_height=True):
            label = say(Words("As code, through this app", "代码形式，通过本应用"))
            part["code"] = gr.Code(
                label=label, language="python", elem_id="images-code", interactive=False, min_width=300
            )
            part["snippet"] = as_diffusers.place(say, "images-diffusers")
        part["recipes"] = gr.JSON(label=say(Words("Recipes", "配方")), elem_id="images-recipe")
    return Parts(form=form, **part)


HOW_TO_EDIT = Words(
    "With a picture here the model starts from it instead of from pure noise. Paint over a part and only that part is "
    "made anew. Remove it to start from noise again.",
    "这里有图片时，模型从它而不是纯噪声开始。涂抹一部分，就只重绘那一部分。移除图片即可重新从噪声开始。",
)


def _bind(engine: Engine, parts: Parts, language: gr.Textbox, arrived: Dependency) -> None:
    form = parts.form
    model = form.components["model"]
    inputs = [parts.canvas, language, *form.inputs]

    def draw(values: list[Any], request: gr.Request, event: dict[str, Any]) -> Iterator[dict[Any, Any]]:
        canvas, chosen, *settings = values
        named = dict(zip(form.names, settings, strict=True))
        for update in images_page.draw(engine, Click(named, canvas, chosen, request.session_hash or "", event)):
            yield parts.paint(update)

    def job(
        trigger: Callable[..., Any], work: Any, inputs: list[Component], more: Sequence[Component] = ()
    ) -> Dependency:
        """Bind work that makes pictures. more: what it paints beside the usual."""
        bound = bind_job(
            trigger,
            work,
            engine=engine,
            family=IMAGES,
            language=language,
            inputs=inputs,
            outputs=[*parts.painted, *more],
            waiting=lambda chosen: parts.paint(Update(busy=True, status=facts.busy(images_page.WAITING, chosen))),
            rest=lambda: parts.paint(Update(busy=False, status="")),
            already=images_page.ALREADY,
        )
        bound.success(None, js=KEEP_PICTURES, inputs=[parts.pictures, parts.recipes])
        return bound

    made = [job(trigger, draw, inputs) for trigger in (form.components["prompt"].submit, parts.make.click)]
    bind_stop(parts.stop, IMAGES)
    bind_stop(parts.between, IMAGES, between=True)

    def at_once(work: Callable[[dict[str, Any], str], Update]) -> Callable[..., Any]:
        """For the gallery's buttons."""

        def answer(values: list[Any], request: gr.Request, event: dict[str, Any]) -> Iterator[dict[Any, Any]]:
            with told_in(values[0]):
                yield parts.paint(work(event, values[0]))

        return listener(answer, [language])

    # queued: gradio shows no error of an event outside the queue
    options = {"inputs": [language], "outputs": parts.painted, **PRIVATE}
    reused = parts.kept.reuse(at_once(images_page.reuse), **options)
    taken = parts.grid.table.reuse(at_once(images_page.reuse), **options)
    parts.kept.reuse_seed(at_once(lambda event, chosen: images_page.reuse(event, chosen, ("seed",))), **options)
    edited = parts.kept.edit(at_once(images_page.edit), **options)
    varied = parts.kept.vary(at_once(images_page.vary), **options)
    made.append(job(varied.success, draw, inputs))
    parts.film.hold(at_once(images_page.hold), **options)

    def restore(file: Any, chosen: str) -> dict[Any, Any]:
        with told_in(chosen):
            return parts.paint(images_page.restore(uploads.read(file) or b"", chosen))

    restored = parts.drop.upload(restore, [parts.drop, language], parts.painted, **PRIVATE)
    compared = bind_grid(
        parts.grid,
        engine=engine,
        form=form,
        canvas=parts.canvas,
        language=language,
        arrived=arrived,
        drop=parts.drop,
        dropped=restored,
        busy=lambda busy: parts.paint(Update(busy=busy, several=True)),
        also=parts.buttons,
        measured=made,
    )
    travel.bind_travel(parts.travel, engine, form, language, parts.drop, restored.then)
    _bind_queue(parts, engine, language, job, [*made, *compared])

    arrived.then(
        lambda model, chosen: images_page.model_note(engine, model, chosen),
        [model, language],
        [parts.model_note],
        **PRIVATE,
    )
    model.input(
        lambda *values: parts.paint(images_page.chosen(engine, *values)),
        [model, form.components["scheduler"], form.components["style"], language],
        parts.painted,
        **PRIVATE,
    )
    as_diffusers.bind(parts.snippet, parts.recipes, engine)
    ideas.bind(parts.ideas, engine, model, language, arrived)
    prompt_count.bind(parts.tokens, engine, form, language, [arrived.then, parts.recipes.change])
    idle = {
        "fn": lambda *values: images_page.what_is_idle(engine, *values),
        "inputs": [model, form.components["guidance_scale"], parts.canvas, language],
        "outputs": [form.components[name] for name in images_page.IDLE],
        "trigger_mode": "always_last",
        **QUICK,
    }
    arrived.then(**idle)
    for knob in (model, form.components["guidance_scale"]):
        knob.change(**idle)
    canvas = parts.canvas
    for happened in (reused.then, taken.then, edited.then, restored.then, canvas.change, canvas.upload, canvas.clear):
        happened(None, js=SETTLE, **QUICK).then(**idle)


def _bind_queue(
    parts: Parts, engine: Engine, language: gr.Textbox, job: Callable[..., Dependency], others: Sequence[Dependency]
) -> None:
    """Settings that wait until what is being made is done. job: binds work that makes pictures. others: such jobs."""

    def put(queue: Queue, values: list[Any]) -> None:
        canvas, *settings = values
        named = dict(zip(parts.form.names, settings, strict=True))
        asked = ImageParams.of(named | images_page.given(canvas))
        many = f" × {asked.num_images}" if asked.num_images > 1 else ""
        queue.add(named, canvas, (asked.prompt, f"{asked.model}{many}"))

    def draw(values: list[Any], request: gr.Request, event: dict[str, Any]) -> Iterator[dict[Any, Any]]:
        queue, chosen = values
        entry = queue.take()
        if entry is None:
            yield parts.paint(Update(busy=False, status=""))
            return
        yield {parts.waiting: queue.shown(busy=True)}
        click = Click(entry.settings, entry.canvas, chosen, request.session_hash or "")
        for update in images_page.draw(engine, click):
            yield parts.paint(update)

    bind_queue(
        parts.waiting,
        parts.queue,
        parts.add,
        family=IMAGES,
        language=language,
        inputs=[parts.canvas, *parts.form.inputs],
        put=put,
        begin=lambda trigger: job(trigger, draw, [parts.queue, language], [parts.waiting]),
        others=others,
    )
