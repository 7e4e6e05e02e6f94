"""The search for a picture's w, and the directions in which w varies: in numbers, on a tiny random pair."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from test_latent import picture, same
from tiny_gan import make_gan

from aigc_demo.device import choose
from aigc_demo.errors import Invalid
from aigc_demo.generators import gan, gan_directions, gan_project
from aigc_demo.generators.gan_directions import FOUND, DirectionsParams, Moved, principal
from aigc_demo.generators.gan_model import GanModel, images, load, tensor
from aigc_demo.generators.gan_project import Projected, ProjectParams, distance, verdict
from aigc_demo.results import Done, finish


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GanModel:
    return load(make_gan(tmp_path_factory.mktemp("gan") / "pair"), choose("cpu", "float32"))


def projected(model: GanModel, stopped: Any = lambda: False, **settings: Any) -> Done[Projected]:
    return finish(gan_project.project(ProjectParams(**settings), model, stopped))


def moved(model: GanModel, **settings: Any) -> Moved:
    return finish(gan_directions.move(DirectionsParams(**settings), model)).value


# What the search is for: a picture that the forger makes is found, by another way than its seed; noise is not.
def test_its_own_picture_is_found_and_noise_is_not(model: GanModel) -> None:
    own = images(model.pictures(model.w(model.z(1234)[None])))[0]
    found = projected(model, image=own, pull=0.0, real=[picture(1)])
    assert found.figures["rmse"] < 0.01 < found.value.errors[0]
    assert same(found.value.picture, own, within=12)
    assert same(images(model.pictures(torch.tensor(found.value.w)[None]))[0], found.value.picture, within=1)
    assert max(found.value.own) < 0.02
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    lost = projected(model, image=images(torch.from_numpy(noise).permute(2, 0, 1)[None] / 127.5 - 1)[0], pull=0.0)
    assert lost.figures["rmse"] > 0.2
    assert lost.figures["verdict"] == gan_project.CANNOT


def test_the_pull_keeps_w_nearer_to_the_mean(model: GanModel) -> None:
    free, held = (projected(model, image=picture(2), steps=60, pull=pull).figures["away"] for pull in (0.0, 0.1))
    assert held < 0.8 * free


# Stop shows the nearest until then, and it never gets worse; whoever stops before the comparison gets no verdict.
def test_stop_keeps_the_nearest_within_a_step(model: GanModel) -> None:
    asked = count(1)
    done = projected(model, lambda: next(asked) >= 4, image=picture(3), steps=400, real=[picture(1)])
    assert done.figures["finish"] == "stopped"
    assert done.figures["steps"] == 3
    assert len(done.value.errors) == 4
    assert (done.value.own, done.value.real, done.value.verdict) == ((), (), gan_project.UNKNOWN)
    seen, made = tensor([done.value.target]), tensor([done.value.picture])
    assert float(((seen - made) / 2).square().mean().sqrt()) == pytest.approx(done.value.errors[-1], abs=0.003)


# A picture among the real ones would be compared with itself.
def test_a_picture_is_not_compared_with_itself(model: GanModel) -> None:
    done = projected(model, image=picture(1), steps=10, real=[picture(1), picture(2)])
    assert len(done.value.real) == 1
    assert len(projected(model, image=picture(5), steps=10, real=[picture(1), picture(2)]).value.real) == 2


@pytest.mark.parametrize(
    ("error", "away", "said"),
    [
        (0.02, 1.0, gan_project.CAN),
        (0.02, 2.0, gan_project.OUTSIDE),
        (0.15, 1.0, gan_project.LIKENESS),
        (0.15, 2.0, gan_project.OUTSIDE),
        (0.25, 1.0, gan_project.CANNOT),
        (0.25, 2.0, gan_project.CANNOT),
    ],
)
def test_verdicts(error: float, away: float, said: str) -> None:
    assert verdict(error, away, 1.5, own=(0.01, 0.02), real=(0.1, 0.2)) == said


# A white ground that the forger paints whiter than white is no difference; a grey one is, and in both directions.
def test_only_what_is_seen_counts() -> None:
    white, grey = torch.ones(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    assert float(distance(white * 1.5, white)) == 0
    assert float(distance(-white * 1.5, -white)) == 0
    assert float(distance(-white * 1.5, white)) == pytest.approx(2.5**2)
    assert float(distance(white * 1.5, grey)) == pytest.approx(1.5**2)


def test_a_picture_is_needed() -> None:
    with pytest.raises(Invalid, match="picture"):
        ProjectParams(image=None)


# ---- directions ------------------------------------------------------------------------------------------------


def test_directions_are_those_of_the_svd() -> None:
    w = torch.randn(500, 12, generator=torch.Generator().manual_seed(3)) * torch.arange(1, 13) + 5
    found = principal(w, 6)
    centred = (w - w.mean(0)).double().numpy()
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    assert np.abs((found.axes.numpy() * axes[:6]).sum(1)) == pytest.approx(np.ones(6), abs=1e-5)
    assert found.deviations.numpy() == pytest.approx(lengths[:6] / np.sqrt(499), rel=1e-5)
    assert found.shares == pytest.approx(lengths[:6] ** 2 / (lengths**2).sum())
    assert all(axis[axis.abs().argmax()] > 0 for axis in found.axes)


# Zero is the sample itself, so that what a slider does is all that differs; and it moves w by what its label says.
def test_sliders_at_zero_give_the_plain_picture(model: GanModel) -> None:
    plain = finish(gan.sample(gan.SampleParams(seed=9, num_images=1, truncation=0.6), model)).value
    still = moved(model, seed=9, truncation=0.6)
    assert same(still.picture, plain.pictures[0])
    assert still.score == pytest.approx(plain.scores[0], abs=1e-4)
    further = moved(model, seed=9, truncation=0.6, direction_2=2.5)
    assert not same(further.picture, still.picture, within=8)
    found = gan_directions.directions(model)
    w = model.truncated(model.w(model.z(9)[None]), 0.6) + 2.5 * found.deviations[1] * found.axes[1]
    assert same(further.picture, images(model.pictures(w))[0], within=1)


def test_a_picture_that_was_found_is_moved(model: GanModel) -> None:
    found = projected(model, image=picture(2), steps=10).value
    assert same(moved(model, start=FOUND, w=list(found.w)).picture, found.picture, within=1)
    for w, told in (([], "No picture"), ([0.0] * 3, "another model")):
        with pytest.raises(Invalid, match=told):
            moved(model, start=FOUND, w=w)


@pytest.mark.parametrize("w", [[float("nan")], [1e9], ["1"], [True], "1", [0.0] * 5000])
def test_w_is_numbers(w: Any) -> None:
    with pytest.raises(Invalid, match="w"):
        DirectionsParams(w=w)
