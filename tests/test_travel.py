"""Travel: frames between prompts and around a seed, each as the plain picture of its place. On tiny random pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_images import MAKERS

from aigc_demo.device import choose
from aigc_demo.engine import Engine
from aigc_demo.errors import Invalid, Stopped
from aigc_demo.generators import diffusion_memory, diffusion_model, diffusion_noise, diffusion_travel
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_model import ImageModel
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import TRAVEL
from aigc_demo.generators.diffusion_travel import TravelParams, travel
from aigc_demo.results import Step, finish
from aigc_demo.settings import Settings
from aigc_demo.ui import travel as travel_panel
from aigc_demo.ui.facts import walk_facts

STEPS = {"num_inference_steps": 2, "guidance_scale": 3.0, "seed": 5, "variation_seed": 9}
each_class = pytest.mark.parametrize("kind", MAKERS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("travel")
    return {name: make(place / name) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, ImageModel]:
    return {name: diffusion_model.load(folder, choose("cpu", "float32")) for name, folder in folders.items()}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in a fixed order: pixels are compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def near(one: Image.Image, other: Image.Image) -> bool:
    """Equal within a rounding of 255: a frame is one of a batch."""
    return int(np.abs(np.asarray(one, int) - np.asarray(other, int)).max()) <= 1


def plain(model: ImageModel, **settings: Any) -> Image.Image:
    return finish(generate(ImageParams(**{**STEPS, **settings}), model)).value.pictures[0].image


# A way's stations are the pictures of its prompts, as anybody gets them without travelling.
@each_class
def test_weights_count_on_the_way_as_they_do_for_a_picture(kind: str, models: dict[str, ImageModel]) -> None:
    """A stop of the way is the picture that its prompt makes; where weights mean nothing, the result says so."""
    lines = ["a (red:1.8) fox", "a [[red]] cat"]
    found = finish(travel(TravelParams(**STEPS, prompt="\n".join(lines), frames=3), models[kind]))
    for frame, line in ((found.value.frames[0], lines[0]), (found.value.frames[-1], lines[1])):
        assert near(frame, plain(models[kind], prompt=line))
    assert found.figures["weights"] == ("left out" if kind == "sd3" else "applied")
    recipe = {"figures": found.figures, "timings": found.timings}
    assert ("without the marks" in walk_facts(recipe, "en")) == (kind == "sd3")


@each_class
def test_stations_are_the_plain_pictures_of_their_prompts(models: dict[str, ImageModel], kind: str) -> None:
    asked = TravelParams(prompt="a cat\n\n a dog \na fox", frames=5, negative_prompt="rain", **STEPS)
    made = finish(travel(asked, models[kind])).value
    for at, prompt in ((0, "a cat"), (2, "a dog"), (4, "a fox")):
        assert near(made.frames[at], plain(models[kind], prompt=prompt, negative_prompt="rain"))
    assert not near(made.frames[1], made.frames[0])
    assert len(made.changes) == 4


@each_class
def test_a_circle_begins_at_the_seed_and_comes_back(models: dict[str, ImageModel], kind: str) -> None:
    asked = TravelParams(prompt="a cat", route="circle", frames=8, **STEPS)
    frames = finish(travel(asked, models[kind])).value.frames
    assert near(frames[0], plain(models[kind], prompt="a cat"))
    assert near(frames[2], plain(models[kind], prompt="a cat", seed=9)), "a quarter on stands the other seed"
    assert not near(frames[4], frames[0])


# The noise on the circle is as long as noise is: anything else would be a picture too flat or too harsh.
def test_the_circle_keeps_the_length_of_noise(models: dict[str, ImageModel]) -> None:
    asked = TravelParams(route="circle", frames=12, **STEPS)
    made = diffusion_travel._around(models["sd"].pipeline, list(range(12)), asked, 512, 512)
    lengths = made.flatten(1).norm(dim=1) / made[0].numel() ** 0.5
    assert lengths.sub(1).abs().max() < 0.03


def test_guidance_off_travels_too(models: dict[str, ImageModel]) -> None:
    asked = TravelParams(prompt="a cat\na dog", frames=2, **{**STEPS, "guidance_scale": 1.0})
    made = finish(travel(asked, models["sd"])).value
    assert near(made.frames[1], plain(models["sd"], prompt="a dog", guidance_scale=1.0))


# Stop keeps whole frames, and ends within a step.
def test_stop_keeps_whole_frames(models: dict[str, ImageModel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(diffusion_memory.AT_ONCE, "cpu", 16 * 16)
    asked = TravelParams(prompt="a cat\na dog", frames=6, **STEPS)
    seen: list[Step[Any]] = []
    run = travel(asked, models["sd"], lambda: len(seen) > 4)
    done = None
    for item in run:
        if isinstance(item, Step):
            seen.append(item)
        else:
            done = item
    assert done is not None
    assert done.value.finish == "stopped"
    assert 0 < len(done.value.frames) < 6
    with pytest.raises(Stopped):
        finish(travel(asked, models["sd"], lambda: True))


@pytest.mark.parametrize("prompt", ["", "a cat", "a cat\n\n", "\n".join("abcdefghi")])
def test_a_way_needs_two_to_eight_prompts(models: dict[str, ImageModel], prompt: str) -> None:
    with pytest.raises(Invalid, match="from 2 to 8 prompts"):
        finish(travel(TravelParams(prompt=prompt, **STEPS), models["sd"]))


def test_a_model_that_cannot_travel_says_so(models: dict[str, ImageModel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusion_noise, "PIPELINES", ())
    with pytest.raises(Invalid, match="cannot travel"):
        finish(travel(TravelParams(prompt="a\nb", **STEPS), models["sd"]))


# From the page's values to a payload that plays, and from its file back to the values.
def test_the_panel_shows_frames_and_restores_them(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "sd").symlink_to(folders["sd"], target_is_directory=True)
    engine = Engine(Settings(models_dir=tmp_path / "models", offline=True))
    values = {"prompt": "a cat\na dog", "frames": 3, "model": "./sd", **STEPS}
    states = list(travel_panel.travelled(engine, values, "en", "somebody"))
    payload, status, final = states[-1]
    assert final
    assert payload is not None
    assert len(payload["tracks"][0]["frames"]) == payload["total"] == 3
    assert "Frames" in status
    assert payload["recipe"]["family"] == TRAVEL.name
    from aigc_demo import animation

    pictures = [Image.open(path) for path in payload["tracks"][0]["frames"]]
    found = travel_panel.restored(animation.FORMATS["webp"](pictures, 8, payload["recipe"]))
    assert found is not None
    assert {name: found[name] for name in values} == values
