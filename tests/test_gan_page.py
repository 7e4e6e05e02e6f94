"""Adversarial pairs as a person and a program meet them: a real server with a tiny pair, a real browser, gradio_client."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import PATIENCE, Site, Visitor, serving, visiting
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from test_latent import picture, same
from test_page_words import READ, english
from tiny_gan import make_gan

from aigc_demo import animation, png
from aigc_demo.errors import Invalid
from aigc_demo.generators.gan import SampleParams, WalkGanParams
from aigc_demo.generators.gan_rows import GAN, GAN_WALK
from aigc_demo.results import finish
from aigc_demo.ui import gan_page, score_plot

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("gan")
    make_gan(place / "models" / "pair")
    with serving(place) as started:
        yield started


@pytest.fixture(scope="module")
def client(site: Site) -> Client:
    return Client(site.url, verbose=False)


# ---- the interface ---------------------------------------------------------------------------------------------


# The interface gives what Python gives, and each file makes its own picture again, alone.
def test_sample_gan(client: Client, site: Site) -> None:
    files, recipes = client.predict(model="./pair", seed=7, num_images=3, mix_layer=4, api_name="/sample_gan")
    ours = finish(site.engine.run(GAN, SampleParams(model="./pair", seed=7, num_images=3, mix_layer=4))).value
    for n, (file, recipe) in enumerate(zip(files, recipes, strict=True)):
        with Image.open(file) as made:
            assert same(made, ours.pictures[n])
        family, settings = gan_page.restore(Path(file).read_bytes())
        assert recipe["figures"]["scores"] == [round(ours.scores[n], 4)]
        again = finish(site.engine.run(family, family.params.of(settings))).value
        assert again.seeds == (7 + n,)
        assert same(again.pictures[0], ours.pictures[n], within=1)


def test_walk_gan(client: Client, site: Site) -> None:
    in_z, in_w, film, recipe = client.predict(model="./pair", seeds="1, 5", frames=4, api_name="/walk_gan")
    ours = finish(site.engine.run(GAN_WALK, WalkGanParams(model="./pair", seeds="1, 5", frames=4))).value
    for files, frames in ((in_z, ours.in_z), (in_w, ours.in_w)):
        for file, frame in zip(files, frames, strict=True):
            with Image.open(file) as made:
                assert same(made, frame)
    data = Path(film).read_bytes()
    with Image.open(io.BytesIO(data)) as made:
        assert made.n_frames == 4
    found = animation.read(data)
    assert found is not None
    assert found.settings == recipe["settings"]


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("/sample_gan", {"truncation": 3}, "from 0 to 2"),
        ("/sample_gan", {"model": "./nothing"}, "no model folder"),
        ("/walk_gan", {"seeds": "1, 2, 3", "interpolation": "circle"}, "two seeds"),
    ],
)
def test_what_cannot_be_is_told(client: Client, name: str, values: dict[str, Any], told: str) -> None:
    with pytest.raises(AppError, match=told):
        client.predict(**{"model": "./pair", **values}, api_name=name)


def test_pairs_are_listed(client: Client) -> None:
    listed = [model["id"] for model in client.predict(api_name="/list_models") if model["family"] == "gan"]
    assert {"./pair", "emoji-gan"} <= set(listed)


# ---- what the page makes of what it is given -------------------------------------------------------------------


@pytest.mark.parametrize(
    "event", [{}, {"value": None}, {"value": {"caption": "no seed"}}, {"value": {"caption": "9" * 30}}]
)
def test_a_selection_without_a_seed_is_told(event: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="no seed"):
        gan_page.seed_of(event)


def test_a_recipe_of_another_tab_is_refused() -> None:
    made = {"format": "aigc-demo recipe", "family": "prior", "settings": {}}
    data = png.write(Image.new("RGB", (8, 8)), made)
    with pytest.raises(Invalid, match="adversarial"):
        gan_page.restore(data)


# Scores that are all alike, or only one, have no width to share out; their bars still stand within the axis.
@pytest.mark.parametrize("scores", [[0.0], [1.5, 1.5], [-3e-9, 3e-9], [-1234.0, 5000.0]])
def test_histograms_hold_whatever_scores_come(scores: list[float]) -> None:
    html = score_plot.histograms([("Real", "few", scores), ("Yours", "none", [])])
    assert html.count("100.0%") >= 1
    assert "Yours" not in html
    assert all(0 <= float(at) <= 100 for at in re.findall(r"left:([\d.]+)%", html))
    assert "nan" not in html + score_plot.curve("Score", [*scores, 1.0], 0)


# ---- in a browser ----------------------------------------------------------------------------------------------


def section(visitor: Visitor, name: str) -> None:
    visitor.page.get_by_role("tab", name=re.compile(f"^({name})$")).click()


def made(visitor: Visitor, prefix: str) -> dict[str, str]:
    """Make, and wait for the end; the facts under the result, not those of a result before it."""
    before = f"document.querySelectorAll('#{prefix}-status .aigc-facts').forEach((old) => old.remove())"
    visitor.page.evaluate(before)
    visitor.page.click(f"#{prefix}-make-button")
    return facts(visitor, prefix)


def facts(visitor: Visitor, prefix: str) -> dict[str, str]:
    visitor.page.wait_for_selector(f"#{prefix}-status .aigc-facts", timeout=4 * PATIENCE)
    visitor.page.wait_for_selector(f"#{prefix}-make-button", timeout=PATIENCE)
    return dict(
        visitor.page.locator(f"#{prefix}-status .aigc-fact").evaluate_all(
            "(facts) => facts.map((fact) => [...fact.children].map((part) => part.textContent))"
        )
    )


# From a grid to the seed of one picture, through every section, with a picture of one's own; Stop in the middle of a
# climb keeps its frames, and a file that was kept brings its settings back.
def test_a_person_forges_walks_judges_and_climbs(browser: Any, site: Site, client: Client, tmp_path: Path) -> None:
    with visiting(browser, site.url) as visitor:
        page = visitor.page
        section(visitor, "GAN")
        page.locator("#gan-seed input").fill("40")
        assert page.locator("#gan-style_seed input").is_disabled()
        page.locator("#gan-mix_layer input[type=number]").fill("4")
        page.locator("#gan-mix_layer input[type=number]").blur()
        page.wait_for_function("!document.querySelector('#gan-style_seed input').disabled")
        assert "seed 1" in made(visitor, "gan")["Style"]
        page.locator("#gan-pictures .thumbnail-lg, #gan-pictures .gallery-item button").nth(3).click()
        visitor.comes_to(lambda: page.locator("#gan-seed input").input_value(), "43")
        page.locator("#gan-pictures .icon-button").last.click()
        page.locator("#gan-num_images input[type=number]").fill("64")
        page.locator("#gan-num_images input[type=number]").blur()
        made(visitor, "gan")
        page.locator("#gan-pictures .gallery-item button").nth(63).click()
        visitor.comes_to(lambda: page.locator("#gan-seed input").input_value(), "106")
        large = page.locator("#gan-pictures .preview .media-button img").bounding_box()
        assert 0 <= large["y"] < large["y"] + large["height"] <= page.viewport_size["height"], "large where one looks"

        section(visitor, "Walk")
        page.locator("#gan_walk-frames input[type=number]").fill("8")
        page.locator("#gan_walk-frames input[type=number]").blur()
        assert made(visitor, "gan_walk")["Seeds"] == "1, 2, 3, 4"
        assert page.locator("#gan_walk-player figure img").count() == 2

        section(visitor, "Detective")
        assert made(visitor, "gan_judge")["Told apart"].endswith("of pairs")
        assert page.locator("#gan_judge-chart .aigc-bars").count() == 2
        assert page.locator("#gan_judge-heat figure").count() == 12
        picture(3, (90, 40)).save(tmp_path / "mine.png")
        page.locator("#gan_judge-given input[type=file]").set_input_files(tmp_path / "mine.png")
        page.wait_for_selector("#gan_judge-given img", timeout=PATIENCE)
        page.click("#gan_judge-make-button")
        visitor.comes_to(lambda: page.locator("#gan_judge-chart .aigc-bars").count(), 3)
        assert page.locator("#gan_judge-heat figcaption").first.inner_text().startswith("Yours")
        facts(visitor, "gan_judge")

        section(visitor, "Climb")
        page.locator("#gan_climb-steps input[type=number]").fill("300")
        page.locator("#gan_climb-steps input[type=number]").blur()
        page.click("#gan_climb-make-button")
        page.wait_for_selector("#gan_climb-player figure img[src]", timeout=PATIENCE)
        page.click("#gan_climb-stop-button")
        told = facts(visitor, "gan_climb")
        assert told["Ended by"] == "stopped by you"
        assert 0 < int(told["Steps"]) < 300

        files, _ = client.predict(model="./pair", seed=77, num_images=1, mix_layer=2, api_name="/sample_gan")
        with page.expect_file_chooser() as chooser:
            page.click("#gan-drop")
        chooser.value.set_files(files[0])
        visitor.comes_to(lambda: page.locator("#gan-seed input").input_value(), "77")
        page.wait_for_function("!document.querySelector('#gan-style_seed input').disabled")
        assert visitor.faults == []


# From a picture to its likeness, whose w the sliders move on; Stop keeps what was found; both files make their pictures
# again, and that of the directions brings the w back to a page that never searched.
def test_a_person_finds_a_picture_and_moves_it(browser: Any, site: Site, tmp_path: Path) -> None:
    def saved(prefix: str) -> bytes:
        uri = visitor.page.get_attribute(f"#{prefix}-view a[download]", "href")
        return base64.b64decode(uri.partition(",")[2])

    def moved() -> dict[str, Any]:
        return png.read_any(saved("gan_directions")).settings

    def open_directions() -> None:
        section(visitor, "GAN")
        section(visitor, "Directions")
        page.wait_for_selector("#gan_directions-view a", timeout=4 * PATIENCE)

    with visiting(browser, site.url) as visitor:
        page = visitor.page
        section(visitor, "GAN")
        section(visitor, "Projection")
        steps = page.locator("#gan_project-steps input[type=number]")
        steps.fill("400")
        steps.blur()
        page.locator("#gan_project-samples button").nth(8).click()
        page.wait_for_selector("#gan_project-view img", timeout=PATIENCE)
        page.click("#gan_project-stop-button")
        assert facts(visitor, "gan_project")["Ended by"] == "stopped by you"

        steps.fill("10")
        steps.blur()
        told = made(visitor, "gan_project")
        assert told["Steps"] == "10"
        assert page.locator("#gan_project-compared .aigc-bars").count() == 3
        settings = png.read_any(saved("gan_project")).settings
        assert (settings["steps"], len(settings["real"])) == (10, 6)
        section(visitor, "Directions")
        page.wait_for_function("!document.querySelector('#gan_directions-start input').disabled")
        section(visitor, "Projection")
        with Image.open(io.BytesIO(saved("gan_project"))) as found:
            page.click("#gan_project-onward")
            page.wait_for_selector("#gan_directions-view a", timeout=PATIENCE)
            visitor.comes_to(lambda: moved()["start"], "found")
            with Image.open(io.BytesIO(saved("gan_directions"))) as still:
                assert same(still, found, within=1)
        assert page.locator("#gan_directions-seed input").is_disabled()
        slider = page.locator("#gan_directions-direction_2 input[type=range]")
        for value in ("-1", "2.5"):
            slider.fill(value)
        visitor.comes_to(lambda: moved()["direction_2"], 2.5)
        (tmp_path / "moved.png").write_bytes(saved("gan_directions"))
        page.click("#gan_directions-reset")
        visitor.comes_to(lambda: moved()["direction_2"], 0)
        assert visitor.faults == []

    with visiting(browser, site.url) as visitor:
        page = visitor.page
        open_directions()
        assert page.locator("#gan_directions-start input").last.is_disabled()
        with page.expect_file_chooser() as chooser:
            page.click("#gan-drop")
        chooser.value.set_files(tmp_path / "moved.png")
        visitor.comes_to(moved, png.read_any((tmp_path / "moved.png").read_bytes()).settings)
        with Image.open(io.BytesIO(saved("gan_directions"))) as again, Image.open(tmp_path / "moved.png") as before:
            assert same(again, before)
        assert page.locator("#gan_directions-start input").last.is_enabled()
        assert visitor.faults == []


# In Chinese, by thumb: every word of the tab is Chinese, and nothing is wider than a phone.
def test_a_chinese_phone_forges(browser: Any, site: Site) -> None:
    with visiting(browser, site.url, "zh-CN", **PHONE) as visitor:
        section(visitor, "生成对抗网络")
        made(visitor, "gan")
        for name, prefix in (
            ("侦探", "gan_judge"),
            ("攀升", "gan_climb"),
            ("漫游", "gan_walk"),
            ("投影", "gan_project"),
            ("方向", "gan_directions"),
            ("样本", "gan"),
        ):
            section(visitor, name)
            shown = "view a" if prefix == "gan_directions" else "make-button"
            visitor.page.wait_for_selector(f"#{prefix}-{shown}")
            names = r"GIF|WEBP|MP4|PNG|Fluent|Emoji|Microsoft|MIT|Noto|Google|Twemoji|Twitter|CC-BY-4\.0|pair|emoji-gan"
            left = {text: english(re.sub(names, "", text)) for text in visitor.page.evaluate(READ)}
            assert {text: words for text, words in left.items() if words} == {}
            assert visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert visitor.faults == []
