"""What the section that finds a picture does on a click, without its layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from PIL import Image

from aigc_demo import png
from aigc_demo.engine import Engine
from aigc_demo.generators import gan_project
from aigc_demo.generators.gan_project import Projected
from aigc_demo.generators.gan_rows import GAN_PROJECT
from aigc_demo.results import Done
from aigc_demo.ui import facts, samples, score_plot, uploads
from aigc_demo.ui.gan_judge_page import FACES
from aigc_demo.ui.run import paced, run
from aigc_demo.ui.score_plot import plain
from aigc_demo.ui.section import KEEP
from aigc_demo.words import Words

LIVE = 6
"""Updates a second."""
SAVE = Words("Save PNG", "保存 PNG")
TARGET = Words("Your picture, at 64 pixels", "你的图片，64 像素")
NEAREST = Words("The nearest that the forger makes", "伪造者做得最接近的")
ERROR = Words("Distance (RMSE)", "距离（RMSE）")
YOURS, OWN, REAL = Words("Yours", "你的图片"), Words("Its own pictures", "它自己的图片"), Words("Real faces", "真脸")
VERDICTS = {
    gan_project.CAN: Words(
        "The forger can make this: it comes about as near as to pictures of its own.",
        "伪造者能做出这张图：接近的程度与寻找它自己的图片时相当。",
    ),
    gan_project.LIKENESS: Words(
        "The forger does not make this picture, only something like it: {times} times as far as pictures of its own, and no "
        "farther than it stays from real faces.",
        "伪造者做不出这张图，只能做出与它近似的：距离是它自己图片的 {times} 倍，不比它与真脸的距离更远。",
    ),
    gan_project.OUTSIDE: Words(
        "The forger does not make this: only a w farther out than 98% of all seeds' comes this near.",
        "伪造者不会做出这张图：只有比 98% 的种子更偏远的 w 才能如此接近。",
    ),
    gan_project.CANNOT: Words(
        "The forger cannot make this: its nearest is {times} times as far as pictures of its own, and farther than all real "
        "faces here.",
        "伪造者做不出这张图：最接近的结果，距离是它自己图片的 {times} 倍，比这里的真脸都远。",
    ),
    gan_project.UNKNOWN: Words(
        "Stopped before there was anything to compare with, and so without a verdict.",
        "在有可比较的结果之前已停止，因此没有结论。",
    ),
}
WARNED = (gan_project.OUTSIDE, gan_project.CANNOT)


@dataclass(frozen=True)
class Update:
    """What the page shows from now on. found: {"model": id, "w": numbers} of the newest picture."""

    view: str = KEEP
    chart: str = KEEP
    status: str = KEEP
    compared: str = KEEP
    found: dict[str, Any] | None = KEEP
    busy: bool = KEEP


def project(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[Update]:
    """values: of `ProjectParams`, the picture as an upload; the real ones are the shipped faces."""
    yield Update(busy=True, view="", chart="", status="", compared="")
    yield from paced(_project(engine, values, language, session), LIVE)


def _project(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[tuple[Update, bool]]:
    errors: list[float] = []
    target = ""
    given = {
        "image": uploads.read(values["image"]),
        "real": [samples.listed()[n][0].read_bytes() for n in FACES],
    }
    for item in run(engine, GAN_PROJECT, {**values, **given}, session):
        if isinstance(item, Done):
            yield _found(item, language), True
        elif item.stage == "project" and item.value is not None:
            seen, picture, error = item.value
            target = target or uploads.picture_uri(seen)
            errors.append(error)
            chart = score_plot.curve(ERROR.to(language), errors, (item.total or 1) - 1, plain)
            yield (
                Update(view=_pair(target, picture, language), chart=chart, status=facts.progress(item, language)),
                False,
            )
        else:
            yield Update(status=facts.progress(item, language)), item.index == 1


def _found(done: Done[Projected], language: str) -> Update:
    made, recipe = done.value, done.recipe
    file = uploads.data_uri(png.write(made.picture, recipe))
    return Update(
        view=_pair(uploads.picture_uri(made.target), made.picture, language)
        + saving(file, "aigc-projected.png", language),
        chart=score_plot.curve(ERROR.to(language), made.errors, len(made.errors) - 1, plain),
        status=_told(recipe, language),
        compared=_compared(made, language),
        found={"model": recipe["settings"]["model"], "w": [round(number, 5) for number in made.w]},
        busy=False,
    )


def _pair(target: str, picture: Image.Image, language: str) -> str:
    both = ((target, TARGET.to(language)), (uploads.picture_uri(picture), NEAREST.to(language)))
    return f"<div class='aigc-pair'>{facts.figures(both)}</div>"


def saving(uri: str, name: str, language: str) -> str:
    """A link that saves what is in `uri`."""
    return f"<p class='aigc-save'><a class='aigc-small' href='{escape(uri)}' download='{escape(name)}'>{SAVE.to(language)}</a></p>"


def _compared(made: Projected, language: str) -> str:
    if not made.own:
        return ""
    groups = ((YOURS, made.errors[-1:]), (OWN, made.own), (REAL, made.real))
    return score_plot.histograms(
        [(name.to(language), _range(errors), errors) for name, errors in groups], lambda number, _: plain(number, 2)
    )


def _range(errors: tuple[float, ...]) -> str:
    ends = [plain(end) for end in dict.fromkeys((min(errors), max(errors)))] if errors else []
    return " – ".join(ends)


def _told(recipe: Mapping[str, Any], language: str) -> str:
    figures = recipe["figures"]
    named, own = figures["verdict"], figures["own"]
    times = f"{figures['rmse'] / max(sum(own) / len(own), 1e-6):.1f}" if own else ""
    said = VERDICTS[named].format(times=times).to(language)
    usual = Words("{:.2f} of the usual", "通常距离的 {:.2f} 倍").to(language)
    milliseconds = Words("{:.0f} ms", "{:.0f} 毫秒").to(language)
    stopped = figures["finish"] == "stopped"
    return facts.note(said, "warn" if named in WARNED else "verdict") + facts.latent_facts(
        recipe,
        language,
        (Words("RMSE", "RMSE"), f"{plain(figures['rmse'])} ({figures['rmse'] * 255:.1f} / 255)"),
        (Words("PSNR", "PSNR"), f"{figures['psnr']:.1f} dB"),
        (Words("Distance from the mean of w", "到 w 均值的距离"), usual.format(figures["away"])),
        (Words("Steps", "步数"), str(figures["steps"])),
        (Words("Time per step", "每步用时"), milliseconds.format(recipe["timings"]["per_step"] * 1000)),
        (Words("Ended by", "结束原因"), facts.FINISH["stopped"].to(language) if stopped else ""),
    )
