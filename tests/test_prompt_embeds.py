"""Prompts that were read once: no text encoder runs for them again, and nothing else changes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from tiny_images import MAKERS

from aigc_demo.device import choose
from aigc_demo.generators import diffusion_model, prompt_embeds
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_model import ImageModel
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.results import finish

torch = pytest.importorskip("torch")
TOWERS = {"sd": 1, "sdxl": 2, "sd3": 3}


@pytest.fixture
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageModel:
    folder = MAKERS[request.param](tmp_path_factory.mktemp("model") / request.param)
    return diffusion_model.load(folder, choose("cpu", "float32"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextmanager
def counted(model: ImageModel) -> Iterator[list[str]]:
    """The text encoders that run meanwhile, by name."""
    ran: list[str] = []
    names = [name for name in model.pipeline.components if name.startswith("text_encoder")]
    hooks = [
        getattr(model.pipeline, name).register_forward_hook(lambda *_, name=name: ran.append(name)) for name in names
    ]
    yield ran
    for hook in hooks:
        hook.remove()


def draw(model: ImageModel, **values: Any) -> list[np.ndarray]:
    values = {"prompt": "a cat", "num_inference_steps": 2, "seed": 3, "guidance_scale": 4} | values
    return [np.asarray(made.image) for made in finish(generate(ImageParams(**values), model)).value.pictures]


@pytest.mark.parametrize("model", MAKERS, indirect=True)
def test_an_unchanged_prompt_is_not_read_again(model: ImageModel, request: pytest.FixtureRequest) -> None:
    """A person who draws seed after seed waits for the text encoder once; the pixels are those of reading it anew."""
    towers = TOWERS[request.node.callspec.params["model"]]
    with counted(model) as ran:
        first = draw(model, negative_prompt="a dog")
        assert len(ran) == 2 * towers
        again = draw(model, negative_prompt="a dog")
        draw(model, negative_prompt="a dog", seed=4, num_images=3, scheduler="default", num_inference_steps=3)
        assert len(ran) == 2 * towers
        draw(model, negative_prompt="a fox")
        assert len(ran) == 4 * towers
    assert np.array_equal(first[0], again[0])
    model.encoded.kept.clear()
    assert np.array_equal(first[0], draw(model, negative_prompt="a dog")[0])


@pytest.mark.parametrize("model", ["sd", "sdxl"], indirect=True)
def test_other_weights_and_tasks_read_nothing_anew(model: ImageModel) -> None:
    """Weights are laid on what was read, so trying one after another is cheap."""
    from PIL import Image

    with counted(model) as ran:
        plain = draw(model, prompt="a red cat")
        seen = len(ran)
        heavy = draw(model, prompt="a (red:2) cat")
        assert np.array_equal(plain[0], draw(model, prompt="a red cat")[0]), "what is kept has no weights"
        assert np.array_equal(heavy[0], draw(model, prompt="a (red:2) cat")[0])
        draw(model, prompt="a [red] cat", image=Image.new("RGB", (16, 16), "teal"), strength=1)
        assert len(ran) == seen


@pytest.mark.parametrize("model", ["sd"], indirect=True)
def test_guidance_decides_what_is_read(model: ImageModel) -> None:
    """Without guidance the negative prompt is not read; with it again, it is there and counts."""
    with counted(model) as ran:
        off = draw(model, guidance_scale=1, negative_prompt="a dog")
        assert len(ran) == 1
        draw(model, guidance_scale=1, negative_prompt="a fox")
        assert len(ran) == 1
        on = draw(model, negative_prompt="a dog")
        assert len(ran) == 3
    assert not np.array_equal(off[0], on[0])
    assert not np.array_equal(on[0], draw(model, negative_prompt="a fox")[0])


@pytest.mark.parametrize("model", ["sd"], indirect=True)
def test_the_latest_are_kept_and_no_more(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long day of prompts takes no more memory than its last ones, and the one in use stays."""
    monkeypatch.setattr(prompt_embeds, "KEPT", 3)
    pipeline = model.run("text", "default")

    def read(prompt: str) -> None:
        prompt_embeds.tell(model.encoded, pipeline, prompt, "", 1.0)

    for prompt in ("a", "b", "c", "a", "d"):
        read(prompt)
    assert [key[0] for key in model.encoded.kept] == ["c", "a", "d"]
    with counted(model) as ran:
        read("a")
        assert not ran
        read("b")
        assert len(ran) == 1


@pytest.mark.parametrize("model", ["sd"], indirect=True)
def test_many_threads_read_each_prompt_once(model: ImageModel) -> None:
    """People share a model; fast tokenizers fail with "Already borrowed" where two threads use one."""
    wanted = {f"cat {n}": model.encoded.of(model.run("text", "default"), f"cat {n}", None, True) for n in range(4)}
    model.encoded.kept.clear()

    def read(_: int) -> list[str]:
        pipeline, wrong = model.run("text", "default"), []
        for n in range(12):
            prompt = f"cat {n % 4}"
            made = prompt_embeds.tell(
                model.encoded, pipeline, f"({prompt}:1.5)" if n % 3 else prompt, "", 4.0
            ).embeddings
            assert made is not None
            if n % 3 == 0 and not torch.equal(made["prompt_embeds"], wanted[prompt]["prompt_embeds"]):
                wrong.append(prompt)
        return wrong

    with counted(model) as ran, ThreadPoolExecutor(6) as pool:
        assert not any(pool.map(read, range(6)))
        assert len(ran) == 2 * 4


@pytest.mark.parametrize("model", ["sd"], indirect=True)
def test_what_is_kept_goes_with_the_model(model: ImageModel) -> None:
    """A model that makes room for another gives all of its memory back."""
    draw(model)
    own = ImageModel(model.pipeline, model.device, model.classes, model.multiple, model.side)
    prompt_embeds.tell(own.encoded, own.run("text", "default"), "a cat", "", 1.0)
    (kept,) = own.encoded.kept.values()
    alive = weakref.ref(kept["prompt_embeds"])
    del kept, own
    gc.collect()
    assert alive() is None
