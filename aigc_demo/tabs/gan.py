"""The adversarial tab: what a forger makes of seeds, the ways between them, and what its detective says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.events import Dependency

from aigc_demo.engine import Engine, Family
from aigc_demo.generators.gan import CIRCLE, SampleParams, WalkGanParams
from aigc_demo.generators.gan_directions import FOUND, NAMES, DirectionsParams
from aigc_demo.generators.gan_judge import ClimbParams, JudgeParams
from aigc_demo.generators.gan_project import ProjectParams
from aigc_demo.generators.gan_rows import GAN, GAN_CLIMB, GAN_DIRECTIONS, GAN_JUDGE, GAN_PROJECT, GAN_WALK
from aigc_demo.params import Params
from aigc_demo.ui import (
    facts,
    gan_directions_page,
    gan_judge_page,
    gan_page,
    gan_project_page,
    samples,
    section,
    uploads,
)
from aigc_demo.ui.clicks import PRIVATE
from aigc_demo.ui.form import Form
from aigc_demo.ui.gan_page import Update
from aigc_demo.ui.model_choice import model_choices, place_model
from aigc_demo.ui.player import player
from aigc_demo.ui.run import listener, told_in
from aigc_demo.ui.section import Part, buttons, picture_input
from aigc_demo.ui.words import Catalogue
from aigc_demo.words import Words

TITLE = Words("GAN", "生成对抗网络")
ABOUT = Words(
    "A generative adversarial network is a forger and a detective. The forger turns noise into pictures, the detective tells "
    "them from real ones; each learnt from the other, and the forger never saw a real picture.",
    "生成对抗网络由一位伪造者和一位侦探组成：伪造者把噪声变成图片，侦探把它们与真图区分开。两者互为老师，伪造者从未见过真图。",
)
LIMITS = Words(
    "It takes no prompt, and it cannot say how likely a picture is. It may also have dropped whole kinds of pictures that it "
    "should have learnt, and nothing in its training reports that.",
    "它不接受提示词，也说不出一张图片有多大可能出现。它还可能漏掉了本该学会的某些种类，而训练过程中没有任何迹象会提示这一点。",
)
FORGE_TITLE = Words("Samples", "样本")
FORGE_ABOUT = Words(
    "Under each picture its score and its seed. The higher, the rather the detective takes it for real; only differences "
    "between scores mean anything. Select a picture to take its seed.",
    "每张图片下方是得分和种子。得分越高，侦探越倾向于把它当作真图；只有得分之间的差异才有意义。选中一张图片即可沿用它的种子。",
)
WALK_TITLE = Words("Walk", "漫游")
WALK_ABOUT = Words(
    "z is the noise that the forger is given; w is what its first layers make of it, and what all others draw from. The "
    "curves tell through which of the two the picture changes more evenly.",
    "z 是交给伪造者的噪声；w 是它最前面几层由 z 算出的结果，其余各层都据此作画。曲线显示经过哪一个空间时画面变化更均匀。",
)
JUDGE_TITLE = Words("Detective", "侦探")
JUDGE_ABOUT = Words(
    "The real ones are the six faces that ship as samples; it may have learnt from some of them. Right of each picture, "
    "orange: where a change of the pixels would move the score most.",
    "真图是随应用提供的六张脸，其中一些它可能学过。每张图片右侧的橙色，表示改变该处像素最能影响得分。",
)
CLIMB_TITLE = Words("Climb", "攀升")
CLIMB_ABOUT = Words(
    "Each step moves w the way that raises this one detective's score most. What pleases it need not be a better face: "
    "it may come to praise what nobody would take for real.",
    "每一步都把 w 移向最能提高这一位侦探评分的方向。它喜欢的不一定是更好的脸：到最后，它夸奖的也许是谁都不会当真的图片。",
)
PROJECT_TITLE = Words("Projection", "投影")
PROJECT_ABOUT = Words(
    "Find this picture in the forger's world: w is moved step by step to where its picture differs least, pixel by pixel, "
    "from yours. Pixels tell how near it comes, not whether it is a face.",
    "在伪造者的世界里找到这张图：一步步移动 w，使它画出的图片与你的图片逐像素差异最小。像素只说明有多接近，并不说明那是不是一张脸。",
)
DIRECTIONS_TITLE = Words("Directions", "方向")
DIRECTIONS_ABOUT = Words(
    "The six directions in which w varies most over 4,096 seeds (its principal components). Nobody gave them a meaning: what "
    "each one changes is for you to see, and may differ from start to start.",
    "在 4,096 个种子上 w 变化最大的六个方向（主成分）。没有人赋予它们含义：每个方向改变什么，请自己观察；起点不同，效果也可能不同。",
)
DEVIATIONS = Words(
    "Each slider counts in standard deviations of w along its direction.", "滑块的单位是 w 沿该方向的标准差。"
)
UNMIXED = Words("No style is mixed: choose a layer first.", "没有混合风格：请先选择一层。")
ROUND = Words("Without effect on a circle, which is closed and even.", "对圆不起作用：圆是闭合且匀速的。")


def build(engine: Engine, say: Catalogue, language: gr.Textbox, arrived: Dependency) -> None:
    """Lay the tab out and bind it. language: holds the page's language, once `arrived` has happened."""
    with gr.Tab(say(TITLE), id="gan", elem_id="tab-gan"):
        gr.Markdown(say(ABOUT), elem_classes="aigc-note")
        gr.Markdown(say(LIMITS), elem_classes="aigc-note")
        with gr.Tabs() as sections:
            with gr.Tab(say(FORGE_TITLE), id=GAN.name):
                forged = _forge(engine, say)
            with gr.Tab(say(WALK_TITLE), id=GAN_WALK.name):
                walked = _walk(engine, say, language)
            with gr.Tab(say(JUDGE_TITLE), id=GAN_JUDGE.name):
                judged = _judge(engine, say)
            with gr.Tab(say(CLIMB_TITLE), id=GAN_CLIMB.name):
                climbed = _climb(engine, say, language)
            with gr.Tab(say(PROJECT_TITLE), id=GAN_PROJECT.name):
                projected, offered, onward = _project(engine, say)
            with gr.Tab(say(DIRECTIONS_TITLE), id=GAN_DIRECTIONS.name) as opened:
                panel = _directions(engine, say, projected.shown["found"])
        drop = gr.UploadButton(
            say(Words("Restore from a picture, an animation or a recipe", "从图片、动画或配方恢复")),
            elem_id="gan-drop",
            size="sm",
        )
    _bind(engine, GAN, forged, gan_page.forge, language, arrived)
    _bind(engine, GAN_WALK, walked, gan_page.walk, language, arrived)
    _bind(engine, GAN_JUDGE, judged, gan_judge_page.judge, language, arrived)
    _bind(engine, GAN_CLIMB, climbed, gan_judge_page.climb, language, arrived)
    shown = gan_directions_page.bind(engine, panel, language, arrived, opened)
    _find(engine, projected, offered, onward, language, arrived, sections, panel, shown)
    _seeds(forged, language)
    _switch(forged.form, "mix_layer", {"style_seed": UNMIXED}, lambda layer: bool(layer), language)
    _switch(walked.form, "interpolation", {"loop": ROUND, "easing": ROUND}, lambda way: way != CIRCLE, language)

    parts = {GAN.name: forged, GAN_WALK.name: walked, GAN_JUDGE.name: judged, GAN_CLIMB.name: climbed}
    parts |= {GAN_PROJECT.name: projected}
    moved = panel.form.components

    def restore(file: Any, chosen: str) -> dict[Any, Any]:
        with told_in(chosen):
            family, settings = gan_page.restore(uploads.read(file) or b"")
            to = {sections: gr.Tabs(selected=family.name)}
            if family is GAN_DIRECTIONS:
                w = settings.pop("w", None)
                found = {panel.found: {"model": settings.get("model"), "w": list(w)}} if w else {}
                return to | found | {moved[name]: value for name, value in settings.items()}
            part = parts[family.name]
            said = facts.note((gan_page.BUT_PICTURE if family is GAN_PROJECT else gan_page.RESTORED).to(chosen))
            values = {part.form.components[name]: value for name, value in settings.items()}
            return {**to, **part.paint(Update(status=said)), **values}

    painted = [part for one in parts.values() for part in (*one.form.inputs, *one.painted)]
    shown(drop.upload(restore, [drop, language], [sections, *painted, *panel.form.inputs], **PRIVATE).success)


def _form(params: type[Params], prefix: str, engine: Engine, say: Catalogue) -> Form:
    return Form(params, prefix, say, {"model": model_choices(engine, GAN)[0][1]})


def _forge(engine: Engine, say: Catalogue) -> Part:
    form = _form(SampleParams, "gan", engine, say)
    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            pictures = gr.Gallery(
                label=say(Words("Forged pictures", "伪造的图片")),
                show_label=False,
                elem_id="gan-pictures",
                columns=6,
                height="auto",
                object_fit="contain",
                interactive=False,
                buttons=["download"],
            )
            status = gr.HTML(elem_id="gan-status")
            gr.Markdown(say(FORGE_ABOUT), elem_classes="aigc-note")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            make, stop = buttons(say, "gan", Words("Forge", "伪造"))
            note = place_model(form, engine, GAN)
            form.place("truncation")
            form.place("num_images")
            form.place("seed", value=-1)
            form.place("mix_layer")
            form.place("style_seed", interactive=False, info=say(UNMIXED))
    return Part(form, make, stop, note, {"pictures": pictures, "status": status})


def _walk(engine: Engine, say: Catalogue, language: gr.Textbox) -> Part:
    form = _form(WalkGanParams, "gan_walk", engine, say)
    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            frames = player(language, elem_id="gan_walk-player")
            status = gr.HTML(elem_id="gan_walk-status")
            gr.Markdown(say(WALK_ABOUT), elem_classes="aigc-note")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            form.place("seeds")
            make, stop = buttons(say, "gan_walk", Words("Walk", "开始漫游"))
            note = place_model(form, engine, GAN_WALK)
            for name in ("interpolation", "frames", "truncation", "loop", "easing"):
                form.place(name)
    return Part(form, make, stop, note, {"player": frames, "status": status})


def _judge(engine: Engine, say: Catalogue) -> Part:
    form = _form(JudgeParams, "gan_judge", engine, say)
    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            chart = gr.HTML(elem_id="gan_judge-chart")
            status = gr.HTML(elem_id="gan_judge-status")
            heat = gr.HTML(elem_id="gan_judge-heat")
            gr.Markdown(say(JUDGE_ABOUT), elem_classes="aigc-note")
            gr.Markdown(say(samples.CREDIT), elem_classes="aigc-note")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            given = gr.Gallery(
                label=say(Words("Your pictures, up to 12", "你的图片，最多 12 张")),
                elem_id="gan_judge-given",
                columns=4,
                height=160,
                object_fit="contain",
                file_types=["image"],
                sources=["upload", "clipboard"],
                type="filepath",
                interactive=True,
                allow_preview=False,
                buttons=[],
            )
            form.adopt("given", given)
            make, stop = buttons(say, "gan_judge", Words("Judge", "鉴定"))
            note = place_model(form, engine, GAN_JUDGE)
            for name in ("num_images", "truncation", "seed"):
                form.place(name)
    return Part(form, make, stop, note, {"chart": chart, "status": status, "heat": heat})


def _climb(engine: Engine, say: Catalogue, language: gr.Textbox) -> Part:
    form = _form(ClimbParams, "gan_climb", engine, say)
    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            frames = player(language, elem_id="gan_climb-player")
            chart = gr.HTML(elem_id="gan_climb-chart")
            status = gr.HTML(elem_id="gan_climb-status")
            gr.Markdown(say(CLIMB_ABOUT), elem_classes="aigc-note")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            make, stop = buttons(say, "gan_climb", Words("Climb", "攀升"))
            note = place_model(form, engine, GAN_CLIMB)
            for name in ("seed", "steps", "rate", "truncation"):
                form.place(name)
    return Part(form, make, stop, note, {"player": frames, "chart": chart, "status": status})


def _project(engine: Engine, say: Catalogue) -> tuple[Part, gr.HTML, gr.Button]:
    form = _form(ProjectParams, "gan_project", engine, say)
    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            offered = samples.samples(elem_id="gan_project-samples")
            view = gr.HTML(elem_id="gan_project-view")
            onward = gr.Button(
                say(Words("Move it along the directions", "沿各方向移动它")),
                elem_id="gan_project-onward",
                size="sm",
                visible=False,
            )
            status = gr.HTML(elem_id="gan_project-status")
            chart = gr.HTML(elem_id="gan_project-chart")
            compared = gr.HTML(elem_id="gan_project-compared")
            gr.Markdown(say(PROJECT_ABOUT), elem_classes="aigc-note")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            picture = picture_input(say, "gan_project")
            form.adopt("image", picture)
            make, stop = buttons(say, "gan_project", Words("Find it", "开始寻找"))
            note = place_model(form, engine, GAN_PROJECT)
            for name in ("steps", "pull"):
                form.place(name)
    shown = {"view": view, "chart": chart, "status": status, "compared": compared, "found": gr.JSON(visible=False)}
    return Part(form, make, stop, note, shown), offered, onward


def _directions(engine: Engine, say: Catalogue, found: gr.JSON) -> gan_directions_page.Panel:
    form = _form(DirectionsParams, "gan_directions", engine, say)
    with gr.Row(elem_classes="aigc-columns", elem_id="gan_directions-columns"):
        with gr.Column(scale=3, min_width=320):
            view = gr.HTML(elem_id="gan_directions-view")
            status = gr.HTML(elem_id="gan_directions-status")
            shares = gr.HTML(elem_id="gan_directions-shares")
            gr.Markdown(say(DIRECTIONS_ABOUT), elem_classes="aigc-note")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            gr.Markdown(say(DEVIATIONS), elem_classes="aigc-note")
            for name in NAMES:
                form.place(name, info=None)
            with gr.Row():
                reset = gr.Button(say(Words("All to zero", "全部归零")), elem_id="gan_directions-reset", min_width=90)
                another = gr.Button(
                    say(Words("Another seed", "换一个种子")), elem_id="gan_directions-another", min_width=90
                )
            form.place("start", interactive=False, info=say(gan_directions_page.NONE_FOUND))
            form.place("seed", minimum=0)
            with gr.Accordion(say(Words("Truncation and model", "截断与模型")), open=False):
                form.place("truncation")
                note = place_model(form, engine, GAN_DIRECTIONS)
    shown = {"view": view, "shares": shares, "status": status}
    return gan_directions_page.Panel(form, reset, another, note, found, shown)


def _find(
    engine: Engine,
    part: Part,
    offered: gr.HTML,
    onward: gr.Button,
    language: gr.Textbox,
    arrived: Dependency,
    sections: gr.Tabs,
    panel: gan_directions_page.Panel,
    shown: Callable[[Callable[..., Any]], Any],
) -> None:
    """A picture is sought at a click, of a sample too; one that was found goes on to the directions."""
    made = section.bind(
        engine,
        GAN_PROJECT,
        part,
        gan_project_page.project,
        language,
        arrived,
        waiting=gan_page.WAITING,
        already=gan_page.ALREADY,
    )

    def choose(values: list[Any], _request: gr.Request, event: dict[str, Any]) -> Iterator[str]:
        with told_in(values[0]):
            yield samples.picked(event)

    picture = part.form.components["image"]
    chosen = offered.pick(listener(choose, [language]), [language], [picture], **PRIVATE)
    found = part.shown["found"]
    for trigger in (part.make.click, chosen.then):
        made(trigger).then(lambda there: gr.update(visible=bool(there)), [found], [onward], **PRIVATE)

    knobs = panel.form.components

    def go_on(there: dict[str, Any]) -> list[Any]:
        return [gr.Tabs(selected=GAN_DIRECTIONS.name), FOUND, there["model"]]

    shown(onward.click(go_on, [found], [sections, knobs["start"], knobs["model"]], **PRIVATE).success)


def _bind(
    engine: Engine,
    family: Family,
    part: Part,
    work: Callable[..., Iterator[Any]],
    language: gr.Textbox,
    arrived: Dependency,
) -> None:
    section.bind(engine, family, part, work, language, arrived, waiting=gan_page.WAITING, already=gan_page.ALREADY)(
        part.make.click
    )


def _seeds(part: Part, language: gr.Textbox) -> None:
    """A picture that is selected gives its seed."""

    def take(values: list[Any], _request: gr.Request, event: dict[str, Any]) -> Iterator[int]:
        with told_in(values[0]):
            yield gan_page.seed_of(event)

    part.shown["pictures"].select(listener(take, [language]), [language], [part.form.components["seed"]], **PRIVATE)


def _switch(
    form: Form, by: str, others: dict[str, Words], has_effect: Callable[[Any], bool], language: gr.Textbox
) -> None:
    """Disable fields while another's value leaves them without effect. others: name -> why."""
    markers = form.params.markers()

    def switch(value: Any, chosen: str) -> dict[Any, Any]:
        on = has_effect(value)
        return {
            form.components[name]: gr.update(interactive=on, info=(markers[name][1].help if on else why).to(chosen))
            for name, why in others.items()
        }

    form.components[by].change(switch, [form.components[by], language], [form.components[n] for n in others], **PRIVATE)
