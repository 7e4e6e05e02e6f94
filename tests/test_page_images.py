"""The Images tab as a person meets it: a real server with tiny pipelines, a real browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from browser import PATIENCE, Site, visiting
from painter import (
    CANARY,
    CUT,
    STEPS,
    Pace,
    Painter,
    hurry,
    painter,
    painting,
    pixels_of,
    site,
)
from PIL import Image, ImageChops, PngImagePlugin
from tiny_images import SIDE

from aigc_demo import png
from aigc_demo.generators.picture_fields import digest
from aigc_demo.ui import images_page
from aigc_demo.ui.run import APOLOGY

__all__ = ["hurry", "painter", "site"]  # fixtures


def test_two_clicks_make_a_picture(browser: Any, site: Site) -> None:
    """Who just came picks an idea, presses the button, and has a picture of the model that ships, with what is in it."""
    with visiting(browser, site.url, "zh-CN") as visitor:
        painter = Painter(visitor)
        idea = painter.page.locator("#images-ideas .aigc-idea").first
        idea.click()
        recipe = painter.make()
        assert recipe["model"]["id"] == "emoji-diffusion"
        assert recipe["settings"]["prompt"] == idea.inner_text()
        assert recipe["settings"]["prompt"] in painter.page.locator("#images-ideas details").text_content()
        assert painter.facts["emoji-clip 看到"]
        painter.choose("./sd")
        visitor.comes_to(lambda: painter.page.locator("#images-ideas .aigc-idea").count(), 0)


def test_words_become_a_picture(painter: Painter, site: Site) -> None:
    """The first thing that anybody does here; and what is shown is the file with its recipe."""
    recipe = painter.make("a cat")
    page = painter.page
    assert recipe["settings"]["prompt"] == "a cat"
    assert painter.facts["Model"] == "sd"
    assert (painter.facts["Seed"], painter.facts["Steps"], painter.facts["Size"]) == ("7", "4", f"{SIDE} × {SIDE}")
    url = page.locator("#images-pictures img").first.get_attribute("src")
    data = page.request.get(url).body()
    assert png.read(data).settings == recipe["settings"]
    page.wait_for_selector("#images-film .fm-done")
    assert page.locator("#images-film .fm-slider").get_attribute("max") == str(STEPS - 1)
    painter.unfold()
    assert 'api_name="/generate_images"' in page.inner_text("#images-code")
    painter.visitor.comes_to(lambda: "manual_seed(7)" in page.inner_text("#images-diffusers"), True)


def test_tokens_are_counted_while_a_prompt_is_typed(painter: Painter) -> None:
    """The newest words win, what falls off is named, and a model that is not here is not spoken of."""
    page = painter.page
    box, count = page.locator("#images-prompt textarea"), page.locator("#images-tokens")
    box.press_sequentially("a (red:1.3) cat", delay=15)
    painter.visitor.comes_to(lambda: count.inner_text().split("\n")[0], "9 / 24 tokens")
    box.press_sequentially(" on the roof of a <b>house</b>", delay=5)
    painter.visitor.comes_to(lambda: count.locator(".warn").all_inner_texts(), [f"{CUT}: “house</b>”"])
    page.locator("#images-prompt textarea").fill("a cat")
    painter.visitor.comes_to(lambda: count.inner_text().split("\n")[0], "6 / 24 tokens")
    painter.choose("./sd3")
    painter.visitor.comes_to(lambda: count.inner_text().split("\n")[0], "7 / 256 tokens")
    painter.choose("sd-turbo")
    painter.visitor.comes_to(count.inner_text, "")


def test_a_kept_picture_is_edited_and_painted_over(painter: Painter, site: Site) -> None:
    """From the gallery onto the canvas: first the whole picture is the start, then only what the brush covered changes."""
    page = painter.page
    painter.make("a cat")
    painter.select()
    painter.press("Edit this")
    page.wait_for_selector("#images-canvas .pixi-target canvas")
    painter.set("seed", 8)
    first = painter.kept[0]
    second = painter.make()
    assert second["settings"]["image"] == digest(pixels_of(site, first))
    assert second["settings"]["mask"] is None
    page.get_by_role("button", name="Brush", exact=True).click()
    box = page.locator("#images-canvas .pixi-target canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y)
    page.mouse.down()
    page.mouse.move(x + 10, y, steps=5)
    page.mouse.up()
    page.wait_for_timeout(1500)  # the canvas sends what was painted a moment after the brush is lifted
    painter.set("seed", 9)
    third = painter.make()
    assert third["settings"]["image"] == second["settings"]["image"]
    assert third["settings"]["mask"] is not None


def test_a_stroke_is_a_mask_where_it_was_drawn(
    painter: Painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stroke on the left is a mask on the left, over the very picture that was given."""
    shades = Image.linear_gradient("L").resize((320, 320))
    given = Image.merge("RGB", [shades, shades.rotate(90), shades.rotate(180)])
    given.save(tmp_path / "given.png")
    painter.put(tmp_path / "given.png")
    page = painter.page
    page.wait_for_selector("#images-canvas .empty", state="detached")
    page.get_by_role("button", name="Brush", exact=True).click()
    canvas = page.locator("#images-canvas .pixi-target canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 110, y)
    page.mouse.down()
    page.mouse.move(x - 90, y, steps=5)
    page.mouse.up()
    page.wait_for_timeout(1500)  # the canvas sends what was painted a moment after the brush is lifted
    seen: list[dict[str, Any]] = []
    own = images_page.given
    monkeypatch.setattr(images_page, "given", lambda canvas: seen.append(own(canvas)) or seen[-1])
    recipe = painter.make("a cat")
    assert recipe["settings"]["image"] == digest(given)
    [found] = seen
    assert found["mask"].size == given.size
    left, _, right, _ = found["mask"].getbbox()
    assert left < right < 0.5 * given.width
    page.get_by_role("button", name="Clear canvas").click()
    page.wait_for_selector("#images-strength input:disabled")
    assert painter.make()["settings"]["image"] is None


def test_reuse_empties_the_canvas(painter: Painter) -> None:
    """A picture made from words alone is made again from words alone, whatever lay on the canvas."""
    first = painter.make("a cat")
    painter.select()
    painter.press("Edit this")
    painter.page.wait_for_selector("#images-strength input:enabled")
    painter.press("Reuse everything")
    painter.page.wait_for_selector("#images-strength input:disabled")
    assert painter.make()["settings"] == first["settings"]


def test_the_preview_changes_and_stop_keeps_it(painter: Painter) -> None:
    """The heart of the tab: a picture comes about before one's eyes, and may be stopped when it is good enough."""
    page = painter.page
    painter.set("num_inference_steps", 40)
    Pace.seconds = 0.5
    seen: set[str] = set()
    with painter.made():
        painter.begin("a cat")
        page.wait_for_selector("#images-stop-button", state="visible")
        page.wait_for_selector("#images-make-button", state="hidden")
        page.wait_for_selector(".fm-is-live")
        end = time.monotonic() + PATIENCE / 1000
        while len(seen) < 3 and time.monotonic() < end:
            seen.add(painter.forming() or "")
            page.wait_for_timeout(50)
        at = Pace.steps
        page.click("#images-stop-button")
    assert len(seen - {""}) >= 2
    made = painter.recipe["figures"]["steps"]
    assert made <= at + 4, "within a step of when it heard, on a machine where a click takes a second"
    assert painter.facts["Ended by"] == "stopped by you"
    assert painter.recipe["figures"]["finish"] == "stopped"
    assert page.locator("#images-pictures img").first.is_visible()
    page.wait_for_selector("#images-film .fm-done")
    assert page.locator("#images-film .fm-slider").get_attribute("max") == str(made - 1)
    Pace.seconds = 0.0
    painter.set("num_inference_steps", STEPS)
    assert painter.make()["figures"]["finish"] == "end"


def test_a_saved_picture_restores_the_form_of_somebody_else(
    painter: Painter, browser: Any, site: Site, tmp_path: Path
) -> None:
    """A picture is its own recipe: saved here, dropped there, it can be made again, pixel by pixel."""
    painter.set("negative_prompt", "a dog")
    painter.set("guidance_scale", 2.5)
    painter.set("num_images", 2)
    painter.make("a cat")
    painter.visitor.comes_to(lambda: len(painter.kept), 2)
    recipe = painter.recipe
    painter.page.wait_for_function("document.querySelectorAll('#images-gallery .gl-thumb').length === 2")
    painter.select()
    file = painter.save(tmp_path / "picture.png")
    assert png.read(file.read_bytes()).settings == recipe["settings"]
    with painting(browser, site) as other:
        other.drop(file)
        other.page.wait_for_function("document.querySelector('#images-status').innerText.includes('Restored')")
        wanted = {name: recipe["settings"][name] for name in ("prompt", "negative_prompt", "guidance_scale", "seed")}
        assert {name: other.value(name) for name in wanted} == wanted
        assert (other.value("num_images"), other.value("model")) == (1, "./sd")
        assert other.make()["settings"] == recipe["settings"]
        other.select()
        other.save(tmp_path / "again.png")
    with Image.open(file) as one, Image.open(tmp_path / "again.png") as two:
        apart = ImageChops.difference(one.convert("RGB"), two.convert("RGB")).getextrema()
    assert max(high for _, high in apart) <= 1, "made among others and alone"


def test_other_files_are_told_and_change_nothing(painter: Painter, tmp_path: Path) -> None:
    """A picture of another program fills in what it tells; one without a recipe, or junk, gives a word."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"{CANARY}\nSteps: 9, Sampler: Euler a, CFG scale: 3, Seed: 5, Model: x/y")
    Image.new("RGB", (8, 8)).save(tmp_path / "theirs.png", pnginfo=info)
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    (tmp_path / "junk.png").write_bytes(b"junk")
    for name, said in {"plain": "no recipe", "junk": "JSON"}.items():
        painter.drop(tmp_path / f"{name}.png")
        assert said in painter.visitor.toast()
        assert painter.value("seed") == 7
    painter.drop(tmp_path / "theirs.png")
    painter.visitor.comes_to(lambda: painter.value("prompt"), CANARY)
    assert (painter.value("num_inference_steps"), painter.value("seed"), painter.value("model")) == (9, 5, "./sd")
    assert painter.page.evaluate("window.__pwned") is None


def test_a_reload_keeps_the_pictures(painter: Painter) -> None:
    """The gallery lives in the browser: a reload loses nothing, and what made a picture can be taken up again."""
    first = painter.make("a cat")
    painter.set("seed", 8)
    second = painter.make("a dog")
    painter.reload()
    assert painter.kept == [second, first]
    painter.page.wait_for_function("document.querySelectorAll('#images-gallery .gl-thumb').length === 2")
    painter.select(1)
    painter.press("Reuse everything")
    painter.visitor.comes_to(lambda: painter.value("prompt"), "a cat")
    painter.visitor.comes_to(lambda: (painter.value("seed"), painter.value("model")), (7, "./sd"))
    painter.select(0)
    painter.press("Reuse the seed")
    painter.visitor.comes_to(lambda: (painter.value("seed"), painter.value("prompt")), (8, "a cat"))


def test_a_knob_without_effect_rests_and_says_why(painter: Painter) -> None:
    """Nobody turns a knob in vain: what does nothing now is disabled, with the reason in its place."""
    page = painter.page
    painter.unfold(canvas=True)

    def rests(name: str, words: Any) -> None:
        page.wait_for_selector(f"#images-{name} :is(input, textarea):disabled")
        painter.visitor.comes_to(lambda: words.en in page.inner_text(f"#images-{name}"), True)

    def works(name: str) -> None:
        page.wait_for_selector(f"#images-{name} :is(input, textarea):enabled")

    rests("strength", images_page.NO_PICTURE)
    works("guidance_scale")
    works("negative_prompt")
    painter.set("guidance_scale", 1)
    rests("negative_prompt", images_page.AT_ONE)
    painter.choose("./sd3")
    rests("scheduler", images_page.OWN_ONLY)
    painter.choose("sd-turbo")
    rests("guidance_scale", images_page.UNGUIDED)
    rests("negative_prompt", images_page.UNGUIDED)
    works("scheduler")
    painter.visitor.comes_to(lambda: painter.value("num_inference_steps"), 2)
    painter.choose("./sd")
    works("guidance_scale")
    painter.set("guidance_scale", 4)
    works("negative_prompt")


def test_each_tab_offers_its_own_models(painter: Painter) -> None:
    """A language model cannot paint: it is not in the list, and typed in by hand it is told."""
    painter.page.locator("#images-model input").click()
    offered = {one.strip() for one in painter.page.locator("#images-model [role=option]").all_inner_texts()}
    assert not {"./tiny", "./slow"} & offered
    painter.choose("./tiny")
    painter.begin("a cat")
    assert "no model folder “tiny”" in painter.visitor.toast()


def test_trouble_is_told_and_the_page_goes_on(painter: Painter, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that ran out, a fault of ours, a size that cannot be, a full queue: told, and the next picture is made."""
    page = painter.page

    def rested() -> None:
        page.wait_for_selector("#images-make-button", state="visible")
        page.wait_for_selector("#images-stop-button", state="hidden")
        page.wait_for_selector(".fm-is-live", state="detached")

    for error, said in ((MemoryError(), "Make smaller pictures or fewer"), (RuntimeError("a fault"), APOLOGY.en)):
        Pace.error = error
        painter.begin("a cat")
        assert said in painter.visitor.toast()
        rested()
        Pace.error = None
    painter.set("width", 26)
    painter.begin()
    assert "Width of" in painter.visitor.toast()
    rested()
    painter.set("width", 0)
    with monkeypatch.context() as patch:
        patch.setattr(site.page._queue, "max_size", 0)
        painter.begin()
        assert "Too many people" in painter.visitor.toast()
        rested()
    assert painter.value("prompt") == "a cat"
    assert painter.make()["settings"]["prompt"] == "a cat"


# One click on a kept picture makes one much like it: the same seed, a little of another's noise.
def test_a_kept_picture_is_varied_by_one_click(painter: Painter) -> None:
    painter.choose("./sd")
    painter.set("seed", 11)
    first = painter.make("a cat")["settings"]
    painter.select()
    with painter.made():
        painter.press("Vary a little")
    varied = painter.recipe["settings"]
    assert (varied["seed"], varied["variation_strength"]) == (11, 0.15)
    assert varied["variation_seed"] >= 0, "drawn, so that the recipe makes it again"
    assert {**varied, "variation_strength": 0.0, "variation_seed": first["variation_seed"]} == first
    painter.unfold()
    assert painter.value("variation_strength") == 0.15
