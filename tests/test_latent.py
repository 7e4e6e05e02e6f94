"""Autoencoders: what goes in and comes back, the ways between pictures, and what is refused. On tiny random models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_latent import MAKERS, SIDE

from aigc_demo.device import choose
from aigc_demo.engine import Engine
from aigc_demo.errors import Invalid, ModelDamaged
from aigc_demo.generators import latent, latent_pictures, latent_rows, paths
from aigc_demo.generators.latent import PriorParams, RebuildParams, WalkParams
from aigc_demo.generators.latent_model import LatentModel, load
from aigc_demo.generators.text_rows import TEXT
from aigc_demo.results import Done, Step, finish
from aigc_demo.settings import Settings


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LatentModel]:
    place = tmp_path_factory.mktemp("latent")
    return {name: load(make(place / name), choose("cpu", "float32"), SIDE) for name, make in MAKERS.items()}


def picture(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BILINEAR)


def same(a: Image.Image, b: Image.Image, within: int = 0) -> bool:
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max()) <= within


each_kind = pytest.mark.parametrize("kind", MAKERS)


# ---- the ways --------------------------------------------------------------------------------------------------


# The formula, against the same rotation written another way: in the plane of the two ends, by Gram and Schmidt.
@pytest.mark.parametrize("seed", range(4))
def test_slerp_turns_in_the_plane_of_its_ends(seed: int) -> None:
    dice = np.random.default_rng(seed)
    a, b = (v / np.linalg.norm(v) for v in dice.standard_normal((2, 64)))
    angle = math.acos(float(a @ b))
    across = (b - (a @ b) * a) / np.linalg.norm(b - (a @ b) * a)
    for share in (0.0, 0.1, 0.5, 0.77, 1.0):
        wanted = math.cos(share * angle) * a + math.sin(share * angle) * across
        found = paths.slerp(torch.tensor(a), torch.tensor(b), share)
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)
        straight = paths.lerp(torch.tensor(a), torch.tensor(b), share)
        np.testing.assert_allclose(straight.numpy(), (1 - share) * a + share * b, atol=1e-15)


# Where there is no great circle, or every one would do, a way must still be there, finite, and meet both ends.
@pytest.mark.parametrize(
    ("a", "b"),
    [([1.0, 2.0], [2.0, 4.0]), ([1.0, 2.0], [-1.0, -2.0]), ([0.0, 0.0], [3.0, 4.0]), ([0.0, 0.0], [0.0, 0.0])],
    ids=["parallel", "opposite", "zero", "both zero"],
)
def test_slerp_goes_straight_where_no_circle_leads(a: list[float], b: list[float]) -> None:
    ends = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    for share in (0.0, 0.25, 0.5, 1.0):
        assert torch.allclose(paths.slerp(*ends, share), paths.lerp(*ends, share), atol=1e-9)


# A curve has no corner at the pictures in between: the directions on both sides of one agree.
def test_the_spline_meets_every_picture_without_a_corner() -> None:
    points = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for n in range(3):
        assert torch.allclose(paths.point(points, "spline", n, 0.0, False), points[n])
        assert torch.allclose(paths.point(points, "spline", n, 1.0, False), points[n + 1])
    for loop, at in ((False, 0), (False, 1), (True, 3)):
        before = points[(at + 1) % 4] - paths.point(points, "spline", at, 1 - 1e-6, loop)
        after = paths.point(points, "spline", (at + 1) % 4, 1e-6, loop) - points[(at + 1) % 4]
        assert torch.allclose(before, after, atol=1e-9)


# Both ends are frames; a loop neither stops at the last picture nor shows the first one twice.
def test_frames_are_laid_over_the_whole_way() -> None:
    assert paths.places(3, 5, "even", False) == [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (1, 1.0)]
    assert paths.places(2, 4, "even", True) == [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5)]
    smooth = paths.places(2, 5, "smooth", False)
    assert [round(share, 4) for _, share in smooth] == [0, 0.1562, 0.5, 0.8438, 1]


# ---- through the models ----------------------------------------------------------------------------------------


# What a way begins and ends with is what the autoencoder makes of the two pictures themselves.
@each_kind
@pytest.mark.parametrize("path", paths.PATHS)
def test_both_ends_are_the_plain_rebuilds(models: dict[str, LatentModel], kind: str, path: str) -> None:
    model, given = models[kind], [picture(1), picture(2), picture(3)]
    walked = finish(latent.walk(WalkParams(images=given, interpolation=path, frames=7), model)).value
    for frame, one in ((walked.frames[0], given[0]), (walked.frames[3], given[1]), (walked.frames[6], given[2])):
        assert same(frame, finish(latent.rebuild(RebuildParams(image=one), model)).value.rebuilt, within=1)
    assert same(walked.crossfade[0], given[0])
    assert same(walked.crossfade[6], given[2])
    assert len(walked.changes) == len(walked.crossfade_changes) == 6


# Hundreds of frames take no more memory on the device than a batch of them, and come as they are decoded.
def test_frames_come_in_batches_and_are_the_same_alone(models: dict[str, LatentModel], monkeypatch: Any) -> None:
    request = WalkParams(images=[picture(1), picture(2)], frames=40)
    sizes: list[int] = []
    decode = LatentModel.decode
    monkeypatch.setattr(LatentModel, "decode", lambda self, z: sizes.append(len(z)) or decode(self, z))
    items = list(latent.walk(request, models["kl"]))
    assert max(sizes) <= latent_pictures.AT_ONCE
    steps = [item for item in items if isinstance(item, Step)]
    assert [step.index for step in steps] == [16, 32, 40]
    whole = finish(items).value
    assert [f for step in steps for f in step.value] == list(whole.frames)
    monkeypatch.setattr(latent_pictures, "AT_ONCE", 1)
    alone = finish(latent.walk(request, models["kl"])).value
    assert all(same(a, b, within=1) for a, b in zip(whole.frames, alone.frames, strict=True))


# A full device gets smaller batches, never none.
def test_a_batch_fits_the_free_memory(models: dict[str, LatentModel], monkeypatch: Any) -> None:
    device = type(models["kl"].device)
    monkeypatch.setattr(device, "free_memory", lambda self: 10**6)
    assert latent_pictures.batch_of(models["kl"], (64, 64)) == 1
    monkeypatch.setattr(device, "free_memory", lambda self: 10**12)
    assert latent_pictures.batch_of(models["kl"], (64, 64)) == latent_pictures.AT_ONCE


# Stop keeps the frames that are there.
def test_stop_keeps_what_is_there(models: dict[str, LatentModel]) -> None:
    request = WalkParams(images=[picture(1), picture(2)], frames=100)
    done = finish(latent.walk(request, models["kl"], lambda: True))
    assert done.figures["finish"] == done.value.finish == "stopped"
    assert len(done.value.frames) == len(done.value.crossfade) == latent_pictures.AT_ONCE


# The figures are of the two pictures that are shown, so that anybody can compute them again.
@each_kind
def test_a_rebuild_tells_how_near_it_comes(models: dict[str, LatentModel], kind: str) -> None:
    done = finish(latent.rebuild(RebuildParams(image=picture(5)), models[kind]))
    a, b = (np.asarray(p, np.float64) for p in (done.value.original, done.value.rebuilt))
    assert done.figures["psnr"] == pytest.approx(
        20 * math.log10(255) - 10 * math.log10(((a - b) ** 2).mean()), abs=1e-3
    )
    assert -1 <= done.figures["ssim"] <= 1
    assert same(done.value.difference, Image.fromarray(np.abs(a - b).astype(np.uint8)))
    shape = {"kl": [4, 8, 8], "tiny": [4, 4, 4], "vector": [8]}[kind]
    assert done.figures["latent_shape"] == shape
    assert done.figures["numbers_share"] == math.prod(shape) / (3 * SIDE * SIDE)
    assert len(done.value.mean) == (1 if kind == "vector" else 4)
    assert (done.value.deviation is None) == (kind == "tiny")


# A draw depends on its seed and its spread; without spread there is nothing to draw.
def test_spread_draws_from_the_posterior(models: dict[str, LatentModel]) -> None:
    def made(**settings: Any) -> Image.Image:
        return finish(latent.rebuild(RebuildParams(image=picture(5), **settings), models["kl"])).value.rebuilt

    assert same(made(spread=3, seed=1), made(spread=3, seed=1))
    assert not same(made(spread=3, seed=1), made(spread=3, seed=2))
    assert same(made(seed=1), made(seed=2))


# Picture n of a draw is the one that seed + n gives alone; temperature 0 is the middle, whatever the seed.
@each_kind
def test_prior_draws_are_the_same_alone(models: dict[str, LatentModel], kind: str) -> None:
    several = finish(latent.draw_prior(PriorParams(num_images=3, seed=5), models[kind])).value
    alone = finish(latent.draw_prior(PriorParams(num_images=1, seed=7), models[kind])).value
    assert same(several[2], alone[0], within=1)
    middle = finish(latent.draw_prior(PriorParams(num_images=2, temperature=0), models[kind])).value
    assert same(*middle)


# Whatever was uploaded goes in by the rule that the page states, and nothing divides by zero.
@each_kind
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (3000, 20), (33, 32), (640, 480)])
def test_pictures_of_every_shape_go_through(models: dict[str, LatentModel], kind: str, size: tuple[int, int]) -> None:
    done = finish(latent.rebuild(RebuildParams(image=picture(1, size)), models[kind]))
    assert max(done.value.original.size) == SIDE
    assert all(side % 4 == 0 for side in done.value.original.size)
    assert done.value.rebuilt.size == done.value.original.size
    walked = finish(latent.walk(WalkParams(images=[picture(1, size), picture(2)], frames=2), models[kind])).value
    assert walked.frames[0].size == (SIDE, SIDE)


# The largest size goes through in tiles, whose seams are not to be seen: tiled and whole agree.
def test_large_pictures_go_through_in_tiles(models: dict[str, LatentModel]) -> None:
    model = models["kl"]
    given = latent_pictures.tensor([picture(3, (96, 96))])
    whole = model.encode(given)[0]
    model.net.tile_sample_min_size, model.net.tile_latent_min_size = 48, 12
    try:
        tiled = model.encode(given)[0]
    finally:
        model.net.tile_sample_min_size, model.net.tile_latent_min_size = 768, 192
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole), "it was not tiled"
    assert model.net.use_tiling


@pytest.mark.parametrize("images", [[], [picture(1)], [picture(1)] * 7, "no", [picture(1), None]])
def test_a_way_needs_two_to_six_pictures(images: Any) -> None:
    with pytest.raises(Invalid):
        WalkParams(images=images)


@pytest.mark.parametrize("frames", [0, 1, 601, 100_000, float("nan"), 2.5])
def test_a_way_has_a_sensible_number_of_frames(frames: Any) -> None:
    with pytest.raises(Invalid):
        WalkParams(images=[picture(1), picture(2)], frames=frames)


# The same picture twice is a way that stays: no number on it is undefined.
@pytest.mark.parametrize("path", paths.PATHS)
def test_a_way_between_equal_pictures_stays(models: dict[str, LatentModel], path: str) -> None:
    walked = finish(
        latent.walk(WalkParams(images=[picture(1)] * 2, interpolation=path, frames=5), models["vector"])
    ).value
    assert max(walked.changes) < 0.01


# ---- folders and rows ------------------------------------------------------------------------------------------


# A folder under models/ is offered where it belongs: a language model is no autoencoder, and the other way round.
def test_dropped_in_folders_go_to_their_family(tmp_path: Path) -> None:
    from tiny import make_tiny_llama

    for name, make in MAKERS.items():
        make(tmp_path / name)
    make_tiny_llama(tmp_path / "llama")
    engine = Engine(Settings(models_dir=tmp_path, offline=True))
    assert [folder.name for folder in engine.folders(latent_rows.REBUILD)] == ["kl", "tiny", "vector"]
    assert [folder.name for folder in engine.folders(TEXT)] == ["llama"]
    done = finish(engine.run(latent_rows.REBUILD, RebuildParams(image=picture(1), model="./vector")))
    assert done.recipe["family"] == "rebuild"
    assert done.recipe["settings"]["image"].startswith("sha256:")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    from tiny import make_tiny_llama

    with pytest.raises(ModelDamaged, match="could not be loaded"):
        load(make_tiny_llama(tmp_path / "llama"), choose("cpu", "float32"))


# The shipped autoencoder, from its row to a picture that is near the one given.
def test_the_shipped_autoencoder_rebuilds() -> None:
    engine = Engine(Settings(offline=True))
    white = Image.new("RGB", (128, 128), "white")
    white.paste((220, 60, 40), (32, 32, 96, 96))
    done: Done[Any] = finish(engine.run(latent_rows.REBUILD, RebuildParams(image=white)))
    assert done.figures["psnr"] > 24
    assert done.recipe["model"]["licence"] == "Apache-2.0"
