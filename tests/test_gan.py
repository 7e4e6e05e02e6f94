"""The forger: what a seed, truncation, a second seed and a way make, and which folders are pairs. On a tiny random pair."""

from __future__ import annotations

import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_latent import picture, same
from tiny_gan import make_gan
from tiny_latent import MAKERS

from aigc_demo.device import choose
from aigc_demo.engine import Engine
from aigc_demo.errors import Invalid, ModelDamaged, ModelUnavailable
from aigc_demo.generators import gan, gan_judge
from aigc_demo.generators.gan import SampleParams, WalkGanParams
from aigc_demo.generators.gan_model import LAYERS, GanModel, images, load
from aigc_demo.generators.gan_rows import GAN, GAN_JUDGE
from aigc_demo.generators.latent import RebuildParams
from aigc_demo.generators.latent_rows import REBUILD
from aigc_demo.params import SEED_LIMIT
from aigc_demo.results import finish
from aigc_demo.settings import Settings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GanModel:
    return load(make_gan(tmp_path_factory.mktemp("gan") / "pair"), choose("cpu", "float32"))


def sampled(model: GanModel, **settings: Any) -> gan.Sampled:
    return finish(gan.sample(SampleParams(**settings), model)).value


# Someone who liked the fifth picture of a grid and takes its seed gets that picture, and its score.
def test_a_seed_is_the_same_alone_and_in_a_grid(model: GanModel) -> None:
    grid = sampled(model, seed=40, num_images=20)
    assert grid.seeds == tuple(range(40, 60))
    for n in (0, 4, 17):
        alone = sampled(model, seed=grid.seeds[n], num_images=1)
        assert same(alone.pictures[0], grid.pictures[n], within=1)
        assert alone.scores[0] == pytest.approx(grid.scores[n], abs=1e-4)
    assert not same(grid.pictures[0], grid.pictures[1], within=8)


# A recipe of every picture of a grid has to be one that the form takes back.
def test_seeds_past_the_last_begin_again(model: GanModel) -> None:
    assert sampled(model, seed=SEED_LIMIT - 1, num_images=2).seeds == (SEED_LIMIT - 1, 0)


def test_truncation_leads_to_the_mean_picture(model: GanModel) -> None:
    none = sampled(model, num_images=2, truncation=0).pictures
    assert same(none[0], none[1])
    assert same(none[0], images(model.pictures(model.mean_w[None].expand(2, -1)))[0]), (
        "of as many at once: sums differ with it"
    )
    whole = sampled(model, num_images=1, truncation=1).pictures[0]
    assert same(whole, images(model.pictures(model.w(model.z(0)[None])))[0], within=1)


@pytest.mark.parametrize("psi", [math.nan, math.inf, -0.1, 2.1])
def test_truncation_is_a_number_in_its_range(psi: float) -> None:
    with pytest.raises(Invalid, match="Truncation"):
        SampleParams(truncation=psi)


# Where the second seed begins, and that it reaches no layer before: what the slider says.
@pytest.mark.parametrize("layer", [1, 5, 7])
def test_styles_are_mixed_from_a_layer_on(model: GanModel, layer: int) -> None:
    own, other = model.truncated(model.w(torch.stack([model.z(3), model.z(9)])), 0.5)
    ws = torch.stack([*[own] * layer, *[other] * (LAYERS - layer)])[None]
    mixed = sampled(model, seed=3, num_images=1, truncation=0.5, mix_layer=layer, style_seed=9)
    assert same(mixed.pictures[0], images(model.pictures(ws))[0], within=1)
    plain = sampled(model, seed=3, num_images=1, truncation=0.5).pictures[0]
    assert same(sampled(model, seed=3, num_images=1, truncation=0.5, mix_layer=layer, style_seed=3).pictures[0], plain)
    assert not same(mixed.pictures[0], plain)


def test_stop_keeps_the_samples_that_are_there(model: GanModel) -> None:
    done = finish(gan.sample(SampleParams(num_images=64), model, lambda: True))
    assert done.figures["finish"] == "stopped"
    assert 0 < len(done.value.pictures) == len(done.value.scores) < 64


# ---- ways ------------------------------------------------------------------------------------------------------


# A walk's frame at a seed is that seed's sample, in both spaces, or the walk is of something else.
@pytest.mark.parametrize("way", ["slerp", "spline"])
def test_a_walk_meets_its_seeds(model: GanModel, way: str) -> None:
    request = WalkGanParams(seeds="5, 8, 2", interpolation=way, frames=5, truncation=0.6)
    walked = finish(gan.walk(request, model)).value
    for frame, seed in ((0, 5), (2, 8), (4, 2)):
        wanted = sampled(model, seed=seed, num_images=1, truncation=0.6).pictures[0]
        assert same(walked.in_z[frame], wanted, within=1)
        assert same(walked.in_w[frame], wanted, within=1)
    assert not same(walked.in_z[1], walked.in_w[1]), "in between the spaces differ"
    assert len(walked.z_changes) == len(walked.w_changes) == 4


def test_a_circle_comes_through_both_seeds_and_closes(model: GanModel) -> None:
    walked = finish(gan.walk(WalkGanParams(seeds="5 8", interpolation="circle", frames=40), model)).value
    for frames in (walked.in_z, walked.in_w):
        for frame, seed in ((0, 5), (10, 8)):
            assert same(frames[frame], sampled(model, seed=seed, num_images=1).pictures[0], within=1)
    again = model.pictures(model.truncated(model.mean_w * 2 - model.w(model.z(5)[None]), 0.7))
    assert same(walked.in_w[20], images(again)[0], within=1), "half way round it is across the mean"


@pytest.mark.parametrize("seeds", ["", "1", "1, x", "1, -2", f"1, {SEED_LIMIT}", "1 2 3 4 5 6 7 8 9"])
def test_seeds_are_two_to_eight_whole_numbers(seeds: str) -> None:
    with pytest.raises(Invalid, match=r"Seeds|empty"):
        WalkGanParams(seeds=seeds)


def test_a_circle_takes_two_seeds() -> None:
    with pytest.raises(Invalid, match="two seeds"):
        WalkGanParams(seeds="1,2,3", interpolation="circle")


# ---- folders ---------------------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    make_gan(tmp_path / "models" / "pair")
    make_gan(tmp_path / "models" / "someone" / "other", seed=1)
    return Engine(Settings(models_dir=tmp_path / "models", cache_dir=tmp_path / "cache", offline=True))


# A pair is one model: its two halves are not listed as models of their own, here or on another tab.
def test_pairs_are_found_whole(engine: Engine) -> None:
    assert [engine.folder_id(folder) for folder in engine.folders(GAN)] == ["./pair", "./someone/other"]
    assert engine.folders(REBUILD) == []
    done = finish(engine.run(GAN, SampleParams(model="./someone/other", num_images=1, seed=-1)))
    assert done.recipe["model"]["id"] == "./someone/other"
    assert done.recipe["settings"]["seed"] >= 0
    with pytest.raises(ModelUnavailable, match="not fetched"):
        finish(engine.run(GAN, SampleParams(model="owner/name")))


# Both halves are looked at before anything is loaded; missing numbers would leave random ones in the net.
def test_a_damaged_half_is_told(engine: Engine) -> None:
    from safetensors.torch import load_file, save_file

    place = engine.places.models
    weights = place / "pair" / "discriminator" / "model.safetensors"
    whole = load_file(weights)
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(ModelDamaged, match="damaged or was cut off"):
        finish(engine.run(GAN, SampleParams(model="./pair", num_images=1)))
    save_file({name: value for name, value in whole.items() if name != "head.weight"}, weights)
    with pytest.raises(ModelDamaged, match=r"head\.weight|could not be loaded"):
        finish(engine.run(GAN, SampleParams(model="./pair", num_images=1)))
    shutil.rmtree(weights.parent)
    assert "./pair" not in [engine.folder_id(folder) for folder in engine.folders(GAN)]


# A score that is no number has no place on any axis; what it means is told, not drawn.
def test_weights_that_are_no_numbers_are_told(engine: Engine) -> None:
    from safetensors.torch import load_file, save_file

    weights = engine.places.models / "pair" / "discriminator" / "model.safetensors"
    save_file({name: value * math.nan for name, value in load_file(weights).items()}, weights)
    for family, request in (
        (GAN, SampleParams(model="./pair", num_images=1)),
        (GAN_JUDGE, gan_judge.JudgeParams(model="./pair")),
    ):
        with pytest.raises(ModelDamaged, match="NaN"):
            finish(engine.run(family, request))


# The numbers of a config are memory: a stranger's may not ask for all of it.
def test_a_config_may_not_ask_for_the_world(engine: Engine) -> None:
    config = engine.places.models / "pair" / "generator" / "config.json"
    config.write_text('{"latent": 999999999, "widths": [16, 8, 8, 8], "depth": 2}', "utf-8")
    with pytest.raises(ModelDamaged, match="latent"):
        finish(engine.run(GAN, SampleParams(model="./pair", num_images=1)))


# The page and the recipe say in which numbers a result was computed: a pair's are float32 whatever the device prefers.
@pytest.mark.parametrize(("kind", "dtype"), [("pair", "float32"), ("vector", "float32"), ("kl", "bfloat16")])
def test_the_recipe_tells_the_models_own_dtype(tmp_path: Path, kind: str, dtype: str) -> None:
    (make_gan if kind == "pair" else MAKERS[kind])(tmp_path / "models" / kind)
    engine = Engine(
        Settings(
            models_dir=tmp_path / "models", cache_dir=tmp_path / "cache", offline=True, device="cpu", dtype="bfloat16"
        )
    )
    family, request = (
        (GAN, SampleParams(model="./pair", num_images=1))
        if kind == "pair"
        else (REBUILD, RebuildParams(image=picture(0), model=f"./{kind}"))
    )
    done = finish(engine.run(family, request))
    assert done.recipe["device"]["dtype"] == dtype


# ---- the detective ---------------------------------------------------------------------------------------------


def opinion(model: GanModel, **settings: Any) -> gan_judge.Judged:
    return finish(gan_judge.judge(gan_judge.JudgeParams(**settings), model)).value


# One score for one picture, wherever it stands: forged here and taken from a file there.
def test_a_picture_given_scores_as_when_it_was_forged(model: GanModel) -> None:
    forged = sampled(model, seed=5, num_images=3, truncation=1.0)
    found = opinion(model, given=list(forged.pictures), real=[picture(1)], seed=5, num_images=8)
    assert found.given.scores == pytest.approx(found.forged.scores[:3], abs=0.02), "but for the rounding to 8 bits"
    assert len(found.real.scores) == len(found.real.heat) == 1
    assert opinion(model).given.scores == ()


# The heat map claims where a change of the picture changes the score: changing it there must.
def test_heat_is_the_slope_of_the_score(model: GanModel) -> None:
    pixels = model.pictures(model.w(model.z(1)[None])) * 0.5
    slope = gan_judge.slopes(model, pixels)[0]
    y, x = divmod(int(slope.argmax()), slope.shape[1])
    found = 0.0
    for colour in range(3):
        step = torch.zeros_like(pixels)
        step[0, colour, y, x] = 0.05
        higher, lower = model.scores(torch.cat([pixels + step, pixels - step]))
        found += abs(higher - lower) / 0.1
    assert found == pytest.approx(float(slope.max()), rel=0.1)
    heat = np.asarray(gan_judge.heated(images(pixels)[0], slope.numpy()), int)
    redness = heat[..., 0] - heat[..., 2]
    assert redness[y, x] == redness.max() > 100


@pytest.mark.parametrize(
    ("real", "forged", "share"), [([2, 3], [0, 1], 1), ([0], [1], 0), ([1], [1], 0.5), ([], [1], None)]
)
def test_pairs_told_apart_are_counted(real: list[float], forged: list[float], share: float | None) -> None:
    assert gan_judge.told_apart(real, forged) == share


# Every step goes up while steps are short, and begins at the sample of its seed.
def test_a_climb_climbs(model: GanModel) -> None:
    done = finish(gan_judge.climb(gan_judge.ClimbParams(seed=4, steps=12, rate=0.01), model))
    scores = done.value.scores
    assert len(scores) == len(done.value.frames) == 13
    assert all(after > before for before, after in pairwise(scores))
    first = sampled(model, seed=4, num_images=1)
    assert same(done.value.frames[0], first.pictures[0], within=1)
    assert scores[0] == pytest.approx(first.scores[0], abs=1e-4)


def test_a_climb_stops_within_a_step(model: GanModel) -> None:
    done = finish(gan_judge.climb(gan_judge.ClimbParams(steps=300), model, lambda: True))
    assert done.figures["finish"] == "stopped"
    assert len(done.value.frames) == 1
