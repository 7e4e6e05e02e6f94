"""Diffusion through `generate()`: the bare pipeline's pixels, looks inside, stopping, and neighbours."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_images import MAKERS, SIDE

from aigc_demo.device import choose
from aigc_demo.errors import Invalid, ModelDamaged, UserError
from aigc_demo.generators import diffusion_memory, diffusion_model, diffusion_noise, schedulers
from aigc_demo.generators.diffusion import Frame, generate
from aigc_demo.generators.diffusion_model import ImageModel
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.pictures import fit
from aigc_demo.results import Done, Step, finish
from aigc_demo.worker import Stop

torch = pytest.importorskip("torch")
ZERO_SNR = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pipelines")
    return {name: make(place / name) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, ImageModel]:
    return {name: diffusion_model.load(folder, choose("cpu", "float32")) for name, folder in folders.items()}


pytestmark = pytest.mark.usefixtures("one_thread")


def picture() -> Image.Image:
    shades = np.linspace(0, 255, 3 * 20 * 20).reshape(20, 20, 3)
    return Image.fromarray(shades.astype(np.uint8))


def half() -> Image.Image:
    painted = Image.new("L", (20, 20))
    painted.paste(255, (0, 0, 10, 20))
    return painted


TASKS: dict[str, dict[str, Any]] = {
    "text": {},
    "image": {"image": picture(), "strength": 0.7},
    "mask": {"image": picture(), "mask": half(), "strength": 0.9},
}


def ask(**values: Any) -> ImageParams:
    return ImageParams(**{"prompt": "a cat", "num_inference_steps": 4, "seed": 3} | values)


def pixels(done: Done[Any]) -> list[np.ndarray]:
    return [np.asarray(made.image) for made in done.value.pictures]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", MAKERS)
def test_the_pixels_are_those_of_the_bare_pipeline(
    kind: str, task: str, models: dict[str, ImageModel], folders: dict[str, Path]
) -> None:
    """What teaches must not change what it shows: every class, every task, previews on."""
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image

    door = {"text": AutoPipelineForText2Image, "image": AutoPipelineForImage2Image, "mask": AutoPipelineForInpainting}
    bare = door[task].from_pretrained(folders[kind], local_files_only=True)
    bare.set_progress_bar_config(disable=True)
    given: dict[str, Any] = {}
    if task != "text":
        given = {"image": fit(picture(), SIDE, SIDE), "strength": TASKS[task]["strength"]}
    if task == "mask":
        given["mask_image"] = half().resize((SIDE, SIDE), Image.Resampling.NEAREST)
    if task != "image" or kind == "sd3":
        given |= {"width": SIDE, "height": SIDE}
    wanted = bare(
        "a cat",
        negative_prompt="a dog",
        num_inference_steps=4,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(3),
        **given,
    ).images[0]
    request = ask(negative_prompt="a dog", guidance_scale=5, width=SIDE, height=SIDE, **TASKS[task])
    assert request.task == task
    made = finish(generate(request, models[kind]))
    assert np.array_equal(pixels(made)[0], np.asarray(wanted))


@pytest.mark.parametrize("kind", MAKERS)
def test_every_sampler_that_suits_runs_and_tells_its_guess(kind: str, models: dict[str, ImageModel]) -> None:
    """The list on the page offers no sampler that fails, and the filmstrip is never half empty."""
    for name in schedulers.suiting(models[kind].scheduler_config):
        *steps, done = generate(ask(scheduler=name, guidance_scale=3), models[kind])
        assert [step.index for step in steps] == [1, 2, 3, 4]
        assert done.value.finish == "end"
        for step in steps:
            frame = step.value
            assert isinstance(frame, Frame)
            assert frame.noisy.shape == frame.guess.shape == (1, SIDE // 2, SIDE // 2, 3), name
            assert frame.pull > 0
        assert np.array_equal(steps[-1].value.noisy, steps[-1].value.guess), f"{name}: at the end nothing is noise"


def test_the_guess_is_the_same_whatever_the_sampler(tmp_path: Path) -> None:
    """At the first step all samplers see the same noise, so the model has the same picture in mind."""
    model = diffusion_model.load(
        MAKERS["sd"](tmp_path / "trailing", timestep_spacing="trailing"), choose("cpu", "float32")
    )
    first = {}
    for name in ("ddim", "dpmpp_2m", "unipc", "lcm"):
        first[name] = next(iter(generate(ask(scheduler=name), model))).value.guess.astype(int)
    for name in first:
        assert abs(first[name] - first["ddim"]).mean() < 3, name


def test_a_schedule_that_ends_in_pure_noise_keeps_it_and_is_not_offered_karras(tmp_path: Path) -> None:
    """The emoji model's kind: every sampler offered begins at zero signal, and none gives NaN."""
    folder = MAKERS["sd"](tmp_path / "zero", **ZERO_SNR)
    model = diffusion_model.load(folder, choose("cpu", "float32"))
    offered = schedulers.suiting(model.scheduler_config)
    assert "dpmpp_2m_karras" not in offered
    with pytest.raises(Invalid, match="DPM\\+\\+ 2M Karras"):
        finish(generate(ask(scheduler="dpmpp_2m_karras"), model))
    for name in offered:
        made = pixels(finish(generate(ask(scheduler=name, num_inference_steps=6), model)))[0]
        assert made.std() > 0, name


@pytest.mark.parametrize("kind", MAKERS)
def test_pictures_are_the_same_alone_and_among_others(kind: str, models: dict[str, ImageModel]) -> None:
    """Picture n of a seed is the picture of seed + n: a gallery's "reuse the seed" depends on it."""
    four = finish(generate(ask(num_images=4, scheduler="default"), models[kind]))
    assert [made.seed for made in four.value.pictures] == [3, 4, 5, 6]
    for n in (0, 2):
        alone = finish(generate(ask(seed=3 + n), models[kind]))
        assert abs(pixels(alone)[0].astype(int) - pixels(four)[n].astype(int)).max() <= 1


def test_fresh_noise_at_every_step_is_each_pictures_own(models: dict[str, ImageModel]) -> None:
    """Euler a draws noise all the time; in a batch it must come from the picture's own generator."""
    two = finish(generate(ask(num_images=2, scheduler="euler_a"), models["sd"]))
    alone = finish(generate(ask(seed=4, scheduler="euler_a"), models["sd"]))
    assert abs(pixels(alone)[0].astype(int) - pixels(two)[1].astype(int)).max() <= 1


def count_calls(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    denoiser = getattr(model.pipeline, "unet", None) or model.pipeline.transformer
    calls: list[int] = []
    hook = denoiser.register_forward_pre_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(model, "_counting", hook, raising=False)
    return calls


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("way", ["stop", "close"])
def test_stopping_costs_at_most_one_step_and_leaves_nothing(
    kind: str, way: str, models: dict[str, ImageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Stop, which keeps the preview, or by leaving the page: one more denoiser call at most, no thread, no trace."""
    model = models[kind]
    undisturbed = pixels(finish(generate(ask(), model)))[0]
    calls = count_calls(model, monkeypatch)
    asked = threading.Event()
    run = generate(ask(num_inference_steps=30), model, asked.is_set)
    for _ in range(3):
        next(run)
    seen = len(calls)
    if way == "stop":
        asked.set()
        done = finish(run)
        run.close()
        assert done.value.finish == "stopped"
        assert done.value.pictures[0].image.size == (SIDE, SIDE)
    else:
        run.close()
    assert len(calls) - seen <= 2  # one that waits in the queue between the threads, and one being made
    assert not [thread for thread in threading.enumerate() if thread.name == "denoise"]
    model._counting.remove()
    assert np.array_equal(pixels(finish(generate(ask(), model)))[0], undisturbed)


def test_stopping_between_two_pictures_keeps_whole_ones(
    models: dict[str, ImageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked in the middle of the second of three, it is finished, pixel by pixel, and the third is not begun."""
    whole = pixels(finish(generate(ask(num_images=3), models["sd"])))
    monkeypatch.setitem(diffusion_memory.AT_ONCE, "cpu", SIDE * SIDE)
    stop = Stop()
    run = generate(ask(num_images=3), models["sd"], stop)
    first = next(run)
    asked = first.total // 3 + 1
    for item in run:
        if isinstance(item, Step) and item.index == asked:
            stop.set(between=True)
        if isinstance(item, Done):
            break
    assert item.value.finish == "between"
    made = pixels(item)
    assert len(made) == 2
    assert abs(np.stack(made).astype(int) - np.stack(whole[:2]).astype(int)).max() <= 1


def test_a_fault_in_the_middle_leaves_no_trace(models: dict[str, ImageModel]) -> None:
    """The next person's run is the undisturbed one."""
    model = models["sd"]
    undisturbed = pixels(finish(generate(ask(), model)))[0]

    def fail(*_: Any) -> None:
        raise RuntimeError("in the middle")

    hook = model.pipeline.unet.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        finish(generate(ask(), model))
    hook.remove()
    assert not model.pipeline.unet._forward_hooks
    assert np.array_equal(pixels(finish(generate(ask(), model)))[0], undisturbed)


def test_two_runs_at_once_share_weights_and_nothing_else(models: dict[str, ImageModel]) -> None:
    """Two people, two settings, one model: each gets what they would have got alone."""
    model = models["sd"]
    requests = [ask(seed=3, guidance_scale=7, scheduler="ddim"), ask(seed=9, guidance_scale=1, scheduler="euler")]
    alone = [list(generate(request, model)) for request in requests]
    runs = [generate(request, model) for request in requests]
    mixed: list[list[Any]] = [[], []]
    for _ in range(5):
        for n, run in enumerate(runs):
            mixed[n].append(next(run))
    for one, other in zip(alone, mixed, strict=True):
        assert np.array_equal(pixels(one[-1])[0], pixels(other[-1])[0])
        assert [step.value.pull for step in one[:-1]] == [step.value.pull for step in other[:-1]]
    assert mixed[1][0].value.pull is None  # without guidance nothing pulls


def test_a_size_that_the_model_cannot_make_is_refused_with_its_neighbours(models: dict[str, ImageModel]) -> None:
    """diffusers would round it or fail deep inside."""
    with pytest.raises(Invalid, match=r"Height of 26 px.*multiple of 4.*24 and 28"):
        finish(generate(ask(width=16, height=26), models["sd"]))


def test_a_picture_without_a_size_keeps_its_shape(models: dict[str, ImageModel]) -> None:
    """A wide upload is not squeezed into a square; the number of pixels stays what the model learnt."""
    wide = Image.new("RGB", (400, 100), "teal")
    done = finish(generate(ask(image=wide), models["sd"]))
    assert done.value.pictures[0].image.size == (32, 8)


def test_too_few_steps_for_a_strength_are_refused(models: dict[str, ImageModel]) -> None:
    """diffusers fails deep inside; distilled models of one or two steps make it easy to meet."""
    with pytest.raises(Invalid, match=r"Of 2 steps a strength of 0\.4"):
        finish(generate(ask(image=picture(), num_inference_steps=2, strength=0.4), models["sd"]))


def test_the_preview_is_near_the_picture() -> None:
    """The map is fitted to coloured squares alone; on emoji that the shipped model never saw it must still hold."""
    from aigc_demo.training.shipped import load_vae

    assets = Path(__file__).parent.parent / "assets"
    vae = load_vae(assets / "weights" / "emoji-diffusion" / "vae")
    sheet = np.asarray(Image.open(assets / "examples" / "emoji-vae-reconstructions.webp").convert("RGB"))
    row = [sheet[4:132, 4 + 132 * n : 132 + 132 * n] for n in range(12)]
    real = torch.tensor(np.stack(row)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        latents = vae.encode(real).latent_dist.mean
    projection = diffusion_model.fit_projection(type("Pipeline", (), {"vae": vae})(), 4)
    shown = torch.tensor(projection.pictures(latents)).permute(0, 3, 1, 2) / 127.5 - 1
    wanted = torch.nn.functional.interpolate(real, size=(32, 32), mode="area")
    assert (shown - wanted).square().mean() < 0.25 * wanted.var()
    red, green, blue = wanted.movedim(1, 0)
    yellow = (red > 0.8) & (green > 0.3) & (blue < -0.4)
    fitted = (diffusion_model.features(latents) @ projection.weight).view(12, 32, 32, 3).permute(0, 3, 1, 2)
    assert torch.allclose(shown, fitted.clamp(-1, 1), atol=1.01 / 255), "drawn otherwise than fitted"
    assert abs((shown - wanted)[:, 1][yellow].mean()) < 0.2  # with a linear map they were salmon, 0.35 off


def test_what_is_no_pipeline_is_refused(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A folder of another kind says so; nothing of it is run."""
    vae = folders["sd"] / "vae"
    with pytest.raises(ModelDamaged):
        diffusion_model.load(vae, choose("cpu", "float32"))


def test_what_fell_off_a_prompt_is_told(models: dict[str, ImageModel]) -> None:
    """A text encoder cuts a long prompt without a word, and a person wonders where the roof is."""
    told = finish(generate(ask(prompt="a very long story of a cat on the roof"), models["sd"])).figures["unread"]
    assert told == "the roof"
    assert finish(generate(ask(prompt="a cat"), models["sd"])).figures["unread"] == ""


def test_a_recipe_names_a_picture_by_its_pixels(models: dict[str, ImageModel]) -> None:
    """A recipe stays small, and tells two pictures apart; given back it says that the picture is needed again."""
    values = ask(image=picture()).values()
    assert values["image"].startswith("sha256:")
    assert values["image"] != ask(image=half()).values()["image"]
    assert ask().values()["image"] is None
    with pytest.raises(UserError, match="give it again"):
        ImageParams.of(values)


VARYING = ("sd", "sdxl", "sd3")


# A variation is a way from one seed's picture to another's: both ends are the pictures of the two seeds themselves.
@pytest.mark.parametrize("kind", VARYING)
def test_a_variation_lies_between_two_seeds(models: dict[str, ImageModel], kind: str) -> None:
    def made(**settings: Any) -> Image.Image:
        request = ImageParams(prompt="a cat", num_inference_steps=3, guidance_scale=3, **settings)
        return finish(generate(request, models[kind])).value.pictures[0].image

    first, other = made(seed=5), made(seed=9)
    assert made(seed=5, variation_strength=1, variation_seed=9) == other
    assert made(seed=5, variation_seed=9) == first, "at 0 nothing is varied"
    little, lot = (made(seed=5, variation_strength=s, variation_seed=9) for s in (0.1, 0.6))

    def far(one: Image.Image) -> float:
        return float(np.abs(np.asarray(one, float) - np.asarray(first, float)).mean())

    assert 0 < far(little) < far(lot)


# Picture n of several is the variation of seed plus n, alone or among others.
def test_varied_pictures_are_the_same_alone(models: dict[str, ImageModel]) -> None:
    def made(**settings: Any) -> list[Image.Image]:
        request = ImageParams(prompt="a cat", num_inference_steps=2, variation_strength=0.3, **settings)
        return [one.image for one in finish(generate(request, models["sd"])).value.pictures]

    several, alone = made(seed=5, variation_seed=100, num_images=3), made(seed=7, variation_seed=102)
    assert np.abs(np.asarray(several[2], int) - np.asarray(alone[0], int)).max() <= 1


def test_a_model_whose_noise_is_unknown_says_so(models: dict[str, ImageModel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusion_noise, "PIPELINES", ())
    with pytest.raises(Invalid, match="cannot be varied"):
        finish(generate(ImageParams(seed=1, variation_strength=0.2), models["sd"]))
