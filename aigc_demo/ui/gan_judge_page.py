"""What the detective's two sections do on a click, without their layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from aigc_demo.engine import Engine
from aigc_demo.generators.gan_judge import Judged
from aigc_demo.generators.gan_rows import GAN_CLIMB, GAN_JUDGE
from aigc_demo.pictures import changes
from aigc_demo.results import Done
from aigc_demo.ui import facts, player, samples, score_plot, uploads
from aigc_demo.ui.run import paced, run
from aigc_demo.ui.score_plot import signed
from aigc_demo.ui.section import KEEP
from aigc_demo.words import Words

FACES = (4, 5, 6, 7, 8, 9)
"""The samples that show one."""
LIVE = 6
"""Updates a second of a climb."""
SHOWN = 6
"""Forged pictures whose heat is shown."""
REAL, FORGED, GIVEN = Words("Real", "真图"), Words("Forged", "伪造"), Words("Yours", "你的")
COUNTED = Words("{n}, mean {mean}", "{n} 张，平均 {mean}")
SCORE = Words("Score", "得分")
FLAT = Words("the score is flat here", "此处得分是平的")


@dataclass(frozen=True)
class Update:
    """What the page shows from now on."""

    chart: str = KEEP
    heat: str = KEEP
    player: dict[str, Any] | None = KEEP
    status: str = KEEP
    busy: bool = KEEP


def judge(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[Update]:
    """values: of `JudgeParams` but for the real pictures, which are the shipped faces; `given` as a gallery's."""
    yield Update(busy=True, status="", chart="", heat="")
    real = [samples.listed()[n][0].read_bytes() for n in FACES]
    given = [uploads.read(file) for file in uploads.listed(values["given"])]
    for item in run(engine, GAN_JUDGE, {**values, "real": real, "given": given}, session):
        if isinstance(item, Done):
            yield Update(
                chart=_chart(item.value, language),
                heat=_heat(item.value, language),
                status=_judge_facts(item.recipe, language),
                busy=False,
            )
        else:
            yield Update(status=facts.progress(item, language))


def climb(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[Update]:
    """values: of `ClimbParams`."""
    yield Update(busy=True, status="", player=None, chart="")
    yield from paced(_climb(engine, values, language, session), LIVE)


def _climb(engine: Engine, values: dict[str, Any], language: str, session: str) -> Iterator[tuple[Update, bool]]:
    frames: list[str] = []
    scores: list[float] = []
    title = Words("Up the score", "沿得分攀升").to(language)
    for item in run(engine, GAN_CLIMB, values, session):
        if isinstance(item, Done):
            track = {"title": title, "frames": frames, "changes": changes(item.value.frames)}
            shown = {"tracks": [track], "total": len(frames), "live": False, "recipe": item.recipe}
            chart = score_plot.curve(SCORE.to(language), item.value.scores, len(scores) - 1)
            yield Update(player=shown, chart=chart, status=_climb_facts(item.recipe, language), busy=False), True
        elif item.stage == "climb" and item.value is not None:
            picture, score = item.value
            frames += player.kept([picture])
            scores.append(score)
            live = {
                "tracks": [{"title": title, "frames": list(frames), "changes": ()}],
                "total": item.total,
                "live": True,
            }
            chart = score_plot.curve(SCORE.to(language), scores, (item.total or 1) - 1)
            yield Update(player=live, chart=chart, status=facts.progress(item, language)), False
        else:
            yield Update(status=facts.progress(item, language)), True


def _groups(judged: Judged) -> list[tuple[Words, Any]]:
    return [(REAL, judged.real), (FORGED, judged.forged), (GIVEN, judged.given)]


def _chart(judged: Judged, language: str) -> str:
    def told(scores: tuple[float, ...]) -> str:
        return COUNTED.format(n=len(scores), mean=signed(sum(scores) / len(scores))).to(language) if scores else ""

    return score_plot.histograms([(name.to(language), told(one.scores), one.scores) for name, one in _groups(judged)])


def _heat(judged: Judged, language: str) -> str:
    rows = []
    for name, one in reversed(_groups(judged)):  # a person's own first
        many = SHOWN if name is not GIVEN else len(one.heat)
        for picture, heat, score in list(zip(one.pictures, one.heat, one.scores, strict=False))[:many]:
            rows.append((uploads.picture_uri(_beside(picture, heat)), f"{name.to(language)} · {signed(score)}"))
    return facts.figures(rows)


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    both = Image.new("RGB", (left.width + right.width, left.height))
    both.paste(left)
    both.paste(right, (left.width, 0))
    return both


def _judge_facts(recipe: Mapping[str, Any], language: str) -> str:
    figures, settings = recipe["figures"], recipe["settings"]
    apart = figures["told_apart"]
    pairs = Words("{:.0%} of pairs", "{:.0%} 的配对").to(language)
    return facts.latent_facts(
        recipe,
        language,
        (Words("Told apart", "分辨正确"), "" if apart is None else pairs.format(apart)),
        (Words("Forged pictures", "伪造图片"), str(figures["pictures"])),
        (Words("Truncation", "截断"), f"{settings['truncation']:g}"),
        _ended(figures, language),
    )


def _climb_facts(recipe: Mapping[str, Any], language: str) -> str:
    figures = recipe["figures"]
    scores, away = figures["scores"], figures["away"]
    times = Words("{:.2f} → {:.2f} of the usual", "通常距离的 {:.2f} → {:.2f} 倍").to(language)
    milliseconds = Words("{:.0f} ms", "{:.0f} 毫秒").to(language)
    return facts.latent_facts(
        recipe,
        language,
        (Words("Steps", "步数"), str(figures["steps"])),
        (SCORE, f"{signed(scores[0])} → {signed(scores[-1])}"),
        (Words("Distance from the mean of w", "到 w 均值的距离"), times.format(*away)),
        (Words("Time per step", "每步用时"), milliseconds.format(recipe["timings"]["per_step"] * 1000)),
        _ended(figures, language),
    )


def _ended(figures: Mapping[str, Any], language: str) -> tuple[Words, str]:
    found = {"stopped": facts.FINISH["stopped"], "flat": FLAT}.get(str(figures["finish"]))
    return Words("Ended by", "结束原因"), found.to(language) if found else ""
