"""The result as a program of diffusers alone: it runs by itself, and makes the same picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_images import MAKERS, SIDE

from aigc_demo.engine import Engine
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.results import finish
from aigc_demo.settings import Settings
from aigc_demo.ui import as_diffusers

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    place = tmp_path_factory.mktemp("programs")
    for name, make in MAKERS.items():
        make(place / "models" / name)
    return Engine(
        Settings(models_dir=place / "models", cache_dir=place / "cache", offline=True, device="cpu", dtype="float32")
    )


pytestmark = pytest.mark.usefixtures("one_thread")


def picture() -> Image.Image:
    shades = np.linspace(0, 255, 3 * 20 * 24).reshape(20, 24, 3)
    return Image.fromarray(shades.astype(np.uint8))


def mask() -> Image.Image:
    painted = Image.new("L", (24, 20))
    painted.paste(255, (0, 0, 12, 20))
    return painted


def made(engine: Engine, **values: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """(pixels of the first picture, recipe)."""
    request = ImageParams(**{"prompt": "a cat", "num_inference_steps": 3, "seed": 7, "guidance_scale": 4} | values)
    done = finish(engine.run(IMAGES, request))
    return np.asarray(done.value.pictures[0].image), done.recipe


def run(code: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Execute a program where models/ lies, with the files that it reads; what it saved."""
    monkeypatch.chdir(place)
    picture().save("picture.png")
    mask().save("mask.png")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "snippet.py", "exec"), names)
    return np.asarray(Image.open("made.png"))


WEIGHED = {"prompt": 'a (red:1.6) [[cat]]\n"on" a roof', "negative_prompt": "(fog:0.4)", "style": "none"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sd": ("sd", {"negative_prompt": "a dog", "scheduler": "dpmpp_2m_karras"}),
    "sd, styled, by its own sampler": ("sd", {"style": "ink", "prompt": "狐狸", "width": 32}),
    "sd from a picture": ("sd", {"image": picture(), "strength": 0.8, "scheduler": "euler_a"}),
    "sd under a mask": ("sd", {"image": picture(), "mask": mask(), "strength": 0.9, "width": SIDE, "height": SIDE}),
    "sd, weighed": ("sd", WEIGHED),
    "sd, weighed without guidance": ("sd", {**WEIGHED, "guidance_scale": 1}),
    "sdxl": ("sdxl", {"negative_prompt": "a dog", "scheduler": "ddim"}),
    "sdxl from a picture, weighed": ("sdxl", {**WEIGHED, "image": picture(), "strength": 0.8}),
    "sd, varied": ("sd", {"variation_strength": 0.4, "variation_seed": 11, "height": 32}),
    "sdxl, varied and weighed": ("sdxl", {**WEIGHED, "variation_strength": 0.7, "variation_seed": 11}),
    "sd3, varied": ("sd3", {"variation_strength": 0.4, "variation_seed": 11}),
    "sd, varied towards itself": ("sd", {"variation_strength": 0.4, "variation_seed": 7}),
    "sd3": ("sd3", {"negative_prompt": "a (dog)", "prompt": "a (red:1.4) cat"}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_program_makes_the_same_picture(case: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes it away gets what was shown, without this app."""
    model, values = CASES[case]
    shown, recipe = made(engine, model=f"./{model}", **values)
    code = as_diffusers.as_diffusers(engine, recipe)
    assert "aigc" not in code
    assert str(engine.places.models) not in code, "where the server keeps things"
    other = run(code, engine.places.models.parent, monkeypatch)
    assert other.shape == shown.shape
    assert abs(other.astype(int) - shown).max() <= (1 if "weighed" in case or "varied" in case else 0)


def test_it_runs_in_a_python_of_its_own(engine: Engine) -> None:
    """Everything that it needs stands in it."""
    shown, recipe = made(engine, model="./sd")
    code = as_diffusers.as_diffusers(engine, recipe)
    place = engine.places.models.parent
    single = "import torch\ntorch.set_num_threads(1)\n" + code
    subprocess.run([sys.executable, "-c", single], cwd=place, check=True, capture_output=True, timeout=300)
    assert np.array_equal(np.asarray(Image.open(place / "made.png")), shown)


def test_a_model_of_the_hub_is_named_with_its_commit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And loaded as this app loads it: half-precision files where those were fetched, no filter, never pickles."""
    from aigc_demo.weights import Found

    _, recipe = made(engine, model="./sd")
    folder = engine.places.models / "sd"
    monkeypatch.setattr(as_diffusers, "locate", lambda *_: Found(folder, "hub", "abc123"))
    recipe = {**recipe, "settings": {**recipe["settings"], "model": "sd-turbo", "scheduler": "lcm"}}
    code = as_diffusers.as_diffusers(engine, recipe)
    assert "'stabilityai/sd-turbo',\n    revision='abc123',\n    dtype=torch.float32" in code
    assert "use_safetensors=True" in code
    assert "safety_checker=None" in code
    assert "guidance_scale=0.0" in code, "it was distilled to do without"
    assert "LCMScheduler.from_config(pipe.scheduler.config)" in code


@pytest.mark.parametrize(
    "recipes",
    [
        None,
        [],
        ["x"],
        [{}],
        [{"settings": {"model": "./missing"}}],
        [{"settings": {"model": "./sd"}, "figures": {"pipeline": "os", "width": 8, "height": 8}}],
        [{"settings": {"model": "./sd"}, "figures": {"pipeline": ["a"], "width": 8, "height": 8}}],
        [
            {
                "settings": {"model": "./sd"},
                "figures": {"pipeline": "StableDiffusionPipeline", "width": "8", "height": 8},
            }
        ],
        [{"settings": {"model": "./sd", "seed": "x"}, "figures": {"pipeline": "StableDiffusionPipeline"}}],
        [{"settings": [], "figures": 3, "device": "x"}],
        [{"settings": {"model": "./sd", "image": "x"}, "figures": {"pipeline": "Pipeline", "width": 8, "height": 8}}],
    ],
)
def test_what_is_no_recipe_of_a_picture_has_no_program(engine: Engine, recipes: Any) -> None:
    """The page hands over what it holds, which anybody may have written."""
    assert as_diffusers.of_recipes(engine, recipes) == ""


def test_words_cannot_leave_their_quotes(engine: Engine) -> None:
    """A prompt is a stranger's, and people run what they copy."""
    import ast

    _, recipe = made(engine, model="./sd")
    evil = "cat'\"\"\"\n); import os; os.system('x') #\\"
    settings = {**recipe["settings"], "prompt": evil, "negative_prompt": evil}
    device = {"kind": "cpu'); import os #", "dtype": "float32, import os"}
    for weights in ({}, {"weights": "applied"}):
        figures = {**recipe["figures"], **weights}
        code = as_diffusers.as_diffusers(engine, {**recipe, "settings": settings, "figures": figures, "device": device})
        imported = {
            name.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import) for name in node.names
        }
        assert imported == {"torch"}
        assert "import os; os.system" in code, "it stands there, as text"
