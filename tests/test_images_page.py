"""What the Images tab does on a click, without a browser: pictures and their own recipes, files, code."""

from __future__ import annotations

import ast
import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images_form import (
    FORM,
    STEPS,
    bytes_of,
    canvas,
    click,
    drawn,
    engine,
    folder,
    layer,
    picture,
    pixels,
    refusal,
    upload,
)
from PIL import Image
from tiny_images import SIDE

from aigc_demo import png
from aigc_demo.engine import Engine
from aigc_demo.errors import OutOfMemory
from aigc_demo.generators.diffusion import Picture
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES, UNKNOWN_DEFAULTS
from aigc_demo.generators.picture_fields import digest
from aigc_demo.generators.schedulers import OWN, SCHEDULERS
from aigc_demo.generators.styles import STYLES
from aigc_demo.results import Step, finish
from aigc_demo.shell import build
from aigc_demo.ui import facts, images_page, uploads
from aigc_demo.ui.model_choice import model_choices
from aigc_demo.ui.section import KEEP
from aigc_demo.words import Words

__all__ = ["engine", "folder"]  # fixtures
pytestmark = pytest.mark.usefixtures("one_thread")


# ---- making pictures --------------------------------------------------------------------------------------------


# "0 ms" under the picture of a model that needs one step, or of a run stopped after it, would be untrue.
@pytest.mark.parametrize(("per_step", "shown"), [(0.0, False), (0.05, True)])
def test_one_step_has_no_time_from_step_to_step(per_step: float, shown: bool):
    assert ("Time per step" in facts.image_facts({"timings": {"per_step": per_step}}, "en")) is shown


# The page shows at once that it works, then one new preview per step, and in the end every one of them.
def test_a_film_comes_frame_by_frame_and_ends_whole(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images_page, "PREVIEWS_PER_SECOND", 1e9)
    first, *between, last = drawn(engine, num_images=2)
    assert (first.busy, first.film) == (True, None)
    live = [update.film for update in between if update.film is not KEEP]
    assert [film["step"] for film in live] == list(range(1, STEPS + 1))
    for film in live:
        assert (film["live"], film["append"], film["total"]) == (True, True, STEPS)
        assert [frame["step"] for frame in film["frames"]] == [film["step"]]
    assert last.busy is False
    assert not last.film["live"]
    assert last.film["frames"] == [film["frames"][0] for film in live]
    for frame in last.film["frames"]:
        assert frame["pull"] > 0
        for name in ("noisy", "guess"):
            preview = Image.open(io.BytesIO(uploads.from_data_uri(frame[name])))
            # size is one picture's; count of them stand side by side
            assert (
                preview.size == (last.film["count"] * last.film["size"][0], last.film["size"][1]) == (SIDE, SIDE // 2)
            )
    assert json.loads(json.dumps(last.film, allow_nan=False)) == last.film


# A film is not sent faster than a page can draw it, but its first frame and the end never wait.
def test_the_film_is_paced(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images_page, "PREVIEWS_PER_SECOND", 1e-9)
    updates = drawn(engine, num_inference_steps=10)
    assert [u.film["step"] for u in updates if u.film not in (KEEP, None)] == [1, 10]
    assert len(updates[-1].film["frames"]) == 10


# Each picture's file says how it is made alone, and that makes the same picture: the promise of the gallery.
def test_every_file_carries_its_own_recipe_which_makes_it_again(engine: Engine, folder: Path):
    last = drawn(engine, num_images=3, style="pixel")[-1]
    assert [caption for _, caption in last.pictures] == ["3", "4", "5"]
    assert last.code == images_page.as_code(last.recipes[0])
    for n, (path, _) in enumerate(last.pictures):
        assert Path(path).is_relative_to(folder)
        found = png.read(Path(path).read_bytes())
        assert found.settings == last.recipes[n]["settings"]
        assert (found.settings["seed"], found.settings["num_images"], found.settings["style"]) == (3 + n, 1, "pixel")
    again = drawn(engine, **{name: v for name, v in found.settings.items() if name not in images_page.GIVEN})[-1]
    assert abs(pixels(again.pictures[0][0]).astype(int) - pixels(path).astype(int)).max() <= 1  # alone and in a batch


# A random seed is drawn once and told; without it the picture could never be made again.
def test_a_random_seed_is_told(engine: Engine):
    last = drawn(engine, seed=-1)[-1]
    seed = last.recipes[0]["settings"]["seed"]
    assert seed >= 0
    assert f"<dd>{seed}</dd>" in last.status
    assert np.array_equal(pixels(drawn(engine, seed=seed)[-1].pictures[0][0]), pixels(last.pictures[0][0]))


# Markup in a prompt stays text: in the facts, and in the code that is shown.
def test_nothing_on_the_page_interprets_a_prompt(engine: Engine):
    last = drawn(engine, prompt="<img src=x onerror=alert(1)>")[-1]
    assert "<img" not in last.status
    assert last.recipes[0]["settings"]["prompt"] == "<img src=x onerror=alert(1)>"


# A run that breaks off half way must not leave a preview that promises its next step for ever.
def test_a_film_that_breaks_off_is_taken_away(engine: Engine):
    class Breaks(Engine):
        def run(self, *given: Any) -> Iterator[Any]:
            for item in engine.run(*given):
                yield item
                if item.stage == "denoise":
                    raise OutOfMemory(Words("Full.", "满了。"))

    run = images_page.draw(Breaks(engine.settings), click())
    updates = list(itertools.takewhile(lambda update: update.film is not None, itertools.islice(run, 1, None)))
    assert updates[-1].film["live"]
    with pytest.raises(OutOfMemory):
        next(run)


# Wrong values are told before anything is promised.
def test_a_refused_form_shows_no_waiting(engine: Engine):
    run = images_page.draw(engine, click(guidance_scale=99))
    assert "guidance_scale" in refusal(next, run)


# A pipeline that cannot be looked into still says that it paints.
def test_a_run_without_a_look_inside(engine: Engine):
    made = finish(engine.run(IMAGES, ImageParams.of(FORM)))
    updates = list(images_page._updates(iter([Step("denoise", 0, None), made]), "en"))
    assert "Painting" in updates[0].status
    assert updates[1].film is None
    assert len(updates[1].pictures) == 1


# ---- a picture to start from ------------------------------------------------------------------------------------


# An empty layer is what the canvas sends when nobody has painted: the whole picture is meant.
@pytest.mark.parametrize("layers", [[], [layer(None)]])
def test_a_picture_alone_is_image_to_image(engine: Engine, layers: list[Image.Image]):
    given = images_page.given(canvas(picture(), *layers))
    assert given["mask"] is None
    request = ImageParams.of(FORM | given)
    assert request.task == "image"
    made = drawn(engine, canvas(picture(), *layers))[-1]
    assert made.recipes[0]["settings"]["image"] == digest(picture())
    wanted = finish(engine.run(IMAGES, ImageParams.of(FORM | {"image": picture()}))).value.pictures[0]
    assert np.array_equal(pixels(made.pictures[0][0]), np.asarray(wanted.image))


# What is painted is the mask, in whatever colour the brush has, and also where it covers everything.
@pytest.mark.parametrize("colour", ["black", "white", "teal"])
@pytest.mark.parametrize("box", [(0, 0, 10, 20), (0, 0, 20, 20)])
def test_a_painted_layer_is_inpainting(engine: Engine, box: tuple[int, int, int, int], colour: str):
    given = images_page.given(canvas(picture(), layer(box, colour)))
    request = ImageParams.of(FORM | given)
    assert request.task == "mask"
    wanted = Image.new("L", (20, 20))
    wanted.paste(255, box)
    assert np.array_equal(np.asarray(request.mask), np.asarray(wanted))
    made = drawn(engine, canvas(picture(), layer(box, colour)))[-1]
    assert made.recipes[0]["settings"]["mask"] == digest(wanted)


# Strokes without a picture, an empty canvas and no canvas are all words alone.
@pytest.mark.parametrize("nothing", [None, 7, "x", {}, {"background": None, "layers": []}])
def test_no_picture_is_words_alone(nothing: Any):
    assert images_page.given(nothing) == {"image": None, "mask": None}
    assert images_page.given(canvas(None, layer((0, 0, 9, 9)))) == {"image": None, "mask": None}


# The canvas is a stranger's message: odd shapes in it are nothing, and files that are no pictures are told.
def test_a_hostile_canvas():
    good = upload(bytes_of(picture()))
    for odd in (7, "x", {"a": 1}, None, [None], [{}]):
        assert images_page.given({"background": good, "layers": odd})["mask"] is None
    text = upload(b"no picture", "layer.png")
    assert "not a picture" in refusal(images_page.given, {"background": good, "layers": [text]})
    given = images_page.given({"background": text})
    assert "not a picture" in refusal(ImageParams.of, FORM | given)
    for odd in ({"path": "/etc/passwd"}, "/etc/passwd", 7, ["a"]):
        assert "not there" in refusal(images_page.given, {"background": odd})


# ---- files ------------------------------------------------------------------------------------------------------


# A message names a file; only one that was uploaded is ever opened.
def test_only_uploads_are_read(folder: Path, tmp_path: Path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(bytes_of(picture()))
    link, inner = folder / "link.png", folder / "inner"
    link.symlink_to(secret)
    inner.mkdir()
    outside = ["/etc/passwd", "..", str(secret), f"{folder}/../secret.png", str(link), str(inner), str(folder), "~"]
    outside += ["secret.png", "a\0b", "x" * 10_000, "http://127.0.0.1/x.png", f"file://{secret}", str(folder / "gone")]
    for path in outside:
        for file in (path, {"path": path}, {"path": path, "url": "http://127.0.0.1/x.png"}):
            assert "not there" in refusal(uploads.read, file), path
    assert [uploads.read(file) for file in (None, "", {}, {"path": None}, {"url": "http://127.0.0.1/x"})] == [None] * 5
    kept = uploads.keep(b"mine", "picture.png")
    assert uploads.read(kept) == uploads.read({"path": kept}) == b"mine"


# A file that grew too large, and what only calls itself a picture of the page.
def test_sizes_and_data_uris(monkeypatch: pytest.MonkeyPatch):
    assert uploads.from_data_uri(uploads.data_uri(b"\x89PNG")) == b"\x89PNG"
    for text in (None, 7, "", "data:text/html;base64,AAAA", "data:image/png;base64,@@", "data:image/png;base64,A"):
        assert "not there" in refusal(uploads.from_data_uri, text)
    kept = uploads.keep(b"mine", "picture.png")
    monkeypatch.setattr(uploads, "LONGEST", 3)
    assert "not there" in refusal(uploads.read, kept)
    assert "not there" in refusal(uploads.from_data_uri, uploads.data_uri(b"\x89PNG"))


# ---- as code ----------------------------------------------------------------------------------------------------


# Whatever a prompt holds, the code that is shown is Python and says the same; what the endpoint lacks is left out.
@pytest.mark.parametrize("prompt", ["a cat", '"""; import os #', "a\nb\\", "猫\u2028", "</script><b>"])
@pytest.mark.parametrize("given", [{}, {"image": "sha256:0"}, {"image": "sha256:0", "mask": "sha256:1"}])
def test_code_compiles_and_names_what_differs(prompt: str, given: dict[str, str]):
    settings = {**ImageParams.defaults(), "prompt": prompt, "seed": 7, "strength": 0.3, "width": 24, **given}
    tree = ast.parse(images_page.as_code({"settings": settings}))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    predict = next(call for call in calls if getattr(call.func, "attr", "") == "predict")
    found = {k.arg: k.value.value for k in predict.keywords if isinstance(k.value, ast.Constant)}
    wanted = {"prompt": prompt, "model": ImageParams.defaults()["model"], "seed": 7, "width": 24}
    wanted |= {"api_name": "/edit_image", "strength": 0.3} if given else {"api_name": "/generate_images"}
    assert found == wanted
    assert {k.arg for k in predict.keywords} - set(found) == set(given)
    assert len(calls) == 2 + len(given)


# ---- controls that rest -----------------------------------------------------------------------------------------


def idle(engine: Engine, model: Any, guidance: Any = 4.0, picture: Any = None, language: str = "en") -> dict[str, Any]:
    found = images_page.what_is_idle(engine, model, guidance, picture, language)
    return dict(zip(images_page.IDLE, found, strict=True))


@pytest.mark.parametrize("language", ["en", "zh"])
# Nobody turns a knob in vain: it is disabled, and its reason stands where its help was.
def test_what_rests(engine: Engine, language: str):
    def resting(*given: Any) -> dict[str, str]:
        return {n: u["info"] for n, u in idle(engine, *given, language=language).items() if not u["interactive"]}

    def said(**words: Words) -> dict[str, str]:
        return {name: reason.to(language) for name, reason in words.items()}

    nothing = said(strength=images_page.NO_PICTURE)
    assert resting("sd-1.5", 7.5) == nothing
    assert resting("sd-1.5", 1) == nothing | said(negative_prompt=images_page.AT_ONE)
    moved = {"variation_strength": images_page.FROM_PICTURE, "variation_seed": images_page.FROM_PICTURE}
    assert resting("sd-1.5", 7.5, {"background": {"path": "x"}}) == said(**moved)
    unguided = said(guidance_scale=images_page.UNGUIDED, negative_prompt=images_page.UNGUIDED)
    assert resting("sd-turbo", 1) == nothing | unguided
    flow = said(scheduler=images_page.OWN_ONLY)
    still = said(variation_strength=images_page.NO_WAY, variation_seed=images_page.NO_WAY)
    assert resting("z-image-turbo", 1) == nothing | unguided | flow | still
    assert resting("sana-sprint", 4.5) == nothing | flow | still
    assert resting("./sd", 4.0) == nothing
    assert resting("./sd3", 4.0) == nothing | flow  # read from the folder, before it is loaded
    for junk in (None, 7, {"a": 1}, "no such", "a/b/c"):
        assert resting(junk, junk, junk) == nothing
    markers = ImageParams.markers()
    for name, update in idle(engine, "sd-1.5", 4.0, {"background": "x"}, language).items():
        if name not in moved:
            assert update["info"] == markers[name][1].help.to(language)


# The lists offer what goes with the model, in the reader's language.
def test_what_is_offered(engine: Engine):
    assert [value for _, value in idle(engine, "sd-1.5")["scheduler"]["choices"]] == list(SCHEDULERS)
    assert idle(engine, "./sd3", language="zh")["scheduler"]["choices"] == [(SCHEDULERS[OWN].name.zh, OWN)]
    general = [name for name, style in STYLES.items() if name == "none" or not style.emoji]
    assert [value for _, value in idle(engine, "sd-1.5")["style"]["choices"]] == general


# The first model's settings stand in the form from the start: a turbo model needs 2 steps, not the family's 20.
def test_the_form_begins_with_what_suits_its_model(engine: Engine):
    page, _ = build(engine)
    first = IMAGES.rows[ImageParams.defaults()["model"]].defaults
    shown = {block.elem_id: block.value for block in page.blocks.values() if hasattr(block, "value")}
    assert {name: shown[f"images-{name}"] for name in first} == first


# A chosen model brings the settings that suit it, and drops those that it would refuse.
def test_choosing_a_model(engine: Engine):
    update = images_page.chosen(engine, "sd-turbo", "euler", "flat", "en")
    assert update.settings == {**IMAGES.rows["sd-turbo"].defaults, "style": "none"}
    assert "1,290 M" in update.model_note
    assert images_page.chosen(engine, "sd-1.5", OWN, "photo", "en").settings == dict(IMAGES.rows["sd-1.5"].defaults)
    for other in ("./sd3", "./sd"):
        assert images_page.chosen(engine, other, "euler", "none", "en").settings == UNKNOWN_DEFAULTS
    assert "There is no model" in images_page.chosen(engine, "no such", "euler", "none", "en").model_note


# The list offers the rows, with their licences, and this family's folders.
def test_the_list_of_models(engine: Engine):
    choices = model_choices(engine, IMAGES)
    assert [value for _, value in choices] == [*IMAGES.rows, "./sd", "./sd3"]
    assert all(IMAGES.rows[value].licence in label for label, value in choices if value in IMAGES.rows)


# A model too large, or too slow here, says so before it is run.
def test_notes_warn(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    assert "takes minutes" in images_page.model_note(engine, "sd-turbo", "en")
    monkeypatch.setattr(type(engine.device), "total_memory", lambda self: 2**30)
    for language, said in (("en", "Does not fit"), ("zh", "放不下")):
        assert said in images_page.model_note(engine, "flux-schnell", language)


# A stopped run's files hold the preview, and say that they do.
def test_a_stopped_run_says_so(engine: Engine):
    made = finish(engine.run(IMAGES, ImageParams.of(FORM)))
    stopped = replace(
        made,
        value=replace(made.value, pictures=(Picture(picture(), 3),), finish="stopped"),
        recipe={**made.recipe, "figures": {**made.recipe["figures"], "finish": "stopped"}},
    )
    update = images_page._finished(stopped, {"frames": []}, "en")
    assert "stopped by you" in update.status
    assert update.recipes[0]["figures"]["finish"] == "stopped"
